"""What a trace keeps of its sample: two traces of one module, from two samples, held against each other.

Whatever differs between them (a constant, the order of operators, how often one occurs) was decided or computed in
Python while the module ran, and is frozen in the graph. What is computed in the graph, sizes too, is the same in both.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import nn

from onnxwright.findings import Finding
from onnxwright.pytorch.lines import Kind, Line, Place, is_boundary
from onnxwright.pytorch.modules import Pristine, TensorFunction, evaluation, tolerated
from onnxwright.routes import silence
from onnxwright.signature import Signature

_FRAME = re.compile(r"^(?P<file>.+?)\((?P<line>\d+)\): (?P<function>.*)$")
CODES: Final[dict[Kind, str]] = {
    "branch": "shape-branch-frozen",
    "loop": "loop-unrolled",
    "other": "constant-from-sample",
}
SAYS: Final[dict[Kind, str]] = {
    "branch": "A branch was decided once, for the sample",
    "loop": "A loop was unrolled, with the rounds of the sample",
    "other": "A constant was computed once, from the sample",
}
_PLUMBING = ("prim::GetAttr", "prim::Param", "prim::Constant", "prim::NumToTensor", "aten::Int", "aten::ScalarImplicit")


class Difference(NamedTuple):
    """One thing that differs between two traces: where, what kind of statement decides it, and in words."""

    place: Place
    kind: Kind
    what: str

    def finding(self) -> Finding:
        """Returns it as a finding of its kind."""
        return self.place.finding(CODES[self.kind], f"{SAYS[self.kind]}.", evidence=f"Of two traces {self.what}.")


class _Node(NamedTuple):
    """An operator of a trace: its name, the user's lines that led to it from the outermost in, and its constants."""

    operator: str
    stack: tuple[Place, ...]
    constants: tuple[Any, ...]

    @property
    def key(self) -> tuple[str, tuple[Place, ...]]:
        return self.operator, self.stack


Sample = Mapping[str, torch.Tensor]


def differences(module: nn.Module, signature: Signature, one: Sample, other: Sample) -> list[Difference]:
    """Returns what differs between the traces from two samples, in the order in which it runs; each line once.

    Nothing where the module can't be traced from both.
    """
    first, second = (_traced(module, signature, sample) for sample in (one, other))
    found = list(_compared(first, second)) if first and second else []
    return list({difference.place: difference for difference in reversed(found)}.values())[::-1]


def _traced(module: nn.Module, signature: Signature, sample: Sample) -> list[_Node]:
    function = TensorFunction(module, signature.input_names, signature.output_names)
    with Pristine(module), evaluation(module), silence(), torch.no_grad(), tolerated():
        graph = torch.jit.trace(  # type: ignore[no-untyped-call]  # torch leaves it without annotations
            function, tuple(sample.values()), check_trace=False, strict=False
        ).inlined_graph
        return list(_live(graph))
    return []


def _live(graph: Any) -> Iterator[_Node]:
    """The operators that an output depends on, or that write in place, in order."""
    needed = {value.debugName() for value in graph.outputs()}
    places_of = functools.cache(lambda source, scope: tuple(_places(source, scope)))
    kept = []
    for node in reversed(list(graph.nodes())):
        writes = node.kind().endswith("_") and not node.kind().endswith("__")
        if writes or any(value.debugName() in needed for value in node.outputs()):
            needed |= {value.debugName() for value in node.inputs()}
            kept.append(node)
    for node in reversed(kept):
        stack = () if node.kind() in _PLUMBING else places_of(node.sourceRange(), node.scopeName())
        if stack:
            yield _Node(node.kind(), stack, tuple(_constant(value.node()) for value in node.inputs()))


