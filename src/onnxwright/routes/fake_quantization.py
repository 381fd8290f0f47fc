"""How exporters write PyTorch's fake quantization: as one node each, of which `graph/fake_quantization.py` makes ONNX.

The exporters' own forms take three ranges of steps only, and none of the operator that observes and quantizes in one,
which the default settings of quantization-aware training use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch.onnx import symbolic_helper

from onnxwright.graph.fake_quantization import DOMAIN, OPERATOR, PER_TENSOR

_PER_TENSOR: Final = "aten::fake_quantize_per_tensor_affine"
_PER_CHANNEL: Final = "aten::fake_quantize_per_channel_affine"


@contextlib.contextmanager
def symbols(opset: int) -> Iterator[None]:
    """Has the TorchScript exporter write these nodes while entered."""
    written = {_PER_TENSOR: _per_tensor_symbol, _PER_CHANNEL: _per_channel_symbol}
    for name, symbol in written.items():
        torch.onnx.register_custom_op_symbolic(name, symbol, opset)
    try:
        yield
    finally:
        for name in written:
            torch.onnx.unregister_custom_op_symbolic(name, opset)


@symbolic_helper.parse_args("v", "v", "v", "i", "i", "i")
def _per_channel_symbol(g: Any, x: Any, scale: Any, zero: Any, axis: int, least: int, most: int) -> Any:  # noqa: PLR0913, PLR0917 - torch's signature
    node = g.op(f"{DOMAIN}::{OPERATOR}", x, scale, zero, axis_i=axis, least_i=least, most_i=most)
    return node.setType(x.type())


@symbolic_helper.parse_args("v", "v", "v", "i", "i")
def _per_tensor_symbol(g: Any, x: Any, scale: Any, zero: Any, least: int, most: int) -> Any:  # noqa: PLR0913, PLR0917 - torch's signature
    return _per_channel_symbol(g, x, scale, zero, PER_TENSOR, least, most)


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Returns how the exporter of programs writes these nodes."""
    from onnxscript.values import Opset

    own = Opset(DOMAIN, 1)

    def per_channel(x: Any, scale: Any, zero: Any, axis: int, least: int, most: int) -> Any:  # noqa: PLR0913, PLR0917 - torch's signature
        return own.FakeQuantize(x, scale, zero, axis=axis, least=least, most=most)

    def per_tensor(x: Any, scale: Any, zero: Any, least: int, most: int) -> Any:
        return own.FakeQuantize(x, scale, zero, axis=PER_TENSOR, least=least, most=most)

    aten = torch.ops.aten
    return {
        aten.fake_quantize_per_channel_affine.default: per_channel,
        aten.fake_quantize_per_tensor_affine.default: per_tensor,
        aten.fake_quantize_per_tensor_affine.tensor_qparams: per_tensor,
    }
