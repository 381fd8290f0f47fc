"""`linalg.solve` with small matrices of a fixed size by elimination: exporters have none."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.elimination import eliminated, is_small


def _solve(A: Tensor, B: Tensor) -> Tensor:  # noqa: N803 - torch's names
    is_vector = B.dim() == A.dim() - 1
    right = B[..., None] if is_vector else B.expand(*A.shape[:-2], *B.shape[-2:])
    found = eliminated(A, right)[0]
    return found[..., 0] if is_vector else found


def _is_plain(A: Tensor, B: Tensor) -> bool:  # noqa: N803 - torch's names
    return is_small(A) and (B.dim() == A.dim() or (B.dim() == A.dim() - 1 and B.shape == A.shape[:-1]))


TWIN = Twin("solve", ("torch.linalg.solve",), _solve, _is_plain)
