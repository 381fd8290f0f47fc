"""One graph for each side of a question about sizes, joined under an ONNX `If`.

What Python decides by a size is right in an export only on the side of the sample. Two exports, one from a sample on
each side, are right together: `if x.shape[1] > 8:` becomes `piecewise=sequence > 8`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from onnxwright.errors import RouteError, UsageError
from onnxwright.proof.box import distance
from onnxwright.proof.lattice import Sizes, grid
from onnxwright.repairs import Exporter, Repair, Seen, repair
from onnxwright.routes import Exported, Noted
from onnxwright.source import Source
from onnxwright.words import in_sizes

if TYPE_CHECKING:
    from onnxwright.watching.conditions import Condition

_BETWEEN: Final = " | "
_MOST_QUESTIONS: Final = 12
"""So many nest at most."""
_MOST_LONE: Final = 8
"""So many sizes at most are exported one by one."""
_MOST_SAMPLES: Final = 6
_CONSTRAINED: Final = re.compile(r"L\['tensors'\]\[(\d+)\]\.size\(\)\[(\d+)\] as dynamic but your code specialized")


class Piecewise(Repair):
    """Exports each side of questions about sizes by itself."""

    name = "piecewise"
    summary = "exports each side of a question about sizes by itself, and joins the graphs under an `If`"
    rank = 25.5
    rank_beside = 0.2
    depth = 3
    decides = decides_by_pieces = True

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Yields the questions that account for the failures; else where the range that holds ends.

        Where `torch.export` fixes a size in a branch on it, the size of one is a piece of its own.
        """
        asked = [one for fix in seen.approach.fixes if fix.repair == self.name for one in fix.argument.split(_BETWEEN)]
        if seen.proof is None and not asked and any(repair(fix.repair).decides for fix in seen.approach.fixes):
            yield from _fixed(seen)
        if seen.proof is None or not seen.proof.failures:
            return
        for found in (list(_accounting(seen)), list(_edges(seen)), list(_lone(seen))):
            questions = [one for one in found if one not in asked]
            if questions:
                if len(asked) + len(questions) <= _MOST_QUESTIONS:
                    yield _BETWEEN.join(questions)
                return

    def around(self, export: Exporter, argument: str) -> Exporter:
        """Returns an export that makes one graph of those for each side of the questions.

        Raises:
            UsageError: when the argument holds no question about sizes.
        """

        def piecewise(source: Source) -> Exported:
            return _split(source, _questions(argument, source), export)

        return piecewise


def _questions(argument: str, source: Source) -> list[Condition]:
    from onnxwright.watching.conditions import asking

    try:
        return [asking(one, source.profile) for one in argument.split(_BETWEEN)]
    except ValueError as problem:
        raise UsageError(f"repair 'piecewise': {problem}; expected one such as `sequence > 8`.") from problem


def _accounting(seen: Seen) -> Iterator[str]:
    """The questions that account for the failures, as far as they can be read again."""
    from onnxwright.watching.conditions import accounting, asking

    if seen.asked is None or seen.proof is None:
        return
    for one in accounting(seen.asked.conditions, seen.source.traced, seen.proof):
        with contextlib.suppress(ValueError):
            asking(str(one), seen.source.profile)
            if _BETWEEN not in str(one):
                yield str(one)


def _fixed(seen: Seen) -> Iterator[str]:
    """The sizes of one in dims that `torch.export` says it was told to leave open, and has fixed."""
    inputs = seen.source.signature.inputs
    named = [inputs[int(place)].shape[int(axis)] for place, axis in _CONSTRAINED.findall(seen.message)]
    for dim in dict.fromkeys(named):
        if isinstance(dim, str) and seen.source.profile[dim].least == 1:
            yield f"{dim} > 1"


def _edges(seen: Seen) -> Iterator[str]:
    """The ends of the range that holds, where nothing in the code says why it ends there."""
    assert seen.proof is not None
    for dim, (low, high) in seen.proof.range.items():
        if low > seen.source.profile[dim].least:
            yield f"{dim} >= {low}"
        if high < seen.source.profile[dim].most:
            yield f"{dim} <= {high}"


def _lone(seen: Seen) -> Iterator[str]:
    """The sizes of one dim that fail whatever the others are, where they are few."""
    assert seen.proof is not None
    for dim in seen.source.profile:
        failed = {failure.sizes[dim] for failure in seen.proof.failures}
        if len(failed) <= _MOST_LONE and not failed & {sizes[dim] for sizes in seen.proof.sizes}:
            yield from (f"{dim} == {size}" for size in sorted(failed))
            return


def _split(source: Source, questions: Sequence[Condition], export: Exporter) -> Exported:
    from onnxwright.graph.joining import joined

    if not questions:
        return export(source)
    first, *others = questions
    sides = {side: _on_side(source, first, is_true=side) for side in (True, False)}
    pieces = {
        side: _without_certainties(_split(part, others, export), part)
        for side, part in sides.items()
        if part is not None
    }
    if not pieces:
        raise RouteError(f"`{first}` can be told at no size of the profile.")
    if len(pieces) < len(sides):
        return next(iter(pieces.values()))
    try:
        model = joined(first.code, pieces[True].model, pieces[False].model, source.signature)
    except ValueError as problem:
        raise RouteError(f"can't ask `{first}` in a graph: {problem}.") from problem
    both = [piece.noted for piece in pieces.values()]
    findings = dict.fromkeys(found for noted in both for found in noted.findings)
    assumed = dict.fromkeys(one for noted in both for one in noted.assumed if one.code != first.code)
    decided = dict.fromkeys(place for noted in both for place in noted.decided)
    taken = {dim: found for noted in both for dim, found in noted.taken.items()}
    return Exported(model, Noted(tuple(findings), tuple(assumed), taken, tuple(decided)))


def _without_certainties(exported: Exported, part: Source) -> Exported:
    """Leaves out what an export takes for granted where it is so at all sizes of its piece."""
    within = list(filter(part.is_within, grid(part.profile)))
    noted = exported.noted
    open_ones = [one for one in noted.assumed if not all(one.holds(sizes) for sizes in within)]
    return dataclasses.replace(exported, noted=dataclasses.replace(noted, assumed=tuple(open_ones)))


def _on_side(source: Source, question: Condition, *, is_true: bool) -> Source | None:
    """The source, to be exported from a sample where a question is answered so; None where it never is."""

    def is_within(sizes: Mapping[str, int]) -> bool:
        return source.is_within(sizes) and question.holds(sizes) is is_true

    part = dataclasses.replace(source, is_within=is_within)
    if is_within(source.traced):
        return part
    sizes = _answered(part)
    return None if sizes is None else dataclasses.replace(part, traced=sizes)


def _answered(source: Source) -> Sizes | None:
    """Sizes within a source's part that the module answers: distinct, larger than one and near the traced ones, if any.

    None where the part has no sizes.

    Raises:
        RouteError: when it has some, and the module refuses those that were tried.
    """
    from onnxwright.pytorch.session import taken_by

    found = sorted(filter(source.is_within, grid(source.profile)), key=lambda sizes: _coincidence(source, sizes))
    for sizes in found[:_MOST_SAMPLES]:
        if source.module is None or taken_by(source.module, source.sampler, sizes):
            return sizes
    if found:
        raise RouteError(f"the module refuses every size of a piece that was tried, such as {in_sizes(found[0])}.")
    return None


def _coincidence(source: Source, sizes: Sizes) -> tuple[int, float]:
    alike = len(sizes) - len(set(sizes.values())) + sum(size == 1 for size in sizes.values())
    return alike, distance(sizes, source.traced)


REPAIR = Piecewise()
