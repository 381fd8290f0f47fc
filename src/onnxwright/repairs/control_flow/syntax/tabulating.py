"""Numbers computed from one size by functions of Python and numpy that have no form in a graph: they are looked up.

`int(math.log2(length))` is a number for each length of the profile, and a table holds them all, as Python computes
them.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from onnxwright.repairs.control_flow.syntax import writing

_FORMULAS: Final = (math.sqrt, math.ceil, math.floor)
"""Functions that exporters write."""
_PYTHONS: Final = (int, float, round, abs, min, max, pow)
_METHOD: Final = "bit_length"
_NUMBER: Final = "number"


def tabulated(node: ast.Call, value_of: Callable[[ast.expr], Any]) -> ast.Call | None:
    """Writes a call that looks up what a call computes, if it does so from one number.

    `value_of` says what a name or an attribute of one stands for.
    """
    if not any(_is_strange(one, value_of) for one in ast.walk(node)):
        return None
    numbers = list(_numbers(node, value_of))
    if node in numbers or len({ast.dump(one) for one in numbers}) != 1:
        return None
    function = writing.function_of([_NUMBER], _Replaced(ast.dump(numbers[0]), _NUMBER).visit(node))
    table = ast.Call(writing.attribute(writing.TABLES, "tabulated"), [function], [])
    return ast.copy_location(ast.Call(table, [numbers[0]], []), node)


class _Replaced(ast.NodeTransformer):
    """Puts a name in the place of what is written in some way."""

    def __init__(self, written: str, name: str):
        self._written = written
        self._name = name

    def visit(self, node: ast.AST) -> Any:
        """Replaces a node, or what is in it."""
        return writing.name(self._name) if ast.dump(node) == self._written else super().generic_visit(node)


def _numbers(node: ast.expr, value_of: Callable[[ast.expr], Any]) -> Iterator[ast.expr]:
    """What an expression is computed from, as far as it is computed by functions that do nothing else."""
    parts = _parts(node, value_of)
    if parts is None:
        yield node
        return
    yield from itertools.chain.from_iterable(_numbers(part, value_of) for part in parts)


def _parts(node: ast.expr, value_of: Callable[[ast.expr], Any]) -> list[ast.expr] | None:
    """The parts of an expression that is computed from them and from nothing else; None where that isn't known."""
    if isinstance(node, ast.Constant | ast.BinOp | ast.UnaryOp):
        return [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.expr)]
    if not isinstance(node, ast.Call) or node.keywords or any(isinstance(one, ast.Starred) for one in node.args):
        return None
    function = value_of(node.func)
    if function is not None and (_is_of_numbers(function) or function in _PYTHONS):
        return node.args
    if isinstance(node.func, ast.Attribute):
        owner = node.func.value
        is_numpys = isinstance(owner, ast.Call) and _parts(owner, value_of) is not None
        return [owner, *node.args] if is_numpys or node.func.attr == _METHOD else None
    return None


def _is_strange(node: ast.AST, value_of: Callable[[ast.expr], Any]) -> bool:
    """Whether a call is one of a function that exporters have no form of."""
    if not isinstance(node, ast.Call):
        return False
    function = value_of(node.func)
    if function is None:
        return isinstance(node.func, ast.Attribute) and node.func.attr == _METHOD
    return _is_of_numbers(function) and function not in _FORMULAS


def _is_of_numbers(function: Any) -> bool:
    return isinstance(function, np.ufunc) or getattr(function, "__module__", None) == math.__name__
