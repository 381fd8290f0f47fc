"""Says why a candidate is wrong at some sizes: the line of Python that was decided, counted or computed only once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from onnxwright.findings import Finding
from onnxwright.manifest import Failure, Proof
from onnxwright.proof.box import contains, distance
from onnxwright.source import Source
from onnxwright.words import in_equations, in_sizes

if TYPE_CHECKING:
    from onnxwright.pytorch.lines import Kind, Place
    from onnxwright.routes import Noted
    from onnxwright.watching.conditions import Asked, Condition
    from onnxwright.watching.differences import Difference

Origin = Literal["trace", "dynamo", "script", "given"]
"""How a candidate came to be: by which route, or elsewhere."""

_MOST_EXPLANATIONS = 3
_FROZEN = ("shape-branch-frozen", "loop-unrolled", "constant-from-sample")
_DECIDED: dict[Kind, str] = {"branch": "The branch", "loop": "The loop", "other": "What is computed"}


def explain(source: Source, asked: Asked | None, proof: Proof, origin: Origin) -> tuple[Finding, ...]:
    """Returns the lines that account for the sizes at which a candidate failed, those that the code asks about first.

    A condition that the module's code asks of sizes accounts for a failure when it turns out otherwise there than at
    the traced sizes, and nowhere where the candidate agreed. Where none does, two traces are held against each other,
    from the traced sizes and from the nearest that failed; of a candidate that was not traced, only what differs at
    lines that ask about sizes. Of a foreign one nobody knows the sizes that it was made from.
    """
    if source.module is None or not proof.failures:
        return ()
    conditions = list(_accounting(asked, source, proof)) if asked is not None else []
    parted = _differences(source, _nearest(source, proof))
    found = [_of_condition(one, source, proof, parted, origin) for one in conditions]
    if not found:
        lines = {one.place.line for one in asked.conditions} if asked is not None else set()
        found = [
            _of_difference(one, source, proof, origin) for one in parted if origin == "trace" or one.place.line in lines
        ]
    return tuple({one.where: one for one in reversed(found)}.values())[::-1][:_MOST_EXPLANATIONS]


def _accounting(asked: Asked, source: Source, proof: Proof) -> Iterator[Condition]:
    from onnxwright.watching.conditions import accounting

    return accounting(asked.conditions, source.traced, proof)


def _nearest(source: Source, proof: Proof) -> Failure:
    return min(proof.failures, key=lambda failure: distance(failure.sizes, source.traced))


def _differences(source: Source, failure: Failure) -> list[Difference]:
    from onnxwright.pytorch.session import to_tensor
    from onnxwright.watching.differences import differences

    assert source.module is not None
    one, other = (
        {name: to_tensor(array) for name, array in source.sampler.draw(sizes).items()}
        for sizes in (source.traced, failure.sizes)
    )
    return differences(source.module, source.signature, one, other)


def _of_condition(
    condition: Condition, source: Source, proof: Proof, parted: Sequence[Difference], origin: Origin
) -> Finding:
    place, kind = condition.place, condition.place.line.kind
    turned = [failure for failure in proof.failures if condition.turns(source.traced, failure.sizes)]
    nearest = min(turned, key=lambda failure: distance(failure.sizes, source.traced))
    at = "true" if condition.holds(source.traced) else "false"
    evidence = (
        f"`{condition}` is {at} at the traced {in_equations(source.traced)}, and not at {in_equations(nearest.sizes)}."
    )
    told = next((one for one in parted if one.place.line == place.line), None)
    if told is not None:
        evidence += f" Of two traces {told.what}."
    code = "axes-merged" if condition.is_merge else _code(kind, nearest, source, proof)
    told_sizes = {dim: source.traced[dim] for dim in condition.dims}
    message = f"{_decided(place, kind, told_sizes, origin)}; {_right(proof, nearest)}."
    return place.finding(code, message, evidence=evidence)


def _of_difference(difference: Difference, source: Source, proof: Proof, origin: Origin) -> Finding:
    nearest = _nearest(source, proof)
    code = _code(difference.kind, nearest, source, proof)
    message = f"{_decided(difference.place, difference.kind, source.traced, origin)}; {_right(proof, nearest)}."
    evidence = f"Of two traces, at {in_equations(source.traced)} and {in_equations(nearest.sizes)}, {difference.what}."
    return difference.place.finding(code, message, evidence=evidence)


def _decided(place: Place, kind: Kind, sizes: Mapping[str, int], origin: Origin) -> str:
    if origin == "given":
        return f"{_DECIDED[kind]} at {place.line} depends on {', '.join(sizes)} in the module"
    verb = {"branch": "was decided", "loop": "was counted", "other": "is a constant, computed"}[kind]
    return f"{_DECIDED[kind]} at {place.line} {verb} once, at {in_equations(sizes)}"


def _code(kind: Kind, failure: Failure, source: Source, proof: Proof) -> str:
    if kind != "other":
        return "shape-branch-frozen" if kind == "branch" else "loop-unrolled"
    pinned = [dim for dim, size in source.traced.items() if failure.sizes[dim] != size and _is_pinned(dim, size, proof)]
    if not pinned or failure.kind == "values":
        return "constant-from-sample"
    first = {spec.shape[0] for spec in source.signature.inputs if spec.shape}
    return "batch-frozen" if pinned[0] in first else "dynamic-axis-lost"


def _is_pinned(dim: str, traced: int, proof: Proof) -> bool:
    """Whether a candidate was right with one size of a dim only."""
    return {sizes[dim] for sizes in proof.sizes} <= {traced}


def _right(proof: Proof, failure: Failure) -> str:
    where = f"right for {in_sizes(proof.range)}, " if proof.range else ""
    return f"{where}wrong for example at {in_equations(failure.sizes)}"


def merged(assumed: Sequence[Condition], asked: Asked) -> tuple[Finding, ...]:
    """Says which dims an exporter made one, at the line that asks for it."""
    pairs = {frozenset(one.dims): one for one in reversed(assumed) if one.is_merge}
    places = {frozenset(one.dims): one.place for one in reversed(asked.conditions) if one.is_merge}
    return tuple(
        places.get(dims, one.place).finding(
            "axes-merged",
            f"The exporter made one dim of {' and '.join(map(repr, sorted(dims)))}.",
            evidence=f"It takes for granted that `{one}`.",
        )
        for dims, one in pairs.items()
    )


def with_evidence(source: Source, asked: Asked | None, proof: Proof, noted: Noted | None, *, origin: Origin) -> Proof:
    """Returns a proof with the lines that account for its failures, and with what the export has seen.

    What was frozen, but shows at no size that was tried, is not shown to be harmless: the proof fails then. So it does
    over a range of a size of which Python makes a number, since any size in it may be decided otherwise: unless all of
    them were tried, with all of the other dims.
    """
    seen = noted.findings if noted is not None else ()
    taken = sizes_taken(asked, noted, origin) if noted is not None and not _is_exhaustive(proof) else {}
    found = [*explain(source, asked, proof, origin), *_narrowed(source, proof), *_unfollowed(asked, noted, origin)]
    proof = replace(proof, findings=tuple(_with_place(source, one) for one in proof.findings))
    hidden = [one for one in seen if one.code in _FROZEN] if not proof.failures else []
    hidden += [one for one in seen if one.blocks_proof]
    hidden += [one for dim, one in taken.items() if dim in proof.range and len(set(proof.range[dim])) > 1]
    if hidden:
        distinct = {(one.code, one.where): one for one in reversed(hidden)}
        return replace(proof, verdict="failed", range={}, findings=(*distinct.values(), *found, *proof.findings))
    told = {one.where for one in found}
    return replace(proof, findings=(*found, *(one for one in seen if one.where not in told), *proof.findings))


def sizes_taken(asked: Asked | None, noted: Noted, origin: Origin) -> dict[str, Finding]:
    """Returns the dims of which a graph may hold what Python decided for one size."""
    if asked is None or origin not in ("trace", "dynamo"):
        return dict(noted.taken)
    if origin == "dynamo":
        return {**asked.silent, **noted.taken}
    return {**asked.taken, **noted.taken}


def _unfollowed(asked: Asked | None, noted: Noted | None, origin: Origin) -> list[Finding]:
    """Tells where a trace decided by a size that nobody could follow."""
    if asked is None or noted is None or origin != "trace":
        return []
    from onnxwright.watching.taking import unfollowed

    return unfollowed(noted.decided, asked.follows)


def _is_exhaustive(proof: Proof) -> bool:
    """Whether a candidate agreed at every size of the range, in all combinations."""
    count = math.prod(high - low + 1 for low, high in proof.range.values())
    return sum(contains(proof.range, sizes) for sizes in proof.sizes) == count


def _narrowed(source: Source, proof: Proof) -> Iterator[Finding]:
    failure = next((one for one in proof.failures if one.kind == "narrowed"), None)
    if failure is None or source.module is None:
        return
    from onnxwright.pytorch.lines import found_at
    from onnxwright.watching.behaviour import Behaviour

    place = Behaviour(source.module, source.signature).first_wide(source.sampler.draw(failure.sizes))
    yield found_at(
        place, "dtype-narrowed", f"{proof.candidate}, for example at {in_equations(failure.sizes)}: {failure.message}."
    )


def _with_place(source: Source, finding: Finding) -> Finding:
    """Says where NaN comes from, which a proof can't see."""
    if finding.code != "non-finite-output" or source.module is None:
        return finding
    from onnxwright.watching.behaviour import Behaviour

    behaviour = Behaviour(source.module, source.signature)
    draws = (source.sampler.draw(source.traced, values) for values in source.sampler.regimes)
    place = next(filter(None, map(behaviour.first_nan, draws)), None)
    return finding if place is None else place.finding(finding.code, finding.message)
