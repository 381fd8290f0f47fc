"""The command line: parses, calls one verb, prints."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any, Final, NoReturn

import typer

from onnxwright.cli.failing import fail
from onnxwright.cli.judging import check, diff, prove
from onnxwright.cli.making import build, convert, optimize, quantize
from onnxwright.cli.using import explain, inspect, run

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

_COMMANDS: Final[tuple[Callable[..., Any], ...]] = (
    *(convert, prove, optimize, quantize, diff, check, build),
    *(run, inspect, explain),
)
"""In the order in which they are listed."""

for _command in _COMMANDS:
    app.command()(_command)


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
        fail(leaving)
    except BaseException as problem:  # noqa: BLE001 - the one place where errors become exit codes
        fail(problem)
    if code == _TYPER_INTERRUPTED:
        fail(KeyboardInterrupt())
    sys.exit(code or 0)


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt
