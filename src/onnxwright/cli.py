"""The command line: parses, calls one verb, prints."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from onnxwright.errors import InterruptedConversion, ModelError, OnnxwrightError, ProfileError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from onnxwright.stages.verdicts import Verdicts

Triple = tuple[int, int, int]

_TYPER_INTERRUPTED = 130

app = typer.Typer(
    name="onnxwright",
    help=(
        "PyTorch in, proven engine out.\n\n"
        "Converts a model to ONNX, shows that it computes the same over a whole range of sizes, measures it, and "
        "leaves a folder that answers without PyTorch.\n\n"
        "Exit codes: 0 done and proven; 1 the model failed (nothing could be shown, weights are missing); "
        "2 usage or tool failed."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output; text goes to stderr.")]
Engines = Annotated[
    list[str] | None,
    typer.Option("--engine", help="auto, onnxruntime, openvino, tensorrt-rtx …; may be given several times."),
]


Task = Annotated[str, typer.Option(help="What the model is for; found from its config unless given.")]
BatchRange = Annotated[Triple | None, typer.Option(metavar="MIN OPT MAX", help="Range of the dim `batch`.")]
SequenceRange = Annotated[Triple | None, typer.Option(metavar="MIN OPT MAX", help="Range of the dim `sequence`.")]
DimRanges = Annotated[list[str] | None, typer.Option(metavar="NAME=MIN:OPT:MAX", help="Range of any named dim.")]
Samples = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Your own inputs: texts, one a line, or an .npz file.")
]
Precision = Annotated[
    str,
    typer.Option(
        help="auto, fp32, bf16, fp16, int8, weights, tables, or one recipe of these, as int8-dynamic; `convert` lowers "
        "the precision for auto only within a --max-accuracy-loss."
    ),
]
MostLoss = Annotated[
    float | None,
    typer.Option(
        "--max-accuracy-loss",
        metavar="LOSS",
        help="How much accuracy a lower precision may lose on the samples, as 0.001; what it is depends on the task.",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The label of each sample, one a line: loss is in the task's metric."),
]
SearchTime = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="After so long no more recipe is tried for an engine.")
]
Seed = Annotated[int, typer.Option(help="Seed of the samples; the same seed, the same proof.")]
Proving = Annotated[str, typer.Option(help="How long to prove: quick, normal or thorough.")]
Repro = Annotated[
    Path | None,
    typer.Option(
        "--save-repro", metavar="DIR", help="Where outputs differ, write a folder that shows the first node that does."
    ),
]
BuildTimeout = Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Parsing and building end after so long.")]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Run code from the model folder.")]


@app.command()
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
    device: Annotated[str, typer.Option(help="Where PyTorch runs: cpu or cuda.")] = "cpu",
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
    allow_fallback: Annotated[
        bool, typer.Option("--allow-fallback", help="Let an engine for GPUs leave to the CPU what it can't compute.")
    ] = False,
    trust_remote_code: Trust = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the package that lies at DIR.")] = False,
    as_json: Json = False,
) -> None:
    """Convert a model to a proven package.

    For example: onnxwright convert ./my-model -o ./my-package --sequence 1 64 256
    """
    from onnxwright.api import convert as run
    from onnxwright.stages.inspect import inspect as look

    package = _with_journal(run)(
        source,
        out,
        profile=_ranges(batch, sequence, dim or []),
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
        progress=_Stages(),
    )
    report = look(package.folder)
    _print(report.text, {"package": str(out), **_builtins(package.manifest)}, as_json=as_json)


@app.command()
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
    samples: Samples = None,
    seed: Seed = 0,
    save_repro: Repro = None,
    trust_remote_code: Trust = False,
    fail_under: Annotated[
        float,
        typer.Option(metavar="PERCENT", help="Exit with 1 when an engine is shown right for less of the sizes."),
    ] = 100.0,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a JUnit report too, for continuous integration.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove a package again on this machine, or a candidate against the model that it is said to be.

    A package alone is proven from the answers that it carries, and needs no PyTorch.

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
        ranges=_ranges(batch, sequence, dim or []),
        task=task,
        engines=tuple(engine or ["auto"]),
        samples=None if samples is None else environment.at_home(samples),
        seed=seed,
        proof=proof,
        repro=None if save_repro is None else environment.at_home(save_repro),
        is_code_trusted=trust_remote_code,
    )
    begun = time.monotonic()
    try:
        verdicts = run(question, _Stages())
    except ModelError as problem:
        if report is not None:
            write_refusal(report, source, problem, seconds=time.monotonic() - begun)
        raise
    if report is not None:
        write_verdicts(report, verdicts, least_percent=fail_under, seconds=time.monotonic() - begun)
    lines = [line for name in verdicts.proofs for line in _verdict_lines(name, verdicts)]
    document = {name: _builtins(found) for name, found in verdicts.proofs.items()}
    _print("\n".join(lines), document, as_json=as_json)
    _fail_under(verdicts, fail_under, is_candidate=candidate is not None)


@app.command()
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

    package = _with_journal(work)(
        source,
        out,
        profile=_ranges(batch, sequence, dim or []),
        engine=engine or ["auto"],
        outputs=outputs or [],
        samples=samples,
        seed=seed,
        proof=proof,
        measure=measure,
        force=force,
        progress=_Stages(),
    )
    _print(look(package.folder).text, {"package": str(out), **_builtins(package.manifest)}, as_json=as_json)


@app.command()
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

    package = _with_journal(work)(
        source,
        out,
        precision=precision,
        max_accuracy_loss=max_accuracy_loss,
        labels=labels,
        search_seconds=search_time,
        profile=_ranges(batch, sequence, dim or []),
        engine=engine or ["auto"],
        samples=samples,
        seed=seed,
        proof=proof,
        measure=measure,
        trust_remote_code=trust_remote_code,
        force=force,
        progress=_Stages(),
    )
    _print(look(package.folder).text, {"package": str(out), **_builtins(package.manifest)}, as_json=as_json)


@app.command()
def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A .onnx file.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    as_json: Json = False,
) -> None:
    """Tell two graphs apart: inputs and outputs, operators, opsets, and weights by their numbers.

    Exit code 0 whether they differ or not; `onnxwright prove A --candidate B` says whether they compute the same.
    """
    from onnxwright import environment
    from onnxwright.stages.diff import diff as tell

    report = tell(environment.at_home(first), environment.at_home(second))
    _print(report.text, _builtins(report), as_json=as_json)


@app.command()
def check(
    source: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="A .onnx file, or a package's graph.")],
    target: Annotated[str, typer.Option(help="tensorrt or tensorrt-rtx.")],
    build: Annotated[bool, typer.Option("--build", help="Ask the builder too: what parses may not build.")] = False,
    batch: BatchRange = None,
    sequence: SequenceRange = None,
    dim: DimRanges = None,
    timeout: BuildTimeout = 300.0,
    as_json: Json = False,
) -> None:
    """Say what an engine that is built ahead of time won't take of a graph, node by node.

    Exit code 0 taken, 1 refused, 2 when the engine's parser isn't installed here to be asked.

    For example: onnxwright check model.onnx --target tensorrt-rtx --build
    """
    from onnxwright.stages.check import check as look

    report = look(source, target, _ranges(batch, sequence, dim or []), is_built=build, seconds=timeout)
    _print(report.text, _builtins(report), as_json=as_json)
    if report.is_refused:
        raise typer.Exit(code=ModelError.exit_code)
    if report.parser == "not asked":
        raise typer.Exit(code=UsageError.exit_code)


@app.command()
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
    from onnxwright.stages.build import BuildRequest
    from onnxwright.stages.build import build as work
    from onnxwright.stages.inspect import engine_text

    request = BuildRequest(
        source=source,
        engine=engine,
        out=out,
        variant=variant,
        ranges=_ranges(batch, sequence, dim or []),
        targets=tuple(target or ()),
        is_tf32=tf32,
        workspace_mib=workspace,
        buckets=tuple(bucket or ()),
        lengths=lengths,
        is_forced=force,
        seconds=timeout,
        is_rebuilt=rebuild,
    )
    built = work(request, _Stages())
    document = {"engine": str(built.folder), **_builtins(built.manifest)}
    _print(engine_text(built), document, as_json=as_json)


@app.command()
def run(
    package: Annotated[Path, typer.Argument(metavar="DIR", help="A package that convert wrote.")],
    text: Annotated[list[str] | None, typer.Option(help="A text; may be given several times.")] = None,
    pair: Annotated[
        list[str] | None, typer.Option("--text-pair", help="The second text of each --text: passage or context.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Texts, one a line; pairs as JSON lines in a .jsonl file.")
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, or an engine that the package was proven with.")] = "auto",
    batch_size: Annotated[int | None, typer.Option(help="Rows in one call; within the proven range.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list of all answers, not lines.")] = False,
) -> None:
    """Answer texts with a package: one JSON line each, in order. Needs no PyTorch."""
    from onnxwright import environment
    from onnxwright.records import read_texts
    from onnxwright.stages.run import run as answer

    if (file is None) == (not text):
        raise UsageError("texts: expected either --text or --file, and one of them.")
    if pair and len(pair) != len(text or []):
        raise UsageError(f"--text-pair: expected one for each --text, got {len(pair)} for {len(text or [])}.")
    texts: Any = (
        read_texts(environment.at_home(file))
        if file is not None
        else list(zip(text or [], pair, strict=True))
        if pair
        else text
    )
    answers = map(_builtins, answer(package, texts, engine=engine, batch_size=batch_size))
    for shown in [list(answers)] if as_json else answers:
        typer.echo(json.dumps(shown, ensure_ascii=False))


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A package folder or a .onnx file.")],
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the sizes of a package's proof into a .svg or .png file.")
    ] = None,
    frontier: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw the speed and the loss of each lower precision into a .svg or .png file."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the files at --picture and --frontier.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a package or an ONNX file is, what was proven of it, and what was measured."""
    from onnxwright.stages.inspect import inspect as look

    if picture is not None:
        from onnxwright.artifact import Package
        from onnxwright.reports.picture import draw

        draw(Package.open(path), picture, is_forced=force)
    if frontier is not None:
        from onnxwright.artifact import Package
        from onnxwright.reports.lowering import draw_frontier

        draw_frontier(Package.open(path), frontier, is_forced=force)
    if force and picture is None and frontier is None:
        raise UsageError("--force: expected with --picture or --frontier, whose file it replaces. Leave it out.")
    report = look(path)
    _print(report.text, _builtins(report), as_json=as_json)


