"""Repairs of graphs: what an engine refuses is mended in the graph, and held against what it was."""

from dataclasses import replace

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Unimplemented

import onnxwright as ow
from onnxwright.approach import Approach, Fix
from onnxwright.graph.axes import counted_from_the_front
from onnxwright.graph.element_types import widen
from onnxwright.graph.expanding import expand
from onnxwright.graph.lost import with_lost_constants
from onnxwright.graph.ranks import settle_ranks
from onnxwright.graph.versions import convert_opset
from onnxwright.repairs import GraphRepair, Seen, repairs

QUICK = {"measure": False, "proof": "quick"}
DOUBLED = """
<ir_version: 10, opset_import: ["" : 18, "mine" : 1]>
g (float[batch, 4] x) => (float[batch, 4] y) { y = mine.Doubled (x) }
<domain: "mine", opset_import: ["" : 18]> Doubled (a) => (b) { b = Add (a, a) }
"""
NAMED_TWICE = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[batch, 4] x) => (float[batch, 4] y) { h = Relu (x) y = Neg (h) }
"""
FROM_THE_END = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[batch, 3, 4] x) => (float[batch, 4, 3] y) { y = Transpose <perm = [0, -1, -2]> (x) }
"""
CLIPPED = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[batch, 4] x, float low, float high) => (float[batch, 4] y) { y = Clip (x, low, high) }
"""
NARROW = """
<ir_version: 10, opset_import: ["" : 18]>
g (int16[batch, 4] x, bool[batch, 4] c) => (int16[batch, 4] y) { n = Neg (x) y = Where (c, x, n) }
"""
DIAGONAL = """
<ir_version: 10, opset_import: ["" : 18]>
g (bool[n, m] x) => (bool[n, m] y) { y = EyeLike <k = 1> (x) }
"""
CHOSEN = """
<ir_version: 10, opset_import: ["" : 18]>
g (bool[batch, 4] x, bool[batch, 4] c) => (bool[batch, 4] y) { n = Not (x) w = Where (c, n, x) y = Not (w) }
"""
MEAN = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[batch, 4] x, float[4] scale) => (float[batch, 4] y) {
    axis = Constant <value = int64[1] {1}> ()
    mean = ReduceMean <keepdims = 0> (x, axis)
    column = Unsqueeze (mean, axis)
    normal = LayerNormalization (x, scale)
    y = Mul (normal, column)
}
"""
RANKS = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[batch, length] x) => (float[batch] y) {
    one = Constant <value = int64[1] {1}> ()
    size = Shape <start = 1, end = 2> (x)
    is_long = GreaterOrEqual (size, one)
    either = If (is_long)
        <then_branch = then () => (a) { a = ReduceSum <keepdims = 0> (x, one) },
         else_branch = other () => (b) { b = Identity (x) }>
    y = Relu (either)
}
"""
GELUS = """
<ir_version: 10, opset_import: ["" : 23]>
g (float[batch, n, 4] x, float[4] scale) => (float[batch, n, 4] y) {
    h = LayerNormalization <axis = -1> (x, scale)
    k = Gelu <approximate = "tanh"> (h)
    sum = ReduceSum <keepdims = 0> (k)
    zero = Constant <value_float = 0.0> ()
    is_positive = Greater (sum, zero)
    y = If (is_positive)
        <then_branch = then () => (a) { a = HardSwish (k) }, else_branch = other () => (b) { b = HardSwish (h) }>
}
"""


def parsed(text):
    return ir.from_proto(onnx.parser.parse_model(text))


def run(model, **feeds):
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return onnxruntime.InferenceSession(proto.SerializeToString()).run(None, feeds)[0]


def named_alike(model):
    for node in model.graph.node:
        node.name = "same"


def written(text, folder, change=lambda _: None):
    model = onnx.parser.parse_model(text)
    change(model)
    onnx.save(model, folder / "given.onnx")
    return folder / "given.onnx"


@pytest.mark.parametrize(
    ("text", "change", "repair"),
    [
        (DOUBLED, lambda _: None, "expanded=Doubled"),
        (NAMED_TWICE, named_alike, "tidied"),
        (NARROW, lambda _: None, "widened=Where"),
    ],
    ids=["a function", "names", "types"],
)
def test_a_graph_that_an_engine_refuses_is_mended_for_it(text, change, repair, tmp_path):
    file = written(text, tmp_path, change)
    before = file.read_bytes()

    package = ow.convert(file, tmp_path / "out", **QUICK)

    first, *_, last = package.manifest.attempts
    assert first.repairs == ()
    assert last.repairs == (repair,)
    assert last.verdict == "proven"
    assert file.read_bytes() == before
    onnx.checker.check_model(str(package.file()), full_check=True)


def test_a_graph_that_every_engine_takes_is_left_alone(tmp_path):
    package = ow.convert(written(NAMED_TWICE, tmp_path), tmp_path / "out", **QUICK)

    (only,) = package.manifest.attempts
    assert (only.repairs, only.verdict) == ((), "proven")


@pytest.mark.parametrize("opset", [11, 13, 17, 21, 23])
def test_a_graph_is_converted_to_the_opset_that_is_asked_for_and_proven(opset, tmp_path):
    package = ow.convert(written(MEAN, tmp_path), tmp_path / "out", opset=opset, **QUICK)

    assert package.proof.verdict == "proven"
    assert {entry.version for entry in onnx.load(package.file()).opset_import if not entry.domain} == {opset}


def test_an_opset_that_changes_what_a_graph_means_is_not_declared_right(tmp_path):
    text = MEAN.replace("y = Mul (normal, column)", "cube = Unsqueeze (x, axis) y = Softmax (x)")
    # Before opset 13, `Softmax` takes all axes from the first on at once: the same for two axes, not for three.
    cube = text.replace("float[batch, 4] y", "float[batch, 1, 4] y").replace("Softmax (x)", "Softmax <axis = 0> (cube)")

    with pytest.raises(ow.ProofError, match="versions=opset 12"):
        ow.convert(written(cube, tmp_path), tmp_path / "out", opset=12, engine="onnxruntime", **QUICK)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("opset", [0, 6, 400])
def test_an_opset_that_no_graph_can_have_is_a_usage_error(opset, tmp_path):
    with pytest.raises(ow.UsageError, match="expected 7 to"):
        ow.convert(written(MEAN, tmp_path), tmp_path / "out", opset=opset, **QUICK)


def test_an_operator_is_its_definition_wherever_it_stands():
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(2, 3, 4)).astype(np.float32), "scale": np.ones(4, np.float32)}
    model, own = parsed(GELUS), parsed(GELUS)

    assert expand(model, ["LayerNormalization", "Gelu", "HardSwish"]) == 4
    assert not {"LayerNormalization", "Gelu", "HardSwish"} & {node.op_type for node in model.graph.all_nodes()}
    for sign in (1.0, -1.0):
        signed = {"x": feeds["x"], "scale": np.float32(sign) * feeds["scale"]}
        np.testing.assert_allclose(run(model, **signed), run(own, **signed), rtol=1e-5, atol=1e-5)


def test_an_operator_without_a_definition_stays():
    model = parsed(NAMED_TWICE)

    assert expand(model, ["Neg"]) == 0
    assert [node.op_type for node in model.graph] == ["Relu", "Neg"]


LOSS = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[batch, 5] x, int64[batch] t) => (float y) { y = SoftmaxCrossEntropyLoss (x, t) }
"""
AFFINE = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[batch, 2, 3] x) => (float[batch, 4, 5, 2] y) <int64[4] s = {2, 1, 4, 5}> { y = AffineGrid (x, s) }
"""


def test_a_definition_is_replaced_by_its_own_where_its_types_are_to_be_inferred():
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(3, 5)).astype(np.float32), "t": np.array([4, 0, 2])}
    model, own = parsed(LOSS), parsed(LOSS)

    assert expand(model, ["SoftmaxCrossEntropyLoss"]) == 1
    assert expand(model, ["NegativeLogLikelihoodLoss"]) == 1
    np.testing.assert_allclose(run(model, **feeds), run(own, **feeds), rtol=1e-5)
    told = "tensorrt-rtx refuses operator (NegativeLogLikelihoodLoss): its parser doesn't have it"
    seen = Seen(source=None, approach=Approach("given", 18), message=told, refusals=(told,))
    first = seen.approach.mended(Fix("expanded", "SoftmaxCrossEntropyLoss"))
    again = first.mended(Fix("expanded", "NegativeLogLikelihoodLoss"))
    assert list(repairs()["expanded"].proposals(replace(seen, approach=first))) == ["NegativeLogLikelihoodLoss"]
    assert list(repairs()["expanded"].proposals(replace(seen, approach=again))) == []


def test_a_definition_gets_the_attributes_that_a_node_leaves_to_their_defaults():
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 2, 3)).astype(np.float32)}
    model, own = parsed(AFFINE), parsed(AFFINE)

    assert expand(model, ["AffineGrid"]) == 1
    (found,) = onnx.reference.ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)
    np.testing.assert_allclose(found, run(own, **feeds), rtol=1e-5, atol=1e-6)


def test_the_branch_of_the_declared_rank_stays():
    model, own = parsed(RANKS), parsed(RANKS)
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)

    assert settle_ranks(model) == 1
    assert "If" not in {node.op_type for node in model.graph}
    np.testing.assert_array_equal(run(model, x=x), run(own, x=x))


def test_constants_that_no_graph_knows_are_initializers():
    model = parsed(CLIPPED)
    (node,) = model.graph
    for place, bound in ((1, -0.5), (2, 0.5)):
        number = ir.tensor(np.array(bound, np.float32))
        node.replace_input_with(place, ir.Value(name="bound", const_value=number))
    del model.graph.inputs[1:]

    assert with_lost_constants(model) == 2
    x = np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(run(model, x=x), x.clip(-0.5, 0.5))
    assert with_lost_constants(model) == 0


def test_axes_are_counted_from_the_front():
    model = parsed(FROM_THE_END)

    assert counted_from_the_front(model) == 1
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(run(model, x=x), x.transpose(0, 2, 1))
    assert counted_from_the_front(model) == 0


def test_branches_of_one_rank_stay():
    assert settle_ranks(parsed(RANKS.replace("Identity (x)", "ReduceMax <keepdims = 0> (x, one)"))) == 0


def test_a_wider_type_is_cast_back_to_the_one_that_was():
    model = parsed(NARROW)

    assert widen(model, ["Where"]) == 1
    x = np.array([[100, -100, 3, 0]], np.int16)
    np.testing.assert_array_equal(run(model, x=x, c=x > 3), np.where(x > 3, x, -x))
    assert widen(parsed(NAMED_TWICE), ["Relu"]) == 0


def test_an_operator_without_a_form_for_bools_is_computed_in_whole_numbers():
    model, x = parsed(DIAGONAL), np.zeros((3, 4), bool)
    with pytest.raises(Unimplemented, match="EyeLike"):
        run(model, x=x)

    assert widen(model, ["EyeLike"]) == 1
    np.testing.assert_array_equal(run(model, x=x), np.eye(3, 4, 1, dtype=bool))


def test_what_takes_or_answers_bools_only_keeps_them():
    model, x = parsed(CHOSEN), np.array([[True, False, True, False]])
    c = np.array([[True, True, False, False]])

    assert widen(model, ["Where", "Not"]) == 1
    np.testing.assert_array_equal(run(model, x=x, c=c), [[True, False, False, True]])
    assert widen(parsed(CHOSEN), ["Not"]) == 0


def test_a_graph_is_not_converted_to_the_opset_that_it_has():
    assert convert_opset(parsed(MEAN), 18) == 0


# What engines say, word by word, and the repairs that answer it.
TOLD = {
    "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Conv(11) node with name ''": {
        ("expanded", "Conv"),
        ("widened", "Conv"),
    },
    "This is an invalid model. Error: two nodes with same node name (a).": {("tidied", "")},
    "Unsupported model IR version: 99, max supported IR version: 13": {("versions", "ir 13")},
    "Current official support for domain ai.onnx is till opset 26.": {("versions", "opset 26")},
    "-- No conversion rule found for operations: mine.Det, MaxUnpool-11\n": {("expanded", "Det, MaxUnpool")},
    "Fatal error: my:Foo(-1) is not a registered function/op": {("expanded", "Foo")},
    "CPU plug-in doesn't support If operation with dynamic rank. Operation name: y": {("ranks", ""), ("tidied", "")},
    "Type Error: Type 'tensor(int64)' of input parameter (x) of operator (Where) in node () is invalid.": {
        ("types", ""),
        ("widened", "Where"),
    },
    "out of memory": set(),
}


@pytest.mark.parametrize("words", TOLD)
def test_a_repair_answers_what_an_engine_says(words):
    seen = Seen(source=None, approach=Approach("given", 18), message=words, refusals=(words,))  # type: ignore[arg-type]

    proposed = {
        (name, argument)
        for name, one in repairs().items()
        if isinstance(one, GraphRepair)
        for argument in one.proposals(seen)
    }

    assert proposed == TOLD[words]
