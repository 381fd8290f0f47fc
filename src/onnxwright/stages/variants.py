"""The variants of a package: the graph as exported, and what was made of it for an engine; measured side by side."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from msgspec.structs import replace

from onnxwright import backends, environment, files
from onnxwright.backends import Options, Session
from onnxwright.casting import fitted
from onnxwright.errors import EngineError
from onnxwright.manifest import (
    EXPORTED,
    Default,
    EngineProof,
    Measurement,
    Optimization,
    Proof,
    Quantization,
    Variant,
)
from onnxwright.proof.box import Sizes, contains
from onnxwright.recipes import AUTO
from onnxwright.stages import measure as measuring
from onnxwright.stages.attempt import Outcome, Workbench
from onnxwright.stages.build import told_of
from onnxwright.stages.optimize import Optimized
from onnxwright.stages.quantize import Quantized

GRAPH: Final = "onnx/model.onnx"
OPTIMIZED: Final = "optimized"
SHORT: Final = {"float16": "fp16", "bfloat16": "bf16", "int8": "int8", "int4": "int4"}
"""How variants in a precision are called."""
_TIMED_SECONDS = 12.0


class Runner(NamedTuple):
    """A variant in an engine, in one of the precisions in which that can execute it."""

    variant: str
    engine: str
    precision: str = "float32"

    def __str__(self) -> str:
        return " ".join(self)


@dataclass(frozen=True)
class Variants:
    """The variants by name, the one to use unless told otherwise, and what was tried for each engine."""

    by_name: Mapping[str, Variant]
    default: Default
    optimizations: Mapping[str, Optimization]
    quantizations: Mapping[str, Quantization]
    preferred: frozenset[str] = frozenset()
    """The variants of which one is to be used, since its precision was asked for; any where there is none."""


def variants_of(
    bench: Workbench, chosen: Outcome, optimized: Sequence[Optimized], lowered: Sequence[Quantized] = ()
) -> Variants:
    """Writes the graphs that were made beside the one as exported; the default is that one until it's measured."""
    exported = _exported(bench, chosen)
    found, records = {EXPORTED: exported}, {one.engine: one.record for one in optimized}
    for one in optimized:
        if one.model is not None and one.proof is not None:
            name = _free(OPTIMIZED, one.engine, found)
            found[name] = _written(bench, name, one, exported.precision)
            records[one.engine] = replace(one.record, variant=name)
    quantizations = {one.engine: one.record for one in lowered}
    for done in lowered:
        if done.kept is not None:
            name = _free(SHORT[done.precision], done.engine, found)
            found[name] = _lowered(bench, name, done)
            quantizations[done.engine] = replace(done.record, variant=name)
    asked = frozenset(one.variant for one in quantizations.values() if one.variant and one.asked != AUTO)
    return Variants(found, fastest(found, {}, asked), records, quantizations, asked)


def _free(name: str, engine: str, taken: Mapping[str, Variant]) -> str:
    return name if name not in taken else f"{name}-{engine}"


def _exported(bench: Workbench, chosen: Outcome) -> Variant:
    shown = {name: EngineProof(executed=True, proof=proof) for name, proof in chosen.proofs.items()}
    refused = {
        name: EngineProof(executed=False, proof=None, message=reason) for name, reason in chosen.refusals.items()
    }
    built = {name: EngineProof(executed=False, proof=None, message=told_of(one)) for name, one in chosen.built.items()}
    precision = chosen.ran[chosen.engine].precision
    digest = files.digest(bench.folder / GRAPH)
    return Variant(GRAPH, precision, digest, chosen.proof, engines={**shown, **refused, **built})


def _written(bench: Workbench, name: str, one: Optimized, precision: str) -> Variant:
    assert one.model is not None, "written where there is one"
    assert one.proof is not None, "and only after it was shown right"
    from onnxwright.graph.sharing import save_variant

    given = bench.folder / GRAPH
    file = given.with_name(f"{given.stem}_{name.replace('-', '_')}.onnx")
    save_variant(one.model, file, given, largest=bench.request.largest_file)
    engines = {one.engine: EngineProof(executed=True, proof=one.proof)}
    place = file.relative_to(bench.folder).as_posix()
    return Variant(place, precision, files.digest(file), one.proof, engines=engines)


