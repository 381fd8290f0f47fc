"""Ways from a PyTorch module to an ONNX graph: one a file, each offering `ROUTE`."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from onnxwright.discovery import offered
from onnxwright.errors import UsageError, accepted
from onnxwright.findings import Finding

if TYPE_CHECKING:
    import onnx_ir
    from torch import Tensor, nn

    from onnxwright.pytorch.lines import Place
    from onnxwright.signature import Signature
    from onnxwright.watching.conditions import Condition

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_SUMMARY: Final = "## Exception summary"
_CAUSE: Final = "Caused by: ("
_ADVICE: Final = re.compile(
    r"""
    For\ (?:more|extended|C\+\+)\ [^\n]*                       # logs that can be switched on
    | ^(?:Exception\ raised\ from|frame\ \#\d+:|<omitting\ python\ frames>)[^\n]*   # in C++
    | ^(?:If\ you\ suspect|The\ error\ above\ occurred|\(Refer\ to\ the\ full|⬆)[^\n]*
    | [^.!\n]*\b(?:report|open|file|create|submit)\ (?:a|an|this)\ (?:bug|issue|pr|error\ report)\b[^\n]*
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


@dataclass(frozen=True)
class Task:
    """What a route is asked for: a module in evaluation mode, its signature, a sample, and the opset.

    `twin` is a second sample, of other sizes and values: what an export from it holds otherwise was frozen.
    """

    module: nn.Module
    signature: Signature
    sample: Mapping[str, Tensor]
    opset: int
    twin: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Noted:
    """What was seen on the way to a graph, and what the exporter took for granted of sizes.

    `taken` says of each dim where Python makes a number of its size, with which it may decide anything.
    """

    findings: tuple[Finding, ...] = ()
    assumed: tuple[Condition, ...] = ()
    taken: Mapping[str, Finding] = field(default_factory=dict)
    decided: tuple[Place, ...] = ()
    """Where Python decides by sizes while the module is traced."""

    def and_found(self, findings: Iterable[Finding]) -> Noted:
        """Returns it with more findings."""
        return replace(self, findings=(*self.findings, *findings))


@dataclass(frozen=True)
class Exported:
    """A graph, and what was noted on the way to it."""

    model: onnx_ir.Model
    noted: Noted = Noted()


def noting(exported: Exported, **more: Any) -> Exported:
    """Returns what was exported with more noted of it."""
    return replace(exported, noted=replace(exported.noted, **more))


def conformed(model: onnx_ir.Model, task: Task, findings: Iterable[Finding] = ()) -> Exported:
    """Holds a graph to the signature, and says which inputs it doesn't use.

    Raises:
        RouteError: when inputs or outputs are missing or have another type.
    """
    from onnxwright.graph.axes import counted_from_the_front
    from onnxwright.graph.boundary import conform, unused_inputs
    from onnxwright.graph.lost import with_lost_constants
    from onnxwright.graph.pruning import prune_branches
    from onnxwright.pytorch.lines import Place, found_at, line_of_forward

    with_lost_constants(model)
    conform(model, task.signature)
    prune_branches(model)
    counted_from_the_front(model)
    line = line_of_forward(task.module)
    unused = (
        found_at(
            Place("", line) if line is not None else None,
            "unused-input-dropped",
            f"No output of the graph depends on the input '{name}'.",
        )
        for name in unused_inputs(model)
    )
    return Exported(model, Noted((*findings, *unused)))


class Route(Protocol):
    """One exporter."""

    name: str
    rank: float
    """How late an attempt by it is worth trying, beside others: what it costs, and how seldom it helps."""
    opsets: range
    freezes_sizes: bool
    """Whether what Python decides by a size stays as it was for the sample."""

    def load(self) -> None:
        """Loads what the exporter needs, so that each forked export has it; nothing, unless that takes long."""
        return

    def export(self, task: Task) -> Exported:
        """Exports a module with dynamic axes under the signature's names.

        Raises:
            RouteError: when this route can't export the module.
        """


def routes() -> dict[str, Route]:
    """Returns every route by name, in the order in which they are tried: cheapest first."""
    known = cast(dict[str, Route], offered(__name__, "ROUTE"))
    return {name: known[name] for name in ("trace", "dynamo", "script")}


def route(name: str, *, opset: int) -> Route:
    """Returns the route of that name, which can write that opset.

    Raises:
        UsageError: for an unknown route, or an opset that it can't write.
    """
    known = routes()
    if name not in known:
        raise UsageError(f"route '{name}' is unknown; expected {accepted(name, [*known, 'auto'])}.")
    found = known[name]
    if opset not in found.opsets:
        raise UsageError(f"opset {opset}: route '{name}' writes {_span(found.opsets)}. Choose one of these.")
    return found


def told(problem: BaseException) -> str:
    """Returns the first lines of an exporter's error, without colours and advice to PyTorch's developers.

    The line of the user's that caused it stands at the end, where the exporter tells it.
    """
    plain = _COLOUR.sub("", str(problem))
    telling = _ADVICE.sub("", plain.partition(_SUMMARY)[2] or plain)
    lines = [line.strip() for line in (telling if telling.strip() else plain).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith(_CAUSE)]
    first = " ".join([line for line in lines if line not in causes][:4])[:400]
    cause = next((line for line in causes if not _is_torchs(line.removeprefix(_CAUSE))), "")
    return f"{type(problem).__name__}: {first} {cause}".rstrip()


def _is_torchs(place: str) -> bool:
    """Whether a place stands in PyTorch itself, which tells its own files from its folder on."""
    import torch

    return (Path(torch.__file__).parent / place.partition(":")[0]).exists()


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keeps exporters from writing to the log, to warnings and to Python's output streams; their errors still raise."""
    sink = io.StringIO()
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(sink),
            contextlib.redirect_stderr(sink),
            _without_graph_dumps(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _without_graph_dumps() -> Iterator[None]:
    """Stops the TorchScript exporter from printing its graph when it fails.

    It writes from C++, and its own switch is always on: `setup_onnx_logging` tests a function instead of calling it.
    """
    from torch import _C

    log = _C._jit_onnx_log
    _C._jit_onnx_log = lambda *_: None
    try:
        yield
    finally:
        _C._jit_onnx_log = log


def _span(opsets: Iterable[int]) -> str:
    listed = list(opsets)
    return f"opsets {listed[0]} to {listed[-1]}"
