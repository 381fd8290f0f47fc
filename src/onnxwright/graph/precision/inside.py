"""The largest number that an operator has on its way, where that is more than what it answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import onnx_ir as ir

from onnxwright.graph.precision.observing import Range, Ranges

_Inner = Callable[[Range, Range], float]


def inner_largest(node: ir.Node, ranges: Ranges) -> float:
    """Returns the largest magnitude inside of a node on the samples, as far as its ranges tell; else 0.

    What computes in float32 by contract (`stash_type` 1) has none.
    """
    if node.domain or node.op_type not in _INNER:
        return 0.0
    given, answered = ranges.of(node.inputs[0]), ranges.of(node.outputs[0])
    if given is None or answered is None:
        return 0.0
    return _INNER[node.op_type](given, answered)


def _sum_of_mean(given: Range, answered: Range) -> float:
    return answered.largest * given.size / max(answered.size, 1)


def _square_of_answer(_: Range, answered: Range) -> float:
    return answered.largest**2


def _square_of_given(given: Range, _: Range) -> float:
    return given.largest**2


def _power_of_given(given: Range, _: Range) -> float:
    return math.exp(min(given.largest, 700.0))


_INNER: Final[Mapping[str, _Inner]] = {
    "ReduceMean": _sum_of_mean,
    "GlobalAveragePool": _sum_of_mean,
    "ReduceL2": _square_of_answer,
    "LpNormalization": _square_of_given,
    "InstanceNormalization": _square_of_given,
    "GroupNormalization": _square_of_given,
    "MeanVarianceNormalization": _square_of_given,
    "ReduceLogSumExp": _power_of_given,
}
