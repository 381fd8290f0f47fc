"""Commands that make packages and engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxwright.cli.failing import with_journal
from onnxwright.cli.showing import Stages, builtins_of, show
from onnxwright.cli.words import (
    BatchRange,
    BuildTimeout,
    Device,
    DimRanges,
    Engines,
    Fallback,
    Json,
    Labels,
    MostLoss,
    Precision,
    Proving,
    Repro,
    Samples,
    SearchTime,
    Seed,
    SequenceRange,
    Task,
    Trust,
    ranges_of,
)


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A Hugging Face folder, a hub id, path/to/file.py:factory (a callable that returns "
            "`module, example_inputs` or `module, example_inputs, dims`), or a .onnx file.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The package folder to write.")],
    task: Task = "auto",
    batch: BatchRange = None,
    sequence: SequenceRange = None,
    dim: DimRanges = None,
    route: Annotated[
        str, typer.Option(help="auto, trace, dynamo or script; auto tries them until one is proven.")
    ] = "auto",
    opset: Annotated[
        int | None, typer.Option(help="ONNX opset to write; 18 unless given; a .onnx file keeps its own.")
    ] = None,
    device: Device = "cpu",
    engine: Engines = None,
    precision: Precision = "auto",
    max_accuracy_loss: MostLoss = None,
    labels: Labels = None,
    search_time: SearchTime = 300.0,
    samples: Samples = None,
    seed: Seed = 0,
    proof: Proving = "normal",
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="Measure the engines side by side.")] = True,
    optimize: Annotated[
        bool, typer.Option("--optimize/--no-optimize", help="Rewrite the graph for each engine, as optimize does.")
    ] = False,
    save_repro: Repro = None,
    replay: Annotated[
        str | None, typer.Option(metavar="ATTEMPT", help="Make one attempt only, as a journal says it.")
    ] = None,
    repair_time: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="No new attempt is begun after so long.")
    ] = 300.0,
    allow_fallback: Fallback = False,
    trust_remote_code: Trust = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the package that lies at DIR.")] = False,
    as_json: Json = False,
) -> None:
    """Convert a model to a proven package.

    For example: onnxwright convert ./my-model -o ./my-package --sequence 1 64 256
    """
    from onnxwright.api import convert as run
    from onnxwright.stages.inspect import inspect as look

    package = with_journal(run)(
        source,
        out,
        profile=ranges_of(batch, sequence, dim or []),
        task=task,
        route=route,
        opset=opset,
        device=device,
        engine=engine or ["auto"],
        precision=precision,
        max_accuracy_loss=max_accuracy_loss,
        labels=labels,
        search_seconds=search_time,
        samples=samples,
        seed=seed,
        proof=proof,
        measure=measure,
        optimize=optimize,
        trust_remote_code=trust_remote_code,
        save_repro=save_repro,
        replay=replay,
        repair_seconds=repair_time,
        allow_fallback=allow_fallback,
        force=force,
        progress=Stages(),
    )
    report = look(package.folder)
    show(report.text, {"package": str(out), **builtins_of(package.manifest)}, as_json=as_json)


def optimize(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A .onnx file, or what convert takes, which is converted first."),
    ],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The package folder to write.")],
    engine: Engines = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option("--outputs", metavar="NAME", help="An output of a .onnx file to keep."),
    ] = None,
    batch: BatchRange = None,
    sequence: SequenceRange = None,
    dim: DimRanges = None,
    samples: Samples = None,
    seed: Seed = 0,
    proof: Proving = "normal",
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Keep what is measured to be faster; else only simplify.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace the package that lies at DIR.")] = False,
    as_json: Json = False,
) -> None:
    """Rewrite a graph for each engine, and keep what is shown right and measured to be faster.

    For example: onnxwright optimize model.onnx -o ./my-package --engine onnxruntime
    """
    from onnxwright.api import optimize as work
    from onnxwright.stages.inspect import inspect as look

    package = with_journal(work)(
        source,
        out,
        profile=ranges_of(batch, sequence, dim or []),
        engine=engine or ["auto"],
        outputs=outputs or [],
        samples=samples,
        seed=seed,
        proof=proof,
        measure=measure,
        force=force,
        progress=Stages(),
    )
    show(look(package.folder).text, {"package": str(out), **builtins_of(package.manifest)}, as_json=as_json)


def quantize(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A .onnx file, a package, or what convert takes, which is converted first."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The package folder to write.")],
    precision: Precision = "auto",
    max_accuracy_loss: MostLoss = None,
    labels: Labels = None,
    search_time: SearchTime = 300.0,
    engine: Engines = None,
    batch: BatchRange = None,
    sequence: SequenceRange = None,
    dim: DimRanges = None,
    samples: Samples = None,
    seed: Seed = 0,
    proof: Proving = "normal",
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Keep the fastest; else the first within the budget.")
    ] = True,
    trust_remote_code: Trust = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the package that lies at DIR.")] = False,
    as_json: Json = False,
) -> None:
    """Lower the precision of a model for each engine: the fastest that stays within an accuracy budget.

    For example: onnxwright quantize model.onnx -o ./my-package --precision int8 --max-accuracy-loss 0.01
    """
    from onnxwright.api import quantize as work
    from onnxwright.stages.inspect import inspect as look

    package = with_journal(work)(
        source,
        out,
        precision=precision,
        max_accuracy_loss=max_accuracy_loss,
        labels=labels,
        search_seconds=search_time,
        profile=ranges_of(batch, sequence, dim or []),
        engine=engine or ["auto"],
        samples=samples,
        seed=seed,
        proof=proof,
        measure=measure,
        trust_remote_code=trust_remote_code,
        force=force,
        progress=Stages(),
    )
    show(look(package.folder).text, {"package": str(out), **builtins_of(package.manifest)}, as_json=as_json)


def build(
    source: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="A .onnx file, or a package.")],
    engine: Annotated[str, typer.Option(help="tensorrt or tensorrt-rtx.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="The engine folder to write; a package has engines/NAME."),
    ] = None,
    variant: Annotated[str | None, typer.Option(help="A variant of the package; its default one unless given.")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="sm80, sm86 … ; may be given several times. Without: any GPU, or the one at hand."),
    ] = None,
    batch: BatchRange = None,
    sequence: SequenceRange = None,
    dim: DimRanges = None,
    bucket: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Ends a profile at this sequence length; several times.")
    ] = None,
    lengths: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your lengths, one a line: profiles for equal shares of them.")
    ] = None,
    tf32: Annotated[bool, typer.Option("--tf32/--no-tf32", help="Allow products with 10 bits of mantissa.")] = False,
    workspace: Annotated[int | None, typer.Option(metavar="MIB", help="The most memory that a layer may use.")] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild/--no-rebuild", help="Build twice, and compare the bytes.")] = True,
    timeout: BuildTimeout = 300.0,
    force: Annotated[bool, typer.Option("--force", help="Replace the engine that lies there.")] = False,
    as_json: Json = False,
) -> None:
    """Build an engine of a graph, in its precision and for its range; a GPU is needed to run it, not always to build.

    For example: onnxwright build ./my-package --engine tensorrt-rtx --target sm89
    """
    from onnxwright.reports.summary import engine_text
    from onnxwright.stages.build import BuildRequest
    from onnxwright.stages.build import build as work

    request = BuildRequest(
        source=source,
        engine=engine,
        out=out,
        variant=variant,
        ranges=ranges_of(batch, sequence, dim or []),
        targets=tuple(target or ()),
        is_tf32=tf32,
        workspace_mib=workspace,
        buckets=tuple(bucket or ()),
        lengths=lengths,
        is_forced=force,
        seconds=timeout,
        is_rebuilt=rebuild,
    )
    built = work(request, Stages())
    document = {"engine": str(built.folder), **builtins_of(built.manifest)}
    show(engine_text(built), document, as_json=as_json)
