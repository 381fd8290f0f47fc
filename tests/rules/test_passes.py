"""The guard around passes, their trace, and graphs that are out of the ordinary."""

import re

import msgspec
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from cases.graphs import LIMIT, draw, error, kinds, model
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxwright.errors import SourceError, UsageError
from onnxwright.graph.comparing import difference, structure
from onnxwright.graph.optimizing import apply, apply_all, plans
from onnxwright.graph.passes import Pass, RuleError, guarded
from onnxwright.graph.provenance import MODULE, WHERE
from onnxwright.graph.rules import rule, rules
from onnxwright.graph.targets import TARGETS, Operator, target
from onnxwright.rewrites import Hit, NearMiss, Trace

PLAIN = "plain (float[n, 4] x) => (float[n, 4] y) <float[4] w = {1, 2, 3, 4}> { a = Relu (x) y = Add (a, w) }"


def changing(change):
    def run(graph, log):
        change(graph)
        return 1

    return Pass("changing", "Changes a graph.", run)


def rename_input(graph):
    graph.graph.inputs[0].name = "x_orig"


def retype_output(graph):
    graph.graph.outputs[0].dtype = ir.DataType.DOUBLE


def lose_weight(graph):
    graph.graph.initializers.pop("w")


def bring_domain(graph):
    next(iter(graph.graph)).domain = "org.example"


def unsort(graph):
    first = next(iter(graph.graph))
    graph.graph.remove(first)
    graph.graph.append(first)


def misname(graph):
    next(iter(graph.graph)).op_type = "Rleu"


def swap_dims(graph):
    graph.graph.outputs[0].shape = ir.Shape(["m", 4])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rename_input, "the graph's inputs: expected x: .*, got x_orig: "),
        (retype_output, "the graph's outputs: expected y: .*FLOAT.*, got y: .*DOUBLE"),
        (swap_dims, "the graph's outputs: "),
        (lose_weight, "'w' is used, and neither computed, given nor held"),
        (bring_domain, "no opset is imported for the domains ..org.example"),
        (unsort, "the ONNX checker refuses the graph: "),
        (misname, "the ONNX checker refuses the graph: .*Rleu"),
        (lambda graph: graph.opset_imports.update({"": 17}), "the graph's opset: expected 18, got 17"),
    ],
)
def test_what_breaks_the_graph_is_taken_back_alone(change, told):
    before = model(PLAIN)
    add_node = Pass("naming", "Names a node.", lambda graph, _: setattr(next(iter(graph.graph)), "name", "new") or 1)

    after, trace = guarded(before, [changing(change), add_node])

    (setback,) = trace.setbacks
    assert setback.step == "changing"
    assert re.search(told, setback.message)
    assert next(iter(after.graph)).name == "new"
    assert structure(after) == structure(before)


def test_a_rule_that_raises_is_told_with_its_node():
    def run(graph, log):
        raise RuleError("mine", next(iter(graph.graph)), ValueError("no such thing"))

    before = model(PLAIN.replace("a = Relu", "a = Relu"))
    next(iter(before.graph)).name = "first"

    after, trace = guarded(before, [Pass("mine", "Raises.", run)])

    assert [(one.step, one.node) for one in trace.setbacks] == [("mine", "first")]
    assert "rule 'mine': ValueError: no such thing" in trace.setbacks[0].message
    assert after is before


def test_the_given_graph_stays_as_it_is_and_weights_are_shared():
    before = model(PLAIN)
    spelled = onnx.printer.to_text(ir.to_proto(before))

    after, _ = guarded(before, [changing(lambda graph: setattr(graph, "doc_string", "other"))])

    assert onnx.printer.to_text(ir.to_proto(before)) == spelled
    assert after.graph.initializers["w"].const_value is before.graph.initializers["w"].const_value


def test_quiet_changes_are_held_against_the_graph_with_the_next_pass():
    quiet = Pass("quiet", "Says nothing.", lambda graph, _: rename_input(graph) or 0)
    loud = changing(lambda graph: None)

    after, trace = guarded(model(PLAIN), [quiet, loud])

    assert [one.step for one in trace.setbacks] == ["changing"]
    assert after.graph.inputs[0].name == "x"


