"""ONNX Runtime on a GPU, by an execution provider; what it would leave to the CPU is an error unless allowed.

With the CPU's own provider, a session is the twin by which all of this is tested where there is no GPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from onnxwright.backends import Ran, check_names, check_precision
from onnxwright.backends.onnxruntime import answers, telling_refusals, type_of
from onnxwright.dtypes import from_onnx, to_numpy, to_onnx
from onnxwright.errors import EngineError
from onnxwright.files import digest, outline
from onnxwright.nvidia.driver import Driver, missing_driver
from onnxwright.nvidia.placed import Device, Placed, Stream, placed
from onnxwright.nvidia.sized import Sized, sized

if TYPE_CHECKING:
    from onnxwright.backends import Array, Options, Session, Tensors

CPU: Final = "CPUExecutionProvider"
_NEEDED: Final = re.compile(rb"libnv(?:infer|onnx)\w*\.so\.\d+")
_COPIES: Final = frozenset({"MemcpyToHost", "MemcpyFromHost"})
_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    # By default it rounds what goes into products of float32 to 11 bits of mantissa (TF32), as a GPU since Ampere can.
    "CUDAExecutionProvider": {"use_tf32": "0"},
}


class Assigned(NamedTuple):
    """A node, and which provider ONNX Runtime has given it to."""

    provider: str
    operator: str
    name: str


class ProviderSession:
    """A graph loaded by ONNX Runtime for a GPU.

    Raises:
        EngineError: when ONNX Runtime refuses the graph, or would compute a part of it on the CPU that isn't of sizes.
    """

    def __init__(self, file: Path, provider: str, options: Options):
        self._session = load(file, provider, options)
        found = assigned(self._session)
        wrong = misplaced(found, provider, sized(file))
        if wrong and not options.allows_fallback:
            told = ", ".join(f"{count} {name}" for name, count in sorted(wrong.items()))
            raise EngineError(
                f"{provider} doesn't compute all of '{file.name}': {told} would run elsewhere. "
                "Allow that with --allow-fallback, or use onnxruntime."
            )
        self._inputs = {one.name: to_numpy(type_of(one)) for one in self._session.get_inputs()}
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._device: Device = "cpu" if provider == CPU else "cuda"
        self._stream = _new_stream() if self._device == "cuda" else None
        self._ran = _described(file, provider, found)

    @property
    def ran(self) -> Ran:
        """What runs: how many nodes on which provider, by what ONNX Runtime says of each."""
        return self._ran

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`.

        Raises:
            EngineError: when a feed is missing, unknown, or of another type or rank than the graph's input.
        """
        return answers(self._session, self._outputs, feeds)

    def run_on_device(self, feeds: Mapping[str, Any]) -> dict[str, Placed]:
        """Answers with tensors where the provider leaves them; feeds are bound where they lie, what makes them awaited.

        What it answers is valid as long as it is held.

        Raises:
            EngineError: when a feed is missing or unknown, or of another shape than the graph's input.
            SignatureError: when a tensor has another type, lies on another GPU, or isn't contiguous.
        """
        check_names(self._ran.backend, self._inputs, feeds)
        given = {name: placed(name, feeds[name], dtype, self._stream) for name, dtype in self._inputs.items()}
        if self._stream is not None:
            self._stream.wait()  # ONNX Runtime has a stream of its own
        binding = self._session.io_binding()
        for name, one in given.items():
            binding.bind_input(name, one.device, 0, to_onnx(one.dtype.name), one.shape, one.address)
        for name in self._outputs:
            binding.bind_output(name, self._device, 0)
        with telling_refusals():
            self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return dict(zip(self._outputs, (self._answered(one) for one in binding.get_outputs()), strict=True))

    def _answered(self, value: Any) -> Placed:
        dtype = to_numpy(from_onnx(value.element_type()))
        return Placed(value.data_ptr(), tuple(value.shape()), dtype, self._device, value)


