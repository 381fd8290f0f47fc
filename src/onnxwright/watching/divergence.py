"""Where a graph first computes otherwise than PyTorch.

PyTorch's steps (`recording`) and the graph's values are paired by where they come from (`graph.provenance`), type and
shape. A step agrees when any value of its place does, since one line of Python becomes several nodes, within a multiple
of its own rounding: how far the module lies from itself in float64, there. It is to blame when it differs, a wrong
output is computed from it without an agreeing step between, and nothing of its size that is computed from it agrees.
Values are compared a segment at a time, so that no more than one lies in memory.
"""

from __future__ import annotations

import itertools
import math
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx_ir as ir
from torch import nn

from onnxwright import tolerance
from onnxwright.backends import Array, Options, Session, Tensors
from onnxwright.backends.onnxruntime import OnnxRuntimeSession
from onnxwright.dtypes import is_float
from onnxwright.errors import EngineError, ForwardError
from onnxwright.graph.cutting import cut, depending_on, operands
from onnxwright.graph.provenance import Provenance, provenance_of
from onnxwright.graph.reading import read_model
from onnxwright.graph.saving import save_model
from onnxwright.manifest import Divergence, Drift
from onnxwright.pytorch.session import PyTorchSession
from onnxwright.pytorch.widened import Widening
from onnxwright.signature import Signature
from onnxwright.watching.recording import Recording, Step

MOST_BYTES: Final = 64 << 20
"""The values of PyTorch's steps that are compared at once; the graph's own beside them are a few times as much."""
MOST_SECONDS: Final = 10.0
_MOST_SECONDS_A_CALL = 2.0
_LEAST_LIMIT = 2e-6
"""A step's limit where its rounding is smaller: functions are approximated otherwise in each library."""
_LEAP = 30.0
"""How many times the largest error before it a step's error is, when it has not merely grown."""
_CERTAIN = 1e-3
"""An error that is never taken for rounding that has grown."""
_AROUND = 3
_MOST_AXES = 5
_STOPPED_AT = re.compile(r"Name:'([^']+)'")


@dataclass(frozen=True)
class Case:
    """One point at which a graph seems to answer otherwise: what runs on both sides, and on which inputs."""

    module: nn.Module
    signature: Signature
    file: Path
    feeds: Tensors
    sizes: Mapping[str, int]
    values: str = "typical"
    limits: Mapping[str, float] = field(default_factory=dict)
    """How far each output may lie from the reference."""
    engine: Session | None = None
    """What has answered otherwise, if not the graph node by node."""
    threads: int = 1

    def limit(self, output: str) -> float:
        """Returns how far an output may lie from the reference."""
        return max(tolerance.LEAST_LIMIT, self.limits.get(output, 0.0))


def first_divergence(case: Case, *, seconds: float = MOST_SECONDS, most_bytes: int = MOST_BYTES) -> Divergence | None:
    """Returns where the graph, or else the engine, first leaves PyTorch; None when nothing does, or nothing tells.

    Raises:
        ForwardError: when the module raises.
        EngineError: when ONNX Runtime refuses the graph.
    """
    return examine(case, seconds=seconds, most_bytes=most_bytes)[1]


def examine(
    case: Case, *, seconds: float = MOST_SECONDS, most_bytes: int = MOST_BYTES
) -> tuple[Search, Divergence | None]:
    """Returns what `first_divergence` returns, after all that was computed for it.

    Raises:
        ForwardError: when the module raises.
        EngineError: when ONNX Runtime refuses the graph.
    """
    search = Search(case)
    if search.is_slow:
        return search, None
    if not search.is_graph_wrong:
        return search, _engine_divergence(case, search.expected)
    search.compare(time.monotonic() + seconds, most_bytes)
    return search, _described(search, search.number)


class Match(NamedTuple):
    """What came of a step: its error beside the nearest value of its place, which that is, and its shape."""

    error: float
    value: ir.Value | None
    shape: tuple[int, ...]


