"""How long an export with repairs may take, of the time that is left for them, and which comes first."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from onnxwright.approach import Approach, Fix
from onnxwright.findings import Finding
from onnxwright.manifest import Attempt
from onnxwright.stages.attempt import EXPORT_SECONDS, Outcome
from onnxwright.stages.repair import _Waiting, most_seconds

PLAIN = Approach("trace", 18)
MENDED = PLAIN.mended(Fix("piecewise", "sequence > 8"))
IN_OPERATORS = replace(PLAIN, route="dynamo").mended(Fix("control-flow", "model.py:3"))


def made(approach, seconds, *findings):
    entry = Attempt(approach.route, approach.opset, verdict="partial", message="", findings=findings)
    return Outcome(approach, entry, Path("model.onnx"), {}, {}, {}, export_seconds=seconds)


@pytest.mark.parametrize(
    ("known", "left", "most"),
    [
        (1.0, 120.0, 60.0),
        (20.0, 120.0, 80.0),
        (50.0, 120.0, 120.0),
        (50.0, 10.0, 30.0),
        (100.0, 900.0, EXPORT_SECONDS),
    ],
)
def test_a_long_export_takes_longer_with_a_repair(known, left, most):
    assert most_seconds(MENDED, [made(PLAIN, known)], left) == most


def test_what_another_export_takes_says_nothing():
    others = [made(replace(PLAIN, route="dynamo"), 50.0), made(MENDED, 50.0)]

    assert most_seconds(MENDED, others, 120.0) == 60.0


def test_without_repairs_the_time_for_them_does_not_matter():
    assert most_seconds(PLAIN, [], -5.0) == EXPORT_SECONDS


@pytest.mark.parametrize(("code", "first"), [("shape-branch-frozen", MENDED), ("loop-unrolled", IN_OPERATORS)])
def test_pieces_of_the_sizes_wait_where_a_loop_asks_for_many(code, first):
    waiting = _Waiting(SimpleNamespace(asked=None))
    waiting.add([MENDED, IN_OPERATORS])
    waiting.learn([made(PLAIN, 1.0, Finding(code, "it was decided once"))])

    assert next(iter(waiting)) == first
