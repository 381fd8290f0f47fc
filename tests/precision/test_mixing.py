"""Wherever islands lie, the two types meet in casts only, one for each value, and the answers stay."""

import numpy as np
import onnx_ir as ir
import pytest
from cases.graphs import answers, draw, model
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxwright.graph.comparing import structure
from onnxwright.graph.precision.floats import lowered
from onnxwright.tolerance import distance

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
LIMIT = 0.013
"""The noise of float32, 2e-7, by 2¹³ as float16 rounds, by 8."""
ONE = ["Tanh", "Sigmoid", "Neg", "Identity", "Transpose"]
TWO = ["Add", "Sub", "MatMul", "Max"]


@st.composite
def graphs(draw_from):
    """Nodes of one or two operands among all values before, casts to and fro, and a few of them as answers."""
    floats, halves, lines, names = ["x", "w"], [], [], []
    for number in range(draw_from(st.integers(1, 10))):
        name = f"v{number}"
        kind = draw_from(st.sampled_from([*ONE, *TWO, "narrow", "widen", "branch"]))
        one, other = (draw_from(st.sampled_from(floats)) for _ in range(2))
        if kind in ONE:
            lines.append(f"{name} = {kind} ({one})")
        elif kind == "branch":
            sides = (
                f"{side} = {side[0]}{number} () => (float[4, 4] {side[0]}{name}) {{ {side[0]}{name} = {what} ({one}) }}"
                for side, what in (("then_branch", "Tanh"), ("else_branch", "Neg"))
            )
            lines.append(f"{name} = If (flag) <{', '.join(sides)}>")
        elif kind == "narrow":
            lines.append(f"{name} = Cast <to = 10> ({one})")
            halves.append(name)
            continue
        elif kind == "widen":
            if not halves:
                continue
            lines.append(f"{name} = Cast <to = 1> ({draw_from(st.sampled_from(halves))})")
        else:
            lines.append(f"{name} = {kind} ({one}, {other})")
        floats.append(name)
        names.append(name)
    shown = draw_from(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)) if names else []
    also = draw_from(st.lists(st.sampled_from(halves), max_size=1)) if halves else []
    if not shown:
        lines.append("y = Neg (x)")
        shown = ["y"]
    outputs = [*(f"float[4, 4] {name}" for name in shown), *(f"float16[4, 4] {name}" for name in also)]
    text = f"g (float[4, 4] x, bool flag, float[4, 4] w) => ({', '.join(outputs)}) {{ {' '.join(lines)} }}"
    kept = draw_from(st.lists(st.sampled_from(names), max_size=4)) if names else []
    return text, dict.fromkeys(kept, "asked for")


def types_of(values):
    return {value.dtype for value in values if value is not None and value.dtype in {FLOAT, HALF}}


@settings(max_examples=60, derandomize=True)
@given(graphs(), st.booleans())
def test_types_meet_in_casts_only(made, keeps_io):
    text, kept = made
    before = model(text, weights=["w"])

    after = lowered(before, "float16", None, kept=kept, keeps_io=keeps_io)

    graph = after.model.graph
    casts = [node for node in graph if node.op_type == "Cast"]
    for node in graph:
        if node.op_type not in {"Cast", "If"}:
            assert len(types_of([*node.inputs, *node.outputs])) == 1
        if node.name in after.kept:
            assert HALF not in types_of([*node.inputs, *node.outputs]) or node.op_type == "Cast"
    assert set(kept) <= {node.name for node in graph} - {node.name for node in casts} | set(after.kept)
    made_here = [
        node for node in casts if node.inputs[0].dtype != node.outputs[0].dtype and node.name.endswith("/cast")
    ]
    assert len({(node.inputs[0], node.outputs[0].dtype) for node in made_here}) == len(made_here)
    assert structure(lowered(after.model, "float16", None, kept=kept, keeps_io=keeps_io).model) == structure(
        after.model
    )


@settings(max_examples=40, derandomize=True)
@given(graphs(), st.booleans())
def test_answers_stay(made, flag):
    text, kept = made
    before = model(text, weights=["w"])
    feeds = {**draw(before), "flag": np.array(flag)}

    given_, expected = answers(lowered(before, "float16", None, kept=kept).model, feeds), answers(before, feeds)

    assert list(given_) == list(expected)
    for name, array in expected.items():
        assert distance(array, given_[name]) <= 4 * LIMIT


@pytest.mark.parametrize("keeps_io", [True, False])
def test_a_weight_that_callers_may_replace_is_cast_when_it_comes(keeps_io):
    before = model("g (float[4] x) => (float[4] y) { y = Mul (x, w) }".replace("x)", "x, float[4] w)", 1))
    value = before.graph.inputs[1]
    value.const_value = ir.tensor(np.array([1, 2, 3, 4], np.float32), name="w")
    before.graph.register_initializer(value)
    kind = np.float32 if keeps_io else np.float16

    after = lowered(before, "float16", None, keeps_io=keeps_io).model

    x, w = np.array([1, -1, 2, 0.5], kind), np.array([5, 6, 7, 8], kind)
    assert after.graph.inputs[1].dtype == (FLOAT if keeps_io else HALF)
    assert np.array_equal(answers(after, {"x": x})["y"], [1, -2, 6, 2])
    assert np.array_equal(answers(after, {"x": x, "w": w})["y"], [5, -6, 14, 4])


def test_a_loop_is_handed_float32_from_around_it():
    before = model("""g (float[4] x, float[4] z) => (float[4] y) <int64 times = {3}, bool go = {1}> {
        h = Tanh (x)
        s = Loop (times, go, z) <body = b (int64 i, bool c, float[4] state) => (bool d, float[4] after) {
            d = Identity (c) after = Add (state, h) }>
        y = Neg (s) }""")
    feeds = draw(before)

    after = lowered(before, "float16", None)

    assert list(after.kept) == ["s"]
    assert distance(answers(before, feeds)["y"], answers(after.model, feeds)["y"]) <= LIMIT
