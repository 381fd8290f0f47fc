"""How errors become words, documents and exit codes."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from onnxwright.cli.showing import builtins_of
from onnxwright.errors import InterruptedConversion, OnnxwrightError


def fail(problem: BaseException) -> NoReturn:
    """Tells of an error, and ends the program with its code."""
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
            document[name] = builtins_of(getattr(problem, name))
    return document


def with_journal(run: Callable[..., Any]) -> Callable[..., Any]:
    """Tells of an interrupt what was tried before it, which typer would not hand on."""

    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except InterruptedConversion as stop:
            fail(stop)

    return told