def test_a_trace_can_be_written_read_and_joined():
    first = Trace(near_misses=(NearMiss("gelu", "n", "why"), NearMiss("gelu", "m", "why")), before={"Add": 2})
    second = Trace(hits=(Hit("gelu", "n"),), steps={"gelu": 1}, after={"Gelu": 1})

    both = first.and_then(second)

    assert msgspec.json.decode(msgspec.json.encode(both), type=Trace) == both
    assert [miss.node for miss in both.near_misses] == ["m"]
    assert (both.before, both.after, both.counts) == ({"Add": 2}, {"Gelu": 1}, {"gelu": 1})


def test_new_nodes_have_the_place_of_what_they_stand_for():
    text = "(float[n, 4] x) => (float[n, 4] y) <float half = {0.5}, float one = {1.0}, float root = {1.41421356}>"
    before = model(f"gelu {text} {{ d = Div (x, root) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half) }}")
    for node in before.graph:
        node.metadata_props.update({MODULE: "encoder.act", WHERE: "model.py:7"})

    after, trace = apply(before, plans(before, target("onnxruntime"))[1], target("onnxruntime"))

    assert [node.metadata_props for node in after.graph] == [{MODULE: "encoder.act", WHERE: "model.py:7"}]
    assert trace.hits[0].where == "model.py:7"


def test_weights_are_never_read():
    """Nor are they copied into what the checker sees, which could not hold them."""

    def read():
        raise AssertionError("a weight of 3 GB was read")

    before = model("large (float[n, 20000] x) => (float[n, 40000] y) { b = Identity (x) y = MatMul (b, x) }")
    weight = ir.LazyTensor(read, dtype=ir.DataType.FLOAT, shape=ir.Shape([20000, 40000]), name="w")
    value = ir.Value(name="w", type=ir.TensorType(weight.dtype), shape=ir.Shape([20000, 40000]), const_value=weight)
    before.graph.register_initializer(value)
    list(before.graph)[1].replace_input_with(1, value)

    for plan in plans(before, target("onnxruntime")):
        if plan.borrowed is None:
            after, trace = apply(before, plan, target("onnxruntime"))
            assert (kinds(after), trace.setbacks) == (["MatMul"], ())


OPERATORS = ("Relu", "Exp", "Identity", "Neg", "Add", "Mul")


@st.composite
def graphs(draw_from):
    """Graphs of nodes that take any of the values before them."""
    values, body = ["x", "z", "w"], []
    for number in range(draw_from(st.integers(1, 8))):
        operator = draw_from(st.sampled_from(OPERATORS))
        taken = draw_from(st.lists(st.sampled_from(values), min_size=2, max_size=2))
        given_to = ", ".join(taken if operator in {"Add", "Mul"} else taken[:1])
        body.append(f"v{number} = {operator} ({given_to})")
        values.append(f"v{number}")
    outputs = draw_from(st.lists(st.sampled_from(values[3:]), min_size=1, max_size=2, unique=True))
    declared = ", ".join(f"float[n, 4] {name}" for name in outputs)
    return f"any (float[n, 4] x, float[n, 4] z) => ({declared}) <float[4] w = {{1, 0, 1, 1}}> {{ {' '.join(body)} }}"


@settings(max_examples=30)
@given(graphs())
def test_twice_is_once_and_means_the_same(text):
    before = model(text)
    (plan, *_), engine = plans(before, target("onnxruntime")), target("onnxruntime")

    once, trace = apply(before, plan, engine)
    twice, _ = apply(once, plan, engine)

    assert structure(once) == structure(twice)
    assert not trace.setbacks
    assert error(before, once, draw(before)) <= LIMIT


