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

_MOST_SECONDS: Final = 4.0
_MOST_SEEDS: Final = 40
_SCALES: Final = (3.0, 0.3, 10.0, 30.0)


def with_branches_taken(
    model: ir.Model, source: Source, sampler: Sampler, asked: Sequence[Sizes]
) -> tuple[Sampler, list[Finding]]:
    """Returns the sampler with inputs that take each branch on values so that an output shows it.

    A finding says which branches none takes that was drawn, over all regimes and several scales, for some seconds; or
    which can't be looked at, since ONNX Runtime refuses the graph.
    """
    count = count_branches(model)
    taking: list[Tensors] = []
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory() as folder:
        plain = _session(model, Path(folder) / "model.onnx") if count else None
        deadline = time.monotonic() + _MOST_SECONDS
        for number in range(count):
            spoiled, node, side = spoiled_branch(model, number)
            other = _session(spoiled, Path(folder) / "spoiled.onnx")
            drawn = itertools.chain(taking, _drawn(source, sampler, asked))
            taken = _first_taking(plain, other, drawn, deadline) if plain is not None and other is not None else None
            if taken is None:
                place = provenance_of(node)
                told = f"No input that was tried takes the '{side}' branch of '{node.name}'."
                findings.append(Finding("branch-not-taken", told, place.where, module=place.module))
            elif not any(taken is one for one in taking):
                taking.append(taken)
    return dataclasses.replace(sampler, taking=(*sampler.taking, *taking)), findings


def _first_taking(
    plain: OnnxRuntimeSession, spoiled: OnnxRuntimeSession, drawn: Iterator[Tensors], deadline: float
) -> Tensors | None:
    """The first inputs for which an output is another one with the branch spoiled."""
    for feeds in drawn:
        if time.monotonic() > deadline:
            break
        answer = _answer(plain, feeds)
        if answer is not None and _differs(answer, _answer(spoiled, feeds)):
            return feeds
    return None


def _differs(one: Tensors, other: Tensors | None) -> bool:
    return other is None or any(
        not np.array_equal(array, other[name], equal_nan=array.dtype.kind == "f") for name, array in one.items()
    )


def _drawn(source: Source, sampler: Sampler, asked: Sequence[Sizes]) -> Iterator[Tensors]:
    profile = source.profile
    sizes = [dict(source.traced), resting(profile), {dim: one.least for dim, one in profile.items()}, *asked]
    scaled = tuple(Values(f"times {scale:g}", scale=scale) for scale in _SCALES)
    for seed, values, one in itertools.product(range(_MOST_SEEDS), (*sampler.regimes, *scaled), sizes):
        yield sampler.draw(one, values, seed=seed)


def _session(model: ir.Model, file: Path) -> OnnxRuntimeSession | None:
    save_model(model, file)
    try:
        return OnnxRuntimeSession(file, Options(1), is_optimized=False)
    except EngineError:
        return None


def _answer(session: OnnxRuntimeSession, feeds: Tensors) -> Tensors | None:
    try:
        return session.run(feeds)
    except EngineError:
        return None
