"""What answers for a graph, by name: engines, and what the optimizer makes of a graph, tested as a runtime.

A runtime knows no case, and a case no runtime. Each gives the sessions that are to answer as the graph itself does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import onnx_ir as ir

from onnxwright.backends import Options, Session, engine
from onnxwright.backends.onnxruntime import OnnxRuntimeSession
from onnxwright.graph.optimizing import apply_all, plans
from onnxwright.graph.saving import save_model
from onnxwright.graph.targets import target


class Answering(NamedTuple):
    """A session, what it is called, and whether it answers alike only where no row of attention is masked whole."""

    name: str
    session: Session
    is_doubtful: bool = False


Sessions = Iterator[Answering]

_OPTIONS = Options(threads=1)
SLOW_PLANS = frozenset({"ort-optimizer"})
"""It runs in a process of its own, for seconds; `rules/test_architectures.py` has it."""


def as_written(file: Path) -> Session:
    """Computes node by node what a file says."""
    return OnnxRuntimeSession(file, _OPTIONS, is_optimized=False)


def _loaded(name: str) -> Callable[[Path], Sessions]:
    def sessions(file: Path) -> Sessions:
        yield Answering(name, engine(name).prepare(file, _OPTIONS))

    return sessions


def _optimized(name: str) -> Callable[[Path], Sessions]:
    """Every plan for an engine, whatever a measurement would say, with all of its rules."""

    def sessions(file: Path) -> Sessions:
        given = ir.load(file)
        chosen = [plan for plan in plans(given, target(name)) if plan.name not in SLOW_PLANS]
        for plan, made, trace in apply_all(given, chosen, target(name)):
            assert not trace.setbacks, trace.setbacks
            place = file.with_name(f"{plan.name}.onnx")
            save_model(made, place)
            yield Answering(plan.name, as_written(place), bool({*plan.doubtful} & {*trace.counts}))

    return sessions


RUNTIMES: Mapping[str, Callable[[Path], Sessions]] = {
    "onnxruntime": _loaded("onnxruntime"),
    "openvino": _loaded("openvino"),
    "optimized for onnxruntime": _optimized("onnxruntime"),
    "optimized for openvino": _optimized("openvino"),
}
