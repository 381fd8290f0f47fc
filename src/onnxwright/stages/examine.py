"""What is found out about a source before anything is held against it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import structs

from onnxwright import environment
from onnxwright.backends import Array
from onnxwright.corpus import Corpus
from onnxwright.errors import ProofError
from onnxwright.findings import Finding
from onnxwright.proof.prove import BUDGETS, Plan
from onnxwright.reference import Reference
from onnxwright.samples import Floats, Integers, Meaning, meaning_of
from onnxwright.source import Source
from onnxwright.watching.examination import examine

if TYPE_CHECKING:
    from onnxwright.watching.conditions import Asked

_ASKING_SECONDS: Final = 2.0


def examined(source: Source) -> tuple[Finding, ...]:
    """Returns what is noteworthy about a module or a graph, and refuses one to which nothing can be equal.

    Raises:
        ProofError: when its answers differ from call to call.
    """
    findings = _drawn_in(source.graph) if source.graph is not None else examine(source, threads=environment.cores())
    blocking = tuple(found for found in findings if found.blocks_proof)
    if blocking:
        told = " ".join(found.message for found in blocking)
        raise ProofError(
            f"'{source.name}' is no function of its inputs, so nothing can be equal to it. {told}", findings=blocking
        )
    return findings


def _drawn_in(graph: Path) -> tuple[Finding, ...]:
    from onnxwright.graph.drawing import random_findings
    from onnxwright.graph.reading import read_model

    return tuple(random_findings(read_model(graph)))


def asked_of(source: Source) -> Asked | None:
    """What the module's own code asks of sizes, as far as it can be followed."""
    if source.module is None or not source.profile:
        return None
    from onnxwright.watching.walking import ask

    return ask(source.module, source.sampler, source.profile, source.traced, _ASKING_SECONDS)


def rows_of(source: Source, reference: Reference) -> tuple[Finding, ...]:
    """Says whether rows of a module's answer influence each other."""
    if source.module is None:
        return ()
    from onnxwright.watching.behaviour import rows_finding

    return rows_finding(source, reference)


def with_compared_numbers(source: Source) -> Source:
    """Returns the source with a sampler that knows the numbers with which the module, or the graph, compares."""
    if source.module is not None:
        from onnxwright.watching.behaviour import Behaviour

        numbers = Behaviour(source.module, source.signature).compared(source.sampler.draw(source.traced))
    elif source.graph is not None:
        from onnxwright.graph.compared import compared_numbers
        from onnxwright.graph.reading import read_model

        numbers = tuple(dict.fromkeys(compared_numbers(read_model(source.graph))))
    else:
        return source
    return dataclasses.replace(source, sampler=dataclasses.replace(source.sampler, numbers=numbers))


def drawn_like(source: Source, corpus: Corpus) -> Source:
    """Returns the source of a graph, of which no example is known, drawn from as a user's samples are."""
    if source.graph is None:
        return source
    meanings = dict(source.sampler.meanings)
    for name, meaning in meanings.items():
        if isinstance(meaning, Floats | Integers):
            arrays = [one[name].ravel() for one in (*corpus.calibration, *corpus.judged)]
            meanings[name] = _as_in(np.concatenate(arrays), meaning)
    return dataclasses.replace(source, sampler=dataclasses.replace(source.sampler, meanings=meanings))


def _as_in(example: Array, meaning: Floats | Integers) -> Meaning:
    if isinstance(meaning, Floats):
        return meaning_of(example, name="")
    least, most = int(example.min(initial=meaning.least)), int(example.max(initial=meaning.most))
    return structs.replace(meaning, least=least, most=most)


def looked_into(file: Path, source: Source, plan: Plan) -> tuple[Source, tuple[Finding, ...]]:
    """Looks into a graph before it is proven: what it compares, what takes its branches, whether it is ONNX at all.

    Returns the source with a sampler that knows this, and what was found.
    """
    from onnxwright.graph.compared import compared_numbers
    from onnxwright.graph.reading import read_model
    from onnxwright.graph.validity import invalidities
    from onnxwright.watching.branches import with_branches_taken

    model = read_model(file)
    numbers = tuple(dict.fromkeys((*source.sampler.numbers, *compared_numbers(model))))
    sampler = dataclasses.replace(source.sampler, numbers=numbers)
    sampler, untaken = with_branches_taken(model, source, sampler, plan.asked)
    return dataclasses.replace(source, sampler=sampler), (*invalidities(file), *untaken)


def plan_of(source: Source, asked: Asked | None, *, proof: str, seed: int = 0, is_exhaustive: bool = False) -> Plan:
    """Returns what a proof of a source is to cover, `proof` being the name of its budget."""
    sizes, conditions = (asked.sizes, asked.conditions) if asked is not None else ((), ())
    return Plan(source.profile, source.traced, BUDGETS[proof], seed, sizes, conditions, is_exhaustive=is_exhaustive)