@app.command()
def explain(
    word: Annotated[str, typer.Argument(metavar="CODE", help="The code of a finding, the name of a repair, or trt10.")],
    as_json: Json = False,
) -> None:
    """Say what a finding or a repair is, and what to do about it."""
    from onnxwright.stages.glossary import explained

    text = explained(word)
    _print(text, {"code": word, "text": text}, as_json=as_json)


@app.callback(invoke_without_command=True)
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,  # noqa: ARG001 - `main` looks for it
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Hold the options that stand before the command."""
    if version:
        import importlib.metadata

        typer.echo(importlib.metadata.version("onnxwright"))
        raise typer.Exit


def main() -> NoReturn:
    """Runs the command line, and exits with 0, 1 or 2."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = app(prog_name="onnxwright", standalone_mode=False)
    except SystemExit as leaving:
        if leaving.code:  # a reader of standard output that stops early ends so
            raise
        _fail(leaving)
    except BaseException as problem:  # noqa: BLE001 - the one place where errors become exit codes
        _fail(problem)
    if code == _TYPER_INTERRUPTED:
        _fail(KeyboardInterrupt())
    sys.exit(code or 0)


class _Stages:
    """Writes on stderr what is done and how long it took; a spinner where a person is watching."""

    def __init__(self) -> None:
        from rich.console import Console

        # Bound to the stream of now: exporters are silenced by replacing `sys.stderr` for a while.
        self._console: Console = Console(file=sys.stderr)

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Shows a stage while it lasts."""
        begun = time.monotonic()
        with self._console.status(f"{title} …"):
            yield
        self._console.print(f"{title}: {time.monotonic() - begun:.1f} s", highlight=False, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Prints one line."""
        self._console.print(f"  {text}", highlight=False, markup=False, soft_wrap=True)


