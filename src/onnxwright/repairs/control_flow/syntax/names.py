"""The names that a function sets, and those of them that a branch or a loop has to hand on."""

from __future__ import annotations

import ast
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from onnxwright.repairs.control_flow.syntax.blocks import SCOPES
from onnxwright.repairs.control_flow.syntax.lasting import is_set_first, reads
from onnxwright.repairs.control_flow.syntax.unsupported import UnsupportedError

_CHANGING: Final = ("append", "extend", "insert", "reverse")
"""Methods of lists that change them, beside those of tensors that end in an underscore."""


class Names:
    """The names that a function sets, and fresh ones."""

    def __init__(self, function: ast.FunctionDef):
        arguments = function.args
        taken = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        self.arguments = {one.arg for one in taken if one is not None}
        """What the function is given."""
        self.all = self.arguments | names_set(function.body)
        """Arguments, and what is set."""
        self._count = itertools.count()
        self._reads: Counter[str] = Counter()
        self.used: set[str] = set()
        """Those that branches and loops hand on, arguments left out."""

    def fresh(self, what: str) -> str:
        """Returns a name that nothing has."""
        return f"__{what}_{next(self._count)}"

    def know_reads(self, body: Sequence[ast.stmt]) -> None:
        """Takes in where the function reads which names, before anything in it is rewritten."""
        self._reads = reads(body)

    def lasting(self, *blocks: Sequence[ast.stmt]) -> list[str]:
        """Returns the names that blocks set, in order, but for those that matter inside of one alone."""
        names = names_set(statement for block in blocks for statement in block)
        inside = reads(statement for block in blocks for statement in block)
        passing = {
            name
            for name in names - self.arguments
            if inside[name] == self._reads[name] and all(is_set_first(name, block) for block in blocks)
        }
        self.used |= names - passing - self.arguments
        return sorted(names - passing)


def names_set(statements: Iterable[ast.stmt]) -> set[str]:
    """Returns the names that statements set in the function that they stand in.

    Raises:
        UnsupportedError: when they catch an exception by name, which Python unsets behind the handler.
    """
    found: set[str] = set()
    waiting: list[ast.AST] = list(statements)
    while waiting:
        node = waiting.pop()
        found.update(_set_by(node))
        if not isinstance(node, SCOPES):
            waiting += ast.iter_child_nodes(node)
    return found


def name_changed(call: ast.expr) -> str | None:
    """Returns the name of what a call changes in place: `outs.append(x)`, `x.mul_(2)`."""
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
        return None
    method, owner = call.func.attr, call.func.value
    is_changing = method in _CHANGING or (method.endswith("_") and not method.endswith("__"))
    return owner.id if is_changing and isinstance(owner, ast.Name) else None


def _set_by(node: ast.AST) -> list[str]:
    match node:
        case ast.FunctionDef():
            return [node.name]
        case ast.Name(ctx=ast.Store()):
            return [node.id]
        case ast.alias():
            return [(node.asname or node.name).partition(".")[0]]
        case ast.Expr():
            return [name for name in [name_changed(node.value)] if name]
        case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store()):
            return [name]
        case ast.ExceptHandler(name=str()):
            raise UnsupportedError("it catches an exception by name")
        case _:
            return []
