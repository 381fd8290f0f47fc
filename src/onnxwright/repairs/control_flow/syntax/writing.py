"""Pieces of syntax as they are written into a rewritten function, and the modules that it calls."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Final

FLOW: Final = "__flow__"
INDEXING: Final = "__indexing__"
TWINS: Final = "__twins__"
TABLES: Final = "__tables__"
MODULES: Final = {FLOW: "running", INDEXING: "indexing", TWINS: "twins", TABLES: "tables"}
"""The names under which a rewritten function finds the modules that run it."""

_OF_INDEXING: Final = ("picked", "stored", "changed")


def name(called: str) -> ast.Name:
    """Writes the read of a name."""
    return ast.Name(called, ast.Load())


def attribute(module: str, called: str) -> ast.Attribute:
    """Writes the read of what a module has under a name."""
    return ast.Attribute(name(module), called, ast.Load())


def call(called: str, arguments: Sequence[ast.expr], named: Sequence[ast.keyword] = ()) -> ast.Call:
    """Writes the call of a function that runs control flow, or an index."""
    return ast.Call(attribute(INDEXING if called in _OF_INDEXING else FLOW, called), list(arguments), list(named))


def line(node: ast.stmt | ast.expr) -> ast.Constant:
    """Writes the line at which something stands."""
    return ast.Constant(node.lineno)


def parameters(names: Sequence[str]) -> ast.arguments:
    """Writes parameters without defaults."""
    taken = [ast.arg(one) for one in names]
    return ast.arguments(posonlyargs=[], args=taken, kwonlyargs=[], kw_defaults=[], defaults=[])


def function_of(names: Sequence[str], value: ast.expr) -> ast.Lambda:
    """Writes a lambda."""
    return ast.Lambda(parameters(names), value)


def tuple_of(names: Sequence[str]) -> ast.Tuple:
    """Writes the reads of some names as a tuple."""
    return ast.Tuple([name(one) for one in names], ast.Load())


def index(written: ast.expr) -> ast.expr:
    """Writes an index as an expression: `1:n, 2` is `(slice(1, n, None), 2)`."""
    if isinstance(written, ast.Slice):
        ends = [end or ast.Constant(None) for end in (written.lower, written.upper, written.step)]
        return ast.Call(name("slice"), ends, [])
    if isinstance(written, ast.Tuple):
        return ast.Tuple([index(one) for one in written.elts], ast.Load())
    return written


def set_one(called: str, value: ast.expr) -> ast.Assign:
    """Writes that one name is set."""
    return ast.Assign([ast.Name(called, ast.Store())], value)


def set_all(names: Sequence[str], values: ast.expr) -> ast.stmt:
    """Writes that names are set to the elements of a tuple; where there are none, that it is computed."""
    if not names:
        return ast.Expr(values)
    return ast.Assign([ast.Tuple([ast.Name(one, ast.Store()) for one in names], ast.Store())], values)


def statement(text: str) -> ast.stmt:
    """Writes a statement."""
    return ast.parse(text).body[0]


def statement_at(text: str, node: ast.AST) -> ast.stmt:
    """Writes a statement that stands where something else does."""
    made = statement(text)
    for one in ast.walk(made):
        ast.copy_location(one, node)
    return made


def expression_at(text: str, node: ast.AST) -> ast.expr:
    """Writes an expression that stands where something else does."""
    made = statement_at(text, node)
    assert isinstance(made, ast.Expr)
    return made.value


def placed_at(node: ast.AST, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Returns statements that stand where something else does."""
    return [ast.copy_location(one, node) for one in statements]
