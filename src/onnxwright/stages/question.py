"""What a user asks `prove` for, checked before any work begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnxwright import environment
from onnxwright.artifact import Package
from onnxwright.errors import SourceError, UsageError
from onnxwright.manifest import FILE_NAME
from onnxwright.proof.prove import BUDGETS
from onnxwright.stages.request import check_device, check_empty, check_word, place_of

if TYPE_CHECKING:
    from torch import nn

_GIVE: Final = "Give an .onnx file, or a package, whose graph it then is."
_LONELY: Final = "Give a folder that `onnxwright convert` wrote, or name a candidate with --candidate."


@dataclass(frozen=True)
class Question:
    """Whether a candidate computes what a source computes; `onnxwright.prove` says what each field means."""

    source: str | Path | nn.Module
    candidate: Path | None = None
    example_inputs: Any = None
    dims: Mapping[str, Mapping[int, str]] | None = None
    ranges: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    task: str = "auto"
    engines: tuple[str, ...] = ("auto",)
    samples: Path | None = None
    seed: int = 0
    proof: str = "normal"
    is_code_trusted: bool = False
    repro: Path | None = None
    allows_fallback: bool = False
    device: str = "cpu"

    @property
    def package(self) -> Path | None:
        """The folder of the package that the source is, or None when it is something else."""
        if not isinstance(self.source, (str, Path)) or not str(self.source).strip():
            return None
        folder = environment.at_home(self.source)
        return folder if (folder / FILE_NAME).is_file() else None

    def check(self) -> None:
        """Refuses words that are not known, a question without a candidate, and options that would do nothing.

        Raises:
            UsageError: naming what would be accepted.
        """
        check_word("proof", self.proof, BUDGETS)
        check_empty(self.repro)
        check_device(self.device, self.source)
        if self.candidate is not None:
            return
        if self.package is None:
            raise SourceError(f"{self._named()} is not a package, and only a package is proven alone. {_LONELY}")
        idle = [word for word, is_given in self._words_for_a_candidate().items() if is_given]
        if idle:
            raise UsageError(
                f"{', '.join(idle)}: a package alone is proven from the answers that it carries, so this has no "
                "effect. Leave it out, or give --candidate."
            )

    def graph(self) -> Path:
        """Returns the candidate's ONNX file.

        Raises:
            SourceError: when there is none.
            UsageError: when it is the source itself.
        """
        assert self.candidate is not None, "asked of a question with a candidate"
        file = self._candidate_file(self.candidate)
        if isinstance(self.source, (str, Path)):
            own = environment.at_home(self.source) if self.package is None else Package.open(self.package).file()
            if own.exists() and own.samefile(file):
                raise UsageError(
                    f"candidate '{self.candidate}': is the source itself, so it would be held against itself. "
                    "Give another file, or what it was made from as the source."
                )
        return file

    @staticmethod
    def _candidate_file(candidate: Path) -> Path:
        if candidate.is_dir():
            return Package.open(candidate).file()
        if not candidate.is_file():
            raise SourceError(f"candidate '{candidate}': no such file or folder. {_GIVE}")
        if candidate.suffix != ".onnx":
            raise SourceError(f"candidate '{candidate}': is no .onnx file. {_GIVE}")
        return candidate

    def _named(self) -> str:
        if not isinstance(self.source, (str, Path)):
            return f"a module ({type(self.source).__name__})"
        is_there = place_of(self.source).exists()
        return f"source '{self.source}'" + ("" if is_there else ", where there is no such file or folder,")

    def _words_for_a_candidate(self) -> dict[str, bool]:
        """What a user may say only with a candidate, and whether it was said."""
        return {
            "example_inputs": self.example_inputs is not None,
            "dims": self.dims is not None,
            "a range of sizes": bool(self.ranges),
            "--task": self.task != "auto",
            "--samples": self.samples is not None,
            "--seed": self.seed != 0,
            "--proof": self.proof != "normal",
            "--trust-remote-code": self.is_code_trusted,
            "--save-repro": self.repro is not None,
        }
