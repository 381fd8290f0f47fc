"""Modules that decide by sizes and values, inside of Python that TorchScript does not take."""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass
class Answer:
    """An answer of a class of its own."""

    y: Tensor
    rest: Tensor


class Linear(nn.Module):
    """Holds a layer to decide about."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.other = nn.Sequential(nn.Linear(8, 8), nn.Tanh())


class ValueBranch(Linear):
    """Takes another layer by a value."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        if x.abs().mean() > 0.8:
            x = self.other(x)
            y = x + 1.0
        else:
            y = self.layer(x)
        return {"y": y}


class EarlyReturn(Linear):
    """Returns in several places, by a size and by a value."""

    def forward(self, x: Tensor, *, scale: float | None = None) -> Answer:
        if scale is not None:
            x = x * scale
        if x.shape[1] == 1:
            return Answer(self.layer(x), x)
        if x.max() > 3:
            return Answer(x * 0.0, x)
        return Answer(self.layer(x).relu(), x - x.mean(1, keepdim=True))


class ReturnsDeep(Linear):
    """Returns from inside of a branch that goes on otherwise."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        y = self.layer(x)
        if x.shape[1] > 3:
            total = y.abs().mean()
            if total > 0.4:
                return {"y": y / total}
        scaled = y * 2.0
        return {"y": scaled}


class EarlyExit(nn.Module):
    """Leaves its layers when it is sure."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        for layer in self.layers:
            x = torch.tanh(layer(x))
            if x.abs().amax(dim=(0, 1, 2)) < 0.7:
                break
        return {"y": x}


class Equilibrium(nn.Module):
    """Goes round until nothing changes any more: what it hands on is set in its first round."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)
        with torch.no_grad():
            self.inner.weight.mul_(0.5)

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        state = torch.zeros_like(x)
        for _round in range(40):
            found = torch.tanh(self.inner(state) + x)
            if (found - state).abs().amax(dim=(0, 1, 2)) < 1e-3:
                break
            state = found
        return {"y": found}


class Rows(nn.Module):
    """Treats each row by what it holds."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        rows = []
        for index in range(x.shape[0]):
            row = x[index]
            if row.sum() > 0:
                rows.append(row * 2.0)
            else:
                rows.append(-row)
        return {"y": torch.stack(rows)}


class Turned(Linear):
    """Multiplies by a weight and by its transpose in each round."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        state, states = x[:, 0], []
        for step in range(x.shape[1]):
            state = torch.tanh(state @ self.layer.weight + x[:, step] @ self.layer.weight.T)
            states.append(state)
        return {"y": torch.stack(states, 1)}


class Comprehension(Linear):
    """Maps each row."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        return {"y": torch.stack([self.layer(row).mean(0) - place for place, row in enumerate(x)])}


class Cells(nn.Module):
    """Runs a cell along the sequence, and hands on the last state too."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(16, 8)

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        state, states = x.new_zeros(x.shape[0], 8), []
        for step in range(x.shape[1]):
            state = torch.tanh(self.cell(torch.cat([x[:, step], state], -1)))
            states.append(state)
        return {"y": torch.stack(states, 1) + state[:, None]}


class Lengths(nn.Module):
    """Takes of each row as many places as its sum says."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        rows = []
        for row in x:
            count = int((row[:, 0] > 0).sum())
            rows.append(row[: max(count, 1)].mean(0))
        return {"y": torch.stack(rows)}


class Filter(nn.Module):
    """Writes each place from the one before it."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        y = x.clone()
        for place in range(1, x.shape[1]):
            y[:, place] = 0.9 * y[:, place - 1] + 0.1 * x[:, place]
        return {"y": y}


class Shrinking(nn.Module):
    """Halves until it is small, and counts."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        rounds = 0
        while x.abs().mean() > 0.3 and rounds < 6:
            x = x * 0.5
            rounds += 1
        return {"y": x + rounds}


class Padded(Linear):
    """Pads an odd length, and chains its questions."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        batch, length, width = x.shape
        if length % 2 == 1 and not 3 < length < 9:
            x = functional.pad(x, (0, 0, 0, 1))
            length += 1
        scale = 2.0 if x.sum() > 0 or length > 20 else 0.5
        return {"y": x.sum(1).reshape(batch, width) * scale}


class Counted(nn.Module):
    """Makes a tensor of numbers that Python counts up, forwards and backwards."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        places = torch.tensor(list(range(x.shape[1]))[::-1], dtype=torch.float32, device=x.device)
        later = torch.tensor(list(range(x.shape[1] + 1))[1:])
        return {"y": x * places[None, :, None] + later[:, None]}