class Graph:
    """A graph whose values can be asked for, node by node as the file has them."""

    def __init__(self, file: Path, threads: int):
        self.model = read_model(file)
        self._threads = threads
        self._by_line: dict[str, list[ir.Node]] = defaultdict(list)
        self._by_module: dict[str, list[ir.Node]] = defaultdict(list)
        for node in self.model.graph.all_nodes():
            place = provenance_of(node)
            if place.where is not None:
                self._by_line[place.where].append(node)
            if place.module is not None:
                self._by_module[place.module].append(node)

    def nodes_at(self, place: Provenance) -> list[ir.Node]:
        """Returns the nodes of a line in a submodule or, without a line, of the submodule with all that is in it.

        Where no node of a line knows that very submodule, those that know none, or one around it, stand for it.
        """
        if place.where is None:
            inside = f"{place.module}." if place.module else ""
            names = [name for name in self._by_module if name == place.module or name.startswith(inside)]
            return [node for name in names for node in self._by_module[name]]
        nodes = self._by_line.get(place.where, [])
        exact = [node for node in nodes if provenance_of(node).module == place.module]
        return exact or [node for node in nodes if _is_around(provenance_of(node).module, place.module or "")]

    def values_at(self, place: Provenance) -> list[ir.Value]:
        """Returns the values that the nodes of a place compute; those inside of branches and loops can't be read."""
        outputs = (value for node in self.nodes_at(place) if node.graph is self.model.graph for value in node.outputs)
        return [value for value in outputs if value.name]

    def node(self, name: str) -> ir.Node | None:
        """Returns the node of that name."""
        return next((node for node in self.model.graph.all_nodes() if node.name == name), None)

    def run(self, feeds: Tensors, values: Sequence[ir.Value]) -> dict[str, Array]:
        """Computes these values, and nothing that they don't need.

        Raises:
            EngineError: when ONNX Runtime refuses the graph or stops in it.
        """
        given = {str(value.name): feeds[str(value.name)] for value in values if value.name in feeds}
        computed = list(dict.fromkeys(value for value in values if value.name not in feeds))
        if not computed:
            return given
        part = cut(self.model, list(self.model.graph.inputs), computed)
        asked = {str(value.name): feeds[str(value.name)] for value in part.graph.inputs}
        return {**given, **run_model(part, asked, self._threads)}


