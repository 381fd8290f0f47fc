"""Which names that a block sets matter outside of it: the others need not be handed on by an operator.

A name doesn't when all its reads stand in the block, and each follows an assignment in the same run of it. So a loop
hands on no `row`, whose length differs from round to round.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Sequence


def reads(statements: Iterable[ast.AST]) -> Counter[str]:
    """Counts the reads of each name, of inner functions too; what is changed in place is read."""
    found: Counter[str] = Counter()
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
                found[node.id] += 1
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] += 1
    return found


def is_set_first(name: str, block: Sequence[ast.stmt]) -> bool:
    """Whether a block sets a name before it reads it, whatever way is taken; or never reads it."""
    for place, statement in enumerate(block):
        if _assigns(name, statement):
            return True
        if _reads(name, [statement]):
            inner = _blocks_of(statement)
            is_inside = reads(node for part in inner for node in part)[name] == reads([statement])[name]
            return is_inside and not _reads(name, block[place + 1 :]) and all(is_set_first(name, one) for one in inner)
    return True


def is_set_at_once(name: str, block: Sequence[ast.stmt]) -> bool:
    """Whether an assignment of the block itself sets a name before anything else in it names it."""
    for statement in block:
        if any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(statement)):
            return _assigns(name, statement)
    return True


def _blocks_of(statement: ast.stmt) -> list[list[ast.stmt]]:
    """Returns the blocks of a branch or loop; none of a statement whose blocks may be left halfway."""
    if isinstance(statement, (ast.If, ast.For, ast.While)):
        return [statement.body, statement.orelse]
    return []


def _assigns(name: str, statement: ast.stmt) -> bool:
    """Whether a statement sets a name, and does not read it."""
    is_set = isinstance(statement, ast.Assign) and any(_sets(name, target) for target in statement.targets)
    return is_set and not _reads(name, [statement])


def _reads(name: str, statements: Iterable[ast.AST]) -> bool:
    return bool(reads(statements)[name])


def _sets(name: str, target: ast.expr) -> bool:
    parts = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
    return any(_sets(name, part) if part is not target else getattr(part, "id", None) == name for part in parts)