class ProviderBackend:
    """ONNX Runtime with one of its providers for GPUs first, and the CPU's for sizes."""

    precisions: tuple[str, ...] = ("float32",)

    def __init__(self, name: str, provider: str, library: str = ""):
        self.name = name
        self._provider = provider
        self._library = library

    def available(self) -> str | None:
        """Returns what the provider lacks here (package, provider, driver, GPU or library), or None when nothing."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "the package 'onnxruntime-gpu' is not installed; install it with `pip install onnxruntime-gpu`."
        import onnxruntime

        if self._provider not in onnxruntime.get_available_providers():
            return f"this onnxruntime has no {self._provider}; install `onnxruntime-gpu` in the place of `onnxruntime`."
        return missing_driver() or (self._library and _missing_of(self._library)) or None

    def prepare(self, file: Path, options: Options) -> Session:
        """Loads an ONNX file.

        Raises:
            EngineError: when ONNX Runtime refuses the graph, or a part of it would run on the CPU.
        """
        check_precision(self, options.precision)
        return ProviderSession(file, self._provider, options)


def _missing_of(library: str) -> str | None:
    """Returns which of NVIDIA's libraries one of ONNX Runtime's needs and can't be opened here, read off its file."""
    import onnxruntime

    file = Path(onnxruntime.__file__).parent / "capi" / library
    needed = sorted(set(_NEEDED.findall(file.read_bytes()))) if file.is_file() else []
    for name in (one.decode() for one in needed):
        try:
            ctypes.CDLL(name)
        except OSError as reason:
            return f"{library} needs {name}, which can't be opened here ({reason}); install that version of it."
    return None


def _new_stream() -> Stream:
    driver = Driver()
    driver.enter()
    return Stream(driver, driver.new_stream())


def load(file: Path, provider: str, options: Options) -> Any:
    """Loads a graph for a provider, and has ONNX Runtime note which provider gets which node.

    Raises:
        EngineError: when it refuses the graph, or falls back to other providers as a whole.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = list(dict.fromkeys([provider, CPU]))
    told = [dict(_SETTINGS.get(name, {})) for name in providers]
    complaint = "" if provider == CPU else _preloaded()
    try:
        session = onnxruntime.InferenceSession(file, settings, providers=providers, provider_options=told)
    except Exception as refusal:  # every failure of the C++ side has a type of its own
        raise EngineError(f"ONNX Runtime refuses '{file.name}': {refusal}") from refusal
    if provider not in session.get_providers():
        raise EngineError(
            f"ONNX Runtime has left {provider} out, and would use {', '.join(session.get_providers())}: the CUDA that "
            f"it needs isn't there, or is another version. {complaint}".rstrip()
        )
    return session


def _preloaded() -> str:
    """Loads CUDA and cuDNN from among Python's packages, as ONNX Runtime does when asked; returns its complaints."""
    import onnxruntime

    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        getattr(onnxruntime, "preload_dlls", lambda: None)()
    return " ".join(told.getvalue().split())


def assigned(session: Any) -> list[Assigned]:
    """Returns which node runs on which provider, as ONNX Runtime has noted it."""
    return [
        Assigned(part.ep_name, node.op_type, node.name)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]


def misplaced(found: Iterable[Assigned], provider: str, of_sizes: Sized) -> Counter[str]:
    """Returns how many nodes of which operator run on another provider, without those that compute sizes."""
    others = (one for one in found if one.provider != provider and one.operator not in _COPIES)
    return Counter(one.operator for one in others if not of_sizes.has(one.operator, one.name))


def _described(file: Path, provider: str, found: Iterable[Assigned]) -> Ran:
    import onnxruntime

    counts = ", ".join(f"{name} {count} nodes" for name, count in Counter(one.provider for one in found).items())
    return Ran(
        backend=f"onnxruntime ({provider})",
        version=onnxruntime.__version__,
        provider=counts or provider,
        precision=outline(file).precision or "float32",
        threads=1,
        sha256=digest(file),
    )
