"""Commands that ask a package, or say what something is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from onnxwright.cli.showing import builtins_of, show
from onnxwright.cli.words import Fallback, Json
from onnxwright.errors import UsageError


def run(
    package: Annotated[Path, typer.Argument(metavar="DIR", help="A package that convert wrote.")],
    text: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="A text; may be given several times.")] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option("--text-pair", metavar="TEXT", help="The second text of a --text: a passage, or a context."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Texts, one a line; pairs as JSON lines in a .jsonl file.")
    ] = None,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="auto, or an engine that the package was proven with.")
    ] = "auto",
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Texts in one call.")] = None,
    allow_fallback: Fallback = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON list of all answers instead of lines.")
    ] = False,
) -> None:
    """Answer texts with a package.

    Prints one JSON line for each text, in order. Needs no PyTorch.

    For example: onnxwright run ./my-package --text "How do I reset my password?"
    """
    from onnxwright import environment
    from onnxwright.records import read_texts
    from onnxwright.stages.run import run as answer

    if (file is None) == (not text):
        raise UsageError(f"texts: expected --text or --file, got {'both' if text else 'neither'}. Give one of the two.")
    if pair and len(pair) != len(text or []):
        raise UsageError(f"--text-pair: expected one for each --text, got {len(pair)} for {len(text or [])}.")
    texts: Any = (
        read_texts(environment.at_home(file))
        if file is not None
        else list(zip(text or [], pair, strict=True))
        if pair
        else text
    )
    answers = map(
        builtins_of, answer(package, texts, engine=engine, batch_size=batch_size, allow_fallback=allow_fallback)
    )
    for shown in [list(answers)] if as_json else answers:
        typer.echo(json.dumps(shown, ensure_ascii=False))


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
    """Show what a package or an ONNX file is.

    Of a package, that is what was proven, found, tried and measured, too.
    """
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
    show(report.text, builtins_of(report), as_json=as_json)


def explain(
    word: Annotated[
        str,
        typer.Argument(
            metavar="CODE",
            help="The code of a finding, the name of a repair, or trt10: what replaces the flags of TensorRT up to 10.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Say what a finding or a repair is.

    Of a finding, that is what to do about it, too.

    For example: onnxwright explain shape-branch-frozen
    """
    from onnxwright.stages.glossary import explained

    text = explained(word)
    show(text, {"code": word, "text": text}, as_json=as_json)