ODD = {
    "no nodes": "none (float[n] x) => (float[n] x) { }",
    "an input handed on": "same (float[n] x) => (float[n] y) { y = Identity (x) }",
    "an unused input": "some (float[n] x, float[n] z) => (float[n] y) { y = Relu (x) }",
    "an output twice": "two (float[n] x) => (float[n] y, float[n] z) { y = Relu (x) z = Relu (x) }",
    "branches": """branch (float[n] x, bool b) => (float[n] y) <float one = {1.0}> {
        y = If (b) <then_branch = yes () => (float[n] p) { q = Mul (x, one) p = Relu (q) },
                    else_branch = no () => (float[n] r) { s = Identity (x) r = Exp (s) }> }""",
    "a loop": """loop (float[4] x, int64 t, bool go) => (float[4] y) {
        y = Loop (t, go, x) <body = step (int64 i, bool c, float[4] v) => (bool d, float[4] w)
        { d = Identity (c) u = Identity (v) w = Add (u, u) }> }""",
    "a sequence": """row (float[n] x, float[n] z, int64 i) => (float[n] y) {
        c = Identity (z) s = SequenceConstruct (x, c) a = SequenceAt (s, i) b = Identity (a) y = Relu (b) }""",
    "sizes that values decide": """some (float[n] x) => (int64[1, m] y) {
        a = NonZero (x) b = Identity (a) y = Abs (b) }""",
    "quantized": """q (float[n, 2] x) => (float[n, 2] y) <float s = {0.5}, int8 z = {0}, int8[2, 2] w = {1, 2, 3, 4}> {
        a = QuantizeLinear (x, s, z) b = DequantizeLinear (a, s, z)
        c = DequantizeLinear (w, s, z) y = MatMul (b, c) }""",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_graphs_come_through_every_plan(name):
    before = model(ODD[name])

    for plan in plans(before, target("onnxruntime")):
        if plan.borrowed is None:
            after, trace = apply(before, plan, target("onnxruntime"))
            assert not trace.setbacks
            assert error(before, after, draw(before)) <= LIMIT


def test_values_of_which_nothing_is_said_are_no_obstacle():
    text = """bare (float[b, s, 8] x, float[8, 8] w) => (float[b, s, 8] y) { a = MatMul (x, w) c = Erf (a)
        d = Transpose <perm = [0, 2, 1]> (c) e = Transpose <perm = [0, 2, 1]> (d) y = Add (e, x) }"""
    before = model(text, weights={"w"})
    for node in before.graph:
        for value in node.outputs:
            value.shape, value.type = (value.shape, value.type) if value.is_graph_output() else (None, None)

    for plan in plans(before, target("onnxruntime")):
        if plan.borrowed is None:
            after, trace = apply(before, plan, target("onnxruntime"))
            assert not trace.setbacks
            assert "Transpose" not in kinds(after)
            assert error(before, after, draw(before)) <= LIMIT


@pytest.mark.parametrize("opset", [*range(9, 25)])
def test_every_opset_comes_through(opset):
    before = model(
        "old (float[n, 4] x) => (float[n, 4] y) { a = Relu (x) b = Transpose <perm = [1, 0]> (a) "
        "c = Transpose <perm = [1, 0]> (b) y = Softmax <axis = 1> (c) }",
        opset=opset,
    )

    after, trace = apply(before, plans(before, target("openvino"))[0], target("openvino"))

    assert kinds(after) == ["Relu", "Softmax"]
    assert not trace.setbacks
    assert error(before, after, draw(before)) <= LIMIT


def test_operators_of_other_domains_are_left_alone_and_told():
    before = model("own (float[n] x) => (float[n] y) { a = Identity (x) y = org.example.Magic (a) }")
    before.graph.opset_imports["org.example"] = 1

    after, trace = apply(before, plans(before, target("onnxruntime"))[0], target("onnxruntime"))

    assert kinds(after) == ["Magic"]
    assert trace.foreign == ("org.example::Magic",)


def test_functions_and_initializers_that_callers_may_replace_stay():
    text = """<ir_version: 8, opset_import: ["" : 18, "own" : 1]>
    calls (float[n] x, float w) => (float[n] y) <float w = {1.0}> { a = own.twice (x) y = Mul (a, w) }
    <opset_import: ["" : 18], domain: "own"> twice (x) => (y) { y = Add (x, x) }"""
    before = ir.from_proto(onnx.parser.parse_model(text))

    after, trace = apply(before, plans(before, target("onnxruntime"))[0], target("onnxruntime"))

    assert not trace.setbacks
    assert [value.name for value in after.graph.inputs] == ["x", "w"]
    assert kinds(after)[-1] == "Mul"
    inputs = {"x": np.array([1.0, 2.0], np.float32), "w": np.array(3.0, np.float32)}
    assert error(before, after, inputs) == 0


def test_a_graph_with_a_gap_is_refused():
    before = model("gap (float[n] x) => (float[n] y) { y = Add (x, nowhere) }")

    with pytest.raises(SourceError, match="uses 'nowhere', which is no input, no weight"):
        guarded(before, [changing(lambda graph: None)])


def test_duplicate_names_of_nodes_are_no_obstacle():
    before = model("named (float[n] x) => (float[n] y) { a = Relu (x) b = Relu (x) y = Add (a, b) }")
    for node in before.graph:
        node.name = "same"

    after, trace = apply(before, plans(before, target("onnxruntime"))[0], target("onnxruntime"))

    assert (kinds(after), trace.setbacks) == (["Relu", "Add"], ())


@pytest.mark.parametrize("name", ["openvino", "tensorrt", "tensorrt-rtx"])
def test_engines_without_contrib_operators_get_none(name):
    imports = {"": 23, "com.microsoft": 1}
    written = [operator for one in rules().values() for operator in one.makes if target(name).takes(operator, imports)]

    assert {str(operator) for operator in written} == {"LayerNormalization", "Gelu"}


def test_a_target_takes_no_operator_that_its_opset_lacks():
    assert not target("openvino").takes(Operator("", "Gelu", 20), {"": 19})
    assert not target("onnxruntime").takes(Operator("com.microsoft", "NoSuchKernel"), {"": 18})
    assert target("onnxruntime").takes(Operator("com.microsoft", "MultiHeadAttention"), {"": 18})


def test_unknown_names_are_told_with_those_that_are_known():
    with pytest.raises(UsageError, match="engine 'onnx' is unknown; expected one of onnxruntime"):
        target("onnx")
    with pytest.raises(UsageError, match="rule 'gelo' is unknown; expected for example gelu"):
        rule("gelo")


@pytest.mark.parametrize("name", TARGETS)
def test_plans_begin_with_the_most_cautious(name):
    found = plans(model(PLAIN), target(name))

    assert (found[0].name, found[0].doubtful) == ("simplified", ())
    assert len({plan.name for plan in found}) == len(found)


def test_what_leads_to_attention_is_left_out_where_an_engine_has_none():
    before = model("g (float[n, 4] x) => (float[n, 4] y) { y = Softmax (x) }")

    named = {name: {plan.name for plan in plans(before, target(name))} for name in ("onnxruntime", "openvino")}
    rules_of = {one for plan in plans(before, target("openvino")) for one in plan.rules}

    assert any("attention" in name for name in named["onnxruntime"])
    assert not any("attention" in name or "grouped" in name for name in named["openvino"])
    assert rules_of.isdisjoint({"rotary", "batched-products", "attention"})


def test_two_graphs_are_told_apart():
    first = model(PLAIN)
    second = model(
        "other (float[n, 4] x, float[4] z) => (float[n, 4] y) <float[4] w = {1, 2, 3, 5}, float[4] v = {1, 2, 3, 4}> "
        "{ b = Mul (x, v) c = Add (b, z) y = Add (c, w) }",
        opset=17,
    )

    told = difference(first, second)

    assert {name: (pair.first, pair.second) for name, pair in told.inputs.items()} == {"z": (None, "float[4]")}
    assert {name: (pair.first, pair.second) for name, pair in told.operators.items()} == {
        "Add": (1, 2),
        "Relu": (1, None),
        "Mul": (None, 1),
    }
    assert (told.opsets[""].first, told.opsets[""].second) == (18, 17)
    assert [(one.name, one.error) for one in told.changed] == [("w", 1.0)]
    assert (told.added, told.removed, told.same_weights) == (("v",), (), 0)


def test_a_renamed_weight_is_no_other():
    second = model(PLAIN.replace("w", "u"))

    told = difference(model(PLAIN), second)

    assert (told.renamed, told.same_weights) == ({"w": "u"}, 1)
    assert not difference(model(PLAIN), model(PLAIN))


def test_plans_that_are_applied_together_make_what_each_makes_alone():
    text = """g (float[n, 4] x) => (float[n, 4] y) <float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7}> {
        a = Identity (x) b = MatMul (a, w) c = Sigmoid (b) d = Identity (c) y = Mul (b, d) }"""
    before = model(text)
    chosen = plans(before, target("onnxruntime"))

    together = [
        (plan, structure(made), trace.after) for plan, made, trace in apply_all(before, chosen, target("onnxruntime"))
    ]

    assert len(chosen) > 2
    for plan, found, after in together:
        made, trace = apply(before, plan, target("onnxruntime"))
        assert (found, after) == (structure(made), trace.after)
