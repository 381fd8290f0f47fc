"""What a module's code asks of its sizes, so that a proof tries sizes on both sides of every question.

The module runs on fake tensors with symbolic sizes; each branch, comparison or conversion that depends on a size leaves
a condition. Sizes at which one turns out otherwise are found by evaluating it over the profile, and the module is run
again from there, since its code may ask something else on the other side.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import itertools
import logging
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import torch
from torch import nn

from onnxwright.manifest import Proof
from onnxwright.profile import Profile
from onnxwright.proof.box import distance
from onnxwright.proof.lattice import Sizes, thinned, volume
from onnxwright.pytorch.lines import NOWHERE, Place, Whereabouts
from onnxwright.pytorch.modules import Pristine, TensorFunction, evaluation, tolerated
from onnxwright.pytorch.session import to_tensor
from onnxwright.samples import Sampler
from onnxwright.signature import Signature

_MOST_RUNS = 12
_MOST_POINTS = 40_000
_MACHINERY = ("_subclasses", "_prims", "_prims_common", "_refs", "_decomp", "_meta_registrations", "_library", "fx")
_NAMES = {"math": math, "min": min, "max": max, "abs": abs, "int": int, "float": float, "__builtins__": {}}


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
    code = _replaced(text, {dim: f"dims[{dim!r}]" for dim in known})
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

    def and_of(self, assumed: Iterable[Condition], base: Mapping[str, int], profile: Profile) -> Asked:
        """Returns it with what an exporter takes for granted, and sizes at which that doesn't hold."""
        fresh = [condition for condition in dict.fromkeys(assumed) if condition not in self.conditions]
        sizes = [one for condition in fresh for one in other_side(condition, base, profile)]
        return Asked((*self.conditions, *fresh), (*self.sizes, *sizes))


def ask(module: nn.Module, sampler: Sampler, profile: Profile, start: Mapping[str, int], seconds: float) -> Asked:
    """Runs the module at the traced sizes, and from there wherever its code takes another way."""
    deadline = time.monotonic() + seconds
    waiting, found = [dict(start)], [dict(start)]
    asked: dict[Condition, None] = {}
    for _ in range(_MOST_RUNS):
        if not waiting or time.monotonic() > deadline:
            break
        base = waiting.pop(0)
        for condition in conditions_at(module, sampler, base):
            if condition not in asked:
                asked[condition] = None
                fresh = [sizes for sizes in other_side(condition, base, profile) if sizes not in found]
                found += fresh
                waiting += fresh[:1]
    return Asked(tuple(asked), tuple(found[1:]))


