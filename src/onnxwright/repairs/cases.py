"""One graph for each way that Python takes by values, joined under an ONNX `If`.

`if mask.all():` may choose between a mask and none, or between two submodules: no operator hands on one or the other,
and TorchScript may not compile what is around. Samples of every regime show which ways there are. Each is traced by
itself, with what Python asked as outputs beside, and the graph takes the way that these say. What was answered alike
on all ways is frozen, and told as such, unless it asks for what was asked before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from onnxwright.errors import RepairError
from onnxwright.repairs import Exporter, Repair, Seen
from onnxwright.routes import Exported, Noted
from onnxwright.signature import TensorSpec
from onnxwright.source import Source

if TYPE_CHECKING:
    import onnx_ir

    from onnxwright.pytorch.lines import Line

_FROZEN: Final = "value-branch-frozen"
_MOST_WAYS: Final = 6
"""So many graphs are joined at most."""
_MOST_ASKED: Final = 12

_ALIKE: Final = (
    "Python branches on a value that depends on an input; all samples that come there are answered alike, "
    "and the graph keeps that."
)

Way = tuple[bool, ...]
"""What Python was answered, in order."""


class Cases(Repair):
    """Exports each way that Python takes by values."""

    name = "cases"
    summary = "exports each way that Python takes by values by itself, and joins the graphs under an `If`"
    rank = 14.0
    depth = 2
    route = "trace"

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Proposes itself where a trace has kept what Python decided by a value."""
        is_frozen = any(found.code == _FROZEN for found in seen.findings)
        if is_frozen and seen.approach.route == self.route and not seen.approach.has(self.name):
            yield ""

    def around(self, export: Exporter, argument: str) -> Exporter:  # noqa: ARG002 - there is but one way
        """Returns an export that makes one graph of those of all ways."""

        def by_cases(source: Source) -> Exported:
            ways = _ways(source)
            if len(ways) < 2:
                raise RepairError("Python decides alike by the values of all samples.")
            pieces = {way: _exported(source, way, export) for way in ways}
            settled = {question for piece in pieces.values() for question in _settled(piece, ways)}
            model = _joined(source, pieces, ())
            return Exported(model, _noted(pieces, {*_open(ways), *settled}))

        return by_cases


class _Piece(NamedTuple):
    """The graph of one way: its last outputs are what was asked on it, at these lines."""

    way: Way
    exported: Exported
    names: tuple[str, ...]
    lines: tuple[Line, ...]


def _ways(source: Source) -> list[Way]:
    """The ways that Python takes at the sizes of the export, with samples of all regimes.

    Raises:
        RepairError: when they are too many, or one ends where another goes on.
    """
    from onnxwright.pytorch.deciding import decisions
    from onnxwright.pytorch.session import taken_by

    assert source.module is not None, "proposed for modules only"
    samples = (taken_by(source.module, source.sampler, source.traced, values) for values in source.sampler.regimes)
    found = list(dict.fromkeys(decisions(source.module, sample) for sample in samples if sample))
    if len(found) > _MOST_WAYS or any(len(way) > _MOST_ASKED for way in found):
        raise RepairError(f"Python takes {len(found)} ways by values; {_MOST_WAYS} are joined at the most.")
    if any(one != other and other[: len(one)] == one for one in found for other in found):
        raise RepairError("Python takes two ways by values that differ in nothing that it asked.")
    return found


def _open(ways: Sequence[Way]) -> set[Way]:
    """The answers before which there is a question that was answered both ways."""
    return {way[:place] for way in ways for place in range(len(way)) if len(_answers(ways, way[:place])) > 1}


def _answers(ways: Sequence[Way], before: Way) -> set[bool]:
    """The answers to the question that comes after some."""
    return {way[len(before)] for way in ways if way[: len(before)] == before}


def _exported(source: Source, way: Way, export: Exporter) -> _Piece:
    from onnxwright.pytorch.deciding import Decided

    assert source.module is not None, "proposed for modules only"
    signature = source.signature
    taken = {*signature.input_names, *signature.output_names}
    names = tuple(_free(f"asked_{place}", taken) for place in range(len(way)))
    asked = tuple(TensorSpec(name, "bool", ()) for name in names)
    wider = msgspec.structs.replace(signature, outputs=(*signature.outputs, *asked))
    decided = Decided(way, names)
    with decided.tracing(source.module):
        exported = export(dataclasses.replace(source, sampler=dataclasses.replace(source.sampler, signature=wider)))
    return _Piece(way, exported, names, tuple(decided.asked))


def _free(name: str, taken: set[str]) -> str:
    return name if name not in taken else _free(f"{name}_", taken)


def _settled(piece: _Piece, ways: Sequence[Way]) -> Iterator[Way]:
    """The answers before a question that has one answer by what was answered before: it asks for the same."""
    from onnxwright.graph.alike import is_alike
    from onnxwright.graph.optimizing import simplified
    from onnxwright.graph.simplifying import keep_outputs

    way = piece.way
    lone = [place for place in range(len(way)) if len(_answers(ways, way[:place])) == 1]
    if not lone:
        return
    asked = simplified(keep_outputs(piece.exported.model, piece.names)).graph.outputs
    for place in lone:
        if any(way[before] == way[place] and is_alike(asked[before], asked[place]) for before in range(place)):
            yield way[:place]


def _joined(source: Source, pieces: dict[Way, _Piece], before: Way) -> onnx_ir.Model:
    """The graph of all ways that begin with some answers."""
    from onnxwright.graph.joining import joined_by
    from onnxwright.graph.simplifying import keep_outputs

    here = [piece for way, piece in pieces.items() if way[: len(before)] == before]
    model, names = here[0].exported.model, here[0].names
    if len(here) == 1:
        return keep_outputs(model, source.signature.output_names)
    answers = _answers([piece.way for piece in here], before)
    if len(answers) == 1:
        return _joined(source, pieces, (*before, *answers))
    question = keep_outputs(model, [names[len(before)]])
    where_true, where_false = (_joined(source, pieces, (*before, answer)) for answer in (True, False))
    return joined_by(question, where_true, where_false, source.signature)


def _noted(pieces: dict[Way, _Piece], known: set[Way]) -> Noted:
    """What was seen on all ways, and what is frozen on one: a question that the graph doesn't ask, nor the same."""
    from onnxwright.pytorch.lines import Place

    frozen = [
        Place("", line).finding(_FROZEN, _ALIKE)
        for way, piece in pieces.items()
        for place, line in enumerate(piece.lines)
        if way[:place] not in known
    ]
    noted = [piece.exported.noted for piece in pieces.values()]
    findings = dict.fromkeys([*frozen, *(found for one in noted for found in one.findings)])
    assumed = dict.fromkeys(condition for one in noted for condition in one.assumed)
    taken = {dim: found for one in noted for dim, found in one.taken.items()}
    decided = dict.fromkeys(place for one in noted for place in one.decided)
    return Noted(tuple(findings), tuple(assumed), taken, tuple(decided))


REPAIR = Cases()