def run_model(model: ir.Model, feeds: Tensors, threads: int) -> dict[str, Array]:
    """Runs a model in ONNX Runtime as it stands, without optimization; answers that aren't tensors are left out.

    Raises:
        EngineError: when ONNX Runtime refuses the model or stops in it.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.onnx"
        save_model(model, file)
        answered: dict[str, Any] = {**OnnxRuntimeSession(file, Options(threads), is_optimized=False).run(feeds)}
    return {name: array for name, array in answered.items() if isinstance(array, np.ndarray)}


class Search:
    """One point under examination: PyTorch's steps, the graph, and what came of each pair."""

    def __init__(self, case: Case):
        self.case = case
        self.graph = Graph(case.file, case.threads)
        self.stopped: EngineError | None = None
        """Why ONNX Runtime stops in the graph."""
        self.matches: dict[int, Match] = {}
        self.agreeing: set[int] = set()
        self.number: int | None = None
        """The first step that is to blame, once they have been compared."""
        self._noise: dict[int, float] = {}
        self._can_widen = True
        self._session = PyTorchSession(case.module, case.signature, threads=case.threads)
        begun = time.monotonic()
        self.expected, self.recording = self._record()
        self.is_slow = time.monotonic() - begun > _MOST_SECONDS_A_CALL
        self.wrong = {} if self.is_slow else self._wrong_outputs()

    @property
    def is_graph_wrong(self) -> bool:
        """Whether the graph, run node by node, already answers otherwise or stops."""
        return self.stopped is not None or bool(self.wrong)

    @property
    def steps(self) -> list[Step]:
        """PyTorch's steps, in order; after them the outputs, as steps of no place."""
        return [*self.recording.steps, *self._output_steps]

    @cached_property
    def stopped_node(self) -> ir.Node | None:
        """The node in which ONNX Runtime stops."""
        named = _STOPPED_AT.search(str(self.stopped))
        return self.graph.node(named[1]) if named else None

    def compare(self, deadline: float, most_bytes: int) -> None:
        """Compares the steps, a segment of so many bytes at a time, and finds the first that is to blame."""
        for segment in segments([step.size for step in self.recording.steps], most_bytes):
            if time.monotonic() > deadline:
                break
            self._compare(segment)
        self.matches.update(self.wrong)
        self.agreeing = self._within_rounding()
        self.agreeing |= self._vouched_for()
        first = min((self.matches.keys() & self._reached()) - self.agreeing, default=None)
        self.number = first if first is not None and self._is_leap(first) else None

    def value_of(self, number: int) -> Array | None:
        """Returns what PyTorch computes in a step."""
        if number >= len(self.recording.steps):
            return self.expected[self._output_names[number - len(self.recording.steps)]]
        return self._record(range(number, number + 1))[1].values.get(number)

    def unheld(self, number: int) -> list[Step]:
        """Returns the steps between agreeing ones and a differing one that change something and aren't in the graph."""
        return [step for step in map(self.steps.__getitem__, self._missing(number)) if step.is_live]

    def baked(self, number: int) -> list[Step]:
        """Returns the steps before one that no input's values go into, which the graph holds for another size."""
        constants = [*_constants(self.graph.nodes_at(self.steps[number].place))]
        fixed = [one for one in self._missing(number) if not self.steps[one].is_live]
        return [self.steps[one] for one in fixed if self._is_cut_otherwise(one, constants)]

    def _is_cut_otherwise(self, number: int, constants: Iterable[Array]) -> bool:
        value = self.value_of(number)
        return value is not None and any(_is_cut_otherwise(value, one) for one in constants)

    def _missing(self, number: int) -> list[int]:
        """The steps before one, up to those that were compared, that change something and have no node."""
        waiting = list(self.steps[number].sources)
        seen = set(waiting)
        while waiting:
            before = waiting.pop()
            fresh = self.steps[before].sources - seen if before not in self.matches else set()
            waiting += fresh
            seen |= fresh
        return [
            one for one in sorted(seen) if self.steps[one].is_news and not self.graph.nodes_at(self.steps[one].place)
        ]

    def unrun(self, node: ir.Node | None) -> list[ir.Node]:
        """Returns the nodes that lead to a differing value, of lines that PyTorch doesn't run; sizes don't count."""
        found: list[ir.Node] = []
        waiting = [node] if node is not None else []
        for one in waiting:
            where = provenance_of(one).where
            is_foreign = where is not None and where not in self.recording.lines
            if is_foreign and self._is_telling(one.outputs[0]):
                found.append(one)
            if is_foreign or where is None or one is node:
                before = (value.producer() for value in operands(one))
                waiting += [other for other in before if other is not None and other not in waiting]
        order = {one: place for place, one in enumerate(self.graph.model.graph)}
        return sorted(found, key=lambda one: order.get(one, 0))

    def _is_telling(self, value: ir.Value) -> bool:
        """Whether a value is more than a size: a float, or whole numbers of several axes."""
        if value.dtype is not None and value.shape is not None:
            return value.dtype.is_floating_point() or len(value.shape) > 1
        try:
            answered = self.graph.run(self.case.feeds, [value])
        except (EngineError, ValueError):  # it stops, or the value is one of a branch or a loop
            return False
        return any(_kind(array) == "float" or array.ndim > 1 for array in answered.values())

    @property
    def _output_names(self) -> list[str]:
        return list(self.expected)

    @cached_property
    def _output_steps(self) -> list[Step]:
        seen = self.recording.outputs
        return [
            Step(
                Provenance(None, None),
                array.shape,
                array.dtype.name,
                array.nbytes,
                frozenset({seen[name]} if name in seen else ()),
            )
            for name, array in self.expected.items()
        ]

    def _record(self, wanted: range = range(0)) -> tuple[dict[str, Array], Recording]:
        with Recording(self.case.module, wanted) as recording:
            answered = self._session.run(self.case.feeds)
        return answered, recording

    def _wrong_outputs(self) -> dict[int, Match]:
        values = {str(value.name): value for value in self.graph.model.graph.outputs}
        try:
            answered = self.graph.run(self.case.feeds, list(values.values()))
        except EngineError as problem:
            self.stopped = problem
            return {}
        compared = (
            (number, name, tolerance.distance(self.expected[name], answered[name]))
            for number, name in enumerate(self.expected, start=len(self.recording.steps))
            if name in answered
        )
        return {
            number: Match(error, values[name], answered[name].shape)
            for number, name, error in compared
            if error > self.case.limit(name)
        }

    def _compare(self, segment: range) -> None:
        _, recording = self._record(segment)
        self._measure_noise(segment, recording.values)
        places = {number: self.graph.values_at(self.recording.steps[number].place) for number in segment}
        unreadable = self._beyond_stop
        asked = {one: None for values in places.values() for one in values if one.producer() not in unreadable}
        try:
            answered = self.graph.run(self.case.feeds, list(asked))
        except EngineError:  # a value that ONNX Runtime can't hand out; the steps stay unknown
            return
        for number, values in places.items():
            if number in recording.values:
                near = _nearest(
                    recording.values[number], [value for value in values if value.name in answered], answered
                )
                self.matches.update({number: near} if near is not None else {})

    @cached_property
    def _beyond_stop(self) -> set[ir.Node]:
        return depending_on(self.graph.model.graph, self.stopped_node) if self.stopped_node is not None else set()

    def steps_of_stopped(self) -> list[int]:
        """Returns PyTorch's steps where ONNX Runtime stops: those that could not be compared, or else all."""
        if self.stopped_node is None:
            return []
        found = [
            n for n, step in enumerate(self.recording.steps) if self.stopped_node in self.graph.nodes_at(step.place)
        ]
        return [number for number in found if number not in self.matches] or found

    def _measure_noise(self, segment: range, values: Mapping[int, Array]) -> None:
        """Runs the module in float64 beside itself; one that takes another way then tells nothing."""
        if not self._can_widen:
            return
        try:
            with Recording(self.case.module, segment) as precise:
                self._session.run_widened(self.case.feeds, Widening())
        except ForwardError:
            self._can_widen = False
            return
        if [step.place for step in precise.steps] == [step.place for step in self.recording.steps]:
            pairs = {number: (value, precise.values[number]) for number, value in values.items()}
            self._noise.update(
                {number: tolerance.distance(more, value.astype(more.dtype)) for number, (value, more) in pairs.items()}
            )

    def _within_rounding(self) -> set[int]:
        """The steps whose error is rounding: that of the step itself or, where it isn't known, of those before it."""
        found: set[int] = set()
        calm, least = 0.0, max([tolerance.LEAST_LIMIT, *self.case.limits.values()])
        for number in sorted(self.matches.keys() - self.wrong.keys()):
            error = self.matches[number].error
            grown = max(min(_LEAP * calm, _CERTAIN), least)
            noise = self._noise.get(number, np.inf)
            limit = max(_LEAST_LIMIT, tolerance.FLOOR_MULTIPLE * noise) if np.isfinite(noise) else grown
            if error <= limit:
                found.add(number)
                calm = max(calm, error)
        return found

    def _vouched_for(self) -> set[int]:
        """The steps from which something agreeing is computed that is as large, so that no difference can hide."""
        found: set[int] = set()
        for number in self.agreeing:
            step = self.steps[number]
            for source in self._compared_before(number):
                if is_float(step.dtype) >= is_float(self.steps[source].dtype):
                    found |= {source} if math.prod(step.shape) >= math.prod(self.steps[source].shape) else set()
        return found

    def _is_leap(self, number: int) -> bool:
        """Whether a step's error begins there: one that has only grown past a limit was made somewhere before."""
        before = max((self.matches[one].error for one in self._compared_before(number) & self.agreeing), default=0.0)
        return self.matches[number].error >= min(_LEAP * before, _CERTAIN)

    def _compared_before(self, number: int) -> set[int]:
        waiting, seen = list(self.steps[number].sources), set(self.steps[number].sources)
        while waiting:
            one = waiting.pop()
            fresh = self.steps[one].sources - seen if one not in self.matches else frozenset[int]()
            waiting += fresh
            seen |= fresh
        return seen & self.matches.keys()

    def _reached(self) -> set[int]:
        """The steps from which a wrong output is computed without an agreeing step between."""
        waiting = list(self.wrong) if self.stopped is None else self.steps_of_stopped()
        found = set(waiting)
        while waiting:
            fresh = self.steps[waiting.pop()].sources - self.agreeing - found
            found |= fresh
            waiting += fresh
        return found


