"""Compares PyTorch's steps with the values of a graph, and finds the first that is to blame."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np
import onnx_ir as ir

from onnxwright import tolerance
from onnxwright.backends import Array
from onnxwright.dtypes import is_float
from onnxwright.errors import EngineError, ForwardError
from onnxwright.graph.cutting import depending_on, operands
from onnxwright.graph.provenance import Provenance, provenance_of
from onnxwright.pytorch.session import PyTorchSession
from onnxwright.pytorch.widened import Widening
from onnxwright.watching.divergence.case import Case
from onnxwright.watching.divergence.pairing import CERTAIN, Match, constants, is_cut_otherwise, kind, nearest
from onnxwright.watching.divergence.values import Graph
from onnxwright.watching.recording import Recording, Step

_MOST_SECONDS_A_CALL: Final = 2.0
_LEAST_LIMIT: Final = 2e-6
"""A step's limit where its rounding is smaller: functions are approximated otherwise in each library."""
_LEAP: Final = 30.0
"""How many times the largest error before it a step's error is, when it has not merely grown."""
_STOPPED_AT: Final = re.compile(r"Name:'([^']+)'")


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
        held = [*constants(self.graph.nodes_at(self.steps[number].place))]
        fixed = [one for one in self._missing(number) if not self.steps[one].is_live]
        return [self.steps[one] for one in fixed if self._is_cut_otherwise(one, held)]

    def _is_cut_otherwise(self, number: int, held: Iterable[Array]) -> bool:
        value = self.value_of(number)
        return value is not None and any(is_cut_otherwise(value, one) for one in held)

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
        return any(kind(array) == "float" or array.ndim > 1 for array in answered.values())

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
                near = nearest(
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
            grown = max(min(_LEAP * calm, CERTAIN), least)
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
        return self.matches[number].error >= min(_LEAP * before, CERTAIN)

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
