"""Where a graph first computes something else than PyTorch.

PyTorch's steps (`recording`) and the graph's values are paired by where they come from (`graph.provenance`), type and
shape. A step agrees when any value of its place does, since one line of Python becomes several nodes, within a multiple
of its own rounding: how far the module lies from itself in float64, there. It is to blame when it differs, a wrong
output is computed from it without an agreeing step between, and nothing of its size that is computed from it agrees.
Values are compared a segment at a time, so that no more than one lies in memory.
"""

from __future__ import annotations

import time
from typing import Final

from onnxwright import tolerance
from onnxwright.backends import Tensors
from onnxwright.manifest import Divergence
from onnxwright.watching.divergence.case import Case
from onnxwright.watching.divergence.search import Search, segments
from onnxwright.watching.divergence.telling import described, finite
from onnxwright.watching.divergence.values import run_model

__all__ = ["Case", "Search", "examine", "first_divergence", "run_model", "segments"]

MOST_BYTES: Final = 64 << 20
"""The values of PyTorch's steps that are compared at once; the graph's own beside them are a few times as much."""
MOST_SECONDS: Final = 10.0


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
    return search, described(search, search.number)


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
    return Divergence(dict(case.sizes), case.values, "", None, None, finite(max(errors.values())), (), message)