def _ranges(batch: Triple | None, sequence: Triple | None, dims: list[str]) -> dict[str, Triple]:
    ranges = {name: sizes for name, sizes in (("batch", batch), ("sequence", sequence)) if sizes is not None}
    for given in dims:
        name, equals, sizes = given.partition("=")
        parts = sizes.split(":")
        if not name or not equals or len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
            raise ProfileError(f"--dim '{given}': expected NAME=MIN:OPT:MAX, for example height=64:224:512.")
        if name in ranges:
            raise ProfileError(f"--dim '{given}': dim '{name}' has a range already. Give each dim once.")
        least, usual, most = (int(part) for part in parts)
        ranges[name] = (least, usual, most)
    return ranges


def _verdict_lines(name: str, verdicts: Verdicts) -> Iterator[str]:
    from onnxwright.stages.inspect import in_ranges
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


def _print(text: str, document: Any, *, as_json: bool) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False) if as_json else text)


def _builtins(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


def _with_journal(run: Callable[..., Any]) -> Callable[..., Any]:
    """Tells of an interrupt what was tried before it, which typer would not hand on."""

    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except InterruptedConversion as stop:
            _fail(stop)

    return told


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def _fail(problem: BaseException) -> NoReturn:
    if "--debug" in sys.argv:
        traceback.print_exception(problem)
    code = problem.exit_code if isinstance(problem, OnnxwrightError) else 2
    message = _message(problem)
    if "--json" in sys.argv:
        typer.echo(json.dumps(_error_document(problem, message, code), indent=2, ensure_ascii=False))
    if _is_of_the_parser(problem):
        problem.show()  # type: ignore[attr-defined]  # just asked for
    else:
        typer.echo(f"error: {message}", err=True)
    sys.exit(code)


def _is_of_the_parser(problem: BaseException) -> bool:
    """Whether it is one of click's own, which typer takes from click or from a copy of it."""
    return hasattr(problem, "format_message") and hasattr(problem, "show")


_TOLD: dict[type[BaseException], str] = {
    SystemExit: "code of the model ended the program. Remove its call of `exit`.",
    KeyboardInterrupt: "interrupted; nothing half-done is left.",
    MemoryError: "out of memory. Narrow the profile, for example with --batch 1 1 4.",
}


def _message(problem: BaseException) -> str:
    if isinstance(problem, OnnxwrightError):
        return str(problem)
    if _is_of_the_parser(problem):
        return str(problem.format_message())  # type: ignore[attr-defined]  # just asked for
    for kind, told in _TOLD.items():
        if isinstance(problem, kind):
            tried = [f"\n  {one.approach}: {one.message}" for one in getattr(problem, "attempts", ())]
            return "".join([told, *(["\nTried before:"] if tried else []), *tried])
    if isinstance(problem, OSError) and problem.filename is not None:
        return f"'{problem.filename}': {problem.strerror}. Check that it is there, and that you may use it."
    return f"{type(problem).__name__}: {problem}. This is a bug; `onnxwright --debug …` shows where."


def _error_document(problem: BaseException, message: str, code: int) -> dict[str, Any]:
    document: dict[str, Any] = {"error": {"type": type(problem).__name__, "message": message}, "exit_code": code}
    for name in ("findings", "attempts"):
        if getattr(problem, name, None):
            document[name] = _builtins(getattr(problem, name))
    return document
