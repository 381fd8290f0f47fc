"""Rewrites the syntax of a function so that what decides in it is a call: of `running`, which makes operators of it.

`if`, `while`, `for`, early exits, comprehensions, `and`, `or`, `not` and conditional expressions become functions of
the names that they set. Where what decides turns out to be a Python value, these do what Python does.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from typing import Any

from onnxwright.repairs.control_flow.syntax.calls import Calls
from onnxwright.repairs.control_flow.syntax.exits import without_exits
from onnxwright.repairs.control_flow.syntax.known import Known
from onnxwright.repairs.control_flow.syntax.names import Names
from onnxwright.repairs.control_flow.syntax.returns import closed
from onnxwright.repairs.control_flow.syntax.unsupported import refuse_unsupported
from onnxwright.repairs.control_flow.syntax.writing import FLOW, INDEXING, MODULES, statement


def rewritten(function: ast.FunctionDef, known: Mapping[str, Any]) -> ast.FunctionDef:
    """Returns a function with its control flow as calls, given the global names that it knows.

    Raises:
        UnsupportedError: when it holds what can't be, such as `yield`.
    """
    refuse_unsupported(function)
    function = copy.deepcopy(function)
    names = Names(function)
    body = closed(without_exits(function.body, names))
    names.know_reads(body)
    body = Calls(names, Known(known, names.all), _first(function)).block(body)
    function.body = [*_head(function, names), *body]
    function.decorator_list, function.returns = [], None
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return ast.fix_missing_locations(function)


def _first(function: ast.FunctionDef) -> str | None:
    """The name of the first argument, which `super()` takes."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    return arguments[0].arg if arguments else None


def _head(function: ast.FunctionDef, names: Names) -> list[ast.stmt]:
    """What comes before all else: the modules that run it, arguments of its own, and names that may stay unset."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    head = [
        statement(f"from onnxwright.repairs.control_flow import {part} as {name}") for name, part in MODULES.items()
    ]
    head += [statement(f"{one.arg} = {INDEXING}.taken({one.arg})") for one in arguments]
    head += [statement(f"{name} = {FLOW}.UNDEFINED") for name in sorted(names.used)]
    for one in head:
        for node in ast.walk(one):
            node.lineno = node.end_lineno = function.lineno  # type: ignore[attr-defined]  # only where nodes have it
    return head
