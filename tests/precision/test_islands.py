"""Islands grow to the nodes without which the answer differs, and no further."""

import functools

import pytest
from cases.graphs import model

from onnxwright.graph.passes import named
from onnxwright.graph.precision.floats import lowered
from onnxwright.graph.precision.islands import GUILTY, UNREFINED, grown

NODES = [f"v{number}" for number in range(24)]


def chain():
    """Twenty-four nodes in six modules."""
    lines = [f"{after} = Neg ({before})" for before, after in zip(["x", *NODES], NODES, strict=False)]
    graph = model(f"g (float[n] x) => (float[n] {NODES[-1]}) {{ {' '.join(lines)} }}")
    for place, node in enumerate(graph.graph):
        node.metadata_props["onnxwright.module"] = f"layers.{place // 4}"
    return graph


def lower(graph=None):
    return functools.partial(lambda graph, kept: lowered(graph, "float16", None, kept=kept), graph or chain())


class Judge:
    """Right as soon as all the guilty ones are in float32."""

    def __init__(self, *guilty):
        self.guilty, self.calls = set(guilty), 0

    def __call__(self, graph):
        self.calls += 1
        wide = {named(node) for node in graph.graph if node.inputs[0].dtype.name == "FLOAT" and node.op_type != "Cast"}
        return self.guilty <= wide


def test_nothing_is_kept_where_it_is_right():
    found = grown(lower(), judge := Judge())

    assert (found.is_right, found.trials, judge.calls) == (True, 1, 1)
    assert not found.lowered.kept


@pytest.mark.parametrize("guilty", [("v0",), ("v23",), ("v9",), ("v9", "v10"), ("v3", "v17"), ("v1", "v8", "v22")])
def test_exactly_the_guilty_nodes_are_kept(guilty):
    found = grown(lower(), judge := Judge(*guilty))

    assert found.is_right
    assert found.lowered.kept == dict.fromkeys(guilty, GUILTY)
    assert found.trials == judge.calls <= 30
    assert judge(found.lowered.model)


def test_suspects_are_tried_first():
    found = grown(lower(), Judge("v9"), suspects=["v2", "v9", "unknown"])

    assert found.lowered.kept == {"v9": GUILTY}
    assert found.trials <= 5


def test_suspects_that_are_innocent_are_let_go():
    assert grown(lower(), Judge("v9"), suspects=["v2"]).lowered.kept == {"v9": GUILTY}


def test_when_the_trials_are_used_up_what_was_judged_right_stays():
    found = grown(lower(), judge := Judge("v9", "v20"), most_trials=5)

    assert found.is_right
    assert found.trials == 5
    assert {"v9", "v20"} < set(found.lowered.kept)
    assert set(found.lowered.kept.values()) == {UNREFINED}
    assert judge(found.lowered.model)


def test_what_is_never_right_is_told():
    found = grown(lower(), lambda _: False)

    assert not found.is_right
    assert found.trials == 2
    assert not found.lowered.kept


def test_a_model_without_modules_is_searched_by_its_nodes():
    graph = chain()
    for node in graph.graph:
        node.metadata_props.clear()

    assert grown(lower(graph), Judge("v5")).lowered.kept == {"v5": GUILTY}
