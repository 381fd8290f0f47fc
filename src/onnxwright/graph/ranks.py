"""`If` nodes whose branches answer tensors of different ranks."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

_WITH_AXES = 2


def settle_ranks(model: ir.Model) -> int:
    """Puts the branch of the declared rank in the place of each `If` whose branches differ in rank; returns how many.

    Where no rank is declared, by the graph's outputs or by what takes the answer, the `If` stays.
    """
    ShapeInferencePass()(model)
    count = 0
    for graph in list(model.graphs()):
        for node in [one for one in graph if one.op_type == "If" and one.domain == ""]:
            kept = _fitting(node)
            if kept is not None:
                _inline(graph, node, kept)
                count += 1
    if count:
        RemoveUnusedNodesPass()(model)
        ShapeInferencePass()(model)
    return count


def _fitting(node: ir.Node) -> ir.Graph | None:
    """The branch that answers what is declared, where the other one does not."""
    branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    ranks = [_ranks(branch.outputs) for branch in branches]
    declared = [_declared(value) for value in node.outputs]
    fits = [all(want in {None, has} for want, has in zip(declared, own, strict=True)) for own in ranks]
    if ranks[0] == ranks[1] or None in (*ranks[0], *ranks[1]) or sum(fits) != 1:
        return None
    return branches[fits.index(True)]


def _ranks(values: Sequence[ir.Value]) -> list[int | None]:
    return [_rank(value) for value in values]


def _rank(value: ir.Value) -> int | None:
    """The rank of a value, where its shape can't be inferred for axes that stand outside of the branch too."""
    if value.shape is not None:
        return value.shape.rank()
    node = value.producer()
    if node is None or len(node.inputs) < _WITH_AXES or node.inputs[0] is None or node.inputs[0].shape is None:
        return None
    axes = ir.convenience.get_const_tensor(node.inputs[1]) if node.inputs[1] is not None else None
    is_dropping = node.op_type == "Squeeze" or node.op_type.startswith("Reduce")
    if axes is None or not is_dropping:
        return None
    keepdims = node.attributes.get_int("keepdims", 1)
    is_kept = keepdims and node.op_type != "Squeeze"
    return node.inputs[0].shape.rank() - (0 if is_kept else axes.size)


def _declared(value: ir.Value) -> int | None:
    """The rank of a value as it is declared, or as a node that takes it needs it."""
    if value.shape is not None:
        return value.shape.rank()
    for user, place in value.uses():
        if user.op_type == "Transpose" and place == 0:
            return len(user.attributes.get_ints("perm", ())) or None
        beside = [one for one in user.inputs if one is not None and one is not value]
        if user.op_type in {"Concat", "Gemm"} and beside and beside[0].shape is not None:
            return beside[0].shape.rank()
        answer = user.outputs[0].shape
        if user.op_type in {"Relu", "Identity", "Cast", "Sigmoid", "Tanh", "Neg", "Sqrt", "Erf", "Softmax"} and answer:
            return answer.rank()
    return None


def _inline(graph: ir.Graph, node: ir.Node, branch: ir.Graph) -> None:
    answers = list(branch.outputs)
    branch.outputs.clear()
    nodes = list(branch)
    branch.remove(nodes)
    for weight in list(branch.initializers.values()):
        branch.initializers.pop(str(weight.name))
        graph.register_initializer(weight)
    direct = [ir.node("Identity", [value]) if value.producer() not in nodes else None for value in answers]
    for place, one in enumerate(direct):
        if one is not None:  # an answer that is computed outside keeps its name there
            nodes.append(one)
            answers[place] = one.outputs[0]
    ir.convenience.replace_nodes_and_values(graph, node, [node], nodes, list(node.outputs), answers)
