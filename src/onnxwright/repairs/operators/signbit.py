"""`signbit` that knows -0.0 by its reciprocal: the tracing exporter has none, and dynamo's takes it for 0.0."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin


def _signbit(input: Tensor) -> Tensor:  # noqa: A002 - torch's name
    return (input < 0) | ((input == 0) & (1.0 / input < 0))


TWIN = Twin(
    "signbit",
    ("torch.signbit", "torch.Tensor.signbit"),
    _signbit,
    lambda input: input.is_floating_point(),  # noqa: A006
)
