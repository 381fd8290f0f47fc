"""A candidate that was right for the samples that it was made with and for nothing else, made once more."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Final

from onnxwright.errors import EngineError, RouteError
from onnxwright.stages.lowering.candidates import made, mixed, within
from onnxwright.stages.lowering.mixing import refuse_late
from onnxwright.stages.lowering.search import Search
from onnxwright.stages.lowering.tried import Tried

_MOST_OVER: Final = 2.0
"""What loses more than so many times the budget on the samples that judge isn't made anew."""


def anew(search: Search, wrong: Tried) -> Tried | None:
    """What isn't right for what it wasn't made with, made anew; None where that can't be.

    What loses more on the samples that judge is to lose less by as much. What is wrong at some sizes is made with the
    points where something was, or, if samples don't matter for it, is to lose half as much.
    """
    assert wrong.calibrated is not None, "it was judged"
    assert wrong.judged is not None, "it was judged"
    with contextlib.suppress(EngineError, RouteError):
        if wrong.came != "over budget":
            return _with_points(search, wrong) or _with_less_lost(search, wrong, wrong.calibrated.amount / 2)
        if search.budget < wrong.judged.amount < _MOST_OVER * search.budget:
            return _with_less_lost(search, wrong, wrong.calibrated.amount * search.budget / wrong.judged.amount)
    return None


def _with_points(search: Search, wrong: Tried) -> Tried | None:
    """What a recipe makes of the samples and the points where something was wrong, within the budget."""
    count = len(search.material.calibration) - len(search.scoring.calibration)
    if not count or not wrong.recipe.is_calibrated:
        return None
    refuse_late(search.deadline)
    whole = made(search, Tried(wrong.recipe, wrong.execution))
    found = whole if whole.is_within else next(within(search, whole), None)
    told = f"made anew, calibrated by {count} points as well at which something was wrong"
    return None if found is None else replace(found, anew=told)


def _with_less_lost(search: Search, wrong: Tried, budget: float) -> Tried | None:
    """The same with more in float32, so that it stays within a smaller budget."""
    found = next(mixed(search, wrong, budget), None)
    told = f"made anew to lose at most {budget:.2g} on the samples that calibrate"
    return None if found is None else replace(found, anew=told)
