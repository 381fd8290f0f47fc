"""What an engine's parser would take for something else, and what our own look says of a graph."""

import onnx
import onnx_ir as ir
import pytest

from onnxwright.graph.linting import lint, misread
from onnxwright.graph.targets import target

RTX = target("tensorrt-rtx")
QDQ = "g (float[n] x) => (float[n] y) <float s = {0.5}, uint8 z = {0}> "
QDQ += "{ q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }"
FUNCTION = '<domain: "mine", opset_import: ["" : 18]> Twice (a) => (b) { b = Add (a, a) }'


def model(text, opset=18, function=""):
    head = f'<ir_version: 10, opset_import: ["" : {opset}, "mine" : 1]>'
    return ir.from_proto(onnx.parser.parse_model(f"{head} {text} {function}"))


def codes(graph):
    return [one.code for one in lint(graph, RTX)]


def test_an_ordinary_graph_has_no_findings():
    assert lint(model("g (float[n] x) => (float[n] y) { y = Relu (x) }"), RTX) == []


@pytest.mark.parametrize(("opset", "is_told"), [(17, True), (18, False), (20, False), (21, True)])
def test_an_opset_outside_of_those_tried_is_told(opset, is_told):
    assert ("opset-untried" in codes(model("g (float[n] x) => (float[n] y) { y = Relu (x) }", opset))) is is_told


def test_an_operator_of_another_domain_is_told_though_it_is_called_as_one_of_onnx():
    graph = model("g (float[n] x) => (float[n] y) { y = mine.Relu (x) }")

    assert codes(graph) == ["foreign-operator"]
    assert [node.op_type for node, _ in misread(graph, RTX)] == ["Relu"]


def test_a_function_of_the_graph_is_no_foreign_operator():
    graph = model("g (float[n] x) => (float[n] y) { y = mine.Twice (x) }", function=FUNCTION)

    assert misread(graph, RTX) == []


def test_an_element_type_that_the_engine_lacks_is_told():
    graph = model("g (int16[n] x) => (int16[n] y) { y = Neg (x) }")

    assert "foreign-type" in codes(graph)
    assert "INT16" in lint(graph, RTX)[0].message


def test_unsigned_numbers_are_misread_and_signed_ones_are_not():
    unsigned, signed = model(QDQ), model(QDQ.replace("uint8", "int8"))

    assert set(codes(unsigned)) == {"quantization-unfit"}
    assert {node.op_type for node, _ in misread(unsigned, RTX)} == {"QuantizeLinear", "DequantizeLinear"}
    assert (codes(signed), misread(signed, RTX)) == ([], [])


def test_a_zero_point_is_told_and_left_to_the_parser_to_refuse():
    graph = model(QDQ.replace("uint8 z = {0}", "int8 z = {3}"))

    assert set(codes(graph)) == {"quantization-unfit"}
    assert misread(graph, RTX) == []


@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        ("g (float[2, 2] x) => (float[2, 2] y) { y = Trilu (x) }", False),
        ("g (float[2, 2] x) => (float[2, 2] y) { y = Trilu <upper = 1> (x) }", True),
        ("g (float[a, b, 1] x, float[1, 1, 1] w) => (float[c, d, e, f] y) { y = RNN <layout = 1> (x, w, w) }", False),
        ("g (float[a, b, 1] x, float[1, 1, 1] w) => (float[c, d, e, f] y) { y = RNN <layout = 0> (x, w, w) }", True),
    ],
)
def test_what_its_parser_reads_otherwise_is_told(text, is_read):
    assert codes(model(text)) == ([] if is_read else ["operator-misread"])
    assert (misread(model(text), RTX) == []) is is_read


@pytest.mark.parametrize(
    ("text", "operators"),
    [
        ("g (double[n] x) => (double[n] y) { y = Exp (x) }", ["Exp"]),
        ("g (float[n] x) => (float[n] y) { a = Cast <to = 11> (x) b = Exp (a) y = Cast <to = 1> (b) }", ["Exp"]),
        ("g (float[n] x) => (float[n] y) { a = Cast <to = 11> (x) y = Cast <to = 1> (a) }", []),
        ("g (int64[n] x) => (int64[n] y) { a = Cast <to = 11> (x) y = Cast <to = 7> (a) }", ["Cast", "Cast"]),
        ("g (double[n] x) => (float[n] y) { a = Cast <to = 1> (x) y = Exp (a) }", []),
        ("g (float[n] x) => (float[n] y) <double c = {2}> { a = Cast <to = 1> (c) y = Mul (x, a) }", []),
    ],
)
def test_what_is_computed_in_doubles_is_misread(text, operators):
    assert [node.op_type for node, _ in misread(model(text), RTX)] == operators
