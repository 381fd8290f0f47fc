"""A sum that ONNX Runtime would join to a norm or a Gelu is written as what it doesn't look for."""

import onnx
import onnxruntime
import pytest
from cases.graphs import draw, error, kinds, model, rewritten

from onnxwright.graph.saving import save_model

COLUMNS = "float[4] w, float[4] c"
NORMED = "a = Add (x, z) y = LayerNormalization <axis = -1> (a, w, c)"


def graph(body=NORMED, *, x="float[b, s, 4] x", z="float[b, s, 4] z", y="float[b, s, 4] y", opset=18):
    return model(f"sum ({x}, {z}, {COLUMNS}) => ({y}) {{ {body} }}", weights={"w", "c"}, opset=opset)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"z": "float[s, 4] z"},
        {"body": NORMED.replace("x, z", "z, x"), "z": "float[4] z"},
        {"body": "a = Add (x, w) y = com.microsoft.Gelu (a)"},
        {"body": "a = Add (x, w) y = Gelu (a)", "opset": 20},
        {"body": f"{NORMED} r = Relu (a)", "y": "float[b, s, 4] y, float[b, s, 4] r"},
        {"body": NORMED, "y": "float[b, s, 4] y, float[b, s, 4] a"},
    ],
)
def test_fires(change):
    before = graph(**change)

    after, trace = rewritten(before, "sums-apart")

    assert trace.counts == {"sums-apart": 1}
    assert kinds(after)[0] == "Sum"
    assert error(before, after, draw(before)) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"body": "a = Add (x, z) y = Softmax (a)"},
        {"body": "a = Add (x, z) y = Identity (a)"},
        {"body": NORMED.replace("Add", "Mul")},
        {"x": "float16[b, s, 4] x", "z": "float16[b, s, 4] z", "y": "float[b, s, 4] y",
         "body": "a = Add (x, z) i = Cast <to = 16> (a) o = Cast <to = 1> (i) y = LayerNormalization (o, w, c)"},
    ],
)  # fmt: skip
def test_leaves_sums_that_nothing_joins(change):
    assert not rewritten(graph(**change), "sums-apart")[1].hits


def test_numbers_of_sixteen_bits_are_left():
    before = model(
        "sum (float16[b, 4] x, float16[b, 4] z, float16[4] w) => (float16[b, 4] y) "
        "{ a = Add (x, z) y = LayerNormalization (a, w) }"
    )

    assert not rewritten(before, "sums-apart")[1].hits


@pytest.mark.parametrize(("is_apart", "joined"), [(True, False), (False, True)])
def test_the_runtime_joins_what_is_not_apart(tmp_path, is_apart, joined):
    given = graph()
    made = rewritten(given, "sums-apart")[0] if is_apart else given

    save_model(made, tmp_path / "given.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "made.onnx"), 4
    onnxruntime.InferenceSession(str(tmp_path / "given.onnx"), options, providers=["CPUExecutionProvider"])

    found = {node.op_type for node in onnx.load(tmp_path / "made.onnx").graph.node}
    assert ("SkipLayerNormalization" in found) is joined
