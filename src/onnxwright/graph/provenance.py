"""Where each node comes from: the submodule that was running, and the line of the user's Python.

Both exporters know it, each in its own words. The TorchScript exporter, when it is verbose, leaves the Python stack in
the doc string, innermost frame first, and the path in the node's name (`/module/layers.0/MatMul`); what is compiled
by TorchScript has a source range instead. `torch.export` leaves a traceback, innermost frame last, and the path in
metadata. Two short properties take their place, so that no path of the machine stays in the graph.
"""

from __future__ import annotations

import ast
import collections
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import onnx_ir as ir

from onnxwright.pytorch.lines import user_line_among

MODULE: Final = "onnxwright.module"
WHERE: Final = "onnxwright.where"

_WRAPPER = "module"
"""The attribute under which `modules.TensorFunction` holds the user's module."""
_OF_EXPORTER = ("pkg.torch.", "namespace")
_OF_REWRITER = "pkg.onnxscript.rewriter.rule_name"
_SCOPES = "pkg.torch.onnx.name_scopes"
_TRACEBACK = "pkg.torch.onnx.stack_trace"
_TRACED_FRAME = re.compile(r"^(.+)\((\d+)\): ", re.MULTILINE)
_FILE_FRAME = re.compile(r'^\s*File "(.+)", line (\d+)', re.MULTILINE)


class Provenance(NamedTuple):
    """A dotted path of a submodule ("" for the whole module), and `file.py:line`; None where it isn't known."""

    module: str | None
    where: str | None


def provenance_of(node: ir.Node) -> Provenance:
    """Returns where a node comes from, as `keep_provenance` has left it."""
    return Provenance(node.metadata_props.get(MODULE), node.metadata_props.get(WHERE))


def keep_provenance(model: ir.Model, paths: Mapping[str, str]) -> ir.Model:
    """Gives every node that an exporter says something of its place, and drops what the exporter said.

    `paths` are the paths of the module's submodules, each with the first path of the same one.
    """
    module_of, where_of = functools.cache(_Submodules(paths).told), functools.cache(_where)
    for node in _nodes(model):
        name, told = node.name or "", node.metadata_props
        place = Provenance(
            module_of(name.rpartition("/")[0], told.get(_SCOPES)), where_of(node.doc_string or "", told.get(_TRACEBACK))
        )
        for key in [key for key in node.metadata_props if key.startswith(_OF_EXPORTER)]:
            del node.metadata_props[key]
        node.doc_string = None
        kept = {MODULE: place.module, WHERE: place.where}
        node.metadata_props.update({key: value for key, value in kept.items() if value is not None})
    return model


def carry_provenance(before: ir.Model, after: ir.Model) -> None:
    """Gives nodes that a pass has made the place of what they stand for, or of what takes or gives their values."""
    known = {
        value.name: node.metadata_props for node in before.graph.all_nodes() for value in node.outputs if value.name
    }
    nodes = list(after.graph.all_nodes())
    for node in nodes:
        node.metadata_props.pop(_OF_REWRITER, None)
        for value in node.outputs:
            _inherit(node, known.get(value.name or "", {}))
    for node in reversed(nodes):
        for user in (user for value in node.outputs for user, _ in value.uses()):
            _inherit(node, user.metadata_props)
    for node in nodes:
        for giver in (value.producer() for value in node.inputs if value is not None):
            _inherit(node, {} if giver is None else giver.metadata_props)


def _inherit(node: ir.Node, properties: Mapping[str, str]) -> None:
    if not {MODULE, WHERE} & set(node.metadata_props):
        node.metadata_props.update({key: properties[key] for key in (MODULE, WHERE) if key in properties})


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    return itertools.chain(model.graph.all_nodes(), *(function.all_nodes() for function in model.functions.values()))


class _Submodules:
    """The paths of a module's submodules, by what exporters call them."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = paths
        self._named = _grouped(paths, _unqualified)
        self._ended = _grouped(paths, lambda path: path.rpartition(".")[2])

    def told(self, name: str, scopes: str | None) -> str | None:
        """Returns the path that an exporter tells: in the name of a node, up to the operator, or in nested scopes."""
        if scopes is not None:
            nested: list[str] = ["", *ast.literal_eval(scopes)]
            called = re.sub(r"@\d+", "", nested[-2])  # the last is the operator; the calls of one module are numbered
            return self._paths.get(called.removeprefix(_WRAPPER).removeprefix("."))
        root, *below = name.split("/")[1:] or [""]
        return self._paths[self._resolved(below)] if root == _WRAPPER else None

    def _resolved(self, scopes: Sequence[str]) -> str:
        """Returns the path of nested scopes, each of which the TorchScript exporter calls by the end of its path only.

        It writes a path from its last part that isn't a number (`layers.0`), and compiled code the last part alone.
        Where two submodules are called alike, the path ends above them.
        """
        found = ""
        for scope in scopes:
            prefix = f"{found}." if found else ""
            exact = [prefix + scope] if scope and prefix + scope in self._paths else []
            named, ended = self._named.get(scope, ()), self._ended.get(scope, ())
            candidates = exact or _below(found, named) or _below(found, ended)
            if len(candidates) != 1:
                break
            found = candidates[0]
        return found


def _grouped(paths: Iterable[str], name: Callable[[str], str]) -> Mapping[str, Sequence[str]]:
    groups: dict[str, list[str]] = collections.defaultdict(list)
    for path in paths:
        groups[name(path)].append(path)
    return groups


def _below(path: str, others: Iterable[str]) -> list[str]:
    return [other for other in others if other != path and other.startswith(f"{path}." if path else "")]


def _unqualified(path: str) -> str:
    parts = path.split(".")
    named = [place for place, part in enumerate(parts) if not part.isnumeric()]
    return ".".join(parts[named[-1] if named else 0 :])


def _where(doc: str, traceback: str | None) -> str | None:
    if traceback is not None:
        line = user_line_among(reversed(_frames(_FILE_FRAME, traceback)))
    else:
        line = user_line_among(_frames(_TRACED_FRAME, doc) or _frames(_FILE_FRAME, doc))
    return None if line is None else str(line)


def _frames(pattern: re.Pattern[str], text: str) -> list[tuple[str, int]]:
    return [(file, int(line)) for file, line in pattern.findall(text)]
