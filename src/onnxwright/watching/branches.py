"""Inputs that take each branch of a graph that values decide: of a branch that none takes, nothing is known."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from onnxwright.backends import Options, Tensors
from onnxwright.backends.onnxruntime import OnnxRuntimeSession
from onnxwright.errors import EngineError
from onnxwright.findings import Finding
from onnxwright.graph.branches import count_branches, spoiled_branch
from onnxwright.graph.provenance import provenance_of
from onnxwright.graph.saving import save_model
from onnxwright.proof.lattice import Sizes, resting
from onnxwright.samples import Sampler, Values
from onnxwright.source import Source

_MOST_SECONDS: Final = 8.0
_MOST_SEEDS: Final = 40
_SCALES: Final = (3.0, 0.3, 10.0, 30.0)


def with_branches_taken(
    model: ir.Model, source: Source, sampler: Sampler, asked: Sequence[Sizes]
) -> tuple[Sampler, list[Finding]]:
    """Returns the sampler with inputs that take each branch on values so that an output shows it.

    A finding says which branches none takes that was drawn, over all regimes and several scales, for some seconds.
    """
    if not count_branches(model):
        return sampler, []
    with tempfile.TemporaryDirectory() as folder:
        try:
            plain = _session(model, Path(folder) / "model.onnx")
        except EngineError:
            return sampler, []  # an engine that refuses the graph says so
        waiting = [one for number in range(count_branches(model)) if (one := _Branch.of(model, number, Path(folder)))]
        taking: list[Tensors] = []
        deadline = time.monotonic() + _MOST_SECONDS
        for feeds in _drawn(source, sampler, asked):
            if not waiting or time.monotonic() > deadline:
                break
            answer = _answer(plain, feeds)
            taken = [branch for branch in waiting if answer is not None and branch.shows(feeds, answer)]
            if taken:
                taking.append(feeds)
                waiting = [branch for branch in waiting if branch not in taken]
    return dataclasses.replace(sampler, given=(*sampler.given, *taking)), [branch.finding for branch in waiting]


@dataclasses.dataclass(frozen=True)
class _Branch:
    """The graph with one branch that answers something else, and what to say where that never shows."""

    spoiled: OnnxRuntimeSession
    finding: Finding

    @classmethod
    def of(cls, model: ir.Model, number: int, folder: Path) -> _Branch | None:
        """Spoils a branch; None where ONNX Runtime won't have it, so that nothing can be told."""
        spoiled, node, side = spoiled_branch(model, number)
        place = provenance_of(node)
        told = f"No input that was tried takes the '{side}' branch of '{node.name}'."
        try:
            session = _session(spoiled, folder / f"{number}.onnx")
        except EngineError:
            return None
        return cls(session, Finding("branch-not-taken", told, place.where, module=place.module))

    def shows(self, feeds: Tensors, plain: Tensors) -> bool:
        """Whether an output is another one with this branch spoiled."""
        answer = _answer(self.spoiled, feeds)
        return answer is None or any(
            not np.array_equal(array, answer[name], equal_nan=array.dtype.kind == "f") for name, array in plain.items()
        )


def _drawn(source: Source, sampler: Sampler, asked: Sequence[Sizes]) -> Iterator[Tensors]:
    profile = source.profile
    sizes = [dict(source.traced), resting(profile), {dim: one.least for dim, one in profile.items()}, *asked]
    scaled = tuple(Values(f"times {scale:g}", scale=scale) for scale in _SCALES)
    for seed, values, one in itertools.product(range(_MOST_SEEDS), (*sampler.regimes, *scaled), sizes):
        yield sampler.draw(one, values, seed=seed)


def _session(model: ir.Model, file: Path) -> OnnxRuntimeSession:
    save_model(model, file)
    return OnnxRuntimeSession(file, Options(1), is_optimized=False)


def _answer(session: OnnxRuntimeSession, feeds: Tensors) -> Tensors | None:
    try:
        return session.run(feeds)
    except EngineError:
        return None
