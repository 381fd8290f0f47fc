"""Says of a proof that fails where the candidate first leaves PyTorch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from onnxwright import environment
from onnxwright.backends import Session, Tensors
from onnxwright.manifest import Divergence, Failure, Proof
from onnxwright.proof.bench import GIVEN
from onnxwright.proof.lattice import volume
from onnxwright.source import Source

if TYPE_CHECKING:
    from onnxwright.watching.divergence import Case

_MOST_CASES = 3
_MOST_SECONDS = 5.0
"""After this no further point is tried."""


def located(
    proofs: Mapping[str, Proof], sessions: Mapping[str, Session], source: Source, file: Path
) -> dict[str, Proof]:
    """Adds to each proof that has failures where the candidate first leaves PyTorch, and to the finding that says so.

    `file` is the graph that the sessions, of the same names, run.
    """
    return {name: _located(proof, sessions[name], source, file) for name, proof in proofs.items()}


def cases_of(proof: Proof, engine: Session, source: Source, file: Path) -> Iterator[Case]:
    """Yields the points at which a candidate was wrong, as they were then, small sizes first."""
    if source.module is None:
        return
    from onnxwright.watching.divergence import Case

    for failure in sorted(proof.failures, key=lambda failure: volume(failure.sizes))[:_MOST_CASES]:
        for feeds in _drawn(failure, source):
            yield Case(
                module=source.module,
                signature=source.signature,
                file=file,
                feeds=feeds,
                sizes=failure.sizes,
                values=failure.values,
                limits=proof.tolerance.limits,
                engine=engine,
                threads=environment.cores(),
            )


def _located(proof: Proof, engine: Session, source: Source, file: Path) -> Proof:
    found, deadline = None, time.monotonic() + _MOST_SECONDS
    for case in cases_of(proof, engine, source, file):
        found = _divergence(case)
        if found is not None or time.monotonic() > deadline:
            break
    if found is None:
        return proof
    findings = tuple(
        replace(one, where=found.where, module=found.module, evidence=found.message)
        if one.code == "outputs-differ"
        else one
        for one in proof.findings
    )
    return replace(proof, divergence=found, findings=findings)


def _divergence(case: Case) -> Divergence | None:
    from onnxwright.watching.divergence import first_divergence

    try:
        return first_divergence(case)
    except Exception:  # noqa: BLE001 - a module may not bear being watched; its proof stands without an explanation
        return None


def _drawn(failure: Failure, source: Source) -> Iterator[Tensors]:
    sampler = source.sampler
    if failure.values == GIVEN.name:
        yield from (feeds for feeds in sampler.given if sampler.signature.bind(feeds) == failure.sizes)
    for values in sampler.regimes:
        if values.name == failure.values:
            yield sampler.draw(failure.sizes, values, seed=failure.seed)
