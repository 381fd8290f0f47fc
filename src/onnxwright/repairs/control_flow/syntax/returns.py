"""A function that ends in one return on each way: what follows a branch that may return goes into its sides."""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from typing import Final

from onnxwright.repairs.control_flow.syntax.blocks import has
from onnxwright.repairs.control_flow.syntax.unsupported import UnsupportedError

_MOST_STATEMENTS: Final = 400
"""A statement after a branch that returns is copied into its sides; no function may grow beyond this."""


def closed(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Returns the body of a function, ended by returning or raising, whatever way is taken.

    Raises:
        UnsupportedError: when it returns inside of a `try`, or from so many places that it would grow too long.
    """
    return _Closing().closed(body)


def ends_returning(block: Sequence[ast.stmt]) -> bool:
    """Whether a closed block returns, whatever way is taken: no way goes on behind it."""
    match block[-1] if block else None:
        case ast.Return():
            return True
        case ast.If(body=body, orelse=orelse):
            return ends_returning(body) or ends_returning(orelse)
        case ast.With(body=body):
            return ends_returning(body)
        case _:
            return False


class _Closing:
    """Closes the blocks of one function, and counts how long it becomes."""

    def __init__(self) -> None:
        self._size = 0

    def closed(self, block: Sequence[ast.stmt]) -> list[ast.stmt]:
        self._size += len(block)
        if self._size > _MOST_STATEMENTS:
            raise UnsupportedError("it returns from too many places")
        for place, statement in enumerate(block):
            if isinstance(statement, (ast.Return, ast.Raise)):
                return list(block[: place + 1])
            if has([statement], ast.Return):
                return [*block[:place], self._with_rest(statement, block[place + 1 :])]
        last = ast.Return(ast.Constant(None))
        return [*block, ast.copy_location(last, block[-1]) if block else ast.fix_missing_locations(last)]

    def _with_rest(self, statement: ast.stmt, rest: Sequence[ast.stmt]) -> ast.stmt:
        if isinstance(statement, ast.With):
            statement.body = self.closed([*statement.body, *rest])
            return statement
        if not isinstance(statement, ast.If):
            raise UnsupportedError("it returns from inside of a `try`")
        body, orelse = ([*side, *copy.deepcopy(list(rest))] for side in (statement.body, statement.orelse))
        return ast.copy_location(ast.If(statement.test, self.closed(body), self.closed(orelse)), statement)