def conditions_at(module: nn.Module, sampler: Sampler, sizes: Mapping[str, int]) -> list[Condition]:
    """Returns the conditions on sizes that the module meets when it runs at given ones; as far as fake tensors go."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    signature = sampler.signature
    function = TensorFunction(module, signature.input_names, signature.output_names)
    environment = ShapeEnv(specialize_zero_one=False, duck_shape=False)
    mode = FakeTensorMode(shape_env=environment, allow_non_fake_inputs=True)
    mode.cache_enabled = False  # keys of symbolic sizes cost more than they save in one run
    fakes, symbols = _fake(mode, signature, sampler.draw(sizes))
    # What can't run on fake tensors (numpy, a branch on a value) ends the run; the conditions until then count.
    whereabouts = Whereabouts(module)
    environment.guards = guards = _Placed(whereabouts)
    with Pristine(module), evaluation(module), whereabouts, unlogged(), tolerated(), mode, torch.no_grad():
        function(*fakes)
    return list(dict.fromkeys(translated(environment, zip(guards, guards.places, strict=True), symbols)))


class _Placed(list[Any]):
    """Guards, each with the place at which it was asked."""

    def __init__(self, whereabouts: Whereabouts):
        super().__init__()
        self.places: list[Place] = []
        self._whereabouts = whereabouts

    def append(self, guard: Any) -> None:
        super().append(guard)
        self.places.append(self._whereabouts.place)


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Keeps torch from logging what its fake tensors can't follow, with the whole stack."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _fake(mode: Any, signature: Signature, feeds: Mapping[str, Any]) -> tuple[list[torch.Tensor], dict[Any, str]]:
    from torch.fx.experimental.symbolic_shapes import DimDynamic, StatelessSymbolicContext

    fakes, symbols = [], {}
    for spec in signature.inputs:
        kinds = [DimDynamic.DYNAMIC if isinstance(dim, str) else DimDynamic.STATIC for dim in spec.shape]
        context: Any = StatelessSymbolicContext(dynamic_sizes=kinds)
        fake = mode.from_tensor(to_tensor(feeds[spec.name]), symbolic_context=context)
        named = ((axis, dim) for axis, dim in enumerate(spec.shape) if isinstance(dim, str))
        symbols.update({fake.shape[axis].node.expr: dim for axis, dim in named})
        fakes.append(fake)
    return fakes, symbols


def translated(
    environment: Any, placed: Iterable[tuple[Any, Place]], symbols: Mapping[Any, str]
) -> Iterator[Condition]:
    """Yields the guards of a shape environment that ask about named dims alone; `symbols` say which dim each is."""
    from torch.utils._sympy.printers import PythonPrinter

    known = {symbol: dim for symbol, dim in symbols.items() if symbol.is_Symbol}
    places = {replaced: known[symbol] for symbol, replaced in environment.replacements.items() if symbol in known}
    names = {**{symbol: dim for symbol, dim in places.items() if symbol.is_Symbol}, **known}
    for guard, place in placed:
        if not guard.expr.free_symbols <= names.keys():
            continue
        dims = tuple(dict.fromkeys(names[symbol] for symbol in sorted(guard.expr.free_symbols, key=str)))
        if _is_machinery(guard) and not (len(dims) == 2 and guard.expr.is_Relational and guard.expr.rel_op == "=="):
            continue
        # Two inputs that share a dim have a symbol each; as variables of one name they are always equal.
        code = PythonPrinter().doprint(guard.expr)
        renamed = {str(symbol): f"dims[{names[symbol]!r}]" for symbol in guard.expr.free_symbols}
        yield Condition(_replaced(code, renamed), dims, place)


def _replaced(code: str, names: Mapping[str, str]) -> str:
    return re.sub(r"\b[A-Za-z_]\w*\b", lambda word: names.get(word.group(), word.group()), code)


def _is_machinery(guard: Any) -> bool:
    """Whether a condition is torch's own about layouts and broadcasting, which it asks on every road."""
    frame = getattr(guard.sloc, "framework_loc", None)
    file = getattr(frame, "filename", "")
    root = Path(torch.__file__).parent
    return Path(file).is_relative_to(root) and Path(file).relative_to(root).parts[0].removesuffix(".py") in _MACHINERY


def other_side(condition: Condition, base: Mapping[str, int], profile: Profile) -> list[Sizes]:
    """Returns sizes at which a condition differs from the base: nearest, least and most in volume."""
    truth = condition.holds(base)
    points = [dict(point) for point in _grid(condition.dims, base, profile)]
    turned = [point for point in points if condition.holds(point) not in (truth, None)]
    if truth is None or not turned:
        return []
    by_volume = sorted(turned, key=volume)
    by_distance = sorted(turned, key=lambda point: distance(point, base))
    return [by_distance[0], by_volume[0], by_volume[-1]]


def _grid(dims: Sequence[str], base: Mapping[str, int], profile: Profile) -> Iterator[Sizes]:
    """All sizes of the dims asked about, the others at the base; thinned evenly where there are too many."""
    each = max(2, int(_MOST_POINTS ** (1 / max(len(dims), 1))))
    axes = [thinned(profile[dim], each) for dim in dims]
    return ({**base, **dict(zip(dims, point, strict=True))} for point in itertools.product(*axes))
