"""The libraries behind one seam: which is installed, and what this machine lacks to run an engine."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, Final

from onnxwright.errors import EngineError
from onnxwright.nvidia.driver import Driver, missing_driver


@dataclass(frozen=True)
class Library:
    """A TensorRT by the name of its engine, the module that Python imports, and the extra that installs it.

    `builds_without_gpu` is a promise of the library, which its builder is asked to keep before anything is built.
    """

    engine: str
    module: str
    builds_without_gpu: bool
    least_compute: tuple[int, int]
    """The oldest GPU that it runs on."""

    def missing(self) -> str | None:
        """Returns why the library can't be used here at all, or None when it can."""
        if importlib.util.find_spec(self.module) is None:
            return (
                f"the package '{self.module}' is not installed; install it with "
                f'`pip install "onnxwright[{self.engine}]"`.'
            )
        return None

    def unfit(self) -> str | None:
        """Returns why no engine can be run here, or None when one can: the library, the driver or the GPU."""
        return self.missing() or missing_driver() or self._unfit_gpu(Driver().compute_capability())

    def unbuildable(self) -> str | None:
        """Returns why no engine can be built here, or None when one can."""
        return self.missing() if self.builds_without_gpu else self.unfit()

    def load(self) -> Any:
        """Imports the library.

        Raises:
            EngineError: when it is missing, or parts of it are.
        """
        reason = self.missing()
        if reason is not None:
            raise EngineError(f"engine '{self.engine}' is not available: {reason}")
        try:
            return importlib.import_module(self.module)
        except (ImportError, OSError) as broken:  # a library that it links is missing, or another version's
            raise EngineError(f"the package '{self.module}' can't be loaded: {broken}. Install it again.") from broken

    def _unfit_gpu(self, compute: tuple[int, int]) -> str | None:
        if compute >= self.least_compute:
            return None
        had, least = (".".join(map(str, one)) for one in (compute, self.least_compute))
        return f"the GPU has compute capability {had}, and {self.engine} needs {least} or more. Use onnxruntime."


LIBRARIES: Final = {
    one.engine: one
    for one in (
        Library("tensorrt", "tensorrt", builds_without_gpu=False, least_compute=(7, 5)),
        Library("tensorrt-rtx", "tensorrt_rtx", builds_without_gpu=True, least_compute=(7, 5)),
    )
}


def as_told_by(trt: Any) -> tuple[str, ...]:
    """Returns the targets that a library says it builds for, by the names that a command line has for them."""
    members = getattr(getattr(trt, "ComputeCapability", None), "__members__", {})
    return tuple(name.lower() for name in members if name.startswith("SM"))