def segments(sizes: Sequence[int], most: int) -> Iterator[range]:
    """Splits steps of these sizes into runs of at most so many bytes; a step that is larger is alone."""
    begin, total = 0, 0
    for number, size in enumerate(sizes):
        if number > begin and total + size > most:
            yield range(begin, number)
            begin, total = number, 0
        total += size
    if begin < len(sizes):
        yield range(begin, len(sizes))


def _described(search: Search, number: int | None) -> Divergence | None:
    stopped = search.stopped_node
    if number is None and stopped is None:
        return None
    numbers = [number] if number is not None else search.steps_of_stopped()
    match = search.matches[number] if number is not None else Match(np.inf, None, ())
    node = match.value.producer() if match.value is not None else stopped
    place = search.steps[number].place if number is not None else Provenance(None, None)
    place = provenance_of(node) if node is not None and place.module is None else place
    told = (
        [f"{_told(node, place)} {_amount(match, search.steps[number])}{_before(search, number)}."]
        if number is not None
        else []
    )
    if stopped is not None:
        told.append(f"ONNX Runtime stops at {_told(stopped, provenance_of(stopped))}.")
    cause, place = _cause(search, numbers[:1], node, place)
    return Divergence(
        sizes=dict(search.case.sizes),
        values=search.case.values,
        module=place.module or "",
        where=place.where,
        node=node.name if node is not None else None,
        error=_finite(match.error),
        growth=tuple(_growth(search, number)) if number is not None else (),
        message=" ".join([*cause, *told]),
        operator=node.op_type if node is not None else None,
    )