def trimmed(x: Tensor) -> Tensor:
    """Leaves the ends out of what is long enough."""
    if x.shape[1] < 4:
        return x.mean(1)
    return x[:, 1:-1].mean(1)


class Helper(nn.Module):
    """Leaves the decision to a function."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        return {"y": trimmed(x)}


_LOGGER = logging.getLogger(__name__)


class Windows(Linear):
    """Pads to whole windows, tells so, asks what is given, and deletes a name."""

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> dict[str, Tensor]:
        missing = (5 - x.shape[1] % 5) % 5
        if missing > 0:
            _LOGGER.info("%s", f"Padded by {missing}.")
            warnings.warn(f"Padded by {missing}.", stacklevel=1)
            if mask is not None:
                mask = functional.pad(mask, (0, missing))
            filled = x.new_full((x.shape[0], missing, x.shape[2]), 0.5)
            x = torch.cat([x, filled], dim=1)
            del filled
        y = x if mask is None else x * mask
        if y.mean() > 0.1:
            y = self.layer(y)
        return {"y": y.unflatten(1, (-1, 5)).sum(2).cumsum(1)[:, -1]}


class Backtracking(nn.Module):
    """Keeps what it chose step by step, and goes back along it, as decoders do."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        score, chosen = x[:, 0], []
        for step in range(x.shape[1]):
            best, index = (score[:, :, None] + x[:, step, None]).max(1)
            chosen.append(index)
            score = best - best.amax(1, keepdim=True)
        tag, path, front = score.argmax(1), [], []
        for index in reversed(chosen):
            tag = index.gather(1, tag[:, None]).squeeze(1)
            path.append(tag)
            front.insert(0, tag)
        path.reverse()
        path.append(tag)
        return {"y": torch.stack(path[::-1], 1).float() - torch.stack([*front[:1], *path[:1]], 1).sum(1)[:, None]}


class Counts(Linear):
    """Reads numbers as Python has them, row by row, and skips layers that get nothing to do."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        counts, rows = (x[..., 0] > 0).sum(1).tolist(), []
        for row, count in zip(x, counts, strict=True):
            kept = row[: max(1, count)]
            rows.append(functional.pad(kept, (0, 0, 0, x.shape[1] - kept.shape[0])))
        y = torch.stack(rows) + max(counts)
        for number, layer in enumerate((self.layer, self.other)):
            places, _ = torch.where(x[:, :, 1] * (1 - 2 * number) > 1)
            if places.numel() == 0:
                continue
            y = y.index_add(0, places, layer(x[places]))
        return {"y": y}


class Tables(Linear):
    """Looks up numbers by a size: in an array, a list and a dictionary."""

    WEIGHTS = np.linspace(0.5, 2.0, 40)
    LESS = (0, 1, 2)
    SCALES: ClassVar[dict[int, float]] = {1: 0.5, 16: 2.0, 33: 3.0}
    SHIFTS: ClassVar[dict[int, int]] = {0: 3, 2: 1, 1: 7}

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        whole, rest = divmod(x.shape[1], 3)
        y = x * float(self.WEIGHTS[x.shape[1]]) + self.SCALES.get(x.shape[1], 1.0) * self.WEIGHTS[-rest]
        return {"y": y[:, : max(1, whole + self.LESS[rest])] + self.SHIFTS[rest] + self.SHIFTS.get(whole, 9)}


class Functions(Linear):
    """Computes numbers from a size by functions that no operator computes."""

    def forward(self, x: Tensor, **_: Tensor) -> dict[str, Tensor]:
        length = x.shape[1]
        kept = max(1, min(int(3 * math.ceil(math.log(length + 1))), length))
        wide = 2 * np.ceil(np.log1p(length)).astype("int").item() + math.isqrt(3 * length)
        scale = math.log2(length + 3) / math.exp(length / 40)
        return {"y": x[:, :kept] * scale + wide + length.bit_length()}


MODULES = {
    kind.__name__: kind
    for kind in (
        *(ValueBranch, EarlyReturn, ReturnsDeep, EarlyExit, Equilibrium, Rows, Turned, Comprehension, Cells),
        *(Lengths, Filter, Shrinking, Padded, Counted, Helper, Windows, Backtracking, Counts, Tables, Functions),
    )
}
