"""The blocks of a statement, and what stands in them."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Final

SCOPES: Final = (ast.FunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
"""What has names of its own."""


def blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    """Returns the blocks of a statement; none of a function, which is one by itself."""
    if isinstance(statement, SCOPES):
        return []
    fields = (getattr(statement, name, None) for name in ("body", "orelse", "finalbody"))
    handlers = [handler.body for handler in getattr(statement, "handlers", [])]
    return [block for block in fields if isinstance(block, list)] + handlers


def has(statements: Iterable[ast.stmt], *kinds: type[ast.stmt], own_loop: bool = False) -> bool:
    """Whether a statement of a kind is among these, functions in them left out, and loops where asked."""
    for statement in statements:
        if isinstance(statement, kinds):
            return True
        if isinstance(statement, SCOPES) or (own_loop and isinstance(statement, (ast.For, ast.While))):
            continue
        if any(has(inner, *kinds, own_loop=own_loop) for inner in blocks(statement)):
            return True
    return False
