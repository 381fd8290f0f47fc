"""A graph whose values can be asked for, each by the place in the user's code that it comes from."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxwright.backends import Array, Options, Tensors
from onnxwright.backends.onnxruntime import OnnxRuntimeSession
from onnxwright.graph.cutting import cut
from onnxwright.graph.provenance import Provenance, provenance_of
from onnxwright.graph.reading import read_model
from onnxwright.graph.saving import save_model


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


def _is_around(outer: str | None, inner: str) -> bool:
    return not outer or inner == outer or inner.startswith(f"{outer}.")
