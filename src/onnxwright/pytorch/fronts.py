"""Modules in front of others, which take inputs or name outputs in another way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from onnxwright.pytorch.modules import flatten


class FirstNamed(nn.Module):
    """A module whose first output is called otherwise; the others keep their names."""

    def __init__(self, module: nn.Module, name: str):
        super().__init__()
        self.module = module
        self._name = name

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Calls the module and renames its first output."""
        first, *others = flatten(self.module(**inputs)).items()
        return {self._name: first[1], **dict(others)}


class ByPosition(nn.Module):
    """A module whose inputs go by name, in front of one that takes those in `places` by position alone."""

    def __init__(self, module: nn.Module, places: Sequence[str]):
        super().__init__()
        self.module = module
        self._places = tuple(places)

    def forward(self, **inputs: Tensor) -> Any:
        """Calls the module, and answers what it does."""
        named = {name: value for name, value in inputs.items() if name not in self._places}
        return self.module(*(inputs[name] for name in self._places), **named)
