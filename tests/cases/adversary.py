"""Small modules by someone who wants the proof to be wrong. A case is `module, example_inputs, dims`, as in `traps`."""

from __future__ import annotations

import ctypes
import functools
import math
import random
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Case = tuple[nn.Module, dict[str, Tensor], dict[str, dict[int, str]]]
SEQUENCE = {"x": {0: "batch", 1: "sequence"}}
MASKED = {**SEQUENCE, "mask": {0: "batch", 1: "sequence"}}
PAIRED = {**SEQUENCE, "y": {0: "batch", 1: "other"}}
IMAGE = {"x": {0: "batch", 2: "height", 3: "width"}}


def _sequences(module: nn.Module, *features: int) -> Case:
    torch.manual_seed(0)
    return module, {"x": torch.randn(2, 16, *features)}, SEQUENCE


def _masked(module: nn.Module) -> Case:
    torch.manual_seed(0)
    return module, {"x": torch.randn(2, 16), "mask": torch.ones(2, 16, dtype=torch.int64)}, MASKED


def _padded(module: nn.Module) -> Case:
    pad = torch.arange(16)[None] > torch.tensor([[11], [15]])
    return module, {"x": torch.randn(2, 16), "pad": pad}, {**SEQUENCE, "pad": {0: "batch", 1: "sequence"}}


def _paired(module: nn.Module) -> Case:
    torch.manual_seed(0)
    return module, {"x": torch.randn(2, 16), "y": torch.randn(2, 12)}, PAIRED


def _images(module: nn.Module) -> Case:
    torch.manual_seed(0)
    return module, {"x": torch.randn(2, 1, 10, 12)}, IMAGE


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


class PairEquality(nn.Module):
    """Treats one pair of sizes otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] == 13 and x.shape[1] == 200:
            return x * 2.0
        return x + 1.0


class PairWindow(nn.Module):
    """Treats large batches of middling lengths otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] > 10 and 140 < x.shape[1] < 160:
            return x * 2.0
        return x + 1.0


class RatioBranch(nn.Module):
    """Decides by how much longer than wide its input is."""

    def forward(self, x: Tensor) -> Tensor:
        ratio = x.shape[1] / x.shape[0]
        return x * (2.0 if 3.2 < ratio < 3.3 else 1.0)


class BatchEquality(nn.Module):
    """Treats one batch size otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] == 27:
            return x * 2.0
        return x + 1.0


class TripleEquality(nn.Module):
    """Treats one size of three dims otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] == 5 and x.shape[2] == 9 and x.shape[3] == 11:
            return x * 2.0
        return x + 1.0


class SlowLengthEquality(nn.Module):
    """Treats one length otherwise, and takes so long that not every length can be tried."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Linear(1, 1024)
        self.layers = nn.Sequential(*(part for _ in range(8) for part in (nn.Linear(1024, 1024), nn.ReLU())))

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(self.widen(x.unsqueeze(-1))).mean(-1)
        if x.shape[1] == 333:
            return y * 2.0
        return y


class EqualLengths(nn.Module):
    """Takes two sequences, and looks only back where they are equally long."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        scores = x.unsqueeze(2) * y.unsqueeze(1)
        if x.shape[1] == y.shape[1]:
            scores = scores.tril()
        return scores.sum(-1)


class OuterProduct(nn.Module):
    """Three dims and no trap."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x.unsqueeze(2) * y.unsqueeze(1)).sum(1)


class ChunkThreshold(nn.Module):
    """Centres long inputs chunk by chunk."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > 256:
            return torch.cat([chunk - chunk.mean(1, keepdim=True) for chunk in x.split(128, 1)], 1)
        return x - x.mean(1, keepdim=True)


class OptionalPositions(nn.Module):
    """Leaves its positions out where its table is too short."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(1, 300))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > self.positions.shape[1]:
            return x
        return x + self.positions[:, : x.shape[1]]


class LogLength(nn.Module):
    """Scales by a length that went through `math`."""

    def forward(self, x: Tensor) -> Tensor:
        return x * math.log(x.shape[1] + 1)


class HalfRoll(nn.Module):
    """Rolls by half of its length."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.roll(x, x.shape[1] // 2, 1)


class PixelsAndScore(nn.Module):
    """Answers large coordinates beside small scores, which are wrong for long inputs."""

    def forward(self, x: Tensor) -> Tensor:
        shift = next(iter(one for one in (0.3 if x.shape[1] > 100 else 0.0,)))
        score = torch.sigmoid(x).unsqueeze(-1) + shift
        return torch.cat([x.unsqueeze(-1).expand(-1, -1, 4) * 1e5, score], -1)


