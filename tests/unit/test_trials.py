"""Candidates are loaded a few at a time, and the graph as exported twice and no more."""

import numpy as np
import onnx_ir as ir
import pytest
from cases.counting import Counting
from cases.graphs import draw, model

from onnxwright.findings import Finding
from onnxwright.graph.optimizing import Plan
from onnxwright.manifest import Proof, Tolerance
from onnxwright.rewrites import Trace
from onnxwright.stages import trials
from onnxwright.stages.trials import Candidate, Trials

TEXT = "g (float[n, 4] x) => (float[n, 4] y) { a = Relu (x) y = Neg (a) }"


@pytest.fixture
def counting(monkeypatch):
    made = Counting()
    monkeypatch.setattr(trials.backends, "engine", lambda name: made)
    return made


@pytest.fixture
def bench(tmp_path):
    file = tmp_path / "given" / "model.onnx"
    file.parent.mkdir()
    graph = model(TEXT)
    ir.save(graph, file)
    return Trials("onnxruntime", file, tmp_path, [({"n": 3}, draw(graph))])


def candidates(count):
    return [Candidate(Plan(f"plan {number}", ()), model(TEXT), Trace()) for number in range(count)]


@pytest.mark.parametrize(
    ("findings", "told"),
    [
        ((), "shown for batch 4 at most."),
        ((Finding("not-tried", "Not tried: batch 8."),), "shown for batch 4 at most, for lack of time."),
        ((Finding("outputs-differ", "It is wrong."), Finding("not-tried", "Not tried: batch 8.")), "It is wrong."),
    ],
)
def test_why_less_was_shown_is_told(findings, told):
    proof = Proof(
        "partial", {"batch": (1, 4)}, 9, None, Tolerance("same-precision", {}, {}, ""), "r", "c", findings=findings
    )

    assert trials.shortfall(proof) == told


def test_few_are_alive_at_once_and_the_graph_as_exported_is_loaded_twice(bench, counting):
    found = bench.measured(candidates(6))
    again = bench.measured(candidates(1))

    assert counting.files.count(bench.file) == 2
    assert len(counting.files) == 2 + 7
    assert counting.most <= 2 + 4
    assert all(one.latencies and one.control for one in (*found, *again))


def test_a_graph_that_the_engine_refuses_is_told_and_the_others_are_measured(bench):
    broken = model("g (float[n, 4] x) => (float[n, 4] y) { y = com.microsoft.NoSuch (x) }")
    given = [*candidates(1), Candidate(Plan("broken", ()), broken, Trace())]

    fine, refused = bench.measured(given)

    assert fine.latencies
    assert not refused.latencies
    assert "NoSuch" in refused.refusal


def test_a_graph_that_the_engine_refuses_when_it_runs_is_told_and_the_others_are_measured(bench):
    text = """g (float[n, 4] x) => (float[n] y) <int64 place = {9}> {
        s = Shape (x) r = Reshape (x, s) y = Gather <axis = 1> (r, place) }"""
    given = [*candidates(1), Candidate(Plan("broken", ()), model(text), Trace())]

    fine, refused = bench.measured(given)

    assert fine.latencies
    assert not refused.latencies
    assert "Gather" in refused.refusal


def test_the_same_graph_again_is_no_faster(bench):
    (found,) = bench.measured(candidates(1))

    assert found.latencies[0].runs >= 6
    assert np.isfinite(found.gain)
