"""Element types by their one name (`float32`, `int64`, `bool`, …) and their twins in numpy, ONNX and torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onnxwright.errors import SignatureError, accepted

if TYPE_CHECKING:
    import torch

_ONNX_CODES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "uint16": 4,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
    "uint32": 12,
    "uint64": 13,
    "bfloat16": 16,
}
HALVES: Final = frozenset({"float16", "bfloat16"})
"""Types of which a single rounding is more than all the noise of a sum in float32."""
_NAMES = {code: name for name, code in _ONNX_CODES.items()}


def from_onnx(code: int) -> str:
    """Names the element type of an ONNX `TensorProto.DataType` code.

    Raises:
        SignatureError: for a code that has no tensor of numbers (strings, sequences, sub-byte types).
    """
    if code not in _NAMES:
        raise SignatureError(f"element type {code} of ONNX is not supported; expected {accepted('', _NAMES.values())}.")
    return _NAMES[code]


def to_onnx(name: str) -> int:
    """Returns the ONNX `TensorProto.DataType` code of an element type."""
    return _ONNX_CODES[name]


def from_torch(dtype: torch.dtype) -> str:
    """Names a torch element type."""
    return str(dtype).removeprefix("torch.")


def to_torch(name: str) -> torch.dtype:
    """Returns the torch element type of that name."""
    import torch

    dtype: torch.dtype = getattr(torch, name)
    return dtype


def to_numpy(name: str) -> np.dtype[Any]:
    """Returns the numpy element type; `bfloat16` comes from `ml_dtypes`, which numpy lacks."""
    if name == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(name)


def is_known(name: str) -> bool:
    """Whether this is the name of an element type of tensors in and out."""
    return name in _ONNX_CODES


def is_float(name: str) -> bool:
    """Whether values of this type are compared within a tolerance and not exactly."""
    return name.startswith(("float", "bfloat", "complex"))
