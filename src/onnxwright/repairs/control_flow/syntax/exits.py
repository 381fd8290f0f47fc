"""`break`, `continue`, and `return` inside of loops, as flags that what follows asks."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from onnxwright.repairs.control_flow.syntax.blocks import blocks, has
from onnxwright.repairs.control_flow.syntax.names import Names
from onnxwright.repairs.control_flow.syntax.unsupported import UnsupportedError
from onnxwright.repairs.control_flow.syntax.writing import expression_at, statement_at


def without_exits(block: Sequence[ast.stmt], names: Names) -> list[ast.stmt]:
    """Returns a block whose loops run to their end.

    Raises:
        UnsupportedError: when a loop has an `else`, or is left from inside of a `with` or `try`.
    """
    done: list[ast.stmt] = []
    for statement in block:
        if isinstance(statement, (ast.For, ast.While)):
            done += _flagged(statement, names)
            continue
        for inner in blocks(statement):
            inner[:] = without_exits(inner, names)
        done.append(statement)
    return done


def _flagged(loop: ast.For | ast.While, names: Names) -> list[ast.stmt]:
    """A loop without exits, between what sets its flags and what asks them."""
    if loop.orelse:
        raise UnsupportedError("a loop has an `else`")
    result, returned = names.fresh("result"), names.fresh("returned")
    returns = has(loop.body, ast.Return)
    if returns:
        loop.body = _with_breaks(loop.body, result, returned)
    loop.body = without_exits(loop.body, names)
    before: list[ast.stmt] = []
    if has(loop.body, ast.Break, ast.Continue, own_loop=True):
        before.append(_without_breaks(loop, names))
    after: list[ast.stmt] = []
    if returns:
        before.append(statement_at(f"{returned} = False", loop))
        after.append(statement_at(f"if {returned}:\n    return {result}", loop))
    return [*before, loop, *after]


def _with_breaks(block: Sequence[ast.stmt], result: str, returned: str) -> list[ast.stmt]:
    """Has a loop break where it returned, and loops in it too."""
    done: list[ast.stmt] = []
    for statement in block:
        if isinstance(statement, ast.Return):
            kept = statement_at(f"{result} = None", statement)
            assert isinstance(kept, ast.Assign)
            kept.value = statement.value or kept.value
            done += [kept, statement_at(f"{returned} = True", statement), statement_at("break", statement)]
            continue
        returns = has([statement], ast.Return)
        for inner in blocks(statement):
            inner[:] = _with_breaks(inner, result, returned)
        done.append(statement)
        if returns and isinstance(statement, (ast.For, ast.While)):
            done.append(statement_at(f"if {returned}:\n    break", statement))
    return done


def _without_breaks(loop: ast.For | ast.While, names: Names) -> ast.stmt:
    """Has a loop go on without doing anything once it was left, and returns what sets its flag before."""
    broken, skipped = names.fresh("broken"), names.fresh("skipped")
    body = [statement_at(f"{skipped} = False", loop), *_guarded(loop.body, broken, skipped)]
    going_on = expression_at(f"not {broken}", loop)
    if isinstance(loop, ast.While):
        loop.test = ast.BoolOp(ast.And(), [going_on, loop.test])
        loop.body = body
    else:
        loop.body = [ast.copy_location(ast.If(going_on, body, []), loop)]
    return statement_at(f"{broken} = False", loop)


def _guarded(block: Sequence[ast.stmt], broken: str, skipped: str) -> list[ast.stmt]:
    """Has what follows an exit run only where none was taken."""
    done: list[ast.stmt] = []
    for place, statement in enumerate(block):
        if isinstance(statement, (ast.Break, ast.Continue)):
            flag = broken if isinstance(statement, ast.Break) else skipped
            return [*done, statement_at(f"{flag} = True", statement)]
        exits = has([statement], ast.Break, ast.Continue, own_loop=True)
        if exits and not isinstance(statement, ast.If):
            raise UnsupportedError("a loop is left from inside of a `with` or `try`")
        done.append(statement)
        if exits:
            assert isinstance(statement, ast.If)
            done += _with_rest_guarded(statement, block[place + 1 :], broken, skipped)
            break
    return done or [ast.Pass()]


def _with_rest_guarded(statement: ast.If, rest: Sequence[ast.stmt], broken: str, skipped: str) -> list[ast.stmt]:
    """Guards the sides of a branch, and returns what follows it; nothing where the other side takes that in."""
    sides = [statement.body, statement.orelse]
    leaving = [bool(side) and isinstance(side[-1], (ast.Break, ast.Continue)) for side in sides]
    if any(leaving):
        sides[leaving.index(True) - 1] += rest
        rest = []
    statement.body, statement.orelse = (_guarded(side, broken, skipped) for side in sides)
    rest = _guarded(rest, broken, skipped) if rest else []
    asked = expression_at(f"not ({broken} or {skipped})", statement)
    return [ast.copy_location(ast.If(asked, rest, []), statement)] if rest else []
