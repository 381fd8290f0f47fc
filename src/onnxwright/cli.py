"""The command line: parses, calls one verb, prints."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from onnxwright.errors import ModelError, OnnxwrightError, ProfileError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

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
    list[str] | None, typer.Option("--engine", help="auto, onnxruntime or openvino; may be given several times.")
]


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
    task: Annotated[str, typer.Option(help="What the model is for; found from its config unless given.")] = "auto",
    batch: Annotated[Triple | None, typer.Option(metavar="MIN OPT MAX", help="Range of the dim `batch`.")] = None,
    sequence: Annotated[Triple | None, typer.Option(metavar="MIN OPT MAX", help="Range of the dim `sequence`.")] = None,
    dim: Annotated[list[str] | None, typer.Option(metavar="NAME=MIN:OPT:MAX", help="Range of any named dim.")] = None,
    route: Annotated[
        str, typer.Option(help="auto, trace, dynamo or script; auto tries them until one is proven.")
    ] = "auto",
    opset: Annotated[int | None, typer.Option(help="ONNX opset to write; 18 unless given.")] = None,
    device: Annotated[str, typer.Option(help="Where PyTorch runs: cpu or cuda.")] = "cpu",
    engine: Engines = None,
    precision: Annotated[str, typer.Option(help="auto or fp32.")] = "auto",
    samples: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own inputs: texts, one a line, or an .npz file.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples; the same seed, the same proof.")] = 0,
    proof: Annotated[str, typer.Option(help="How long to prove: quick, normal or thorough.")] = "normal",
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="Measure the engines side by side.")] = True,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code from the model folder.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the package that lies at DIR.")] = False,
    as_json: Json = False,
) -> None:
    """Convert a model to a proven package.

    For example: onnxwright convert ./my-model -o ./my-package --sequence 1 64 256
    """
    from onnxwright.api import convert as run
    from onnxwright.stages.inspect import inspect as look

    package = run(
        source,
        out,
        profile=_ranges(batch, sequence, dim or []),
        task=task,
        route=route,
        opset=opset,
        device=device,
        engine=engine or ["auto"],
        precision=precision,
        samples=samples,
        seed=seed,
        proof=proof,
        measure=measure,
        trust_remote_code=trust_remote_code,
        force=force,
        progress=_Stages(),
    )
    report = look(package.folder)
    _print(report.text, {"package": str(out), **_builtins(package.manifest)}, as_json=as_json)


@app.command()
def prove(
    package: Annotated[Path, typer.Argument(metavar="DIR", help="A package that convert wrote.")],
    engine: Engines = None,
    as_json: Json = False,
) -> None:
    """Prove a package again on this machine, from the answers that it carries; needs no PyTorch."""
    from onnxwright.artifact import Package
    from onnxwright.stages.prove_package import prove_package

    proofs = prove_package(Package.open(package), engine or ["auto"])
    failed = [name for name, found in proofs.items() if found.verdict == "failed"]
    lines = [_proof_line(name, found) for name, found in proofs.items()]
    _print("\n".join(lines), {name: _builtins(found) for name, found in proofs.items()}, as_json=as_json)
    if failed:
        typer.echo(f"error: not proven here: {', '.join(failed)}. Convert the model again on this machine.", err=True)
        raise typer.Exit(code=ModelError.exit_code)


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
    from onnxwright.stages.run import read_texts
    from onnxwright.stages.run import run as answer

    if (file is None) == (not text):
        raise UsageError("texts: expected either --text or --file, and one of them.")
    if pair and len(pair) != len(text or []):
        raise UsageError(f"--text-pair: expected one for each --text, got {len(pair)} for {len(text or [])}.")
    texts: Any = read_texts(file) if file is not None else list(zip(text or [], pair, strict=True)) if pair else text
    answers = map(_builtins, answer(package, texts, engine=engine, batch_size=batch_size))
    for shown in [list(answers)] if as_json else answers:
        typer.echo(json.dumps(shown, ensure_ascii=False))


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A package folder or a .onnx file.")],
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the sizes of a package's proof into a .svg or .png file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that lies at --picture.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a package or an ONNX file is, what was proven of it, and what was measured."""
    from onnxwright.stages.inspect import inspect as look

    if picture is not None:
        from onnxwright.artifact import Package
        from onnxwright.stages.picture import draw

        draw(Package.open(path), picture, is_forced=force)
    elif force:
        raise UsageError("--force: expected with --picture, whose file it replaces. Leave it out.")
    report = look(path)
    _print(report.text, _builtins(report), as_json=as_json)


@app.callback(invoke_without_command=True)
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,  # noqa: ARG001
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
    except SystemExit:
        raise
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


def _proof_line(name: str, proof: Any) -> str:
    from onnxwright.stages.inspect import in_ranges

    told = f"{name}: {proof.verdict} at {proof.points} points"
    if proof.range:
        told += f", {in_ranges(proof.range)}"
    return told + (f"; worst error {proof.worst.error:.1e} in {proof.worst.output}" if proof.worst else "")


def _print(text: str, document: Any, *, as_json: bool) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False) if as_json else text)


def _builtins(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


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


def _message(problem: BaseException) -> str:
    if isinstance(problem, OnnxwrightError):
        return str(problem)
    if _is_of_the_parser(problem):
        return str(problem.format_message())  # type: ignore[attr-defined]  # just asked for
    if isinstance(problem, KeyboardInterrupt):
        return "interrupted; nothing half-done is left."
    if isinstance(problem, MemoryError):
        return "out of memory. Narrow the profile, for example with --batch 1 1 4."
    if isinstance(problem, OSError) and problem.filename is not None:
        return f"'{problem.filename}': {problem.strerror}. Check that it is there, and that you may use it."
    return f"{type(problem).__name__}: {problem}. This is a bug; `onnxwright --debug …` shows where."


def _error_document(problem: BaseException, message: str, code: int) -> dict[str, Any]:
    document: dict[str, Any] = {"error": {"type": type(problem).__name__, "message": message}, "exit_code": code}
    for name in ("findings", "attempts"):
        if getattr(problem, name, None):
            document[name] = _builtins(getattr(problem, name))
    return document
