"""Control flow as operators: what Python decides by a size or a value becomes `torch.cond`, `while_loop` or `scan`.

The functions that findings point at are rewritten by their syntax, for the time of an export by `torch.export`: each
`if`, `while`, `for`, early exit and comprehension that depends on an input is one operator. What Python itself knows
(a setting, whether an argument is given) runs as before. A side that gives None where the other gives a tensor is left
out, which the proof has to justify: the samples must take it, and agree.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Final

from onnxwright.errors import RepairError
from onnxwright.pytorch.functions import functions_at
from onnxwright.pytorch.lines import Line
from onnxwright.repairs import DECIDED, Exporter, Repair, Seen
from onnxwright.repairs.control_flow.leaving_out import noting_sides, watch
from onnxwright.repairs.control_flow.rewriting import UnsupportedError, rewritten
from onnxwright.repairs.control_flow.settled import over_profile
from onnxwright.routes import Exported, noting
from onnxwright.source import Source

_SEPARATOR: Final = ", "
_MOST_PLACES: Final = 40
_FRAME: Final = re.compile(r'File "([^"]+)", line (\d+)')
_CAUSE: Final = re.compile(r"Caused by: \((\S+\.py:\d+) in ")


class ControlFlow(Repair):
    """Rewrites what decides in functions into operators."""

    name = "control-flow"
    summary = "rewrites branches and loops that findings point at into `torch.cond`, `while_loop` and `scan`"
    rank = 6.0
    depth = 1
    route = "dynamo"
    decides = True

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Yields the places at which Python decides, all at once."""
        has_decided = any(finding.code in DECIDED for finding in seen.findings)
        if seen.source.module is None or not (has_decided or seen.approach.route == self.route):
            return
        rewritten = [place for fix in seen.approach.fixes if fix.repair == self.name for place in _places(fix.argument)]
        found = [finding.where for finding in (*seen.earlier, *seen.findings) if finding.where]
        asked = [
            str(one.place.line) for one in (seen.asked.conditions if seen.asked else ()) if one.place.line.is_users
        ]
        told = [str(Line(file, int(number))) for file, number in _FRAME.findall(seen.message)]
        told += _CAUSE.findall(seen.message)
        places = list(dict.fromkeys([*found, *asked, *told]))
        functions = functions_at([*places, *rewritten])
        first = {id(function): place for place in reversed(places) for function in functions.get(place, ())}
        done = {id(function) for place in rewritten for function in functions.get(place, ())}
        left = {place for function, place in first.items() if function not in done}
        if left and len(rewritten) < _MOST_PLACES:
            yield _SEPARATOR.join(sorted(left))

    def around(self, export: Exporter, argument: str) -> Exporter:
        """Returns an export with the functions rewritten that stand at these places."""
        # Found here: in a forked process the garbage collector no longer lists them.
        functions = {id(one): one for several in functions_at(_places(argument)).values() for one in several}

        def with_operators(source: Source) -> Exported:
            with contextlib.ExitStack() as replaced:
                reasons = []
                for function in functions.values():
                    try:
                        replaced.enter_context(exchanged(function, recompiled(function)))
                    except UnsupportedError as reason:
                        reasons.append(f"{function.__qualname__}: {reason}")
                if len(reasons) == len(functions):
                    raise RepairError(f"nothing can be rewritten ({'; '.join(reasons) or 'no source'})")
                sides = replaced.enter_context(noting_sides())
                replaced.enter_context(_dense_answers())
                replaced.enter_context(over_profile(source))
                exported = export(source)
                if sides.left_out:
                    watch(sides, source)
                return noting(exported, findings=(*exported.noted.findings, *sides.findings()))

        return with_operators


def _dense_answers() -> contextlib.AbstractContextManager[None]:
    from onnxwright.repairs.control_flow.merging import dense_answers

    return dense_answers()


def _places(argument: str) -> list[str]:
    return argument.split(_SEPARATOR)


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
    names = [ast.arg(name) for name in code.co_freevars]
    arguments = ast.arguments(posonlyargs=[], args=names, kwonlyargs=[], kw_defaults=[], defaults=[])
    outer = ast.FunctionDef(
        name="__around__", args=arguments, body=[inner, ast.Return(ast.Name(inner.name, ast.Load()))], decorator_list=[]
    )
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


REPAIR = ControlFlow()
