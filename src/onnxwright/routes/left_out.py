"""The weights of a module, left out of what the TorchScript exporter writes, and put in afterwards as they lie there.

The exporter writes all weights into one message, which takes two to three times their memory, and can't be larger than
2 GiB. Its passes only need them until the last one has run: by then weights are folded and shared, and those of which
folding made another view (transposes) are still the module's own memory. Its inference of shapes copies each of these,
and needs no numbers of large ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import onnx_ir as ir
from onnx_ir.tensor_adapters import TorchTensor
from torch import _C, Tensor, nn

_LEAST_BYTES: Final = 1024
"""Smaller ones are written: they may be shapes and axes, by which the exporter knows the shapes of others."""


_PASSES: Final = ("_jit_pass_onnx_graph_shape_type_inference", "_jit_pass_onnx_deduplicate_initializers")


@contextlib.contextmanager
def weights_left_out(module: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Has the exporter write an empty tensor in place of each large weight, and yields those it has left out, by name.

    Buffers are copied: they are put back to what they were before the export, which may have changed them.
    """
    left_out: dict[str, Tensor] = {}
    if not all(hasattr(_C, name) for name in _PASSES):
        yield left_out  # a version of torch with other passes writes its weights itself
        return
    written = _storages(module.buffers())
    infer, last_pass = _C._jit_pass_onnx_graph_shape_type_inference, _C._jit_pass_onnx_deduplicate_initializers

    def inferring(graph: Any, params_dict: Any, opset_version: int) -> None:
        infer(graph, {name: weight for name, weight in params_dict.items() if not _is_large(weight)}, opset_version)

    def leaving_out(graph: Any, params_dict: Any, is_train: bool) -> dict[str, Any]:
        kept: dict[str, Any] = last_pass(graph, params_dict, is_train)
        large = {name: weight for name, weight in kept.items() if _is_large(weight)}
        left_out.update({name: _kept(weight, written) for name, weight in large.items()})
        return {name: weight.new_empty(0) if name in large else weight for name, weight in kept.items()}

    _C._jit_pass_onnx_graph_shape_type_inference = inferring
    _C._jit_pass_onnx_deduplicate_initializers = leaving_out
    try:
        yield left_out
    finally:
        _C._jit_pass_onnx_graph_shape_type_inference = infer
        _C._jit_pass_onnx_deduplicate_initializers = last_pass


def put_in(model: ir.Model, weights: Mapping[str, Tensor]) -> ir.Model:
    """Gives a graph the weights that were left out of it, without a copy of them."""
    for name, weight in weights.items():
        value = model.graph.initializers[name]
        value.const_value = TorchTensor(weight, name=name)
        value.shape = ir.Shape(weight.shape)
    return model


def _is_large(weight: Any) -> bool:
    is_plain = isinstance(weight, Tensor) and not (weight.is_quantized or weight.is_complex() or weight.is_sparse)
    return is_plain and weight.nbytes > _LEAST_BYTES


def _kept(weight: Tensor, written: set[int]) -> Tensor:
    is_buffer = bool(_storages([weight]) & written)
    return weight.detach().clone() if is_buffer else weight.detach()


def _storages(tensors: Iterable[Tensor]) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in tensors if not tensor.is_sparse}
