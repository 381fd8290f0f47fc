"""How exporters write PyTorch's fake quantization: as one node each, of which `graph/fake_quantization.py` makes ONNX.

The exporters' own forms take three ranges of steps only, and none of the operator that observes and quantizes in one,
which the default settings of quantization-aware training use. `torch.export` doesn't know the shapes of what PyTorch's
own operators answer, so that it is given one of ours instead.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

import torch
from torch import Tensor
from torch.onnx import symbolic_helper

from onnxwright.graph.fake_quantization import DOMAIN, OPERATOR, PER_TENSOR
from onnxwright.pytorch.replacing import replaced
from onnxwright.routes.symbols import written

_PER_TENSOR: Final = "fake_quantize_per_tensor_affine"
_PER_CHANNEL: Final = "fake_quantize_per_channel_affine"


def fake_quantization(opset: int) -> AbstractContextManager[None]:
    """Has the TorchScript exporter write these nodes while entered."""
    return written(
        {f"aten::{_PER_TENSOR}": _per_tensor_symbol, f"aten::{_PER_CHANNEL}": _per_channel_symbol},
        opset,
    )


@symbolic_helper.parse_args("v", "v", "v", "i", "i", "i")
def _per_channel_symbol(g: Any, x: Any, scale: Any, zero: Any, axis: int, least: int, most: int) -> Any:  # noqa: PLR0913, PLR0917 - torch's signature
    return _symbol(g, x, scale, zero, axis=axis, least=least, most=most)


@symbolic_helper.parse_args("v", "v", "v", "i", "i")
def _per_tensor_symbol(g: Any, x: Any, scale: Any, zero: Any, least: int, most: int) -> Any:  # noqa: PLR0913, PLR0917 - torch's signature
    return _symbol(g, x, scale, zero, axis=PER_TENSOR, least=least, most=most)


def _symbol(g: Any, *tensors: Any, **numbers: int) -> Any:
    written = g.op(f"{DOMAIN}::{OPERATOR}", *tensors, **{f"{name}_i": number for name, number in numbers.items()})
    return written.setType(tensors[0].type())


@contextlib.contextmanager
def followed() -> Iterator[None]:
    """Has the user's code call an operator that `torch.export` can follow while entered."""
    with replaced(
        (f"torch.{_PER_TENSOR}", lambda _: _quantize_whole), (f"torch.{_PER_CHANNEL}", lambda _: _quantize_channels)
    ):
        yield


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Returns how the exporter of programs writes that operator."""
    return {_operator()._opoverload: _translated}


def _quantize_channels(  # noqa: PLR0913, PLR0917 - torch's signature
    input: Tensor,  # noqa: A002
    scale: Tensor,
    zero_point: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    answer: Tensor = _operator()(input, scale, zero_point, axis, quant_min, quant_max)
    return answer


def _quantize_whole(
    input: Tensor,  # noqa: A002
    scale: Tensor | float,
    zero_point: Tensor | int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    size = scale if isinstance(scale, Tensor) else torch.full((), scale)
    zero = zero_point if isinstance(zero_point, Tensor) else torch.full((), zero_point, dtype=torch.int32)
    return _quantize_channels(input, size, zero, PER_TENSOR, quant_min, quant_max)


@functools.cache
def _operator() -> Any:
    """The operator `onnxwright::fake_quantize`; PyTorch's functions as they are when it is first asked for."""
    whole, channels = torch.fake_quantize_per_tensor_affine, torch.fake_quantize_per_channel_affine

    def compute(x: Tensor, scale: Tensor, zero: Tensor, axis: int, least: int, most: int) -> Tensor:  # noqa: PLR0913, PLR0917 - torch's signature
        if axis == PER_TENSOR:
            return whole(x, scale, zero, least, most)
        return channels(x, scale, zero, axis, least, most)

    operator = torch.library.custom_op("onnxwright::fake_quantize", compute, mutates_args=())
    operator.register_fake(lambda x, *_: torch.empty_like(x))
    return operator


def _translated(x: Any, scale: Any, zero: Any, axis: int, least: int, most: int) -> Any:  # noqa: PLR0913, PLR0917 - torch's signature
    return _written()(x, scale, zero, axis=axis, least=least, most=most)


@functools.cache
def _written() -> Any:
    """The node for the exporter of programs, which writes operators by their schema."""
    from onnx.defs import OpSchema
    from onnxscript.values import Op, Opset

    kinds = {"T": ["tensor(float)", "tensor(float16)", "tensor(bfloat16)", "tensor(double)"]}
    kinds |= {"S": kinds["T"], "Z": [*kinds["T"], "tensor(int32)", "tensor(int64)"]}
    schema = OpSchema(
        OPERATOR,
        DOMAIN,
        1,
        inputs=[OpSchema.FormalParameter(name, kind) for name, kind in (("x", "T"), ("scale", "S"), ("zero", "Z"))],
        outputs=[OpSchema.FormalParameter("y", "T")],
        type_constraints=[(kind, types, "") for kind, types in kinds.items()],
        attributes=[OpSchema.Attribute(name, OpSchema.AttrType.INT) for name in ("axis", "least", "most")],
    )
    return Op(Opset(DOMAIN, 1), OPERATOR, schema)
