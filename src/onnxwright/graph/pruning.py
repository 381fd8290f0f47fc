"""Drops what branches give and nobody takes, and all that was only computed for it."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass


def prune_branches(model: ir.Model) -> None:
    """Removes outputs of `If` nodes that nothing uses, from the outermost inwards, and nodes that nothing uses."""
    RemoveUnusedNodesPass()(model)
    while _prune(model.graph):
        RemoveUnusedNodesPass()(model)


def _prune(graph: ir.Graph) -> bool:
    """Prunes one node, and says whether there was one."""
    for node in ir.traversal.RecursiveGraphIterator(graph):
        unused = [place for place, output in enumerate(node.outputs) if not _is_used(output)]
        if node.op_type == "If" and node.domain == "" and unused and len(unused) < len(node.outputs):
            _without_outputs(node, unused)
            return True
    return False


def _is_used(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _without_outputs(node: ir.Node, places: list[int]) -> None:
    """Puts a node without some outputs in the place of one with them."""
    kept = [place for place in range(len(node.outputs)) if place not in places]
    branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    for branch in branches:
        outputs = [branch.outputs[place] for place in kept]
        branch.outputs.clear()
        branch.outputs.extend(outputs)
    attributes = list(node.attributes.values())
    made = ir.Node("", "If", node.inputs, attributes, num_outputs=len(kept), name=node.name)
    made.metadata_props.update(node.metadata_props)
    owner = node.graph
    assert owner is not None
    owner.insert_before(node, made)
    for place, fresh in zip(kept, made.outputs, strict=True):
        old = node.outputs[place]
        fresh.name, fresh.type, fresh.shape = old.name, old.type, old.shape
        old.replace_all_uses_with(fresh, replace_graph_outputs=True)
    owner.remove(node, safe=True)
