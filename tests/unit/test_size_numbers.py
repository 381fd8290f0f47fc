"""Numbers that are computed from sizes are as wide in a graph as in Python."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from onnxwright.graph.size_numbers import computed_as_python_does

GRAPH = """
<ir_version: 9, opset_import: ["" : 18]>
parts (float[n, 4] x) => (int64 count, bool is_long, float[n, 4] y) <float least = {100}> {
    shape = Shape <start = 0, end = 1> (x)
    size = Squeeze (shape)
    long = Cast <to = 1> (size)
    part = Constant <value_float = 0.29> ()
    some = Mul (long, part)
    count = Cast <to = 7> (some)
    is_long = GreaterOrEqual (long, least)
    y = Mul (x, some)
}
"""


def parsed():
    model = onnx.parser.parse_model(GRAPH)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


def answered(model, rows):
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    x = np.full((rows, 4), 2.0, np.float32)
    return session.run(None, {"x": x})


def test_a_part_of_a_size_is_counted_in_doubles():
    model = parsed()
    assert answered(model, 100)[0] == 29

    assert computed_as_python_does(model, [0.29], {"long", "some"}) == 2

    count, is_long, y = answered(model, 100)
    assert count == int(100 * 0.29) == 28
    assert is_long
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, np.full((100, 4), 58.0), rtol=1e-6)


def test_all_that_comes_from_sizes_alone_is_meant_without_names():
    model = ir.from_proto(onnx.parser.parse_model(GRAPH))

    assert computed_as_python_does(model, [0.29]) == 2

    assert answered(model, 100)[0] == 28


@pytest.mark.parametrize(
    ("names", "numbers"),
    [({"some"}, [0.29]), ({"long", "some"}, []), ({"long", "some"}, [0.29, np.nextafter(0.29, 1)])],
    ids=["a tensor's own", "a number that isn't known", "two numbers that are one in float32"],
)
def test_what_may_be_meant_in_float32_stays(names, numbers):
    model = parsed()

    computed_as_python_does(model, numbers, names)

    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert answered(model, 100)[0] == 29


def test_a_number_that_is_an_output_keeps_its_type():
    model = parsed()
    some = next(node.outputs[0] for node in model.graph if node.outputs[0].name == "some")
    model.graph.outputs.append(some)

    computed_as_python_does(model, [0.29], {"long", "some"})

    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    *_, last = answered(model, 100)
    assert model.graph.outputs[-1].name == "some"
    assert (last.dtype, last) == (np.float32, np.float32(29.0))