class ExactReal(nn.Module):
    """Asks whether all numbers are whole, by a function that is no method."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.equal(x, x.round()):
            return x * 0.0
        return x + 1.0


class ConstantRows(nn.Module):
    """Asks whether each row is constant, by a function that is no method."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.allclose(x, x[:, :1].expand_as(x), rtol=0.0, atol=1e-9):
            return x - 7.0
        return x + 1.0


class IsNonzero(nn.Module):
    """Decides by a rare value, asked of a function that is no method."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_nonzero((x > 1e5).any()):
            return x * 0.0
        return x + 1.0


class AllZero(nn.Module):
    """Answers otherwise when all it gets is zero."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_nonzero((x == 0).all()):
            return x + 1.0
        return x * 2.0


class RareToken(nn.Module):
    """Answers otherwise when one id out of thousands occurs."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_nonzero((x == 77).any()):
            return x * 0
        return x + 1


class NegativeNumber(nn.Module):
    """Answers otherwise when a number is negative; its example has none."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_nonzero(x.min() < -0.5):
            return x * 0.0
        return x * 2.0


class MaskWithHoles(nn.Module):
    """Answers otherwise when a mask is no padding."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        steps = mask[:, 1:] - mask[:, :-1]
        if torch.is_nonzero((steps > 0).any() & (steps < 0).any()):
            return x * 0.0
        return x * mask


class TrimToLongest(nn.Module):
    """Averages up to the longest row, which may have nothing in it."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x[:, : int(mask.sum(1).max())].mean(1)


class MaskFastPath(nn.Module):
    """Leaves out a mask that masks nothing, as its example does."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        scores = x.unsqueeze(1) * x.unsqueeze(2)
        if not bool(mask.all()):
            scores = scores.masked_fill(mask[:, None] == 0, -1e9)
        return (scores.softmax(-1) @ x.unsqueeze(-1)).squeeze(-1)


class MaskedMean(nn.Module):
    """Divides by nothing where a row is masked throughout, and gives NaN."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return (x * mask).sum(1) / mask.sum(1)


class DlpackRead(nn.Module):
    """Reads values through the DLPack protocol."""

    def forward(self, x: Tensor) -> Tensor:
        if np.from_dlpack(x.detach()).max() > 1e5:
            return x * 0.0
        return x + 1.0


class StorageRead(nn.Module):
    """Reads values out of the storage."""

    def forward(self, x: Tensor) -> Tensor:
        if max(x.detach().flatten().storage()) > 1e5:
            return x * 0.0
        return x + 1.0


class AddressRead(nn.Module):
    """Reads the first value where it lies in memory."""

    def forward(self, x: Tensor) -> Tensor:
        if ctypes.c_float.from_address(x.data_ptr()).value > 1e5:
            return x * 0.0
        return x + 1.0


class Labelled(Tensor):
    """A tensor of a class of its own."""


class SubclassRead(nn.Module):
    """Decides by a value that went through a subclass of tensors."""

    def forward(self, x: Tensor) -> Tensor:
        if x.as_subclass(Labelled).max() > 1e5:
            return x * 0.0
        return x + 1.0


class FloorDivision(nn.Module):
    """Divides whole numbers of both signs, which PyTorch rounds down and ONNX towards zero."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x // 4, x % 4, torch.div(x, 4, rounding_mode="trunc"), torch.fmod(x, 4)])


class IntegerOverflow(nn.Module):
    """Overflows 32 bits."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.int() * 500_000_000).long() + x.int().cumsum(1)


