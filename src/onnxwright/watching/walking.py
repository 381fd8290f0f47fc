"""What a module's code asks of its sizes, so that a proof tries sizes on both sides of every question.

The module runs on fake tensors with symbolic sizes; each branch, comparison or conversion that depends on a size leaves
a condition. Sizes at which one turns out otherwise are found by evaluating it over the profile, and the module is run
again from there, since its code may ask something else on the other side. Where its code reads values, which fake
tensors have none of, it is told what it read of real ones.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import nn

from onnxwright.findings import Finding
from onnxwright.profile import Profile
from onnxwright.proof.lattice import distinct
from onnxwright.pytorch.labelled import sizes_labelled
from onnxwright.pytorch.lines import Line, Place, Whereabouts, lines_of, noting_lines
from onnxwright.pytorch.modules import Pristine, TensorFunction, evaluation, tolerated
from onnxwright.pytorch.remembered import Reading, recalling, remembering
from onnxwright.pytorch.session import to_tensor
from onnxwright.pytorch.uncached import uncached
from onnxwright.samples import Sampler
from onnxwright.signature import Signature
from onnxwright.watching.conditions import Asked, Condition, is_known, other_side, renamed
from onnxwright.watching.taking import Taking, by_dim

_MOST_RUNS = 12
_MOST_WAYS = 6
_MACHINERY = ("_subclasses", "_prims", "_prims_common", "_refs", "_decomp", "_meta_registrations", "_library", "fx")


def ask(module: nn.Module, sampler: Sampler, profile: Profile, start: Mapping[str, int], seconds: float) -> Asked:
    """Runs the module at the traced sizes, and from there wherever its code takes another way."""
    deadline = time.monotonic() + seconds
    waiting, found = [dict(start)], [dict(start)]
    asked: dict[Condition, None] = {}
    walks: list[list[Walk]] = []
    for _ in range(_MOST_RUNS):
        if not waiting or (walks and time.monotonic() > deadline):
            break
        base = waiting.pop(0)
        with uncached(module):  # as in an export: a cache would ask for numbers
            walks.append([*walks_at(module, sampler, base), eager_walk(module, sampler, base)])
        for condition, before in itertools.chain.from_iterable(map(_in_order, walks[-1])):
            if condition not in asked and not is_known(condition, asked, profile):
                asked[condition] = None
                turned = other_side(condition, base, profile)
                within = other_side(condition, base, profile, before) if before else []
                fresh = [sizes for sizes in distinct([*within, *turned]) if sizes not in found]
                found += fresh
                waiting += fresh[:1]
    every = list(itertools.chain.from_iterable(walks))
    lines = frozenset[Line]().union(*(walk.lines for walk in every))
    taken = {dim: finding for walk in every for dim, finding in walk.taken.items()}
    silent = {dim: finding for walk in every for dim, finding in walk.silent.items()}
    return Asked(tuple(asked), tuple(found[1:]), walks[0][0].is_whole, lines, taken, silent)


def _in_order(walk: Walk) -> Iterator[tuple[Condition, tuple[Condition, ...]]]:
    """Each condition of a walk, with those that were met before it."""
    return ((condition, walk.conditions[:place]) for place, condition in enumerate(walk.conditions))


class Walk(NamedTuple):
    """One run on symbolic sizes: the conditions that it met, and whether it came to the end of the code."""

    conditions: tuple[Condition, ...]
    is_whole: bool
    lines: frozenset[Line] = frozenset()
    """Where it came past, as far as that was watched."""
    stopped: frozenset[Line] = frozenset()
    """Where it was stopped."""
    taken: Mapping[str, Finding] = MappingProxyType({})
    """Where Python made numbers of sizes, by dim."""
    silent: Mapping[str, Finding] = MappingProxyType({})
    """Where it did so and nothing was assumed of the size."""


def walks_at(module: nn.Module, sampler: Sampler, sizes: Mapping[str, int]) -> Iterator[Walk]:
    """Runs the module on symbolic sizes from given ones; where values stop it, on each way that samples go by them."""
    walk = conditions_at(module, sampler, sizes)
    ways = [] if walk.is_whole else list(_ways(module, sampler, sizes))
    # A tensor without values asks how many it has before it says so.
    yield walk._replace(
        conditions=tuple(one for one in walk.conditions if one.place.line not in walk.stopped or not ways)
    )
    for readings in ways:
        yield conditions_at(module, sampler, sizes, readings)


def eager_walk(module: nn.Module, sampler: Sampler, sizes: Mapping[str, int]) -> Walk:
    """Runs the module as users do, on real tensors, and returns what it asks of sizes, known by their numbers."""
    whereabouts, found = Whereabouts(module), dict[Condition, None]()
    fixed = {dim for spec in sampler.signature.inputs for dim in spec.shape if isinstance(dim, int)}
    several = Counter(sizes.values())
    dims = {size: dim for dim, size in sizes.items() if size > 1 and several[size] == 1 and size not in fixed}
    sample = [to_tensor(array) for array in sampler.draw(sizes).values()]
    function = TensorFunction(module, sampler.signature.input_names)

    def note(code: str) -> None:
        asked = tuple(dim for dim in sizes if f"dims[{dim!r}]" in code)
        found.setdefault(Condition(code, asked, whereabouts.place))

    with Pristine(module), evaluation(module), whereabouts, torch.no_grad(), tolerated(), sizes_labelled(dims, note):
        function(*sample)
    return Walk(tuple(found), is_whole=True)


def _ways(module: nn.Module, sampler: Sampler, sizes: Mapping[str, int]) -> Iterator[list[Reading]]:
    """What Python reads of samples of all regimes, where it decides otherwise than before."""
    known = set[tuple[tuple[str, bool | None], ...]]()
    function = TensorFunction(module, sampler.signature.input_names)
    for values in sampler.regimes:
        sample = [to_tensor(array) for array in sampler.draw(sizes, values).values()]
        with Pristine(module), evaluation(module), torch.no_grad(), tolerated(), remembering() as readings:
            function(*sample)
        decided = tuple(reading.decided for reading in readings)
        if decided not in known and len(known) < _MOST_WAYS:
            known.add(decided)
            yield readings


def conditions_at(
    module: nn.Module, sampler: Sampler, sizes: Mapping[str, int], readings: Sequence[Reading] | None = None
) -> Walk:
    """Returns the conditions on sizes that the module meets when it runs at given ones; as far as fake tensors go.

    With readings, Python is told these where fake tensors have no values, and the lines that it comes past are noted.
    """
    from torch._dispatch.python import enable_python_dispatcher

    signature = sampler.signature
    function = TensorFunction(module, signature.input_names, signature.output_names)
    mode = symbolic_mode()
    environment = mode.shape_env
    fakes, symbols = symbolic_tensors(mode, signature, sampler.draw(sizes))
    whereabouts = Whereabouts(module)
    environment.guards = guards = _Placed(whereabouts)
    taking = Taking(fakes, whereabouts)
    lines, stopped, is_whole = set[Line](), frozenset[Line](), False
    with (
        Pristine(module),
        evaluation(module),
        whereabouts,
        unlogged(),
        enable_python_dispatcher(),  # else operators made of others (`interpolate`) take sizes as numbers
        mode,
        torch.no_grad(),
        contextlib.ExitStack() as on,
    ):
        if readings is not None:
            on.enter_context(recalling(readings))
            on.enter_context(noting_lines(lines))
        on.enter_context(taking)
        try:
            function(*fakes)
            is_whole = True
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - a user's forward may raise anything
            # What can't run on fake tensors (numpy, say) ends the run; the conditions until then count.
            stopped = frozenset(lines_of(problem))
    found = dict.fromkeys(translated(environment, zip(guards, guards.places, strict=True), symbols))
    names = _named(environment, symbols)
    silent = by_dim((one for one in taking.found if one.is_silent), names)
    return Walk(tuple(found), is_whole, frozenset(lines - stopped), stopped, by_dim(taking.found, names), silent)


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
    """Keeps torch from logging what its fake tensors can't follow, with the whole stack, and from warning of it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def symbolic_mode() -> Any:
    """Returns a mode of fake tensors in which every size has a symbol of its own."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    environment = ShapeEnv(specialize_zero_one=False, duck_shape=False)
    mode = FakeTensorMode(shape_env=environment, allow_non_fake_inputs=True)
    mode.cache_enabled = False  # keys of symbolic sizes cost more than they save in one run
    return mode


def symbolic_tensors(
    mode: Any, signature: Signature, feeds: Mapping[str, Any]
) -> tuple[list[torch.Tensor], dict[Any, str]]:
    """Returns fake inputs whose named dims are symbols, and which dim each symbol is."""
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

    names = _named(environment, symbols)
    for guard, place in placed:
        if not guard.expr.free_symbols <= names.keys():
            continue
        dims = tuple(dict.fromkeys(names[symbol] for symbol in sorted(guard.expr.free_symbols, key=str)))
        if _is_machinery(guard) and not (len(dims) == 2 and guard.expr.is_Relational and guard.expr.rel_op == "=="):
            continue
        # Two inputs that share a dim have a symbol each; as variables of one name they are always equal.
        code = PythonPrinter().doprint(guard.expr)
        names_of = {str(symbol): f"dims[{names[symbol]!r}]" for symbol in guard.expr.free_symbols}
        yield Condition(renamed(code, names_of), dims, place)


def _named(environment: Any, symbols: Mapping[Any, str]) -> dict[Any, str]:
    """The dim of each symbol: of those that an input came with, and of what stands for them."""
    known = {symbol: dim for symbol, dim in symbols.items() if symbol.is_Symbol}
    places = {replaced: known[symbol] for symbol, replaced in environment.replacements.items() if symbol in known}
    return {**{symbol: dim for symbol, dim in places.items() if symbol.is_Symbol}, **known}


def _is_machinery(guard: Any) -> bool:
    """Whether a condition is torch's own about layouts and broadcasting, which it asks on every road."""
    frame = getattr(guard.sloc, "framework_loc", None)
    file = getattr(frame, "filename", "")
    root = Path(torch.__file__).parent
    return Path(file).is_relative_to(root) and Path(file).relative_to(root).parts[0].removesuffix(".py") in _MACHINERY
