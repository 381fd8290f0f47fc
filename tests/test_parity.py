"""Every case in every runtime answers as the graph itself does, node by node; the optimizer is one of the runtimes."""

import onnx_ir as ir
import pytest
from cases import thorough
from cases.parity import CASES, LIMIT, UNWRITTEN, exported, hold, points, told_of
from cases.runtimes import RUNTIMES, as_written

from onnxwright.tolerance import distance


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", thorough.marked(CASES, {"modernbert"}))
def test_every_runtime_answers_as_the_graph_is_written(name, runtime, tmp_path):
    _, graph = exported(name)
    assert (graph is None) == (name in UNWRITTEN)
    if graph is None:
        return
    file = tmp_path / "given.onnx"
    ir.save(graph, file)
    reference = as_written(file)
    for one in RUNTIMES[runtime](file):
        hold(one.session, reference, name, is_doubtful=one.is_doubtful)


def test_a_wrong_plan_would_be_seen(tmp_path):
    _, graph = exported("masked-mean")
    file = tmp_path / "given.onnx"
    ir.save(graph, file)
    spoilt = ir.load(file)
    node = next(node for node in spoilt.graph if node.op_type == "Div")
    node.replace_input_with(0, node.inputs[1])
    ir.save(spoilt, tmp_path / "spoilt.onnx")
    reference, wrong = as_written(file), as_written(tmp_path / "spoilt.onnx")
    feeds = points("masked-mean")[0]
    expected, answered = reference.run(feeds), wrong.run(feeds)

    assert any(distance(*told_of(expected[one], answered[one], is_doubtful=True)) > LIMIT for one in expected)
    with pytest.raises(AssertionError, match="onnxruntime"):
        hold(wrong, reference, "masked-mean", is_doubtful=True)
