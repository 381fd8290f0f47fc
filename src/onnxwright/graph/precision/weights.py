"""Products with weights of few bits: the activations stay as they are, only the weights are rounded.

`MatMul (x, w)` becomes `MatMulNBits`, which ONNX Runtime has, or `MatMul (x, DequantizeLinear (codes))`, which is ONNX:
OpenVINO keeps the codes and widens them on the way. The codes are made at once, one weight after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import ml_dtypes
import numpy as np
import onnx_ir as ir

from onnxwright.errors import RouteError, UsageError, accepted
from onnxwright.graph.adding import Names, held
from onnxwright.graph.guarding import complaint, refuse_gaps
from onnxwright.graph.passes import cloned, named
from onnxwright.graph.precision.floats import NOTHING
from onnxwright.graph.precision.formats import FLOAT
from onnxwright.graph.precision.rounding import METHODS, Array, Blocks, rounded
from onnxwright.graph.precision.weighing import constant
from onnxwright.graph.provenance import carry_provenance
from onnxwright.graph.surfacing import graph_of, nodes_with_branches
from onnxwright.graph.targets import CONTRIB
from onnxwright.graph.typed import infer_types
from onnxwright.rewrites import Lowered

_BITS: Final = (4, 8)
_FORMS: Final = ("MatMulNBits", "DequantizeLinear")
_LEAST_BLOCK: Final = 16
_BLOCKED_SINCE: Final = 21
_EXACT_INPUTS: Final = 1
"""`accuracy_level` of `MatMulNBits` with which activations are float32: its own default may round them to int8."""


@dataclass(frozen=True)
class Rounding:
    """How weights are rounded: bits, numbers in a block (0: a whole column), the method, and the operators written.

    Raises:
        UsageError: for what isn't there.
    """

    bits: int = 4
    block: int = 32
    method: str = "rtn"
    form: str = "MatMulNBits"

    def __post_init__(self) -> None:
        for kind, given, known in (
            ("bits", str(self.bits), map(str, _BITS)),
            ("method", self.method, METHODS),
            ("form", self.form, _FORMS),
        ):
            if given not in (names := list(known)):
                raise UsageError(
                    f"weights in few bits: {kind} '{given}' is unknown; expected {accepted(given, names)}."
                )
        is_power = self.block >= _LEAST_BLOCK and not self.block & (self.block - 1)
        if not is_power and (self.block or self.form == "MatMulNBits"):
            whole = ", or 0 for whole columns" if self.form != "MatMulNBits" else ""
            raise UsageError(f"weights in few bits: block {self.block}: expected a power of 2 from 16 on{whole}.")

    @property
    def needs(self) -> int:
        """The least opset that has what is written."""
        return _BLOCKED_SINCE if self.form == "DequantizeLinear" and (self.block or self.bits < 8) else 13


def with_quantized_weights(model: ir.Model, how: Rounding, *, kept: Mapping[str, str] = NOTHING) -> Lowered:
    """Returns a graph whose products with constant weights have them in few bits.

    Nodes in `kept` stay, for the reasons given there; a weight that is smaller than a block stays, too.

    Raises:
        UsageError: when the graph's opset lacks what is to be written.
        RouteError: when what comes of it isn't valid ONNX.
    """
    version = model.opset_imports.get("", 0)
    if version < how.needs:
        raise UsageError(f"{how.form} with {how.bits} bits needs opset {how.needs}, got {version}. Convert the graph.")
    refuse_gaps(model)
    copy = cloned(model)
    infer_types(copy)
    left: dict[str, str] = {}
    writer = _Writer(copy, how)
    for node in list(nodes_with_branches(copy.graph)):
        weight = _weight(node)
        if weight is None:
            continue
        reason = kept.get(named(node)) or _refusal(node, how)
        if reason:
            left[named(node)] = reason
        else:
            writer.write(node, weight)
    writer.drop_unused()
    carry_provenance(model, copy)
    broken = complaint(model, copy)
    if broken:
        raise RouteError(f"the graph with weights in {how.bits} bits is not right: {broken} Report this.")
    return Lowered(copy, left)


def _weight(node: ir.Node) -> ir.Value | None:
    """The constant matrix with which a node multiplies what it is given."""
    if node.domain or node.op_type not in {"MatMul", "Gemm"}:
        return None
    value = node.inputs[1]
    tensor = constant(value)
    return value if tensor is not None and len(tensor.shape) == 2 else None


def _refusal(node: ir.Node, how: Rounding) -> str:
    value = node.inputs[1]
    assert value is not None
    assert value.const_value is not None
    if min(value.const_value.shape.numpy()) < max(how.block, _LEAST_BLOCK):
        return f"its weight is smaller than a block of {max(how.block, _LEAST_BLOCK)}"
    if node.op_type == "Gemm" and how.form == "MatMulNBits" and not _is_plain(node):
        return "a Gemm that transposes or scales what it is given is no MatMulNBits"
    return ""


def _is_plain(node: ir.Node) -> bool:
    is_scaled = any(node.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta"))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    is_row = bias is None or (bias.shape is not None and bias.shape.rank() == 1 and bias.shape[0] != 1)
    return is_row and not is_scaled and not node.attributes.get_int("transA", 0)


class _Writer:
    """Replaces weights in a graph; one that several nodes share is rounded once."""

    def __init__(self, model: ir.Model, how: Rounding) -> None:
        self._model, self._how = model, how
        self._names = Names.of_values(model)
        self._written: dict[tuple[ir.Value, bool, ir.Graph], list[ir.Value]] = {}
        self._replaced: dict[ir.Value, None] = {}

    def write(self, node: ir.Node, weight: ir.Value) -> None:
        """Has a node multiply with a weight in few bits."""
        self._replaced[weight] = None
        is_turned = bool(node.attributes.get_int("transB", 0)) if node.op_type == "Gemm" else False
        parts = self._parts(node, weight, is_turned=is_turned)
        if self._how.form == "DequantizeLinear":
            node.replace_input_with(1, self._dequantized(node, weight, parts, axis=int(is_turned)))
        else:
            self._replace(node, weight, parts, is_turned=is_turned)

    def drop_unused(self) -> None:
        """Drops the weights that nothing needs any more."""
        for weight in self._replaced:
            if not weight.uses() and not weight.is_graph_output():
                assert weight.graph is not None, "it is an initializer"
                weight.graph.initializers.pop(str(weight.name))

    def _parts(self, node: ir.Node, weight: ir.Value, *, is_turned: bool) -> list[ir.Value]:
        """What a weight becomes, held in the branch where a node takes it: engines look for it there."""
        graph = graph_of(node)
        key = (weight, is_turned, graph)
        if key not in self._written:
            assert weight.const_value is not None
            stored = weight.const_value.numpy()
            matrix = stored if is_turned else stored.T
            arrays = self._arrays(matrix, is_turned=is_turned)
            self._written[key] = [
                self._register(graph, f"{weight.name}_{kind}", array) for kind, array in arrays.items()
            ]
        return self._written[key]

    def _arrays(self, matrix: Array, *, is_turned: bool) -> Mapping[str, Array]:
        """The codes, scales and zeros of a matrix [output, input], by these names."""
        how = self._how
        is_standard = how.form == "DequantizeLinear"
        block = how.block or matrix.shape[1]
        blocks = rounded(matrix, how.bits, block, how.method, has_whole_zeros=is_standard or how.bits == 8)
        return _laid_out(blocks, how, matrix.shape[1], is_turned=is_turned) if is_standard else _packed(blocks, how)

    def _dequantized(self, node: ir.Node, weight: ir.Value, parts: list[ir.Value], *, axis: int) -> ir.Value:
        attributes = {"axis": axis, "block_size": self._how.block} if self._how.block else {"axis": 1 - axis}
        name = self._names.free(f"{weight.name}_dequantized")
        made = ir.node("DequantizeLinear", parts, attributes=attributes, name=name)
        made.outputs[0].name, made.outputs[0].dtype, made.outputs[0].shape = name, FLOAT, weight.shape
        graph_of(node).insert_before(node, made)
        return made.outputs[0]

    def _replace(self, node: ir.Node, weight: ir.Value, parts: list[ir.Value], *, is_turned: bool) -> None:
        assert weight.const_value is not None
        inner, outer = weight.const_value.shape.numpy()[:: -1 if is_turned else 1]
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        inputs = [node.inputs[0], *parts, *([None] * (5 - len(parts)) if bias is not None else ())][:5]
        attributes = {"K": inner, "N": outer, "bits": self._how.bits, "block_size": self._how.block}
        made = ir.node(
            "MatMulNBits",
            [*inputs, bias] if bias is not None else inputs,
            attributes={**attributes, "accuracy_level": _EXACT_INPUTS},
            domain=CONTRIB,
            name=node.name,
        )
        made.metadata_props.update(node.metadata_props)
        self._model.opset_imports.setdefault(CONTRIB, 1)
        ir.convenience.replace_nodes_and_values(graph_of(node), node, [node], [made], node.outputs, made.outputs)

    def _register(self, graph: ir.Graph, name: str, array: Array) -> ir.Value:
        return held(graph, ir.tensor(array, name=self._names.free(name)))


def _packed(blocks: Blocks, how: Rounding) -> Mapping[str, Array]:
    """Codes, scales and zeros as `MatMulNBits` has them: a row for each output, the lower bits first."""
    found = {"codes": _in_bytes(blocks.codes, how.bits), "scales": blocks.scales}
    if how.method == "rtn-symmetric":
        return found
    is_whole = bool(np.all(blocks.zeros == np.rint(blocks.zeros)))
    zeros = _in_bytes(blocks.zeros.astype(np.uint8), how.bits) if is_whole else blocks.zeros
    return {**found, "zeros": zeros}


def _in_bytes(codes: Array, bits: int) -> Array:
    if bits == 8:
        return codes
    padded = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, codes.shape[-1] % 2)])
    return np.asarray(padded[..., ::2] | (padded[..., 1::2] << 4))


def _laid_out(blocks: Blocks, how: Rounding, columns: int, *, is_turned: bool) -> Mapping[str, Array]:
    """Codes, scales and zeros as `DequantizeLinear` has them: shaped as the weight, and as its blocks."""
    codes, scales, zeros = blocks.codes.reshape(len(blocks.codes), -1)[:, :columns], blocks.scales, blocks.zeros
    codes, scales, zeros = (one if is_turned else one.T for one in (codes, scales, zeros))
    if not how.block:
        scales, zeros = scales.reshape(-1), zeros.reshape(-1)
    scales = np.ascontiguousarray(scales)
    if how.method == "rtn-symmetric":
        signed = (codes.astype(np.int16) - 2 ** (how.bits - 1)).astype(np.int8)
        return {"codes": np.ascontiguousarray(signed).astype(_SIGNED[how.bits]), "scales": scales}
    kind = _UNSIGNED[how.bits]
    return {"codes": np.ascontiguousarray(codes).astype(kind), "scales": scales, "zeros": zeros.astype(kind)}


_SIGNED: Final[Mapping[int, Any]] = {4: ml_dtypes.int4, 8: np.int8}
_UNSIGNED: Final[Mapping[int, Any]] = {4: ml_dtypes.uint4, 8: np.uint8}
