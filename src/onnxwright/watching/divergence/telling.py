"""Says where a graph leaves PyTorch, and what Python decided otherwise there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from onnxwright.dtypes import is_float
from onnxwright.graph.provenance import Provenance, provenance_of
from onnxwright.manifest import Divergence, Drift
from onnxwright.watching.divergence.pairing import Match
from onnxwright.watching.divergence.search import Search
from onnxwright.watching.recording import Step

_AROUND: Final = 3
"""So many steps before and after the one to blame are told with their errors."""


def described(search: Search, number: int | None) -> Divergence | None:
    """Returns what is known of the step to blame, or of the node in which ONNX Runtime stops; None without either."""
    stopped = search.stopped_node
    if number is None and stopped is None:
        return None
    numbers = [number] if number is not None else search.steps_of_stopped()
    match = search.matches[number] if number is not None else Match(np.inf, None, ())
    node = match.value.producer() if match.value is not None else stopped
    place = search.steps[number].place if number is not None else Provenance(None, None)
    place = provenance_of(node) if node is not None and place.module is None else place
    told = (
        [f"{_told(node, place)} {_amount(match, search.steps[number])}{_before(search, number)}."]
        if number is not None
        else []
    )
    if stopped is not None:
        told.append(f"ONNX Runtime stops at {_told(stopped, provenance_of(stopped))}.")
    cause, place = _cause(search, numbers[:1], node, place)
    return Divergence(
        sizes=dict(search.case.sizes),
        values=search.case.values,
        module=place.module or "",
        where=place.where,
        node=node.name if node is not None else None,
        error=finite(match.error),
        growth=tuple(_growth(search, number)) if number is not None else (),
        message=" ".join([*cause, *told]),
        operator=node.op_type if node is not None else None,
    )


def _cause(
    search: Search, numbers: Sequence[int], node: ir.Node | None, place: Provenance
) -> tuple[list[str], Provenance]:
    """Says what Python decided otherwise for the sample, and where; without such a decision the place stays."""
    unheld = [step for number in numbers for step in search.unheld(number)]
    if unheld:
        return [f"PyTorch runs {unheld[0].place.where} here, which the graph does not hold."], unheld[0].place
    baked = [step for number in numbers for step in search.baked(number)]
    if baked:
        return [f"The graph keeps what {baked[0].place.where} was for the sample."], baked[0].place
    unrun = search.unrun(node)
    if unrun:
        place = provenance_of(unrun[0])
        return [f"The graph computes {place.where} here, which PyTorch does not run at these sizes."], place
    return [], place


def _growth(search: Search, number: int) -> Iterator[Drift]:
    known = sorted(one for one in search.matches if one == number or search.steps[one].place.module is not None)
    at = known.index(number)
    for near in known[max(0, at - _AROUND) : at + _AROUND + 1]:
        place, match = search.steps[near].place, search.matches[near]
        if place.module is None and match.value is not None and (node := match.value.producer()) is not None:
            place = provenance_of(node)
        yield Drift(place.module or "", place.where, finite(match.error))


def _told(node: ir.Node | None, place: Provenance) -> str:
    what = _named(node) if node is not None else "What the graph computes"
    inside = f"in '{place.module}'" if place.module else "in the module itself"
    return f"{what} {inside}{f' at {place.where}' if place.where else ''}"


def _named(node: ir.Node) -> str:
    return f"{node.op_type} '{node.name}'"


def _amount(match: Match, step: Step) -> str:
    if match.shape != step.shape:
        return f"has the shape {list(match.shape)} where PyTorch has {list(step.shape)}"
    if np.isfinite(match.error):
        return f"is off by {match.error:.1e}"
    return f"differs in {'NaN or infinity' if is_float(step.dtype) else 'whole numbers'}"


def _before(search: Search, number: int) -> str:
    errors = [search.matches[other].error for other in search.agreeing if other < number]
    errors = [error for error in errors if np.isfinite(error)]
    return f", what was compared before it by at most {max(errors):.1e}" if errors else ""


def finite(error: float) -> float | None:
    """Returns an error as a manifest can hold it: None where it is no number, or infinite."""
    return float(error) if np.isfinite(error) else None