def _cause(
    search: Search, numbers: Sequence[int], node: ir.Node | None, place: Provenance
) -> tuple[list[str], Provenance]:
    """Says what Python decided otherwise for the sample, and where; without such a decision the place stays."""
    unheld = [step for number in numbers for step in search.unheld(number)]
    if unheld:
        return [f"PyTorch runs {unheld[0].place.where} here, which the graph does not hold."], unheld[0].place
    baked = [step for number in numbers for step in search.baked(number)]
    if baked:
        return [f"The graph keeps what {baked[0].place.where} was for the sample."], baked[0].place
    unrun = search.unrun(node)
    if unrun:
        place = provenance_of(unrun[0])
        return [f"The graph computes {place.where} here, which PyTorch does not run at these sizes."], place
    return [], place


def _engine_divergence(case: Case, expected: Tensors) -> Divergence | None:
    if case.engine is None:
        return None
    answered = case.engine.run(case.feeds)
    errors = {name: tolerance.distance(array, answered[name]) for name, array in expected.items() if name in answered}
    if all(error <= case.limit(name) for name, error in errors.items()):
        return None
    ran = case.engine.ran
    message = (
        f"The graph is right: run node by node, it answers as PyTorch does. {ran.backend} {ran.version} computes it "
        "otherwise."
    )
    return Divergence(dict(case.sizes), case.values, "", None, None, _finite(max(errors.values())), (), message)


