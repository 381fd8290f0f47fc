"""Questions about sizes, as Python of dims: what they answer, and at which sizes another thing."""

from __future__ import annotations

import ast
import functools
import itertools
import math
import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import CodeType, MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from onnxwright.findings import Finding
from onnxwright.manifest import Proof
from onnxwright.profile import Profile
from onnxwright.proof.box import distance
from onnxwright.proof.lattice import Sizes, thinned, volume
from onnxwright.pytorch.lines import NOWHERE, Line, Place

_MOST_POINTS = 40_000
_MOST_AT_ONCE = 4_000_000
_MOST_TURNED = 4096
_SYMBOLIC = SimpleNamespace(sym_float=float, sym_int=int, sym_max=max, sym_min=min, sym_not=operator.not_)
"""What PyTorch's functions of symbolic numbers make of plain ones."""
_NAMES = {
    "math": math,
    "min": min,
    "max": max,
    "abs": abs,
    "int": int,
    "float": float,
    "round": round,
    "torch": _SYMBOLIC,
    "__builtins__": {},
}


_KNOWN = {"dims", "min", "max", "abs"}
_ARITHMETIC = (
    *(ast.Expression, ast.Compare, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name, ast.Subscript, ast.Call),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context),
)
"""What a question about sizes may hold: it is computed as Python."""


@functools.cache
def _compiled(code: str) -> CodeType:
    return compile(code, "<condition>", "eval")


class Condition(NamedTuple):
    """A question about sizes: Python that is true or false for given dims, and where it is asked."""

    code: str
    dims: tuple[str, ...]
    place: Place

    def holds(self, sizes: Mapping[str, int]) -> bool | None:
        """Whether it is true at given sizes; None where it can't be told."""
        try:
            return bool(eval(_compiled(self.code), {**_NAMES, "dims": sizes}))  # noqa: S307 - torch printed it
        except (ArithmeticError, NameError, TypeError, ValueError):
            return None

    def turns(self, one: Mapping[str, int], other: Mapping[str, int]) -> bool:
        """Whether it is true at one of two sizes and false at the other."""
        then, now = self.holds(one), self.holds(other)
        return None not in {then, now} and then is not now

    @property
    def is_merge(self) -> bool:
        """Whether it says that two dims are one."""
        return re.fullmatch(r"dims\['[^']*'\] == dims\['[^']*'\]", self.code) is not None and len(self.dims) == 2

    def __str__(self) -> str:
        return re.sub(r"dims\['([^']*)'\]", r"\1", self.code)


