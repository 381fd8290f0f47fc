"""What a recipe makes for an engine: all of it lowered first, then with what is too costly left in float32."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onnxwright import backends
from onnxwright.errors import EngineError, FutileError, RouteError, UsageError
from onnxwright.recipes import Recipe
from onnxwright.rewrites import Lowered
from onnxwright.stages.lowering.mixing import mixes, refuse_late
from onnxwright.stages.lowering.search import Search
from onnxwright.stages.lowering.tried import Tried, lost_of

if TYPE_CHECKING:
    import onnx_ir

_MOST_ISLANDS: Final = 16
"""So many graphs are judged to find what has to stay in float32, where nothing foretells it."""


def of_recipe(search: Search, recipe: Recipe) -> Iterator[Tried]:
    """Yields what a recipe makes for the engine, once for each type that this may execute the rest in."""
    refusal = recipe.refusal(search.engine)
    if refusal is not None:
        yield Tried(recipe, recipe.executions[0], came="refused", message=refusal)
        return
    offered = backends.engine(search.engine).precisions
    for execution in (one for one in recipe.executions if one in offered or one == "float32"):
        start = Tried(recipe, execution)
        if execution not in offered:
            yield replace(start, came="refused", message=f"it doesn't execute in {execution}.")
        elif time.monotonic() > search.deadline:
            yield replace(
                start, came="not measured", message="the time for the search ran out; allow more with --search-time."
            )
        else:
            yield made(search, start)


def made(search: Search, start: Tried) -> Tried:
    """Makes a graph of all that a recipe lowers, and judges it by the samples that calibrate it."""
    try:
        found = _loaded(search, start, {})
    except (EngineError, RouteError, UsageError) as refusal:
        is_futile = isinstance(refusal, FutileError)
        return replace(start, came="refused", message=str(refusal), is_futile=is_futile)
    assert found.calibrated is not None, "it was loaded"
    if found.calibrated.amount <= search.budget:
        return found
    told = f"{lost_of(found.calibrated, search.budget)} on the samples that it is made with."
    return replace(found, came="over budget", message=found.calibrated.message or told)


def mended(search: Search, tried: Sequence[Tried]) -> list[Tried]:
    """What was made, and in the place of what loses too much the same with more in float32, where there is such.

    All is made before anything is mended, and what lacks least is mended first: that takes long, and the time may end.
    """
    over = [one for one in tried if one.calibrated is not None and one.came == "over budget"]
    found = {one.name: _with_more_kept(search, one) for one in sorted(over, key=lambda one: one.lost)}
    return [found.get(one.name, one) for one in tried]


def _with_more_kept(search: Search, over: Tried) -> Tried:
    try:
        return next(within(search, over), over)
    except (EngineError, RouteError) as refusal:
        return replace(over, message=f"{over.message} With more in float32: {refusal}")


def _loaded(search: Search, start: Tried, kept: Mapping[str, str]) -> Tried:
    return calibrated(search, start, search.material.lowered_by(start.recipe, kept))


def calibrated(search: Search, start: Tried, lowered: Lowered) -> Tried:
    """What was lowered, with what it loses on the samples that calibrate.

    Raises:
        EngineError: when the engine refuses it.
    """
    session, size = search.prepared(lowered.model, start.execution)
    scores = [search.scoring.calibrate(one) for one in (session, *search.witnesses(start.recipe, lowered.model))]
    accuracy, _ = max(scores, key=lambda score: score[0].amount)
    _, errors = scores[-1]
    return replace(start, lowered=lowered, size=size, calibrated=accuracy, errors=errors)


def within(search: Search, found: Tried) -> Iterator[Tried]:
    """Yields what stays within the budget once some nodes are left in float32."""
    yield from mixed(search, found, search.budget)
    if found.recipe.has_islands:
        yield from _with_islands(search, found)


def mixed(search: Search, found: Tried, budget: float) -> Iterator[Tried]:
    """Yields what stays within a budget once the costliest products are left in float32."""
    for kept in mixes(search.material, found.recipe, search.loss, budget, deadline=search.deadline):
        refuse_late(search.deadline)
        tried = _loaded(search, Tried(found.recipe, found.execution), kept)
        if tried.calibrated is not None and tried.calibrated.amount <= budget:
            yield tried


def _with_islands(search: Search, found: Tried) -> Iterator[Tried]:
    from onnxwright.graph.precision.islands import grown

    if found.lowered is None or found.lowered.model is search.material.model:
        return

    def is_right(model: onnx_ir.Model) -> bool:
        if time.monotonic() > search.deadline:
            return False
        own, _ = search.prepared(model, found.execution)
        return all(search.loss(one) <= search.budget for one in (*search.witnesses(found.recipe, model), own))

    mixed_types = grown(lambda kept: found.recipe.make(search.material, kept), is_right, most_trials=_MOST_ISLANDS)
    if mixed_types.is_right:
        yield calibrated(search, Tried(found.recipe, found.execution), mixed_types.lowered)
