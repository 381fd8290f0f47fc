"""What a user asks `convert` for, checked before any work begins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnxwright import backends, environment
from onnxwright.approach import parse
from onnxwright.artifact import is_package
from onnxwright.errors import EngineError, OutputError, UsageError, accepted
from onnxwright.files import LARGEST_FILE, MOST_IN_ONE_FILE
from onnxwright.proof.prove import BUDGETS
from onnxwright.recipes import AUTO, UNCHANGED, recipes_for
from onnxwright.records import read_labels
from onnxwright.repairs import repair
from onnxwright.routes import route, routes
from onnxwright.stages.export import DEFAULT_OPSET
from onnxwright.stages.load import require_onnx, require_torch

if TYPE_CHECKING:
    from torch import nn

DEVICES: Final = ("cpu", "cuda")
_OLDEST_OPSET: Final = 7
"""Converters of graphs know none before."""
_FIRST_ENGINE: Final = "onnxruntime"


@dataclass(frozen=True)
class Request:
    """What is to be converted, where to, and how; `onnxwright.convert` says what each field means."""

    source: str | Path | nn.Module
    out: Path
    example_inputs: Any = None
    dims: Mapping[str, Mapping[int, str]] | None = None
    ranges: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    task: str = "auto"
    route: str = "auto"
    wanted_opset: int | None = None
    device: str = "cpu"
    engines: tuple[str, ...] = ("auto",)
    precision: str = "auto"
    max_loss: float | None = None
    """How much accuracy may be lost; what the task's measure allows for unless given."""
    labels: Path | None = None
    search_seconds: float = 300.0
    lowers_io: bool = False
    """Whether a graph in float16 has its floats in and out in float16, too."""
    is_quantized: bool = False
    """Whether `auto` lowers the precision; a budget says so too."""
    samples: Path | None = None
    seed: int = 0
    proof: str = "normal"
    is_measured: bool = True
    is_optimized: bool = False
    outputs: tuple[str, ...] = ()
    """The outputs of a graph to keep; all, unless some are named."""
    is_single_file: bool = False
    """Whether weights are to lie in the graph, however many there are."""
    is_code_trusted: bool = False
    is_forced: bool = False
    repro: Path | None = None
    replay: str | None = None
    repair_seconds: float = 300.0
    allows_fallback: bool = False

    @property
    def opset(self) -> int:
        """The opset to write."""
        return DEFAULT_OPSET if self.wanted_opset is None else self.wanted_opset

    @property
    def largest_file(self) -> int:
        """So many bytes of weights lie in a graph at most."""
        return MOST_IN_ONE_FILE if self.is_single_file else LARGEST_FILE

    def check(self) -> None:
        """Refuses words that are not known, and what this machine can't do.

        Raises:
            UsageError: naming what would be accepted.
        """
        _check_place(self.source, self.out)
        recipes_for(self.precision)
        _check_budget(self)
        check_word("proof", self.proof, BUDGETS)
        check_empty(self.repro)
        require_onnx()
        check_device(self.device, self.source)
        if _is_graph(self.source):
            _refuse_export(self)
            _check_opset(self.wanted_opset)
            return
        if self.outputs:
            raise UsageError("outputs: can be chosen for an .onnx file only. Have the module return just those.")
        require_torch()
        if self.replay is not None:
            if self.route != "auto" or self.wanted_opset is not None:
                raise UsageError("--replay: names the route and the opset itself. Leave --route and --opset out.")
            _check_replay(self.replay)
        elif self.route != "auto":
            route(self.route, opset=self.opset)
        elif not self.ladder():
            spans = "; ".join(f"{name} {one.opsets[0]} to {one.opsets[-1]}" for name, one in routes().items())
            raise UsageError(f"opset {self.opset}: no route writes it; expected one of: {spans}.")

    @property
    def lowers_precision(self) -> bool:
        """Whether a lower precision is looked for: one is named, or a budget is given."""
        if self.precision == UNCHANGED:
            return False
        return self.precision != AUTO or self.max_loss is not None or self.is_quantized

    def ladder(self) -> list[str]:
        """Returns the routes to try, in order."""
        if self.route != "auto":
            return [self.route]
        return [name for name, one in routes().items() if self.opset in one.opsets]


def _check_budget(request: Request) -> None:
    """Refuses a budget that is none, and what is said of a search where there is none."""
    loss = request.max_loss
    if loss is not None and not 0 <= loss < math.inf:
        raise UsageError(f"max accuracy loss {loss}: expected a number of at least 0, such as 0.001.")
    if not 0 <= request.search_seconds < math.inf:
        raise UsageError(f"search time {request.search_seconds}: expected seconds, at least 0, such as 300.")
    if request.labels is not None and not request.lowers_precision:
        raise UsageError(
            "labels: judge a lower precision, and none is asked for. Give --precision or --max-accuracy-loss."
        )
    if request.lowers_io and not _makes_float16(request):
        raise UsageError(
            f"lower io: is for graphs in float16, and with precision '{request.precision}' none is made. "
            "Use --precision fp16, or leave it out."
        )
    if request.labels is not None:
        read_labels(request.labels)