def _lowered(bench: Workbench, name: str, one: Quantized) -> Variant:
    """Writes a graph in lower precision; one that is only executed so has the file of the graph as exported."""
    assert one.kept is not None, "written where one is kept"
    assert one.model is not None, "it has a graph"
    assert one.proof is not None, "and only after it was shown right"
    from onnxwright.graph.boundary import float_type
    from onnxwright.graph.sharing import save_variant

    given = bench.folder / GRAPH
    file = given
    if not one.is_as_exported:
        file = given.with_name(f"{given.stem}_{name.replace('-', '_')}.onnx")
        save_variant(one.model, file, given, largest=bench.request.largest_file)
    return Variant(
        file.relative_to(bench.folder).as_posix(),
        one.precision,
        files.digest(file),
        one.proof,
        engines={one.engine: EngineProof(executed=True, proof=one.proof)},
        execution=one.kept.execution,
        accuracy=one.kept.judged,
        io=float_type(one.model, bench.source.signature),
    )


def measured(bench: Workbench, made: Variants) -> Variants:
    """Measures variants beside the reference; returns them with that, the fastest at the usual size as the default.

    An engine is measured where it was shown right at all sizes that are measured: elsewhere, it may do anything.
    """
    source, seed, variants = bench.source, bench.request.seed, made.by_name
    feeds = measuring.drawn(source, variants[EXPORTED].proof.range, seed=seed)
    runners = {str(one): one for one in runners_at(variants, [sizes for sizes, _ in feeds])}
    with _baseline(bench) as baseline:
        name = baseline.ran.backend if source.graph is None else baseline.ran.provider
        sessions = {name: baseline, **dict(_prepared(bench, variants, runners))}
        plan = measuring.Plan(seconds=_TIMED_SECONDS, seed=seed)
        found = measuring.measure(sessions, feeds, baseline=name, plan=plan)
    rows: dict[str, list[Measurement]] = {variant: [] for variant in variants}
    rows[EXPORTED].append(found[name])
    for key in (key for key in found if key in runners):
        rows[runners[key].variant].append(found[key])
    told = {variant: replace(one, measurements=tuple(rows[variant])) for variant, one in variants.items()}
    by_runner = {runners[key]: one for key, one in found.items() if key in runners}
    return dataclasses.replace(made, by_name=told, default=fastest(variants, by_runner, made.preferred))


def runners_at(variants: Mapping[str, Variant], many: Sequence[Sizes]) -> Iterator[Runner]:
    """The variants in the engines in which they were shown right at all of these sizes, and lower precisions."""
    for name, variant in variants.items():
        for engine, proof in _shown(variant).items():
            if not all(contains(proof.range, sizes) for sizes in many):
                continue
            precisions = backends.engine(engine).precisions if name == EXPORTED else (variant.execution,)
            yield from (Runner(name, engine, precision) for precision in precisions)


def _prepared(
    bench: Workbench, variants: Mapping[str, Variant], runners: Mapping[str, Runner]
) -> Iterator[tuple[str, Session]]:
    for key, one in runners.items():
        options = Options(environment.cores(), one.precision, allows_fallback=bench.request.allows_fallback)
        variant = variants[one.variant]
        with contextlib.suppress(EngineError):
            session = backends.engine(one.engine).prepare(bench.folder / variant.file, options)
            yield key, fitted(session, bench.source.signature, variant.io)


def fastest(
    variants: Mapping[str, Variant], found: Mapping[Runner, Measurement], preferred: Collection[str] = ()
) -> Default:
    """The greatest speed-up at the usual size, where as much was shown as anywhere, among what is preferred if any."""
    most = variants[EXPORTED].proof.extent
    widest = [
        Runner(name, engine, one.execution)
        for name, one in variants.items()
        for engine, proof in _shown(one).items()
        if proof.extent >= most
    ]
    chosen = [runner for runner in widest if runner.variant in preferred] or widest
    best = max(chosen, key=lambda one: found[one].latencies[-1].speedup if one in found else 0.0)
    return Default(best.variant, best.engine)


def _shown(variant: Variant) -> dict[str, Proof]:
    proofs = {name: found.proof for name, found in variant.engines.items() if found.proof is not None}
    return {name: proof for name, proof in proofs.items() if proof.verdict != "failed"}


@contextlib.contextmanager
def _baseline(bench: Workbench) -> Iterator[Session]:
    """The reference as a user would call it: for a module, without what makes each call start from one state."""
    source, ran = bench.source, bench.reference.session.ran
    if source.module is None:
        yield bench.reference.session
        return
    from onnxwright.pytorch.devices import on_device
    from onnxwright.pytorch.modules import as_called
    from onnxwright.pytorch.session import UnguardedSession

    module = on_device(source.module, ran.provider)
    with as_called(module):
        yield UnguardedSession(module, source.signature, threads=ran.threads, device=ran.provider)