def asking(text: str, dims: Iterable[str]) -> Condition:
    """Reads a condition as `str` wrote it.

    Raises:
        ValueError: when it is no Python, or names none of the dims.
    """
    known = [dim for dim in dims if re.search(rf"\b{re.escape(dim)}\b", text)]
    if not known:
        raise ValueError(f"`{text}` asks about none of the dims")
    code = renamed(text, {dim: f"dims[{dim!r}]" for dim in known})
    try:
        tree = ast.parse(code, mode="eval")
    except SyntaxError as problem:
        raise ValueError(f"`{text}` is no question about sizes") from problem
    foreign = [node for node in ast.walk(tree) if not isinstance(node, _ARITHMETIC)]
    foreign += [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in _KNOWN]
    if foreign or not isinstance(tree.body, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
        raise ValueError(f"`{text}` is no question about sizes")
    return Condition(code, tuple(known), Place("", NOWHERE))


def accounting(conditions: Sequence[Condition], traced: Mapping[str, int], proof: Proof) -> Iterator[Condition]:
    """Yields the conditions that turn at failures only, fewest first that account for all failures that any does."""
    left = [failure.sizes for failure in proof.failures]
    turning = [one for one in conditions if not any(one.turns(traced, sizes) for sizes in proof.sizes)]
    while turning:
        best = max(turning, key=lambda one: sum(one.turns(traced, sizes) for sizes in left))
        rest = [sizes for sizes in left if not best.turns(traced, sizes)]
        if len(rest) == len(left):
            return
        yield best
        left = rest


class Asked(NamedTuple):
    """What a module's code asks of sizes, and sizes at which it takes another way than at the traced ones."""

    conditions: tuple[Condition, ...] = ()
    sizes: tuple[Sizes, ...] = ()
    is_whole: bool = True
    """Whether the code was followed from its beginning to its end, at the traced sizes."""
    lines: frozenset[Line] = frozenset()
    """Else the lines at which it was followed."""

    taken: Mapping[str, Finding] = MappingProxyType({})
    """Where the code makes numbers of sizes, by dim."""
    silent: Mapping[str, Finding] = MappingProxyType({})
    """Where it does so and an exporter that follows sizes assumes nothing of them."""

    def follows(self, line: Line) -> bool:
        """Whether what the code asks of sizes at a line is among the conditions."""
        return self.is_whole or line in self.lines

    def and_of(self, assumed: Iterable[Condition], base: Mapping[str, int], profile: Profile) -> Asked:
        """Returns it with what an exporter takes for granted, and sizes at which that doesn't hold."""
        fresh = [condition for condition in dict.fromkeys(assumed) if condition not in self.conditions]
        sizes = [one for condition in fresh for one in other_side(condition, base, profile)]
        return self._replace(conditions=(*self.conditions, *fresh), sizes=(*self.sizes, *sizes))


def is_known(condition: Condition, asked: Iterable[Condition], profile: Profile) -> bool:
    """Says whether a question was asked in other words at its line, or its reverse."""
    alike = [one for one in asked if one.place == condition.place and set(one.dims) == set(condition.dims)]
    points = list(_grid(condition.dims, dict(profile.least), profile)) if alike else []
    answers = [condition.holds(point) for point in points]
    return any([one.holds(point) for point in points] in (answers, [not answer for answer in answers]) for one in alike)


def other_side(
    condition: Condition, base: Mapping[str, int], profile: Profile, before: Sequence[Condition] = ()
) -> list[Sizes]:
    """Returns sizes at which a condition differs from the base: nearest, least and most in volume.

    Those `before` it are as at the base, so that the code comes to it there.
    """
    truth = condition.holds(base)
    if truth is None:
        return []
    turned = _turned_at_all(condition, base, profile, before)
    if turned is None and before:
        return []
    if turned is None:
        points = [dict(point) for point in _grid(condition.dims, base, profile)]
        turned = [point for point in points if condition.holds(point) not in (truth, None)]
    if not turned:
        return []
    by_volume = sorted(turned, key=volume)
    by_distance = sorted(turned, key=lambda point: distance(point, base))
    return [by_distance[0], by_volume[0], by_volume[-1]]


def _turned_at_all(
    condition: Condition, base: Mapping[str, int], profile: Profile, before: Sequence[Condition]
) -> list[Sizes] | None:
    """Returns where a condition turns among all sizes of its dims, thinned; None where it takes one number at a time.

    A question such as `batch * sequence == 23101` is otherwise at one pair of sizes, which no thinned grid would hold.
    """
    asked = (condition, *before)
    dims = tuple(dict.fromkeys(dim for one in asked for dim in one.dims))
    spans = [range(profile[dim].least, profile[dim].most + 1) for dim in dims]
    if math.prod(map(len, spans)) > _MOST_AT_ONCE:
        return None
    axes = dict(zip(dims, np.meshgrid(*map(np.array, spans), indexing="ij", sparse=True), strict=True))
    turned = _answers(condition, axes)
    if turned is None:
        return None
    turned = np.broadcast_to(turned != condition.holds(base), tuple(map(len, spans)))
    for one in before:
        answers = _answers(one, axes)
        turned = turned if answers is None else turned & (answers == one.holds(base))
    places = np.argwhere(turned)
    some = places[np.linspace(0, len(places) - 1, min(len(places), _MOST_TURNED)).astype(int)]
    sizes = ([int(span[at]) for span, at in zip(spans, place, strict=True)] for place in some)
    found = [{**base, **dict(zip(dims, one, strict=True))} for one in sizes]
    return [one for one in found if condition.turns(base, one)]


def _answers(condition: Condition, axes: Mapping[str, Any]) -> Any:
    """The answers to a condition at a grid of sizes; None where it takes one number at a time."""
    try:
        with np.errstate(all="ignore"):
            answers = eval(_compiled(condition.code), {**_NAMES, "dims": axes})  # noqa: S307 - torch printed it
    except (ArithmeticError, NameError, TypeError, ValueError):
        return None
    is_grid = getattr(answers, "dtype", None) == np.bool_ and answers.ndim == len(axes)
    return answers if is_grid else None


def _grid(dims: Sequence[str], base: Mapping[str, int], profile: Profile) -> Iterator[Sizes]:
    """All sizes of the dims asked about, the others at the base; thinned evenly where there are too many."""
    each = max(2, int(_MOST_POINTS ** (1 / max(len(dims), 1))))
    axes = [thinned(profile[dim], each) for dim in dims]
    return ({**base, **dict(zip(dims, point, strict=True))} for point in itertools.product(*axes))


def renamed(code: str, names: Mapping[str, str]) -> str:
    """Returns Python with other names."""
    return re.sub(r"\b[A-Za-z_]\w*\b", lambda word: names.get(word.group(), word.group()), code)