def _growth(search: Search, number: int) -> Iterator[Drift]:
    known = sorted(one for one in search.matches if one == number or search.steps[one].place.module is not None)
    at = known.index(number)
    for near in known[max(0, at - _AROUND) : at + _AROUND + 1]:
        place, match = search.steps[near].place, search.matches[near]
        if place.module is None and match.value is not None and (node := match.value.producer()) is not None:
            place = provenance_of(node)
        yield Drift(place.module or "", place.where, _finite(match.error))


def _told(node: ir.Node | None, place: Provenance) -> str:
    what = _named(node) if node is not None else "What the graph computes"
    inside = f"in '{place.module}'" if place.module else "in the module itself"
    return f"{what} {inside}{f' at {place.where}' if place.where else ''}"


def _named(node: ir.Node) -> str:
    return f"{node.op_type} '{node.name}'"


def _amount(match: Match, step: Step) -> str:
    if match.shape != step.shape:
        return f"has the shape {list(match.shape)} where PyTorch has {list(step.shape)}"
    if np.isfinite(match.error):
        return f"is off by {match.error:.1e}"
    return f"differs in {'NaN or infinity' if is_float(step.dtype) else 'whole numbers'}"


def _before(search: Search, number: int) -> str:
    errors = [search.matches[other].error for other in search.agreeing if other < number]
    errors = [error for error in errors if np.isfinite(error)]
    return f", what was compared before it by at most {max(errors):.1e}" if errors else ""


def _finite(error: float) -> float | None:
    return float(error) if np.isfinite(error) else None


def _nearest(expected: Array, values: Iterable[ir.Value], answered: Tensors) -> Match | None:
    """Pairs a step with the value that is nearest to it; one of another shape is infinitely far.

    A constant of the same shape may be any number of that line, so it counts only where it agrees.
    """
    found: Match | None = None
    for value in values:
        array = answered[str(value.name)]
        if _kind(array) != _kind(expected) or array.ndim != expected.ndim or array.size <= 1 < expected.size:
            continue
        error = tolerance.distance(expected, _laid_out_as(expected, array.astype(expected.dtype)))
        producer = value.producer()
        is_constant = producer is not None and producer.op_type == "Constant"
        if is_constant and array.shape == expected.shape and error > tolerance.LEAST_LIMIT:
            continue
        if found is None or error < found.error:
            found = Match(error, value, array.shape)
    return found


def _laid_out_as(expected: Array, array: Array) -> Array:
    """Returns an array in the shape of another where it is that one transposed, or repeated, and nothing else."""
    if array.shape == expected.shape:
        return array
    if array.size == expected.size:
        for axes in itertools.permutations(range(array.ndim)) if array.ndim <= _MOST_AXES else ():
            moved = array.transpose(axes)
            if moved.shape == expected.shape and tolerance.distance(expected, moved) < _CERTAIN:
                return moved
    is_repeated = all(want in {1, got} for want, got in zip(expected.shape, array.shape, strict=True))
    return array[tuple(slice(size) for size in expected.shape)] if is_repeated else array


def _constants(nodes: Iterable[ir.Node]) -> Iterator[Array]:
    for value in (value for node in nodes for value in operands(node)):
        if (constant := ir.convenience.get_const_tensor(value)) is not None:
            yield constant.numpy()


def _is_cut_otherwise(value: Array, constant: Array) -> bool:
    """Whether two arrays of different shapes hold the same numbers as far as both reach."""
    if value.ndim != constant.ndim or value.shape == constant.shape:
        return False
    common = tuple(slice(min(sizes)) for sizes in zip(value.shape, constant.shape, strict=True))
    return np.array_equal(value[common].astype(np.float64), constant[common].astype(np.float64))


def _kind(array: Array) -> str:
    return "float" if is_float(array.dtype.name) else array.dtype.kind.replace("u", "i")


def _is_around(outer: str | None, inner: str) -> bool:
    return not outer or inner == outer or inner.startswith(f"{outer}.")
