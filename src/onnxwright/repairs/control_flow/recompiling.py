"""A function's code made anew from its source, with the control flow rewritten, and put in the place of its own."""

from __future__ import annotations

import ast
import contextlib
import inspect
import textwrap
from collections.abc import Iterator
from types import CodeType, FunctionType

from onnxwright.repairs.control_flow.syntax.rewriting import rewritten
from onnxwright.repairs.control_flow.syntax.unsupported import UnsupportedError
from onnxwright.repairs.control_flow.syntax.writing import parameters


def recompiled(function: FunctionType) -> CodeType:
    """The code of a function, rewritten, with lines where they were.

    Raises:
        UnsupportedError: when there is no source, or it holds what can't be rewritten.
    """
    code = function.__code__
    try:
        lines, first = inspect.getsourcelines(function)
        (parsed,) = ast.parse(textwrap.dedent("".join(lines))).body
    except (OSError, TypeError, SyntaxError, ValueError) as problem:
        raise UnsupportedError(f"its source can't be read ({problem})") from problem
    if not isinstance(parsed, ast.FunctionDef):
        raise UnsupportedError("it is no plain function")
    ast.increment_lineno(parsed, first - 1)
    inner = rewritten(parsed, function.__globals__)
    returned = [inner, ast.Return(ast.Name(inner.name, ast.Load()))]
    outer = ast.FunctionDef("__around__", parameters(code.co_freevars), body=returned, decorator_list=[])
    tree = ast.fix_missing_locations(ast.Module([ast.copy_location(outer, inner)], []))
    try:
        made = compile(tree, code.co_filename, "exec")
    except (SyntaxError, ValueError) as problem:
        raise UnsupportedError(str(problem)) from problem
    found = next(one for one in _codes(made) if one.co_name == inner.name)
    if found.co_freevars != code.co_freevars:
        raise UnsupportedError("it takes names from around it that the rewritten one doesn't")
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


@contextlib.contextmanager
def exchanged(function: FunctionType, code: CodeType) -> Iterator[None]:
    """Has a function run other code while entered."""
    own = function.__code__
    function.__code__ = code
    try:
        yield
    finally:
        function.__code__ = own
