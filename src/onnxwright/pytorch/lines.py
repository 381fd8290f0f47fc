"""Lines of the user's Python: which one is running, in which submodule, and what kind of statement stands there."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import inspect
import itertools
import linecache
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self

from onnxwright.excerpts import excerpt
from onnxwright.findings import Finding

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["branch", "loop", "other"]

_BOUNDARY = str(Path(__file__).with_name("modules.py"))
"""Where onnxwright calls a module: what lies above is not the module's."""
_LEAVING = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_LOOPS = (ast.For, ast.While, ast.AsyncFor)


class Line(NamedTuple):
    """One line of a source file."""

    file: str
    number: int

    def __str__(self) -> str:
        return f"{_short(self.file)}:{self.number}"

    @property
    def is_users(self) -> bool:
        """Whether it belongs neither to torch nor to onnxwright."""
        return not self.file.startswith(_own())

    @property
    def kind(self) -> Kind:
        """Whether the line holds the question of a branch, the head of a loop, or neither."""
        asked = [
            (node.end_lineno - node.lineno, kind)  # type: ignore[operator]  # parsed nodes have both ends
            for kind, node in _questions(self.file)
            if _spans(node, self.number)
        ]
        return min(asked, key=lambda found: found[0])[1] if asked else "other"

    def question(self, kind: Kind | None = None) -> Line | None:
        """Returns where the innermost branch or loop begins that this line stands in, not in its own question."""
        around = [
            node
            for node in _compounds(self.file)
            if _spans(node, self.number) and kind in (None, "loop" if isinstance(node, _LOOPS) else "branch")
        ]
        return Line(self.file, max(node.lineno for node in around)) if around else None

    def exit_after(self, earlier: Line) -> Line | None:
        """Returns the first branch between an earlier line and this one that leaves the function or the loop."""
        leaving = (
            node.lineno
            for node in _compounds(self.file)
            if isinstance(node, ast.If) and any(isinstance(one, _LEAVING) for one in ast.walk(node))
        )
        between = [number for number in leaving if earlier.number < number < self.number]
        return Line(self.file, min(between)) if between and earlier.file == self.file else None

    def excerpt(self, around: int = 1) -> tuple[str, ...]:
        """Returns the line and its neighbours, numbered, the line itself marked; nothing where there is no source."""
        return excerpt(Path(self.file), self.number, around)


NOWHERE: Final = Line("<nowhere>", 0)
"""Of a module that consists of torch's own parts."""


class Place(NamedTuple):
    """Where a call comes from: the path of the submodule that runs, empty for the whole, and the line."""

    module: str
    line: Line

    def finding(self, code: str, message: str, *, evidence: str | None = None, repair: str | None = None) -> Finding:
        """Returns a finding about this place, with its source as it is now."""
        where = str(self.line) if self.line.is_users else None
        return Finding(code, message, where, repair, self.module, evidence, self.line.excerpt())


def found_at(place: Place | None, code: str, message: str) -> Finding:
    """Returns a finding about a place, if there is one that can be named."""
    return place.finding(code, message) if place is not None else Finding(code, message)


