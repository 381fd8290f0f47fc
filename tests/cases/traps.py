"""Small modules, each with one trap that an exporter can fall into. A case is `module, example_inputs, dims`."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Case = tuple[nn.Module, dict[str, Tensor], dict[str, dict[int, str]]]
SEQUENCE = {"x": {0: "batch", 1: "sequence"}}


def _sequences(make: Callable[[], nn.Module], batch: int = 2, sequence: int = 16) -> Case:
    torch.manual_seed(0)
    return make(), {"x": torch.randn(batch, sequence)}, SEQUENCE


class LengthBranch(nn.Module):
    """Halves what is longer than eight."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > 8:
            return x * 0.5
        return x + 1.0


class LengthEquality(nn.Module):
    """Treats one single length otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 77:
            return x * 3.0
        return torch.tanh(x)


class AreaBranch(nn.Module):
    """Takes another way for many elements, which neither dim alone reaches."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] * x.shape[1] > 12000:
            return x - 2.0
        return x * 2.0


class OddLength(nn.Module):
    """Pads an odd length to an even one."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] % 2 == 1:
            x = functional.pad(x, (0, 1))
        return x.reshape(x.shape[0], -1, 2).sum(-1)


class ValueBranch(nn.Module):
    """Decides by the sum of what it gets."""

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x * 2.0
        return x - 1.0


class RareValueBranch(nn.Module):
    """Decides by a value that no ordinary sample has."""

    def forward(self, x: Tensor) -> Tensor:
        if x.max() > 1e6:
            return x * 0.0
        return x + 1.0


class NumpyInside(nn.Module):
    """Computes the scale of what it gets with numpy."""

    def forward(self, x: Tensor) -> Tensor:
        scale = float(np.abs(x.detach().numpy()).mean())
        return x / scale


class ItemInside(nn.Module):
    """Takes a number out of the graph and puts it back in."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.abs().max().item()


class ListInside(nn.Module):
    """Goes through a Python list."""

    def forward(self, x: Tensor) -> Tensor:
        return x + sum(x[0].tolist())


class LengthLoop(nn.Module):
    """Runs once for each position."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(x.shape[0], 4)
        for step in range(x.shape[1]):
            state = torch.tanh(self.cell(state) + x[:, step : step + 1])
        return state


class PythonLength(nn.Module):
    """Scales by a length that went through Python's int."""

    def forward(self, x: Tensor) -> Tensor:
        return x / int(x.shape[1]) ** 0.5


class FrozenBatch(nn.Module):
    """Writes the batch of one into a reshape."""

    def forward(self, x: Tensor) -> Tensor:
        rows = int(x.size(0))
        return x.reshape(rows, -1, 1).expand(rows, x.size(1), 3)


class CachedLength(nn.Module):
    """Keeps the first mask it made, and uses it for good."""

    def __init__(self) -> None:
        super().__init__()
        self.mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.mask is None:
            self.mask = torch.tril(torch.ones(x.shape[1], x.shape[1]))
        return x @ self.mask


class CachedValues(nn.Module):
    """Keeps which values of its first input were positive."""

    def __init__(self) -> None:
        super().__init__()
        self.keep: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.keep is None:
            self.keep = (x.sum(1, keepdim=True) > 0).float().mean()
        return x * self.keep


class GrowingCache(nn.Module):
    """Keeps a table that it enlarges when it must, and answers right each time."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.arange(4.0)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > self.table.shape[0]:
            self.table = torch.arange(float(x.shape[1]))
        return x + self.table[: x.shape[1]]


class DropoutOn(nn.Module):
    """Drops in evaluation mode too."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.5, training=True)


class TrainingModule(nn.Module):
    """Holds an ordinary dropout and comes in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x) * 2.0


class RandomNoise(nn.Module):
    """Adds noise."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)


class SeededNoise(nn.Module):
    """Adds the same noise each time."""

    def forward(self, x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return x + 0.1 * torch.randn_like(x)


class PythonRandom(nn.Module):
    """Throws a coin in Python."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1.0 if random.random() < 0.5 else 1.5)


class EarlyExit(nn.Module):
    """Leaves its loop when it has converged."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(6):
            if x.abs().mean() < 0.2:
                break
            x = x * 0.5
        return x


class PositionTable(nn.Module):
    """Has positions for forty."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(40, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.positions(torch.arange(x.shape[1])).squeeze(-1)


class RollingWindow(nn.Module):
    """Looks at windows of four through a view with strides of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unfold(1, 4, 2).mean(-1)


class Smoothing(nn.Module):
    """Only shapes and tensors: the twin without a trap."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.line(x.unsqueeze(-1)), 1).sum(-1) + x.shape[1]


class Answer(NamedTuple):
    """A named answer."""

    total: Tensor
    parts: list[Tensor]


@dataclass
class Report:
    """An answer as a dataclass."""

    logits: Tensor
    extra: dict[str, Any]


class NestedAnswer(nn.Module):
    """Answers a dataclass that holds a mapping, a named tuple and a list."""

    def forward(self, x: Tensor, *, scale: Tensor, keep: Tensor | None = None) -> Report:
        y = x * scale if keep is None else torch.where(keep, x, scale)
        return Report(y, {"answer": Answer(y.sum(), [y + 1, y.long()])})


def _nested() -> Case:
    torch.manual_seed(0)
    inputs = {"x": torch.randn(2, 16), "scale": torch.tensor(3.0), "keep": torch.rand(2, 16) > 0.5}
    return NestedAnswer(), inputs, {**SEQUENCE, "keep": {0: "batch", 1: "sequence"}}


PROVEN: dict[str, Callable[[], Case]] = {
    "smoothing": lambda: _sequences(Smoothing),
    "python-length": lambda: _sequences(PythonLength),
    "frozen-batch": lambda: _sequences(FrozenBatch, batch=1),
    "training-module": lambda: _sequences(TrainingModule),
    "length-loop": lambda: _sequences(LengthLoop),
    "item-inside": lambda: _sequences(ItemInside),
    "nested-answer": _nested,
}
"""Cases that some route converts over the whole profile."""

RIGHT_OR_REFUSED: dict[str, Callable[[], Case]] = {
    "length-branch": lambda: _sequences(LengthBranch),
    "length-equality": lambda: _sequences(LengthEquality),
    "area-branch": lambda: _sequences(AreaBranch),
    "odd-length": lambda: _sequences(OddLength),
    "value-branch": lambda: _sequences(ValueBranch),
    "rare-value-branch": lambda: _sequences(RareValueBranch),
    "numpy-inside": lambda: _sequences(NumpyInside),
    "list-inside": lambda: _sequences(ListInside),
    "early-exit": lambda: _sequences(EarlyExit),
    "position-table": lambda: _sequences(PositionTable),
    "growing-cache": lambda: _sequences(GrowingCache),
    "rolling-window": lambda: _sequences(RollingWindow),
}
"""Cases that may come out narrowed or refused, but never wrong."""

REFUSED: dict[str, Callable[[], Case]] = {
    "cached-length": lambda: _sequences(CachedLength),
    "cached-values": lambda: _sequences(CachedValues),
    "dropout-on": lambda: _sequences(DropoutOn),
    "random-noise": lambda: _sequences(RandomNoise),
    "seeded-noise": lambda: _sequences(SeededNoise),
    "python-random": lambda: _sequences(PythonRandom),
}
"""Cases for which there is nothing to be equal to."""
