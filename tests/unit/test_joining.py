"""Two graphs as one, of which a question about sizes decides which runs."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from onnxwright.graph.joining import joined, joined_by
from onnxwright.signature import Signature, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("x", "float32", ("batch", "sequence")),), (TensorSpec("y", "float32", ("batch", "sequence")),)
)
WEIGHT = "float[1] w = {3.0}"


def model(body, weights=WEIGHT):
    text = f"""
    <ir_version: 8, opset_import: ["" : 18]>
    graph (float[batch, sequence] x) => (float[batch, sequence] y) <{weights}> {{ {body} }}
    """
    return ir.from_proto(onnx.parser.parse_model(text))


def run(found, shape, tmp_path):
    ir.save(found, tmp_path / "m.onnx")
    onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    return x, session.run(["y"], {"x": x})[0]


TIMES, PLUS = "y = Mul (x, w)", "y = Add (x, w)"


@pytest.mark.parametrize(
    ("code", "is_true"),
    [
        ("dims['sequence'] > 8", lambda b, s: s > 8),
        ("dims['sequence'] >= 8", lambda b, s: s >= 8),
        ("dims['sequence'] < 8", lambda b, s: s < 8),
        ("dims['sequence'] <= 8", lambda b, s: s <= 8),
        ("dims['sequence'] == 8", lambda b, s: s == 8),
        ("dims['sequence'] != 8", lambda b, s: s != 8),
        ("dims['sequence'] % 2 == 1", lambda b, s: s % 2 == 1),
        ("dims['batch'] * dims['sequence'] > 16", lambda b, s: b * s > 16),
        ("(dims['sequence'] + 3) // 4 - 1 == 1", lambda b, s: (s + 3) // 4 - 1 == 1),
        ("max(dims['batch'], dims['sequence']) > 8 and dims['batch'] < 3", lambda b, s: max(b, s) > 8 and b < 3),
        ("not dims['batch'] == 2 or -dims['sequence'] < -8", lambda b, s: b != 2 or -s < -8),
    ],
)
def test_each_side_runs_where_the_question_says(code, is_true, tmp_path):
    found = joined(code, model(TIMES), model(PLUS), SIGNATURE)

    for batch, sequence in ((1, 3), (2, 7), (2, 8), (3, 9), (4, 16)):
        x, y = run(found, (batch, sequence), tmp_path)
        assert np.array_equal(y, x * 3 if is_true(batch, sequence) else x + 3), (batch, sequence)


def test_a_weight_that_both_hold_stands_there_once():
    found = joined("dims['batch'] > 1", model(TIMES), model(PLUS), SIGNATURE)

    assert len(found.graph.initializers) == 1


def test_weights_that_differ_stay_apart(tmp_path):
    found = joined("dims['batch'] > 1", model(TIMES), model(TIMES, "float[1] w = {5.0}"), SIGNATURE)

    assert len(found.graph.initializers) == 2
    x, y = run(found, (1, 4), tmp_path)
    assert np.array_equal(y, x * 5)


def test_an_output_that_is_the_input_is_answered_too(tmp_path):
    found = joined("dims['batch'] > 1", model("y = Identity (x)"), model(PLUS), SIGNATURE)

    x, y = run(found, (2, 4), tmp_path)
    assert np.array_equal(y, x)


def test_joined_graphs_can_be_joined_again(tmp_path):
    once = joined("dims['sequence'] > 8", model(TIMES), model(PLUS), SIGNATURE)
    twice = joined("dims['sequence'] > 4", once, model("y = Neg (x)"), SIGNATURE)

    for sequence, expected in ((9, lambda x: x * 3), (5, lambda x: x + 3), (4, lambda x: -x)):
        x, y = run(twice, (2, sequence), tmp_path)
        assert np.array_equal(y, expected(x))
    assert len(twice.graph.initializers) == 1


@pytest.mark.parametrize(
    "code", ["dims['sequence'] ** 2 > 8", "dims['sequence'] > 8.5", "print(1)", "1 < dims['batch'] < 3"]
)
def test_a_question_without_a_form_in_a_graph_is_refused(code):
    with pytest.raises(ValueError, match="`"):
        joined(code, model(TIMES), model(PLUS), SIGNATURE)


def test_each_side_runs_where_a_value_says(tmp_path):
    text = f"""
    <ir_version: 8, opset_import: ["" : 18]>
    graph (float[batch, sequence] x) => (bool answer) <{WEIGHT}> {{
        most = ReduceMax <keepdims = 0> (x)
        w0 = Squeeze (w)
        answer = Less (most, w0)
    }}
    """
    found = joined_by(ir.from_proto(onnx.parser.parse_model(text)), model(TIMES), model(PLUS), SIGNATURE)

    answers = set()
    for length in (2, 400):
        x, y = run(found, (3, length), tmp_path)
        answers.add(bool(x.max() < 3))
        assert np.array_equal(y, x * 3 if x.max() < 3 else x + 3)
    assert answers == {True, False}
    assert len(found.graph.initializers) == 1, "the weight that all three hold stands there once"
