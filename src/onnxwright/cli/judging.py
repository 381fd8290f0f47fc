"""Commands that hold one thing against another, or against an engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxwright.cli.showing import Stages, builtins_of, show
from onnxwright.cli.words import (
    BatchRange,
    BuildTimeout,
    Device,
    DimRanges,
    Engines,
    Fallback,
    Json,
    Proving,
    Repro,
    Samples,
    Seed,
    SequenceRange,
    Task,
    Trust,
    ranges_of,
)
from onnxwright.errors import ModelError, UsageError

if TYPE_CHECKING:
    from onnxwright.stages.verdicts import Verdicts


def prove(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A package, or with --candidate anything that convert takes: a folder, a hub id, "
            "path/to/file.py:factory, or a .onnx file.",
        ),
    ],
    candidate: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="What is held against SOURCE: a .onnx file, or a package's graph."),
    ] = None,
    engine: Engines = None,
    proof: Proving = "normal",
    batch: BatchRange = None,
    sequence: SequenceRange = None,
    dim: DimRanges = None,
    task: Task = "auto",
    device: Device = "cpu",
    samples: Samples = None,
    seed: Seed = 0,
    save_repro: Repro = None,
    allow_fallback: Fallback = False,
    trust_remote_code: Trust = False,
    fail_under: Annotated[
        float,
        typer.Option(metavar="PERCENT", help="Exit with 1 where less of the sizes is shown right."),
    ] = 100.0,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a JUnit report, too, for continuous integration.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove a package again, or a candidate against a model.

    A package alone is proven on this machine, from the answers that it carries; that needs no PyTorch. With
    --candidate, a graph is held against the model that it is said to be, whoever exported it.

    For example: onnxwright prove ./my-model --candidate model.onnx --sequence 1 64 256 --junit report.xml
    """
    from onnxwright import environment
    from onnxwright.reports.junit import check_place, write_refusal, write_verdicts
    from onnxwright.stages.prove import prove as run
    from onnxwright.stages.question import Question
    from onnxwright.stages.verdicts import check_percent

    check_percent(fail_under)
    report = None if junit is None else environment.at_home(junit)
    if report is not None:
        check_place(report)
    question = Question(
        source=source,
        candidate=None if candidate is None else environment.at_home(candidate),
        ranges=ranges_of(batch, sequence, dim or []),
        task=task,
        engines=tuple(engine or ["auto"]),
        samples=None if samples is None else environment.at_home(samples),
        seed=seed,
        proof=proof,
        repro=None if save_repro is None else environment.at_home(save_repro),
        is_code_trusted=trust_remote_code,
        allows_fallback=allow_fallback,
        device=device,
    )
    begun = time.monotonic()
    try:
        verdicts = run(question, Stages())
    except ModelError as problem:
        if report is not None:
            write_refusal(report, source, problem, seconds=time.monotonic() - begun)
        raise
    if report is not None:
        write_verdicts(report, verdicts, least_percent=fail_under, seconds=time.monotonic() - begun)
    lines = [line for name in verdicts.proofs for line in _verdict_lines(name, verdicts)]
    document = {name: builtins_of(found) for name, found in verdicts.proofs.items()}
    show("\n".join(lines), document, as_json=as_json)
    _fail_under(verdicts, fail_under, is_candidate=candidate is not None)


def check(
    source: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="A .onnx file, or a package's graph.")],
    target: Annotated[str, typer.Option(metavar="NAME", help="tensorrt or tensorrt-rtx.")],
    build: Annotated[bool, typer.Option("--build", help="Ask the builder, too: what parses may not build.")] = False,
    batch: BatchRange = None,
    sequence: SequenceRange = None,
    dim: DimRanges = None,
    timeout: BuildTimeout = 300.0,
    as_json: Json = False,
) -> None:
    """Say which nodes of a graph TensorRT refuses.

    Exit codes: 0 taken; 1 refused; 2 the library isn't installed here to be asked.

    For example: onnxwright check model.onnx --target tensorrt-rtx --build
    """
    from onnxwright.stages.check import check as look

    report = look(source, target, ranges_of(batch, sequence, dim or []), is_built=build, seconds=timeout)
    show(report.text, builtins_of(report), as_json=as_json)
    if report.is_refused:
        raise typer.Exit(code=ModelError.exit_code)
    if report.parser == "not asked":
        raise typer.Exit(code=UsageError.exit_code)


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A .onnx file.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    as_json: Json = False,
) -> None:
    """Tell what two graphs differ in.

    Inputs and outputs, operators, opsets, and the numbers of weights are compared. The exit code is 0 whether they
    differ or not; `onnxwright prove A --candidate B` says whether they compute the same.
    """
    from onnxwright import environment
    from onnxwright.stages.diff import diff as tell

    report = tell(environment.at_home(first), environment.at_home(second))
    show(report.text, builtins_of(report), as_json=as_json)


def _verdict_lines(name: str, verdicts: Verdicts) -> Iterator[str]:
    from onnxwright.reports.columns import in_ranges
    from onnxwright.stages.verdicts import in_percent

    proof = verdicts.proofs[name]
    told = f"{name}: {proof.verdict} at {proof.points} points"
    if proof.range:
        told += f", {in_ranges(proof.range)}"
    if proof.verdict == "partial":
        told += f", {in_percent(verdicts.share(name))} of the sizes asked for"
    yield told + (f"; worst error {proof.worst.error:.1e} in {proof.worst.output}" if proof.worst else "")
    yield from (f"  {found.code}: {found.message}" for found in proof.findings)


def _fail_under(verdicts: Verdicts, percent: float, *, is_candidate: bool) -> None:
    from onnxwright.stages.verdicts import in_percent

    under = {
        name: name
        if verdicts.proofs[name].verdict == "failed"
        else f"{name} ({in_percent(verdicts.share(name))} of the sizes shown, {percent:g} % asked for)"
        for name in verdicts.under(percent)
    }
    if not under:
        return
    remedy = "Make the candidate anew" if is_candidate else "Convert the model again on this machine"
    lowered = "" if any(verdicts.proofs[name].verdict == "failed" for name in under) else ", or lower --fail-under"
    typer.echo(f"error: not proven here: {', '.join(under.values())}. {remedy}{lowered}.", err=True)
    raise typer.Exit(code=ModelError.exit_code)
