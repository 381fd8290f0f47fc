"""What is to be converted: a module or a graph, its signature, and how to make samples for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxwright.findings import Finding
from onnxwright.profile import Profile
from onnxwright.samples import Sampler
from onnxwright.signature import Signature

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Source:
    """A model ready to be converted; exactly one of `module` and `graph` is there.

    `traced` are the sizes at which it is exported: distinct and larger than one where the model allows, so that no
    size is frozen by coincidence. With `is_whole`, the signature names all that the module answers at these sizes.
    """

    name: str
    sampler: Sampler
    profile: Profile
    traced: Mapping[str, int]
    module: nn.Module | None = None
    graph: Path | None = None
    task: str | None = None
    task_options: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    is_whole: bool = False
    is_within: Callable[[Mapping[str, int]], bool] = lambda _: True
    """Whether an export may be made at sizes; where it is made for a part of the profile only, not at all."""

    @property
    def signature(self) -> Signature:
        """The tensors in and out."""
        return self.sampler.signature
