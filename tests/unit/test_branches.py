"""Branches on values: which there are, and inputs that take them."""

import onnx
import onnx_ir as ir
import torch
from cases.functions import FunctionModule

from onnxwright.graph.branches import count_branches, spoiled_branch
from onnxwright.graph.compared import compared_numbers
from onnxwright.stages.load import load
from onnxwright.watching.branches import with_branches_taken

ON_VALUES = """
<ir_version: 8, opset_import: ["" : 18]>
graph (float[batch, sequence] x) => (float[batch, sequence] y) <float limit = {LIMIT}> {
    most = ReduceMax <keepdims = 0> (x)
    is_large = Greater (most, limit)
    y = If (is_large) <
        then_branch = small () => (float[batch, sequence] a) { a = Neg (x) },
        else_branch = usual () => (float[batch, sequence] b) { b = Identity (x) }
    >
}
"""
ON_SIZES = ON_VALUES.replace("most = ReduceMax <keepdims = 0> (x)", "size = Size (x) most = Cast <to = 1> (size)")


def model(text, limit="2.5"):
    return ir.from_proto(onnx.parser.parse_model(text.replace("LIMIT", limit)))


def source():
    dims = {"x": {0: "batch", 1: "sequence"}}
    return load(FunctionModule(torch.neg), example_inputs={"x": torch.randn(2, 9)}, dims=dims)


def test_branches_on_values_are_counted_and_those_on_sizes_are_not():
    assert count_branches(model(ON_VALUES)) == 2
    assert count_branches(model(ON_SIZES)) == 0


def test_a_spoiled_branch_leaves_the_graph_as_it_was():
    graph = model(ON_VALUES)

    spoiled, node, side = spoiled_branch(graph, 0)

    assert (node.op_type, side) == ("If", "then")
    assert len(list(spoiled.graph.all_nodes())) > len(list(graph.graph.all_nodes()))


def test_inputs_that_take_each_branch_are_found_and_kept():
    one = source()

    sampler, untaken = with_branches_taken(model(ON_VALUES), one, one.sampler, ())

    assert not untaken
    taken = [feeds["x"].max() > 2.5 for feeds in sampler.taking]
    assert True in taken
    assert False in taken


def test_a_branch_that_nothing_takes_is_told():
    one = source()

    _, untaken = with_branches_taken(model(ON_VALUES, "1e30"), one, one.sampler, ())

    assert [found.code for found in untaken] == ["branch-not-taken"]
    assert "takes the 'then' branch" in untaken[0].message


def test_the_numbers_of_comparisons_are_read_those_inside_of_branches_too():
    equal = "n = Constant <value_float = -999.0> () c = Equal (x, n) a = Cast <to = 1> (c)"
    inside = ON_VALUES.replace("a = Neg (x)", equal)

    assert compared_numbers(model(inside)) == (2.5, -999.0)
