"""Commands that make packages and engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    LowerIo,
    MostLoss,
    Optimizing,
    Precision,
    Proving,
    Repro,
    Samples,
    SearchTime,
    Seed,
    SequenceRange,
    SingleFile,
    Task,
    Trust,
    ranges_of,
)

if TYPE_CHECKING:
    from onnxwright.artifact import Package


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
        str, typer.Option(metavar="NAME", help="auto, trace, dynamo or script; auto tries them until one is proven.")
    ] = "auto",
    opset: Annotated[
        int | None, typer.Option(metavar="N", help="ONNX opset to write; 18 unless given; a .onnx file keeps its own.")
    ] = None,
    device: Device = "cpu",
    engine: Engines = None,
    precision: Precision = "auto",
    max_accuracy_loss: MostLoss = None,
    labels: Labels = None,
    search_time: SearchTime = 300.0,
    lower_io: LowerIo = False,
    samples: Samples = None,
    seed: Seed = 0,
    proof: Proving = "normal",
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="Measure the engines side by side.")] = True,
    optimize: Optimizing = False,
    save_repro: Repro = None,
    replay: Annotated[
        str | None,
        typer.Option(metavar="ATTEMPT", help="Make one attempt alone, as a journal writes it."),
    ] = None,
    repair_time: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Begin no further attempt after this time.")
    ] = 300.0,
    allow_fallback: Fallback = False,
    single_file: SingleFile = False,
    trust_remote_code: Trust = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the package that lies at DIR.")] = False,
    as_json: Json = False,
) -> None:
    """Convert a model to a proven package.

    For example: onnxwright convert ./my-model -o ./my-package --sequence 1 64 256
    """
    from onnxwright.api import convert as work

    package = with_journal(work)(
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
        lower_io=lower_io,
        samples=samples,
        seed=seed,
        proof=proof,
        measure=measure,
        optimize=optimize,
        single_file=single_file,
        trust_remote_code=trust_remote_code,
        save_repro=save_repro,
        replay=replay,
        repair_seconds=repair_time,
        allow_fallback=allow_fallback,
        force=force,
        progress=Stages(),
    )
    _show_package(package, out, as_json=as_json)


def optimize(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A .onnx file, or what convert takes, which is converted first."),
    ],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The package folder to write.")],
    engine: Engines = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option("--outputs", metavar="NAME", help="An output of a .onnx file to keep; several times."),
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
    single_file: SingleFile = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the package that lies at DIR.")] = False,
    as_json: Json = False,
) -> None:
    """Rewrite a graph where that is proven and faster.

    A plan of rewrites is kept, engine by engine, if it is shown right and measured to be faster.

    For example: onnxwright optimize model.onnx -o ./my-package --engine onnxruntime
    """
    from onnxwright.api import optimize as work

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
        single_file=single_file,
        force=force,
        progress=Stages(),
    )
    _show_package(package, out, as_json=as_json)


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
    lower_io: LowerIo = False,
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
    optimize: Optimizing = False,
    single_file: SingleFile = False,
    trust_remote_code: Trust = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the package that lies at DIR.")] = False,
    as_json: Json = False,
) -> None:
    """Lower the precision within an accuracy budget.

    For each engine, the fastest of what stays within the budget, and is proven, is kept.

    For example: onnxwright quantize model.onnx -o ./my-package --precision int8 --max-accuracy-loss 0.01
    """
    from onnxwright.api import quantize as work

    package = with_journal(work)(
        source,
        out,
        precision=precision,
        max_accuracy_loss=max_accuracy_loss,
        labels=labels,
        search_seconds=search_time,
        lower_io=lower_io,
        profile=ranges_of(batch, sequence, dim or []),
        engine=engine or ["auto"],
        samples=samples,
        seed=seed,
        proof=proof,
        measure=measure,
        optimize=optimize,
        single_file=single_file,
        trust_remote_code=trust_remote_code,
        force=force,
        progress=Stages(),
    )
    _show_package(package, out, as_json=as_json)


def build(
    source: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="A .onnx file, or a package.")],
    engine: Annotated[str, typer.Option(metavar="NAME", help="tensorrt or tensorrt-rtx.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="The folder to write; for a package, its engines/NAME."),
    ] = None,
    variant: Annotated[
        str | None, typer.Option(metavar="NAME", help="A variant of the package, if not the default one.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="SM", help="sm80, sm86 …, may be given several times; else any GPU, or the one at hand."),
    ] = None,
    batch: BatchRange = None,
    sequence: SequenceRange = None,
    dim: DimRanges = None,
    bucket: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="End a profile at this sequence length; several times."),
    ] = None,
    lengths: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Sequence lengths, one a line: profiles for equal shares."),
    ] = None,
    tf32: Annotated[bool, typer.Option("--tf32/--no-tf32", help="Allow products with 10 bits of mantissa.")] = False,
    workspace: Annotated[int | None, typer.Option(metavar="MIB", help="The most memory that a layer may use.")] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild/--no-rebuild", help="Build twice, and compare the bytes.")] = True,
    timeout: BuildTimeout = 300.0,
    force: Annotated[bool, typer.Option("--force", help="Replace the engine that lies there.")] = False,
    as_json: Json = False,
) -> None:
    """Build a TensorRT engine of a graph.

    It has the precision of the graph, and its range. A GPU is needed to run it, and for tensorrt-rtx not to build it.

    For example: onnxwright build ./my-package --engine tensorrt-rtx --target sm89
    """
    from onnxwright import environment
    from onnxwright.reports.summary import engine_text
    from onnxwright.stages.build import BuildRequest
    from onnxwright.stages.build import build as work

    request = BuildRequest(
        source=source,
        engine=engine,
        out=None if out is None else environment.at_home(out),
        variant=variant,
        ranges=ranges_of(batch, sequence, dim or []),
        targets=tuple(target or ()),
        is_tf32=tf32,
        workspace_mib=workspace,
        buckets=tuple(bucket or ()),
        lengths=None if lengths is None else environment.at_home(lengths),
        is_forced=force,
        seconds=timeout,
        is_rebuilt=rebuild,
    )
    built = work(request, Stages())
    document = {"engine": str(built.folder), **builtins_of(built.manifest)}
    show(engine_text(built), document, as_json=as_json)


def _show_package(package: Package, out: Path, *, as_json: bool) -> None:
    from onnxwright.stages.inspect import inspect

    text = inspect(package.folder).text
    show(text, {"package": str(out), **builtins_of(package.manifest)}, as_json=as_json)
