"""Passes that make a graph smaller and mean the same: folding, and code that is dead or twice there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import onnx_ir as ir
from onnx_ir.passes import common

from onnxwright.errors import UsageError, accepted
from onnxwright.graph.following import SIZES
from onnxwright.graph.passes import counting
from onnxwright.graph.tied import share_weights

_MOST_FOLDED: Final = 1 << 16
"""Elements that a folded constant may have: more would only make the file larger."""
_MOST_READ: Final = 1 << 16
_ROUNDING: Final = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
"""Operators that engines look for, weights included."""


def keep_outputs(model: ir.Model, names: Collection[str]) -> ir.Model:
    """Returns a copy that answers only these outputs, in their order there, and holds only what they need.

    Raises:
        UsageError: when the graph has no such output.
    """
    known = {str(value.name) for value in model.graph.outputs}
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None or not names:
        raise UsageError(f"output '{unknown or ''}' is unknown; expected {accepted(unknown or '', known)}.")
    copy = model.clone()
    kept = [value for value in copy.graph.outputs if value.name in names]
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(kept)
    common.RemoveUnusedNodesPass()(copy)
    return copy


def _fold(model: ir.Model) -> int:
    from onnxscript import optimizer

    before = model.graph.num_nodes()
    folded = optimizer.fold_constants(
        model,
        input_size_limit=_MOST_READ,
        output_size_limit=_MOST_FOLDED,
        should_fold=lambda node: False if node.op_type in _ROUNDING else None,
    )
    common.RemoveUnusedNodesPass()(model)
    return max(int(folded.modified), before - model.graph.num_nodes())


def _fewer_nodes(make: Callable[[], ir.passes.PassBase]) -> Callable[[ir.Model], int]:
    """Counts by how many nodes and initializers a pass makes a graph smaller."""

    def run(model: ir.Model) -> int:
        before = _size(model)
        changed = make()(model).modified
        return max(before - _size(model), int(changed))

    return run


def _drop_identities(model: ir.Model) -> int:
    """Hands on what `Identity` takes, unless it gives an output a name that its input can't have."""
    found = [node for graph in model.graphs() for node in graph if node.op_type == "Identity" and not node.domain]
    return sum(_hand_on(node) for node in found)


def _hand_on(node: ir.Node) -> bool:
    (given,), (output,), graph = node.inputs, node.outputs, node.graph
    if given is None or graph is None:
        return False
    if output.is_graph_output():
        if given.producer() is None or given.graph is not graph or given.is_graph_output():
            return False
        given.name, output.name = output.name, None
        given.type, given.shape = output.type or given.type, output.shape or given.shape
    output.replace_all_uses_with(given, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    return True


def _size(model: ir.Model) -> int:
    return sum(graph.num_nodes() + len(graph.initializers) for graph in model.graphs())


SIMPLIFYING: Final = (
    SIZES,
    counting(
        "lifted",
        "Makes initializers of constants.",
        _fewer_nodes(lambda: common.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=0)),
    ),
    counting("folded", "Computes what depends on no input, unless the answer is large.", _fold),
    counting("identities", "Drops nodes that hand on what they are given.", _drop_identities),
    counting("dead", "Drops what no output needs.", _fewer_nodes(common.RemoveUnusedNodesPass)),
    counting("weights", "Keeps one of weights with the same numbers.", share_weights),
    counting("twice", "Computes once what is computed twice.", _fewer_nodes(common.CommonSubexpressionEliminationPass)),
)
