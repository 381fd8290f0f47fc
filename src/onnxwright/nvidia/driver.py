"""What of the CUDA driver is needed to run an engine: memory, copies, a stream; called by its C interface.

The driver comes with the GPU, so that running an engine needs no CUDA package beside the library.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

from onnxwright.errors import EngineError

_LIBRARIES: Final = ("libcuda.so.1", "nvcuda.dll")
_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""


def missing_driver() -> str | None:
    """Returns what is missing to use a GPU, the driver or the GPU itself; None when there is one."""
    driver = _opened()
    if driver is None:
        return "there is no NVIDIA driver (libcuda). Build here, and run on a machine with an NVIDIA GPU."
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the NVIDIA driver sees no GPU. Build here, and run on a machine with one."
    return None


class Driver:
    """The driver with the first GPU's primary context, which the library and PyTorch use as well.

    Raises:
        EngineError: when there is no driver, or a call fails.
    """

    def __init__(self, library: Any = None):
        self._cuda = _opened() if library is None else library
        if self._cuda is None:
            raise EngineError("there is no NVIDIA driver (libcuda). Run on a machine with an NVIDIA GPU.")
        self._call("cuInit", 0)
        self._device = ctypes.c_int(0)
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)

    def enter(self) -> None:
        """Makes the primary context the current one of this thread."""
        context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._call("cuCtxSetCurrent", context)

    def compute_capability(self) -> tuple[int, int]:
        """Returns the compute capability of the GPU."""
        major, minor = (self._attribute(one) for one in (_MAJOR, _MINOR))
        return major, minor

    def name(self) -> str:
        """Returns what the GPU is called."""
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, len(name), self._device)
        return name.value.decode()

    def new_stream(self) -> int:
        """Returns a stream of its own, which waits for no other."""
        stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(stream), 1)
        return stream.value or 0

    def reserve(self, size: int) -> int:
        """Returns the address of so many new bytes on the GPU."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def give_back(self, address: int) -> None:
        """Frees memory on the GPU."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def to_device(self, address: int, host: int, size: int, stream: int) -> None:
        """Copies bytes to the GPU, in the order of a stream."""
        self._copy("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), ctypes.c_void_p(host), size, stream)

    def to_host(self, host: int, address: int, size: int, stream: int) -> None:
        """Copies bytes from the GPU, in the order of a stream."""
        self._copy("cuMemcpyDtoHAsync_v2", ctypes.c_void_p(host), ctypes.c_uint64(address), size, stream)

    def wait(self, stream: int) -> None:
        """Waits until a stream has done everything that it was given."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def wait_for_all(self) -> None:
        """Waits until the GPU has done everything that this program gave it."""
        self._call("cuCtxSynchronize")

    def _copy(self, name: str, to: Any, source: Any, size: int, stream: int) -> None:
        self._call(name, to, source, ctypes.c_size_t(size), ctypes.c_void_p(stream))

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int(0)
        self._call("cuDeviceGetAttribute", ctypes.byref(value), number, self._device)
        return value.value

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._cuda, name)(*arguments)
        if code != 0:
            raise EngineError(f"the NVIDIA driver refuses {name.removesuffix('_v2')} with code {code}.{_remedy(code)}")


def _remedy(code: int) -> str:
    return " The GPU's memory is full: narrow the profile, or free some." if code == 2 else ""


def _opened() -> Any:
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None
