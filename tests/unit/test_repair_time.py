"""How long an export with repairs may take, of the time that is left for them."""

from dataclasses import replace
from pathlib import Path

import pytest

from onnxwright.approach import Approach, Fix
from onnxwright.manifest import Attempt
from onnxwright.stages.attempt import EXPORT_SECONDS, Outcome
from onnxwright.stages.repair import most_seconds

PLAIN = Approach("trace", 18)
MENDED = PLAIN.mended(Fix("piecewise", "sequence > 8"))


def made(approach, seconds):
    entry = Attempt(approach.route, approach.opset, verdict="partial", message="")
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
