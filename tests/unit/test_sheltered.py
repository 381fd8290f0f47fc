"""Sessions in a process of their own: they answer as the engine does, and survive what it doesn't."""

import numpy as np
import onnx
import pytest

from onnxwright.backends import Options, engine
from onnxwright.errors import EngineError
from onnxwright.loaders.onnxfile import load
from onnxwright.sheltered import Sheltered
from onnxwright.stages.attempt import prepare

PIECES = """
<ir_version: 8, opset_import: ["": 18]>
pieces (float[tokens] x, int64[bounds] bounds) => (float[kept] y) {
   one = Constant <value_int = 1> ()
   go = Constant <value = bool {1}> ()
   none = SequenceEmpty <dtype = 1> ()
   count = Size (bounds)
   rounds = Sub (count, one)
   several = Loop (rounds, go, none) <body = round (int64 i, bool going, seq(float[?]) before)
       => (bool still, seq(float[?]) after) {
      still = Identity (going)
      single = Constant <value_ints = [1]> ()
      first = Reshape (i, single)
      second = Add (first, single)
      start = Gather (bounds, first)
      end = Gather (bounds, second)
      piece = Slice (x, start, end)
      after = SequenceInsert (before, piece)
   }>
   y = ConcatFromSequence <axis = 0> (several)
}
"""


@pytest.fixture
def pieces(tmp_path):
    file = tmp_path / "pieces.onnx"
    onnx.save(onnx.parser.parse_model(PIECES), file)
    return file


def feeds(*bounds):
    return {"x": np.arange(bounds[-1], dtype=np.float32), "bounds": np.array(bounds, np.int64)}


def test_answers_as_the_engine_does(pieces):
    sheltered, own = (make("onnxruntime", pieces) for make in (shelter, load_here))

    assert sheltered.ran == own.ran
    np.testing.assert_array_equal(sheltered.run(feeds(0, 3, 9))["y"], own.run(feeds(0, 3, 9))["y"])


def shelter(name, file):
    return Sheltered(name, file, Options(1))


def load_here(name, file):
    return engine(name).prepare(file, Options(1))


def test_says_what_the_engine_refuses(pieces, tmp_path):
    with pytest.raises(EngineError, match=r"'bounds'.* are missing"):
        shelter("onnxruntime", pieces).run({"x": np.zeros(3, np.float32)})
    with pytest.raises(EngineError, match="missing"):
        shelter("onnxruntime", tmp_path / "missing.onnx")


def test_a_process_that_ends_is_told_and_started_anew(pieces):
    sheltered = shelter("onnxruntime", pieces)
    sheltered._process.kill()

    with pytest.raises(EngineError, match=r"onnxruntime ends the process that runs it \(signal SIGKILL\)"):
        sheltered.run(feeds(0, 3, 9))
    assert len(sheltered.run(feeds(0, 3, 9))["y"]) == 9


def test_an_answer_that_never_comes_is_not_waited_for(pieces, monkeypatch):
    sheltered = shelter("onnxruntime", pieces)
    monkeypatch.setattr("onnxwright.sheltered._SECONDS", 0.0)

    with pytest.raises(EngineError, match="SIGKILL"):
        sheltered.run(feeds(0, *range(1, 200_000)))


def test_what_openvino_makes_of_pieces_that_differ_in_length_is_seen_from_outside(pieces):
    source = load(pieces, {"tokens": (8, 12, 40), "bounds": (2, 3, 8)})
    sessions, refusals = prepare(("openvino", "onnxruntime"), pieces, source)

    assert not refusals
    assert isinstance(sessions["openvino"], Sheltered)
    assert not isinstance(sessions["onnxruntime"], Sheltered)
    assert seen(sessions["onnxruntime"], feeds(0, 9, 11, 40)) == 40
    assert seen(sessions["openvino"], feeds(0, 9, 11, 40)) != 40, "then the shelter has done its duty"
    assert seen(sessions["openvino"], feeds(0, 4, 8)) in {8, None}


def seen(session, fed):
    try:
        return len(session.run(fed)["y"])
    except EngineError:
        return None
