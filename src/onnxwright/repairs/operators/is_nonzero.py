"""`is_nonzero` as a conversion to a bool: compiled, as where it decides a branch, it has no ONNX form."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin


def _is_nonzero(input: Tensor) -> bool:  # noqa: A002 - torch's name
    return bool(input != 0)


TWIN = Twin("is_nonzero", ("torch.is_nonzero",), _is_nonzero, is_compiled=True)
