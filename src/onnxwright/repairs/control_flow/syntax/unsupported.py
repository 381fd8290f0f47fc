"""What can't be rewritten."""

from __future__ import annotations

import ast
from typing import Final

_KINDS: Final = (
    *(ast.Yield, ast.YieldFrom, ast.Await, ast.AsyncFor, ast.AsyncWith, ast.AsyncFunctionDef),
    *(ast.Global, ast.Nonlocal, ast.NamedExpr, ast.Match, ast.ClassDef, ast.TryStar),
)


class UnsupportedError(Exception):
    """The function holds what can't be rewritten."""


def refuse_unsupported(function: ast.FunctionDef) -> None:
    """Refuses a function with syntax of which nothing is made here.

    Raises:
        UnsupportedError: when it has some, such as `yield`, `match` or `global`.
    """
    if any(isinstance(node, _KINDS) for node in ast.walk(function)):
        raise UnsupportedError("it yields, matches, or sets names elsewhere")
