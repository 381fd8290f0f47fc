"""Reads what a DLPack capsule says of a tensor, without taking it over or copying it."""

from __future__ import annotations

import ctypes
from typing import Any, Final, NamedTuple

from onnxwright.errors import SignatureError

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
"""Types of devices, by the numbers that DLPack has for them."""
_KINDS: Final = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}
_NAME: Final = b"dltensor"


class Described(NamedTuple):
    """A tensor as DLPack describes it; strides count elements, and are none where these lie one after the other."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: str
    device: tuple[int, int]


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("number", ctypes.c_int32))


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    """`DLTensor`, with which `DLManagedTensor` begins: https://dmlc.github.io/dlpack/latest/c_api.html."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("rank", ctypes.c_int32),
        ("dtype", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )


def described(capsule: Any) -> Described:
    """Returns what a capsule says, which is true as long as the capsule is held.

    Raises:
        SignatureError: for elements of a type that numpy has no name for.
    """
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = _Tensor.from_address(pointer(capsule, _NAME))
    kind = tensor.dtype
    if kind.code not in _KINDS or kind.lanes != 1:
        raise SignatureError(f"DLPack type {kind.code} of {kind.bits} bits has no twin in numpy. Cast the tensor.")
    rank = tensor.rank
    return Described(
        address=(tensor.data or 0) + tensor.offset,
        shape=tuple(tensor.shape[:rank]),
        strides=tuple(tensor.strides[:rank]) if tensor.strides else None,
        dtype="bool" if _KINDS[kind.code] == "bool" else f"{_KINDS[kind.code]}{kind.bits}",
        device=(tensor.device.kind, tensor.device.number),
    )
