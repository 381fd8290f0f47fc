"""Casts where an operator is handed a type that it doesn't take."""

import onnx
import onnx_ir as ir
import pytest

from onnxwright.graph.element_types import mended_types


def model(body):
    text = f"""
    <ir_version: 8, opset_import: ["" : 18]>
    graph (float[batch, sequence] x, int64[batch, sequence] mask) => (y) {{ {body} }}
    """
    return ir.from_proto(onnx.parser.parse_model(text))


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("y = Not (mask)", 1),
        ("m = Reshape (mask, s) y = Not (m)".replace("s)", "mask)"), 1),
        ("c = Cast <to = 7> (x) y = And (c, c)", 2),
        ("axis = Constant <value_int = 1> () e = Equal (mask, mask) y = CumSum (e, axis)", 1),
        ("e = Equal (mask, mask) y = Mul (mask, e)", 1),
        ("e = Equal (mask, mask) y = Not (e)", 0),
        ("axis = Constant <value_int = 1> () y = CumSum (mask, axis)", 0),
        ("y = Mul (x, x)", 0),
    ],
)
def test_casts_stand_where_a_type_is_not_taken_and_nowhere_else(body, count):
    found = model(body)

    assert mended_types(found) == count
    assert sum(node.op_type == "Cast" and "/cast_" in str(node.name) for node in found.graph) == count


def test_a_second_time_there_is_nothing_to_mend():
    found = model("y = Not (mask)")
    mended_types(found)

    assert mended_types(found) == 0


def test_a_bool_beside_numbers_becomes_one_of_them():
    found = model("e = Equal (mask, mask) y = Mul (x, e)")

    mended_types(found)

    (cast,) = [node for node in found.graph if node.op_type == "Cast"]
    assert cast.attributes.get_int("to") == ir.DataType.FLOAT