def _makes_float16(request: Request) -> bool:
    return request.lowers_precision and any(one.precision == "float16" for one in recipes_for(request.precision))


def _check_replay(text: str) -> None:
    approach = parse(text)
    route(approach.route, opset=approach.opset)
    for fix in approach.fixes:
        repair(fix.repair)


def ready_engines(engines: Sequence[str]) -> list[str]:
    """Returns the engines to prove with, the one to prefer first; `auto` stands for all that are available.

    Raises:
        EngineError: when an engine is unknown or not available here, or none is.
    """
    if "auto" not in engines:
        return [backends.engine(name).name for name in dict.fromkeys(engines)]
    known = backends.engines()
    ready = [name for name, backend in known.items() if backend.available() is None]
    if not ready:
        raise EngineError(f"no engine is available here; install {accepted('', known)}.")
    return sorted(ready, key=lambda name: name != _FIRST_ENGINE)


def proving_engines(engines: Sequence[str]) -> list[str]:
    """Returns the engines to convert with that can run here: the first of all where those named are built only.

    Raises:
        EngineError: when an engine is unknown, or can neither be run nor built here.
    """
    built = built_engines(engines)
    rest = [name for name in engines if name not in built]
    return ready_engines(rest or [_FIRST_ENGINE])


def built_engines(engines: Sequence[str]) -> list[str]:
    """Returns those of the engines named that can be built here, and not run."""
    known = backends.builders()
    named = [name for name in dict.fromkeys(engines) if name in known and known[name].buildable() is None]
    return [name for name in named if backends.engines()[name].available() is not None]


def _check_place(source: str | Path | nn.Module, out: Path) -> None:
    """Refuses to write over the source, or into its folder."""
    if not isinstance(source, (str, Path)) or not str(source).strip():
        return
    given, place = place_of(source).resolve(), out.resolve()
    if given.is_dir() and place.is_relative_to(given):
        raise OutputError(f"output '{out}': lies in the source '{source}', which stays as it is. Choose another place.")
    if given.is_relative_to(place):
        raise OutputError(f"output '{out}': holds the source '{source}', which stays as it is. Choose another place.")


def place_of(source: str | Path) -> Path:
    """Returns the file or folder that a source names; of a factory, its file."""
    path, colon, _ = str(source).partition(".py:")
    return environment.at_home(path + colon.rstrip(":"))


def _is_graph(source: str | Path | nn.Module) -> bool:
    if not isinstance(source, (str, Path)):
        return False
    return Path(source).suffix == ".onnx" or is_package(environment.at_home(source))


def _refuse_export(request: Request) -> None:
    """Refuses what is said of an export where there is nothing to export."""
    if request.route != "auto":
        raise UsageError(
            f"route '{request.route}': '{request.source}' is a graph already, and is not exported. Leave it out."
        )
    if request.replay is not None:
        raise UsageError(f"--replay: '{request.source}' is a graph already, and no attempt is made. Leave it out.")


def _check_opset(wanted: int | None) -> None:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if wanted is not None and not _OLDEST_OPSET <= wanted <= newest:
        raise UsageError(f"opset {wanted}: expected {_OLDEST_OPSET} to {newest}.")


def check_device(device: str, source: str | Path | nn.Module) -> None:
    """Refuses a device that is unknown, not here, or of no use to a graph.

    Raises:
        UsageError: saying which.
    """
    check_word("device", device, DEVICES)
    if device == "cpu":
        return
    if _is_graph(source):
        raise UsageError(
            f"device '{device}': '{source}' is a graph already, and PyTorch has no part in it. Leave it out."
        )
    require_torch()
    if not _has_cuda():
        raise UsageError("device 'cuda': PyTorch sees no GPU here. Use --device cpu.")


def check_empty(folder: Path | None) -> None:
    """Refuses a folder for a reproduction that holds something.

    Raises:
        OutputError: when it is there and not empty.
    """
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"folder '{folder}' exists and is not empty. Choose another one for the reproduction.")


def check_word(what: str, word: str, known: Mapping[str, Any] | tuple[str, ...]) -> None:
    """Refuses a word that is not among those known.

    Raises:
        UsageError: naming what would be accepted.
    """
    if word not in known:
        raise UsageError(f"{what} '{word}' is unknown; expected {accepted(word, known)}.")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