class Whereabouts:
    """Knows which submodule of a module is running, while it is entered."""

    def __init__(self, module: nn.Module):
        self._module = module
        self._running: list[str] = []
        self._hooks: list[Any] = []

    @property
    def module(self) -> str:
        """The path of the innermost submodule that is running; empty for the module itself."""
        return self._running[-1] if self._running else ""

    @property
    def place(self) -> Place:
        """The submodule and the user's line that are running."""
        return Place(self.module, user_line())

    def __enter__(self) -> Self:
        import torch

        for path, part in self._module.named_modules():
            if isinstance(part, torch.jit.ScriptModule):
                continue
            self._hooks.append(part.register_forward_pre_hook(functools.partial(self._enter, path)))
            self._hooks.append(part.register_forward_hook(self._leave, always_call=True))
        return self

    def __exit__(self, *problem: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._running.clear()

    def _enter(self, path: str, *_: object) -> None:
        self._running.append(path)

    def _leave(self, *_: object) -> None:
        self._running.pop()


def user_line() -> Line:
    """Returns the innermost line that is running, within the module, and belongs neither to torch nor to onnxwright."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != _BOUNDARY:
        if is_users_frame(frame):
            return Line(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return NOWHERE


def is_boundary(file: str) -> bool:
    """Whether a frame of this file calls a module: what lies above is not the module's."""
    return file == _BOUNDARY


def is_users_frame(frame: FrameType) -> bool:
    """Whether a frame runs code that belongs neither to torch nor to onnxwright."""
    return not frame.f_code.co_filename.startswith(_own())


def user_line_of(problem: BaseException) -> Line:
    """Returns the innermost line of a traceback that belongs neither to torch nor to onnxwright."""
    lines = [Line(trace.tb_frame.f_code.co_filename, trace.tb_lineno) for trace in _traces(problem)]
    return ([line for line in lines if line.is_users] or lines)[-1]


def lines_of(problem: BaseException) -> Iterator[Line]:
    """Yields the lines of a traceback that belong neither to torch nor to onnxwright."""
    lines = (Line(trace.tb_frame.f_code.co_filename, trace.tb_lineno) for trace in _traces(problem))
    return (line for line in lines if line.is_users)


@contextlib.contextmanager
def noting_lines(lines: set[Line]) -> Iterator[None]:
    """Collects the lines that run and belong neither to torch nor to onnxwright, nor to what torch computes with."""
    import mpmath  # type: ignore[import-untyped]  # comes without types
    import sympy  # type: ignore[import-untyped]  # likewise

    passed = (*_own(), str(Path(sympy.__file__).parent) + "/", str(Path(mpmath.__file__).parent) + "/")

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if event == "call" and frame.f_code.co_filename.startswith(passed):
            return None
        lines.add(Line(frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def user_line_among(frames: Iterable[tuple[str, int]]) -> Line | None:
    """Returns the first of some frames, as file and line, that belongs neither to torch nor to onnxwright."""
    within = itertools.takewhile(lambda line: line.file != _BOUNDARY, itertools.starmap(Line, frames))
    return next((line for line in within if line.is_users), None)


def line_of_forward(module: nn.Module) -> Line | None:
    """Returns the line at which a module's `forward` begins; None where it has no source."""
    forward = inspect.getattr_static(type(module), "forward", None)
    code = getattr(getattr(forward, "__wrapped__", forward), "__code__", None)
    line = NOWHERE if code is None else Line(code.co_filename, code.co_firstlineno)
    return line if line.is_users else None


@functools.cache
def _own() -> tuple[str, ...]:
    torch = importlib.util.find_spec("torch")
    of_torch = [f"{place}/" for place in (torch and torch.submodule_search_locations) or ()]
    # A name in angle brackets is code that was compiled from text: torch's own, generated.
    return *of_torch, f"{Path(__file__).parents[1]}/", "<"


def _short(file: str) -> str:
    for folder in sorted(map(str, map(Path, sys.path)), key=len, reverse=True):
        if folder not in ("", ".") and file.startswith(folder.rstrip("/") + "/"):
            return file[len(folder.rstrip("/")) + 1 :]
    return Path(file).name


def _traces(problem: BaseException) -> Iterator[TracebackType]:
    trace = problem.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _spans(node: ast.expr | ast.stmt, line: int) -> bool:
    return node.end_lineno is not None and node.lineno <= line <= node.end_lineno


@functools.cache
def _tree(file: str) -> ast.Module:
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return ast.Module([], [])


@functools.cache
def _questions(file: str) -> tuple[tuple[Kind, ast.expr], ...]:
    """The expressions that decide: what branches test, and what loops run over."""
    found: list[tuple[Kind, ast.expr]] = []
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.If | ast.IfExp | ast.Assert):
            found.append(("branch", node.test))
        elif isinstance(node, ast.While):
            found.append(("loop", node.test))
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            found.append(("loop", node.iter))
    return tuple(found)


@functools.cache
def _compounds(file: str) -> tuple[ast.stmt, ...]:
    return tuple(node for node in ast.walk(_tree(file)) if isinstance(node, (ast.If, *_LOOPS)))
