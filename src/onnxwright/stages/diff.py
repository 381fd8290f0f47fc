"""Says what two graphs differ in, in columns that `grep` and people can read, or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from onnxwright.graph.comparing import Difference, Pair, difference
from onnxwright.loaders.onnxfile import read
from onnxwright.reports.columns import columns
from onnxwright.stages.load import require_onnx


class DiffReport(msgspec.Struct, frozen=True):
    """Two files, and what their graphs differ in."""

    first: str
    second: str
    difference: Difference

    @property
    def text(self) -> str:
        """The report in columns."""
        rows = list(_rows(self.difference))
        return columns([("diff", self.first, self.second), *(rows or [("same", "the graphs are the same")])])


def diff(first: Path, second: Path) -> DiffReport:
    """Compares two `.onnx` files.

    Raises:
        SourceError: when a file is not a valid ONNX model, or its external data is missing or outside its folder.
    """
    require_onnx()
    return DiffReport(str(first), str(second), difference(read(first), read(second)))


def _rows(found: Difference) -> Iterator[Sequence[str]]:
    kinds = {"input": found.inputs, "output": found.outputs, "operator": found.operators, "opset": found.opsets}
    for kind, pairs in kinds.items():
        yield from _pair_rows(kind, pairs)
    yield from (("weight", name, "only in the first") for name in found.removed)
    yield from (("weight", name, "only in the second") for name in found.added)
    yield from (("weight", name, f"called {other} in the second") for name, other in found.renamed.items())
    for one in found.changed:
        error = "" if one.error is None else f"by up to {one.error:.3g}"
        yield "weight", one.name, f"{one.first} → {one.second}", f"other numbers {error}".rstrip()
    yield from (("output", name, "is computed otherwise") for name in found.computed)
    yield from ((kind, "stand in another order") for kind in found.reordered)
    if found:
        yield "weights", f"{found.same_weights} are the same"


def _pair_rows(kind: str, pairs: Mapping[str, Pair]) -> Iterator[Sequence[str]]:
    for name, pair in pairs.items():
        first, second = ("none" if one is None else str(one) for one in (pair.first, pair.second))
        yield kind, name or "ai.onnx", f"{first} → {second}"
