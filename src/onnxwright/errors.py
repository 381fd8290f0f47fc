"""The exceptions that onnxwright raises, each with the exit code of the command line.

```
OnnxwrightError
├── UsageError                exit 2: the call, a file or the machine is at fault
│   ├── SourceError           the source can't be read, or isn't what it says it is
│   ├── SignatureError        tensors or dims that don't fit the signature
│   │   └── OutOfRangeError   a size outside the proven range
│   ├── ProfileError          a range that is empty, unordered or for an unknown dim
│   ├── OutputError           the output folder can't be written
│   ├── EngineError           an engine that is unknown, missing or refuses the graph
│   └── MissingExtraError     an optional dependency that isn't installed
└── ModelError                exit 1: the model is at fault
    ├── CheckpointError       weights that don't fit the architecture
    ├── ForwardError          the module raises
    ├── RouteError            a route can't export the module
    │   ├── RepairError       a repair finds nothing that it could mend
    │   └── FutileError       nothing of a graph can be lowered in precision
    ├── BuildError            no engine can be built of the graph
    └── ProofError            nothing could be shown equal to the reference
```
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from onnxwright.findings import Finding
    from onnxwright.manifest import Attempt


class OnnxwrightError(Exception):
    """Base of every error that onnxwright raises on purpose; the message says what to do."""

    exit_code: ClassVar[int] = 2


class UsageError(OnnxwrightError):
    """The call, a file or the machine is at fault, not the model."""


class SourceError(UsageError):
    """The source is missing, unreadable, or not a model."""


class SignatureError(UsageError):
    """Tensors or dims that don't fit the declared signature."""


class OutOfRangeError(SignatureError):
    """A size outside the range for which the package was proven."""


class ProfileError(UsageError):
    """A range that is empty, unordered, or for a dim that the model doesn't have."""


class OutputError(UsageError):
    """The output folder exists, can't be written, or is full."""


class EngineError(UsageError):
    """An engine is unknown, not available here, or refuses the graph."""


class MissingExtraError(UsageError):
    """A feature needs an optional dependency that isn't installed."""


class ModelError(OnnxwrightError):
    """The model is at fault: it can't be run, exported or proven."""

    exit_code: ClassVar[int] = 1


class CheckpointError(ModelError):
    """Weights are missing from the checkpoint, left over, or not numbers."""


class ForwardError(ModelError):
    """The module raises on inputs that its signature allows."""


class RouteError(ModelError):
    """A route can't export this module; what was found on the way comes with it."""

    def __init__(self, message: str, *, findings: tuple[Finding, ...] = ()):
        super().__init__(message)
        self.findings = findings


class RepairError(RouteError):
    """A repair finds nothing that it could mend, or can't do it; with other repairs beside it that is no different."""


class FutileError(RouteError):
    """Nothing of a graph can be lowered in precision: it would stay as it is."""


class BuildError(ModelError):
    """A library refuses to build an engine of a graph, or crashes over it; what was found comes with it."""

    def __init__(self, message: str, *, findings: tuple[Finding, ...] = ()):
        super().__init__(message)
        self.findings = findings


class ProofError(ModelError):
    """No candidate could be shown to compute what the reference computes; what was found and tried comes with it."""

    def __init__(self, message: str, *, findings: tuple[Finding, ...] = (), attempts: tuple[Attempt, ...] = ()):
        super().__init__(message)
        self.findings = findings
        self.attempts = attempts


class InterruptedConversion(KeyboardInterrupt):
    """Ctrl-C while attempts were made; those that had ended come with it."""

    def __init__(self, attempts: tuple[Attempt, ...]):
        super().__init__()
        self.attempts = attempts


def accepted(given: str, values: Iterable[str]) -> str:
    """Names what would have been accepted: all values when fewer than ten, else the closest three."""
    known = sorted(values)
    if len(known) < 10:
        return "one of " + ", ".join(known)
    close = difflib.get_close_matches(given, known, n=3, cutoff=0.0)
    return "for example " + ", ".join(close)