def _places(source: str, scope: str) -> Iterator[Place]:
    """The user's lines that led to a node, from the outermost in, each with the submodule whose `forward` ran.

    Its source range holds all frames, innermost first; the scope holds the submodules, outermost first, and of these
    each has one frame called `forward`, after that of the function that wraps the module.
    """
    scopes = [one.removeprefix("__module.").removeprefix("module").removeprefix(".") for one in scope.split("/")]
    depth = -1
    frames = [match for match in map(_FRAME.match, source.splitlines()) if match]
    for frame in reversed(list(itertools.takewhile(lambda one: not is_boundary(one["file"]), frames))):
        depth += frame["function"] == "forward"
        line = Line(frame["file"], int(frame["line"]))
        if line.is_users:
            yield Place(scopes[min(max(depth, 0), len(scopes) - 1)], line)


def _constant(node: Any) -> Any:
    if node.kind() == "prim::ListConstruct":
        return tuple(_constant(value.node()) for value in node.inputs())
    if node.kind() in ("prim::NumToTensor", "aten::Int", "aten::ScalarImplicit"):
        return _constant(next(node.inputs()).node())
    if node.kind() != "prim::Constant" or not node.hasAttribute("value"):
        return None
    return node.output().toIValue()


def _compared(first: Sequence[_Node], second: Sequence[_Node]) -> Iterator[Difference]:
    one, other = [node.key for node in first], [node.key for node in second]
    if one == other:
        for node, twin in zip(first, second, strict=True):
            yield from _constants(node, twin)
        return
    blocks = difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    for tag, begin, end, start, stop in blocks:
        if tag == "equal":
            for node, twin in zip(first[begin:end], second[start:stop], strict=True):
                yield from _constants(node, twin)
        else:
            yield _structure(first, second, (begin, end), (start, stop))


def _constants(node: _Node, twin: _Node) -> Iterator[Difference]:
    for value, another in zip(node.constants, twin.constants, strict=False):
        if not _is_same(value, another):
            what = f"{node.operator} takes the constant {_written(value)} or {_written(another)}"
            yield Difference(node.stack[-1], node.stack[-1].line.kind, what)


def _structure(
    first: Sequence[_Node], second: Sequence[_Node], ours: tuple[int, int], theirs: tuple[int, int]
) -> Difference:
    """Where two traces part: the branch or the loop around the first operator that only one of them has."""
    node = first[min(ours[0], len(first) - 1)]
    twin = second[min(theirs[0], len(second) - 1)]
    extra, lone = (first[slice(*ours)], node) if ours[1] > ours[0] else (second[slice(*theirs)], twin)
    what = f"{lone.operator} and {len(extra) - 1} more operators occur in one and not in the other"
    if lone.stack in {one.stack for one in first} & {one.stack for one in second}:
        around = [(place.module, place.line.question("loop")) for place in reversed(lone.stack)]
        loop = next((Place(module, line) for module, line in around if line is not None), None)
        if loop is not None:
            return Difference(loop, "loop", what)
    branch = _parting(node, twin) or (_exit(first[ours[0] - 1], lone) if ours[0] else None)
    return Difference(branch or lone.stack[-1], "branch" if branch else "other", what)


def _parting(node: _Node, twin: _Node) -> Place | None:
    """The branch in which one of two operators stands and the other does not, where their stacks first differ."""
    parted = next(((one, other) for one, other in zip(node.stack, twin.stack, strict=False) if one != other), ())
    asked = [(place.module, place.line.question("branch")) for place in parted]
    return next((Place(module, line) for module, line in asked if line is not None and asked[0] != asked[-1]), None)


def _exit(last: _Node, lone: _Node) -> Place | None:
    """The branch by which one trace left, between the last operator that both have and the first of the other."""
    for before, after in zip(last.stack, lone.stack, strict=False):
        if before != after:
            line = after.line.exit_after(before.line)
            return None if line is None else Place(after.module, line)
    return None


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))  # noqa: PLR0124 - NaN


def _written(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return str(value)
    if value.numel() == 1:
        return str(value.item())
    return f"{value.flatten()[:3].tolist()}… of shape {list(value.shape)}"
