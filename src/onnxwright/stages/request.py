"""What a user asks `convert` for, checked before any work begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnxwright import backends, environment
from onnxwright.errors import EngineError, OutputError, UsageError, accepted
from onnxwright.routes import route, routes
from onnxwright.stages.export import DEFAULT_OPSET
from onnxwright.stages.prove import BUDGETS

if TYPE_CHECKING:
    from torch import nn

PRECISIONS: Final = ("auto", "fp32")
DEVICES: Final = ("cpu", "cuda")
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
    opset: int = DEFAULT_OPSET
    device: str = "cpu"
    engines: tuple[str, ...] = ("auto",)
    precision: str = "auto"
    samples: Path | None = None
    seed: int = 0
    proof: str = "normal"
    is_measured: bool = True
    is_code_trusted: bool = False
    is_forced: bool = False

    def check(self) -> None:
        """Refuses words that are not known, and what this machine can't do.

        Raises:
            UsageError: naming what would be accepted.
        """
        _check_place(self.source, self.out)
        _check_word("precision", self.precision, PRECISIONS)
        _check_word("proof", self.proof, BUDGETS)
        _check_word("device", self.device, DEVICES)
        if self.device == "cuda" and not _has_cuda():
            raise UsageError("device 'cuda': PyTorch sees no GPU here. Use --device cpu.")
        if self.route != "auto":
            route(self.route, opset=self.opset)
        elif not self.ladder():
            spans = "; ".join(f"{name} {one.opsets[0]} to {one.opsets[-1]}" for name, one in routes().items())
            raise UsageError(f"opset {self.opset}: no route writes it; expected one of: {spans}.")

    def ladder(self) -> list[str]:
        """Returns the routes to try, in order."""
        if self.route != "auto":
            return [self.route]
        return [name for name, one in routes().items() if self.opset in one.opsets]

    def ready_engines(self) -> list[str]:
        """Returns the engines to prove with, the one to prefer first.

        Raises:
            EngineError: when an engine is unknown or not available here, or none is.
        """
        if "auto" not in self.engines:
            return [backends.engine(name).name for name in dict.fromkeys(self.engines)]
        known = backends.engines()
        ready = [name for name, backend in known.items() if backend.available() is None]
        if not ready:
            raise EngineError(f"no engine is available here; install {accepted('', known)}.")
        return sorted(ready, key=lambda name: name != _FIRST_ENGINE)


def _check_place(source: str | Path | nn.Module, out: Path) -> None:
    """Refuses to write over the source, or into its folder."""
    if not isinstance(source, (str, Path)) or not str(source).strip():
        return
    path, colon, _ = str(source).partition(".py:")
    given, place = environment.at_home(path + colon.rstrip(":")).resolve(), out.resolve()
    if given.is_dir() and place.is_relative_to(given):
        raise OutputError(f"output '{out}': lies in the source '{source}', which stays as it is. Choose another place.")
    if given.is_relative_to(place):
        raise OutputError(f"output '{out}': holds the source '{source}', which stays as it is. Choose another place.")


def _check_word(what: str, word: str, known: Mapping[str, Any] | tuple[str, ...]) -> None:
    if word not in known:
        raise UsageError(f"{what} '{word}' is unknown; expected {accepted(word, known)}.")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
