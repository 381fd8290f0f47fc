"""Values that the same operators compute from the same ones."""

import onnx
import onnx_ir as ir
import pytest

from onnxwright.graph.alike import is_alike


def values(body, weights="float[1] w = {3.0}, float[1] v = {3.0}, float[1] u = {4.0}"):
    text = f"""
    <ir_version: 8, opset_import: ["" : 18]>
    graph (float[n] x, float[n] z) => (float[n] a, float[n] b) <{weights}> {{ {body} }}
    """
    return ir.from_proto(onnx.parser.parse_model(text)).graph.outputs


@pytest.mark.parametrize(
    "body",
    [
        "a = Mul (x, w) b = Mul (x, w)",
        "a = Mul (x, w) b = Mul (x, v)",
        "a = Relu (x) c = Identity (x) d = Relu (c) b = Identity (d)",
        "c = Exp (x) a = LeakyRelu <alpha = 0.5> (c) d = Exp (x) b = LeakyRelu <alpha = 0.5> (d)",
    ],
)
def test_alike(body):
    assert is_alike(*values(body))


@pytest.mark.parametrize(
    "body",
    [
        "a = Mul (x, w) b = Mul (x, u)",
        "a = Mul (x, w) b = Mul (z, w)",
        "a = Mul (x, w) b = Add (x, w)",
        "a = Sub (x, z) b = Sub (z, x)",
        "a = LeakyRelu <alpha = 0.5> (x) b = LeakyRelu <alpha = 0.25> (x)",
        "a, c = Split <axis = 0, num_outputs = 2> (x) d, b = Split <axis = 0, num_outputs = 2> (x)",
        "a = RandomNormalLike (x) b = RandomNormalLike (x)",
    ],
)
def test_not_alike(body):
    assert not is_alike(*values(body))