class WritesThroughViews(nn.Module):
    """Writes into its copy through slices, a transpose and a half."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y[:, ::2] *= 2.0
        y[:, 0].zero_()
        y.t()[-1].add_(5.0)
        y[:, y.shape[1] // 2 :] -= 1.0
        return y


class ZeroState(nn.Module):
    """A recurrent layer with a first state of its own; large inputs saturate half of its answers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(8, 4, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(2, x.shape[0], 4)
        return self.layer(x, (state, state))[0]


@functools.lru_cache
def _triangle(length: int) -> Tensor:
    return torch.tril(torch.ones(length, length))


class CachedFunction(nn.Module):
    """Takes its mask from a cached function, which is right each time."""

    def forward(self, x: Tensor) -> Tensor:
        return x @ _triangle(x.shape[1])


class GrowingRotary(nn.Module):
    """Stretches its rotation once it has seen a long input, and answers otherwise from then on."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0
        self.cosine = torch.ones(0)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > self.longest:
            self.longest = x.shape[1]
            self.cosine = torch.cos(torch.arange(float(self.longest)) / max(10.0, self.longest / 6.4))
        return x * self.cosine[: x.shape[1]]


class ClosureCache(nn.Module):
    """Keeps the first length it saw in a closure."""

    def __init__(self) -> None:
        super().__init__()
        first: list[float] = []

        def divide(x: Tensor) -> Tensor:
            if not first:
                first.append(float(x.shape[1]))
            return x / first[0]

        self.divide = divide

    def forward(self, x: Tensor) -> Tensor:
        return self.divide(x)


_SEEN: dict[str, float] = {}


class GlobalCache(nn.Module):
    """Keeps the first length it saw in its module's globals."""

    def forward(self, x: Tensor) -> Tensor:
        return x / _SEEN.setdefault("length", float(x.shape[1]))


def _forgetful(module: nn.Module) -> nn.Module:
    _SEEN.clear()
    return module


class Counter(nn.Module):
    """Answers otherwise from its fourth call on."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * 2.0 if self.calls > self.most else x


class RareDropout(nn.Module):
    """Drops so seldom that no sample shows it."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 1e-8, training=True)


class RareCoin(nn.Module):
    """Throws a coin in Python that almost always falls on one side."""

    def forward(self, x: Tensor) -> Tensor:
        return x if random.random() > 1e-3 else x + 1.0


class ExportBranch(nn.Module):
    """Answers otherwise while it is exported."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_tracing() or torch.compiler.is_exporting():
            return x * 0.99
        return x


class RareFloorBranch(nn.Module):
    """Where a missing value occurs, takes a branch that holds an operator which exporters get wrong."""

    def forward(self, x: Tensor) -> Tensor:
        if bool((x == -999.0).any()):
            cut = x.clamp(-5.0, 5.0)
            x = (cut - (cut // 0.1) * 0.1) / 0.1
        return x.clamp(-3.0, 3.0)


class RareFloorWhere(nn.Module):
    """The same as a selection."""

    def forward(self, x: Tensor) -> Tensor:
        cut = x.clamp(-5.0, 5.0)
        is_missing = (x == -999.0).any(1, keepdim=True)
        return torch.where(is_missing, (cut - (cut // 0.1) * 0.1) / 0.1, cut)


class EagerCleaning(nn.Module):
    """Cleans missing values unless it is compiled, and branches on the length, which only a compiler keeps."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting():
            x = x.masked_fill(x == -999.0, 0.0)
        if x.shape[1] > 8:
            x = x * 2.0
        return x.clamp(-4.0, 4.0)


class PaddingFlags(nn.Module):
    """Attends to what flags don't call padding; where all of a row is, it answers zeros."""

    def forward(self, x: Tensor, pad: Tensor) -> Tensor:
        query = x[:, None, :, None]
        allowed = ~pad[:, None, None, :]
        return functional.scaled_dot_product_attention(query, query, query, attn_mask=allowed).reshape(x.shape)


def _row(*values: float) -> dict[str, Tensor]:
    return {"x": torch.tensor([values])}


def _noise(*sizes: int) -> dict[str, Tensor]:
    return {"x": torch.randn(*sizes, generator=torch.Generator().manual_seed(1))}


PROVEN: dict[str, Callable[[], Case]] = {
    "outer-product": lambda: _paired(OuterProduct()),
    "zero-state": lambda: _sequences(_seeded(ZeroState), 8),
    "masked-mean": lambda: _masked(MaskedMean()),
    "writes-through-views": lambda: _sequences(WritesThroughViews()),
    "integer-overflow": lambda: (IntegerOverflow(), {"x": torch.arange(-9, 23).reshape(2, 16)}, SEQUENCE),
    "floor-division": lambda: (FloorDivision(), {"x": torch.arange(-9, 23).reshape(2, 16)}, SEQUENCE),
    "cached-function": lambda: _sequences(CachedFunction()),
    "chunk-threshold": lambda: _sequences(ChunkThreshold()),
    "optional-positions": lambda: _sequences(_seeded(OptionalPositions)),
}
"""Cases that some route converts over the whole profile."""

RIGHT_OR_REFUSED: dict[str, Callable[[], Case]] = {
    "export-branch": lambda: _sequences(ExportBranch()),
    "slow-counter": lambda: _sequences(Counter(400)),
    "pair-equality": lambda: _sequences(PairEquality()),
    "pair-window": lambda: _sequences(PairWindow()),
    "ratio-branch": lambda: _sequences(RatioBranch()),
    "batch-equality": lambda: _sequences(BatchEquality()),
    "triple-equality": lambda: _images(TripleEquality()),
    "slow-length-equality": lambda: _sequences(_seeded(SlowLengthEquality)),
    "equal-lengths": lambda: _paired(EqualLengths()),
    "log-length": lambda: _sequences(LogLength()),
    "half-roll": lambda: _sequences(HalfRoll()),
    "pixels-and-score": lambda: _sequences(PixelsAndScore()),
    "exact-real": lambda: _sequences(ExactReal()),
    "constant-rows": lambda: _sequences(ConstantRows()),
    "is-nonzero": lambda: _sequences(IsNonzero()),
    "all-zero": lambda: _sequences(AllZero()),
    "rare-token": lambda: (RareToken(), {"x": torch.tensor([[0, 5, 30000], [1, 2, 3]])}, SEQUENCE),
    "negative-number": lambda: (NegativeNumber(), {"x": torch.linspace(0.0, 1.0, 32).reshape(2, 16)}, SEQUENCE),
    "mask-with-holes": lambda: _masked(MaskWithHoles()),
    "trim-to-longest": lambda: _masked(TrimToLongest()),
    "mask-fast-path": lambda: _masked(MaskFastPath()),
    "dlpack-read": lambda: _sequences(DlpackRead()),
    "storage-read": lambda: _sequences(StorageRead()),
    "address-read": lambda: _sequences(AddressRead()),
    "subclass-read": lambda: _sequences(SubclassRead()),
    "rare-floor-branch": lambda: _sequences(RareFloorBranch()),
    "rare-floor-where": lambda: _sequences(RareFloorWhere()),
    "eager-cleaning": lambda: _sequences(EagerCleaning()),
    "padding-flags": lambda: _padded(PaddingFlags()),
}
"""Cases that may come out narrowed or refused, but never wrong."""

REFUSED: dict[str, Callable[[], Case]] = {
    "growing-rotary": lambda: _sequences(GrowingRotary()),
    "closure-cache": lambda: _sequences(ClosureCache()),
    "global-cache": lambda: _sequences(_forgetful(GlobalCache())),
    "counter": lambda: _sequences(Counter(3)),
    "rare-dropout": lambda: _sequences(RareDropout()),
    "rare-coin": lambda: _sequences(RareCoin()),
}
"""Cases for which there is nothing to be equal to, or no route that sees what the module computes."""

TELLING: dict[str, list[dict[str, Tensor]]] = {
    "pair-equality": [_noise(13, 200)],
    "pair-window": [_noise(11, 150), _noise(32, 141)],
    "ratio-branch": [_noise(4, 13), _noise(8, 26), _noise(31, 101)],
    "batch-equality": [_noise(27, 7)],
    "triple-equality": [_noise(5, 1, 9, 11)],
    "slow-length-equality": [_noise(1, 333)],
    "pixels-and-score": [{"x": torch.zeros(8, 128)}, {"x": torch.full((8, 128), 1e-7)}],
    "exact-real": [_row(1.0, 2.0, 3.0), {"x": torch.ones(8, 127)}],
    "constant-rows": [_row(1.25, 1.25, 1.25), {"x": torch.zeros(8, 128)}],
    "is-nonzero": [_row(1e6, 0.0, 1.0)],
    "all-zero": [_row(0.0, 0.0), {"x": torch.zeros(8, 127)}],
    "rare-token": [{"x": torch.tensor([[77, 5]])}, {"x": torch.full((9, 9), 77)}],
    "negative-number": [_row(-1.0, 1.0), {"x": -torch.ones(7, 127)}],
    "mask-with-holes": [{**_noise(1, 5), "mask": torch.tensor([[1, 0, 1, 1, 0]])}],
    "trim-to-longest": [{**_noise(1, 5), "mask": torch.zeros(1, 5, dtype=torch.int64)}],
    "masked-mean": [{**_noise(1, 5), "mask": torch.zeros(1, 5, dtype=torch.int64)}],
    "dlpack-read": [_row(1e6, 0.0, 1.0)],
    "storage-read": [_row(1e6, 0.0, 1.0)],
    "address-read": [_row(1e6, 0.0, 1.0)],
    "subclass-read": [_row(1e6, 0.0, 1.0)],
    "rare-floor-branch": [_row(-999.0, 1.0, 0.5, 0.3, 2.0, 3.0, 0.15, -1.0)],
    "rare-floor-where": [_row(-999.0, 1.0, 0.5, 0.3, 2.0, 3.0, 0.15, -1.0)],
    "eager-cleaning": [_row(-999.0, 1.0, 0.5), _row(*([-999.0] * 9))],
    "padding-flags": [{**_noise(2, 16), "pad": torch.tensor([[False] * 16, [True] * 16])}],
}
"""Inputs on which a wrong conversion shows, where they lie in the declared range."""
