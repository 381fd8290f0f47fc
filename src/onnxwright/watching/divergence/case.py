"""A point at which a graph seems to answer differently from PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from onnxwright import tolerance
from onnxwright.backends import Session, Tensors
from onnxwright.signature import Signature


@dataclass(frozen=True)
class Case:
    """One point at which a graph seems to answer otherwise: what runs on both sides, and on which inputs."""

    module: nn.Module
    signature: Signature
    file: Path
    feeds: Tensors
    sizes: Mapping[str, int]
    values: str = "typical"
    limits: Mapping[str, float] = field(default_factory=dict)
    """How far each output may lie from the reference."""
    engine: Session | None = None
    """What has answered otherwise, if not the graph node by node."""
    threads: int = 1

    def limit(self, output: str) -> float:
        """Returns how far an output may lie from the reference."""
        return max(tolerance.LEAST_LIMIT, self.limits.get(output, 0.0))
