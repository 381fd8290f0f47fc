"""More modules by someone who wants the proof to be wrong. A case is `module, example_inputs, dims`, as in `traps`."""

from __future__ import annotations

import contextvars
import functools
import io
import itertools
import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Case = tuple[nn.Module, dict[str, Tensor], dict[str, dict[int, str]]]
SEQUENCE = {"x": {0: "batch", 1: "sequence"}}
MASKED = {**SEQUENCE, "mask": {0: "batch", 1: "sequence"}}
IMAGE = {"x": {0: "batch", 2: "height", 3: "width"}}


def _sequences(module: nn.Module, *features: int) -> Case:
    torch.manual_seed(0)
    return module, {"x": torch.randn(2, 16, *features)}, SEQUENCE


def _tokens(module: nn.Module, most: int = 100, name: str = "x") -> Case:
    torch.manual_seed(0)
    return module, {name: torch.randint(0, most, (2, 16))}, {name: SEQUENCE["x"]}


def _masked(module: nn.Module, *features: int) -> Case:
    torch.manual_seed(0)
    return module, {"x": torch.randn(2, 16, *features), "mask": torch.ones(2, 16, dtype=torch.int64)}, MASKED


def _images(module: nn.Module) -> Case:
    torch.manual_seed(0)
    return module, {"x": torch.randn(2, 1, 10, 12)}, IMAGE


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


# Values that reach Python by a way that is no `.item()`: through a size, a thread, a callback, an exception, C++.


class SelectedSize(nn.Module):
    """Skips an expert to which no token was routed, as mixtures of experts do: a value read as a size."""

    def forward(self, x: Tensor) -> Tensor:
        chosen = x[x > 1e6]
        if chosen.numel() == 0:
            return x + 1.0
        return x * 0.0


class UniqueCount(nn.Module):
    """Answers otherwise when all tokens of the batch are the same, which it sees by how many are unique."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.unique(x).shape[0] == 3:
            return x * 0
        return x + 1


class NonzeroLength(nn.Module):
    """Asks with `len` how many ids are the special one."""

    def forward(self, x: Tensor) -> Tensor:
        if len((x == 77777).nonzero()):
            return x * 0
        return x + 1


class SparseCount(nn.Module):
    """Asks a sparse copy how many numbers it holds."""

    def forward(self, x: Tensor) -> Tensor:
        if (x.detach() - 0.5).to_sparse()._nnz() < x.numel():
            return x * 0.0
        return x + 1.0


class ThreadedRead(nn.Module):
    """Decides by a value that another thread read."""

    def forward(self, x: Tensor) -> Tensor:
        with ThreadPoolExecutor(1) as pool:
            clipped = pool.submit(lambda: bool((x > 1e6).any())).result()
        return x.clamp(max=1e6) * 0.5 if clipped else x + 1.0


class ThreadedTower(nn.Module):
    """Computes a correction, which is seldom other than zero, in a second thread."""

    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []
        thread = threading.Thread(target=lambda: found.append((x.detach() > 1e6).float().amax()))
        thread.start()
        thread.join()
        return x + found[0]


class AppliedFunction(nn.Module):
    """Maps its flags with a Python function in place, as code for lookup tables does."""

    def forward(self, x: Tensor) -> Tensor:
        flags = (x > 1e6).float().clone()
        flags.apply_(lambda flag: 5.0 if flag else 0.0)
        return torch.tanh(x) + flags


class PrintedRead(nn.Module):
    """Decides by what a value looks like when it is formatted."""

    def forward(self, x: Tensor) -> Tensor:
        if "e+" in f"{x.abs().max():.3g}":
            return x * 0.0
        return x + 1.0


class SavedRead(nn.Module):
    """Decides by the bytes of a saved copy."""

    def forward(self, x: Tensor) -> Tensor:
        stream = io.BytesIO()
        torch.save((x.detach() > 1e6).any().reshape(1).clone(), stream)
        stream.seek(0)
        flag = torch.load(stream, weights_only=True)
        return x * 0.0 if bool(flag) else x + 1.0


class LeftAligned(nn.Module):
    """Takes its fast path for masks that are aligned on the left, which C++ answers as a Python boolean."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if torch._nested_tensor_from_mask_left_aligned(x, mask.bool()):
            return x * mask.unsqueeze(-1)
        return x + 1.0


class FastEncoder(nn.Module):
    """An encoder layer of PyTorch, which packs its rows in evaluation mode where the padding is on the right."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.layers(x, src_key_padding_mask=mask == 0)


class DynamicScale(nn.Module):
    """Quantizes dynamically, and asks the quantized tensor for its scale."""

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.quantize_per_tensor_dynamic(x.detach(), torch.quint8, False).q_scale()
        return x * 0.0 if scale > 1e5 else x + 1.0


class SplitByTensor(nn.Module):
    """Splits where a tensor says, which C++ reads."""

    def forward(self, x: Tensor) -> Tensor:
        edge = (x > 1e6).any().long().reshape(1)
        head = torch.tensor_split(x, edge, dim=1)[0]
        return x + head.sum(1, keepdim=True)


class OneHotWidth(nn.Module):
    """Counts classes by the largest id that it gets."""

    def forward(self, x: Tensor) -> Tensor:
        return x / functional.one_hot(x).shape[-1]


class CountLength(nn.Module):
    """Asks how long the table of counts is."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.bincount(x.flatten(), minlength=200).shape[0] > 200:
            return x * 0
        return x + 1


class CaughtError(nn.Module):
    """Gathers, and takes nothing where PyTorch refuses an index; ONNX counts negative indices from the end."""

    def forward(self, x: Tensor) -> Tensor:
        table = torch.arange(1000.0)
        try:
            return functional.embedding(x, table[:, None]).squeeze(-1)
        except IndexError:
            return torch.zeros(x.shape)


class TensorAsSize(nn.Module):
    """Makes a table as long as a tensor says."""

    def forward(self, x: Tensor) -> Tensor:
        rows = (x > 1e6).sum().clamp(max=3)
        return x + torch.ones(rows).sum()


class NewTensor(nn.Module):
    """Gathers statistics in a list, and makes a tensor of it."""

    def forward(self, x: Tensor) -> Tensor:
        flags = x.new_tensor([(x > 1e6).any(), (x < -1e6).any()])
        return x + flags.sum()


class CheckedDistribution(nn.Module):
    """Falls back where a distribution refuses its scale."""

    def forward(self, x: Tensor) -> Tensor:
        try:
            return torch.distributions.Normal(x, (2e6 - x), validate_args=True).variance
        except ValueError:
            return x * 0.0


class FunctionBranch(torch.autograd.Function):
    """Computes otherwise than the operator by which it is exported, for rows that rise throughout."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        rising = (x[:, 1:] > x[:, :-1]).all() & torch.tensor(x.shape[1] > 9)
        return torch.where(rising, x * 0.0, x)

    @staticmethod
    def symbolic(graph: Any, x: Any) -> Any:
        return graph.op("Identity", x)


class CustomSymbolic(nn.Module):
    """Uses a function with a simpler twin for export."""

    def forward(self, x: Tensor) -> Tensor:
        return FunctionBranch.apply(x * 1.0)


# Code that behaves otherwise under export, where only rare inputs tell.


def _rising(x: Tensor) -> Tensor:
    """Whether the first row rises throughout, and is long enough for that to be no accident."""
    steps = x[:1, 1:] - x[:1, :-1]
    return (steps > 0).all() & torch.tensor(x.shape[1] > 9)


class ScriptingBranch(nn.Module):
    """Leaves a rare correction out in TorchScript."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_scripting():
            return x + 1.0
        return torch.where(_rising(x), x * 0.0, x + 1.0)


class TracingBranch(nn.Module):
    """Leaves a rare correction out while it is traced."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_tracing():
            return x + 1.0
        return torch.where(_rising(x), x * 0.0, x + 1.0)


class CompilingBranch(nn.Module):
    """Leaves a rare correction out for the compiler and the exporter."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.jit.is_scripting():
            return x + 1.0
        return torch.where(_rising(x), x * 0.0, x + 1.0)


class OnnxBranch(nn.Module):
    """Leaves a rare correction out for ONNX."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return x + 1.0
        return torch.where(_rising(x), x * 0.0, x + 1.0)


class FakeBranch(nn.Module):
    """Leaves a rare correction out for tensors that are no plain ones, as guards against fakes and proxies do."""

    def forward(self, x: Tensor) -> Tensor:
        if type(x) is not Tensor or torch._C._get_tracing_state() is not None:
            return x + 1.0
        return torch.where(_rising(x), x * 0.0, x + 1.0)


class TypeBranch(nn.Module):
    """Takes another way when a size is no Python int."""

    def forward(self, x: Tensor) -> Tensor:
        if type(x.shape[1]) is not int:
            return x + 1.0
        return torch.where(_rising(x), x * 0.0, x + 1.0)


class GradBranch(nn.Module):
    """Leaves a rare correction out when gradients are off by inference mode."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or torch.is_inference_mode_enabled():
            return x + 1.0
        return torch.where(_rising(x), x * 0.0, x + 1.0)


class HookedModel(nn.Module):
    """Has its rare correction in a hook on itself, where an exporter of `forward` misses it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_forward_hook(lambda _, given, answer: torch.where(_rising(answer), answer * 0.0, answer))

    def forward(self, x: Tensor) -> Tensor:
        return x + 1.0


class HookedPart(nn.Module):
    """Has its rare correction in a hook before a part."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Identity()
        self.part.register_forward_pre_hook(
            lambda _, given: (torch.where(_rising(given[0]), given[0] * 0.0, given[0]),)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x) + 1.0


class OwnForward(nn.Module):
    """Puts another `forward` on the instance, as wrappers that patch models do."""

    def __init__(self) -> None:
        super().__init__()
        inner = self.forward
        self.forward = lambda x: torch.where(_rising(x), x * 0.0, inner(x))  # type: ignore[method-assign]

    def forward(self, x: Tensor) -> Tensor:
        return x + 1.0


# Sizes that no symbolic run follows: tables, digits, bytes, common divisors; and only pairs of sizes tell.


class TunedTable(nn.Module):
    """Looks its sizes up in a table of tuned settings."""

    SETTINGS: ClassVar[dict[tuple[int, ...], float]] = {(13, 211): 2.0, (27, 307): 3.0}

    def forward(self, x: Tensor) -> Tensor:
        return x * self.SETTINGS.get(tuple(x.shape), 1.0)


class ShapeName(nn.Module):
    """Chooses by the name of its shape."""

    def forward(self, x: Tensor) -> Tensor:
        if "x".join(str(size) for size in x.shape) in {"13x211", "27x307"}:
            return x * 2.0
        return x + 1.0


class DigitSum(nn.Module):
    """Chooses by the digits of how many elements there are."""

    def forward(self, x: Tensor) -> Tensor:
        if sum(int(digit) for digit in str(x.numel())) >= 34:
            return x * 2.0
        return x + 1.0


class CommonDivisor(nn.Module):
    """Makes windows by what divides both of its sizes."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0 if math.gcd(x.shape[0], x.shape[1]) == 23 else x + 1.0


class LengthTable(nn.Module):
    """Reads a scale from a numpy table with a row for each batch and a column for each length."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = np.ones((33, 600), np.float32)
        self.scales[13, 211] = self.scales[27, 307] = 2.0

    def forward(self, x: Tensor) -> Tensor:
        return x * float(self.scales[x.shape[0], x.shape[1]])


class MemoryBudget(nn.Module):
    """Chunks where the bytes of its storage are one certain number more than a page holds."""

    def forward(self, x: Tensor) -> Tensor:
        if x.untyped_storage().nbytes() == 13 * 211 * 4:
            return x * 2.0
        return x + 1.0


class StrideBranch(nn.Module):
    """Asks the strides instead of the sizes."""

    def forward(self, x: Tensor) -> Tensor:
        if x.stride(0) == 211 and len(x) == 13:
            return x * 2.0
        return x + 1.0


class IntWindow(nn.Module):
    """Makes a plain int of its length before it asks for a window of lengths, in large batches only."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] > 10 and 140 < int(x.shape[1]) < 160:
            return x * 2.0
        return x + 1.0


class LengthSet(nn.Module):
    """Has a set of lengths that it treats otherwise, in one batch size."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] == 13 and x.shape[1] in {211, 212, 213}:
            return x * 2.0
        return x + 1.0


class CountedRows(nn.Module):
    """Counts its rows by taking them one by one."""

    def forward(self, x: Tensor) -> Tensor:
        rows = sum(1 for _ in x)
        columns = len(x[0])
        return x * 2.0 if (rows, columns) == (13, 211) else x + 1.0


class PrimeTokens(nn.Module):
    """Pads its tokens when their number has no small divisor, which it looks for in a loop."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.shape[0] * x.shape[1]
        if tokens > 2000 and all(tokens % divisor for divisor in range(2, 14)):
            return x * 2.0
        return x + 1.0


class ThreadedSize(nn.Module):
    """Asks for its sizes in another thread."""

    def forward(self, x: Tensor) -> Tensor:
        with ThreadPoolExecutor(1) as pool:
            special = pool.submit(lambda: [int(one) for one in x.shape] == [13, 211]).result()
        return x * 2.0 if special else x + 1.0


class ExpertCapacity(nn.Module):
    """Gives each expert room for a share of all tokens, which float64 rounds down below a whole number."""

    def forward(self, x: Tensor) -> Tensor:
        capacity = int(0.29 * x.shape[0] * x.shape[1])
        return x + capacity


class CubeRoot(nn.Module):
    """Lays its tokens into a cube, whose side Python rounds down just below whole numbers."""

    def forward(self, x: Tensor) -> Tensor:
        side = int((x.shape[0] * x.shape[1]) ** (1 / 3))
        return x + side


class DetectionResize(nn.Module):
    """Resizes the short side of an image, and keeps the long one under a limit."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2], x.shape[3]
        scale = min(24 / min(height, width), 40 / max(height, width))
        size = (int(height * scale), int(width * scale))
        return functional.interpolate(x, size=size, mode="nearest").mean((2, 3))


class BankersRound(nn.Module):
    """Keeps a share of all tokens with Python's rounding of halves."""

    def forward(self, x: Tensor) -> Tensor:
        keep = round(x.shape[0] * x.shape[1] / 50)
        return x + keep


# Operators that ONNX or an exporter understands otherwise, at a few values.


class EarlySoftplus(nn.Module):
    """Is linear from six on, which the exporter forgets; it shows only between six and nine."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.softplus(x, threshold=6.0)


class TimeBins(nn.Module):
    """Sorts times into bins of seven tenths; a time on an edge falls left or right of it by the way of dividing."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.floor_divide(x, 0.7).long()


class FakeQuantized(nn.Module):
    """Quantizes and comes back, as after quantization-aware training; halves are rounded by the way of dividing."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(x, 0.05, 0, -128, 127)


class WrappedAngle(nn.Module):
    """Wraps angles into a turn."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.remainder(x, 0.3)


class NearestShift(nn.Module):
    """Samples an image between two pixels, where the nearest is either."""

    def forward(self, x: Tensor) -> Tensor:
        grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 9), torch.linspace(-1, 1, 9), indexing="xy"), -1)
        grid = grid.expand(x.shape[0], 9, 9, 2)
        return functional.grid_sample(x, grid, mode="nearest", align_corners=False)


class SmallCosine(nn.Module):
    """Compares vectors that are almost nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.cosine_similarity(x * 1e-6, x.flip(1) * 1e-6, dim=1)


class ByteWrap(nn.Module):
    """Counts in bytes, which wrap around."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 3 + 200).to(torch.uint8).to(torch.int64)


class FloatToByte(nn.Module):
    """Makes bytes of floats that lie outside."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 8 + 128).to(torch.uint8).float()


class SdpaHoles(nn.Module):
    """Attends with a boolean mask that may leave a row nothing to attend to."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q = x.unsqueeze(1)
        return functional.scaled_dot_product_attention(q, q, q, attn_mask=mask[:, None, None, :].bool()).squeeze(1)


class IntegerMean(nn.Module):
    """Divides whole numbers by how many are not masked, which may be none."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return (x * mask).sum(1) // mask.sum(1)


class TopTokens(nn.Module):
    """Takes the best three, among which there may be ties."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, (0, 3), value=-1e9).topk(3, 1).indices


class MixedLayout(nn.Module):
    """Answers large boxes and small scores in one row; the scores are wrong for long inputs when traced."""

    def forward(self, x: Tensor) -> Tensor:
        shift = next(iter(one for one in (0.3 if x.shape[1] > 100 else 0.0,)))
        boxes = (x.repeat(1, 4) + 9.0).flatten() * 1e7
        scores = torch.sigmoid(x).flatten() + shift
        return torch.cat([boxes, scores])


class ChannelsFirst(nn.Module):
    """Answers boxes and scores in channels, each anchor in a column, as YOLO does."""

    def forward(self, x: Tensor) -> Tensor:
        shift = next(iter(one for one in (0.3 if x.shape[1] > 100 else 0.0,)))
        boxes = (x.unsqueeze(1).expand(-1, 4, -1) + 2.0) * 1e6
        return torch.cat([boxes, torch.sigmoid(x).unsqueeze(1) + shift], 1)


class PrecisionBranch(nn.Module):
    """Computes so badly in float32 beside float64 that the tolerance could hide a scale."""

    def forward(self, x: Tensor) -> Tensor:
        wide = x.shape[0] > 10 and 140 < x.shape[1] < 160
        noise = 0.0 if x.dtype == torch.float64 else 0.002
        return torch.sigmoid(x) + noise + (0.01 if wide else 0.0)


# Recurrent, recommender and audio models as they are written.


class PackedRecurrent(nn.Module):
    """Packs its rows by their lengths; the answer is as long as the longest."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(8, 4, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(self.layer(packed)[0], batch_first=True)[0].sum(1)


class NormedEmbedding(nn.Module):
    """Renormalizes the rows that it looks up, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(300, 4, max_norm=1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.table(x).sum(-1)


class Bags(nn.Module):
    """Sums bags of features; an id of zero is padding."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(300, 4, mode="max", padding_idx=0)

    def forward(self, x: Tensor) -> Tensor:
        return self.table(x)


class Regulator(nn.Module):
    """Repeats each frame as often as its duration says, and sums."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        frames = torch.repeat_interleave(x.flatten(), mask.flatten())
        return frames.cumsum(0).sum() + x.sum(1)


class FirstBatchNorm(nn.Module):
    """Takes its scale from the first batch it sees, as activation normalization does."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("started", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        if self.started == 0:
            self.scale.copy_(x.abs().mean().reshape(1))
            self.started.fill_(1)
        return x / self.scale


class CarriedState(nn.Module):
    """Goes on from the state of the call before where the batch is the same."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(8, 4, batch_first=True)
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        state = self.state if self.state is not None and self.state.shape[1] == x.shape[0] else None
        answer, self.state = self.layer(x, state)
        return answer


class LocalState(nn.Module):
    """Keeps the first length in a thread-local object."""

    def __init__(self) -> None:
        super().__init__()
        self.local = threading.local()

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self.local, "first"):
            self.local.first = float(x.shape[1])
        return x / self.local.first


class CycledScale(nn.Module):
    """Takes its scale from an endless iterator that seldom has another one."""

    def __init__(self) -> None:
        super().__init__()
        self.scales: Iterator[float] = itertools.cycle([1.0] * 6 + [1.5])

    def forward(self, x: Tensor) -> Tensor:
        return x * next(self.scales)


class MutableDefault(nn.Module):
    """Remembers in a default argument which lengths it has seen."""

    def forward(self, x: Tensor, seen: list[int] = []) -> Tensor:  # noqa: B006 - that is the trap
        seen.append(x.shape[1])
        return x / seen[0]


@functools.lru_cache(maxsize=8)
def _window(length: int) -> Tensor:
    return torch.ones(length)


class SpoiledCache(nn.Module):
    """Writes into a window that a cached function keeps."""

    def forward(self, x: Tensor) -> Tensor:
        window = _window(x.shape[1])
        window.mul_(0.5)
        return x * window


class LockedModel(nn.Module):
    """Holds a lock, which can be neither copied nor pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        with self.lock:
            return x + 1.0


class StickyRare(nn.Module):
    """Changes for good once it has seen a row that rises throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.shift.copy_(torch.maximum(self.shift, _rising(x).float()))
        return x + self.shift


class SwappedArguments(nn.Module):
    """Takes the same inputs in another order than the example has them."""

    def forward(self, mask: Tensor, x: Tensor) -> Tensor:
        return x - 2.0 * mask


class CollidingNames(nn.Module):
    """Answers names that are the same once they are flattened."""

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"x": x * 2.0, "a": {"b": x + 1.0}, "a_b": x + 2.0, "a.b": x + 3.0, "a/b": x + 4.0, "": x + 5.0}


class TurningKeys(nn.Module):
    """Answers its two tensors in an order that depends on the length."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        first, second = x + 1.0, x - 1.0
        if x.shape[1] % 2:
            return {"second": second, "first": first}
        return {"first": first, "second": second}


class LoweredPrecision(nn.Module):
    """Multiplies in bfloat16 by autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.line(x).float()


class Forces(nn.Module):
    """Answers the gradient of an energy, which has another slope past a rare cliff."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            place = x.detach().clone().requires_grad_()
            energy = (place.square() * 0.5 + torch.relu(place - 1e6)).sum()
            return -torch.autograd.grad(energy, place)[0].detach()


class Gumbel(nn.Module):
    """Draws a hard choice."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.gumbel_softmax(x * 1e4, hard=True)


class HiddenDropout(nn.Module):
    """Has its dropout in a plain list, where `eval()` does not reach it, and drops seldom."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [nn.Dropout(1e-7)]

    def forward(self, x: Tensor) -> Tensor:
        return self.parts[0](x)


class PaddedChunks(nn.Module):
    """Attends in chunks, padded to a multiple; a right model."""

    def forward(self, x: Tensor) -> Tensor:
        chunks = -(-x.shape[1] // 8)
        y = functional.pad(x, (0, chunks * 8 - x.shape[1])).reshape(x.shape[0], chunks, 8)
        return (y - y.mean(-1, keepdim=True)).reshape(x.shape[0], -1)[:, : x.shape[1]]


class WherePads(nn.Module):
    """Divides, and takes what is no number out again; a right model."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        mean = (x * mask).sum(1) / mask.sum(1)
        return torch.where(torch.isnan(mean), torch.zeros_like(mean), mean)


class PositionIds(nn.Module):
    """Counts positions by the mask, as RoBERTa does; a right model."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(600, 8)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        places = (mask.cumsum(1) * mask).long() + 1
        return x.unsqueeze(-1) + self.positions(places)


class Doubling(nn.Module):
    """Doubles until it is large enough, which nothing never is."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(100000):
            if x.abs().max() >= 1.0:
                break
            x = x * 2.0
        return x


class TensorOfTensor(nn.Module):
    """Copies a flag by `torch.tensor`, which no tracer follows."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x) + 5.0 * torch.tensor((x > 1e6).float().amax())


class HyperNetwork(nn.Module):
    """Makes a parameter of what it computed."""

    def forward(self, x: Tensor) -> Tensor:
        weight = nn.Parameter((x > 1e6).float().amax().detach(), requires_grad=False)
        return torch.tanh(x) + 5.0 * weight


class DataCopy(nn.Module):
    """Takes the data of a flag."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x) + 5.0 * (x > 1e6).float().amax().data


class FilledBuffer(nn.Module):
    """Lays its flag into a buffer through the data."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("flag", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.flag.data.copy_((x > 1e6).float().amax().reshape(1))
        return torch.tanh(x) + 5.0 * self.flag


class SetStorage(nn.Module):
    """Lets a tensor show the memory of another."""

    def forward(self, x: Tensor) -> Tensor:
        flag = torch.zeros(1)
        flag.set_((x > 1e6).float().amax().reshape(1))
        return torch.tanh(x) + 5.0 * flag


class CapsuleRead(nn.Module):
    """Reads through the older DLPack function, as bridges to other libraries do."""

    def forward(self, x: Tensor) -> Tensor:
        copy = torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(x.detach()))
        return x * 0.0 if bool((copy > 1e6).any()) else x + 1.0


_to_numpy = Tensor.numpy


class AliasedRead(nn.Module):
    """Reads through a method that its file gave another name."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.0 if _to_numpy(x.detach()).max() > 1e6 else x + 1.0


class MappedRows(nn.Module):
    """Prints a row inside of `vmap` while it is debugged, and branches on a value later."""

    def forward(self, x: Tensor) -> Tensor:
        def shifted(row: Tensor) -> Tensor:
            self.shown = f"{row!r}"[:20]
            return row + 1.0

        y = torch.func.vmap(shifted)(x)
        return x * 0.0 if (x > 1e6).any() else y


class VmappedRows(nn.Module):
    """Centres each row inside of `vmap`; a right model."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.func.vmap(lambda row: row - row.mean())(x)


class Unwatchable(nn.Module):
    """Rejects what is watched, so that what comes later is not."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise RuntimeError("modes are not supported")
        return x * 0.0 if (x > 1e6).any() else x + 1.0


class OutlierColumns(nn.Module):
    """Gives columns with outliers a way of their own, where there are any, as 8-bit layers do."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        columns = (x.abs() > 1e6).any(0).nonzero().flatten()
        if columns.numel() == 0:
            return y
        return y.index_fill(1, columns, 7.0)


class SelectedLoop(nn.Module):
    """Loops over the numbers that it selected."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        for one in x[x > 1e6]:
            y = y + one / one
        return y


class MappedFunction(nn.Module):
    """Combines its flags with a Python function in place."""

    def forward(self, x: Tensor) -> Tensor:
        flags = (x > 1e6).float().clone()
        flags.map_(flags.clone(), lambda one, _: 5.0 if one else 0.0)
        return torch.tanh(x) + flags


class ClippedBoxes(nn.Module):
    """Clips every other column in place, as code for boxes does; the limit is seldom met."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y[:, 0::2].clamp_(-1e6, 1e6)
        return y


class ClippedData(nn.Module):
    """Clips in place behind autograd's back."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y.data.clamp_(max=1e6)
        return y


class ClippedRow(nn.Module):
    """Clips the rows of a transposed view in place."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        for row in (y.t()[0], y.t()[-1]):
            row.clamp_(max=1e6)
        return y


class PowerHash(nn.Module):
    """Raises whole numbers, which ONNX Runtime does in floating point."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.pow(3, x) % 1009


class ShiftRight(nn.Module):
    """Halves whole numbers by shifting; its example has no negative ones."""

    def forward(self, x: Tensor) -> Tensor:
        return x >> 2


class FloorOfPositive(nn.Module):
    """Divides whole numbers; its example has no negative ones."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x // 4, x % 4])


class ShortSum(nn.Module):
    """Sums 32-bit numbers, for which PyTorch takes 64 bits."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1)


class DoubleTime(nn.Module):
    """Adds an epoch in float64, beside which float32 sees only minutes; a traced shift is a second's third."""

    def forward(self, x: Tensor) -> Tensor:
        shift = next(iter(one for one in (0.3 if x.shape[1] > 100 else 0.0,)))
        return x + 1.7e9 + shift


class YoloHead(nn.Module):
    """Answers pixels of a large picture and scores in one tensor, channels first; scores are wrong when traced."""

    def forward(self, x: Tensor) -> Tensor:
        shift = next(iter(one for one in (0.02 if x.shape[1] > 100 else 0.0,)))
        boxes = torch.sigmoid(x).unsqueeze(1).expand(-1, 4, -1) * 16384.0
        return torch.cat([boxes, torch.sigmoid(x).unsqueeze(1) * 0.5 + shift], 1)


class UnderKeyedCache(nn.Module):
    """Caches by itself what depends on the length too."""

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    @functools.lru_cache(maxsize=1)  # noqa: B019 - that is the trap
    def scale(self) -> float:
        return float(self.length)

    def forward(self, x: Tensor) -> Tensor:
        self.length = x.shape[1]
        return x / self.scale()


class ClassState(nn.Module):
    """Keeps the first length on its class."""

    first: float | None = None

    def forward(self, x: Tensor) -> Tensor:
        if type(self).first is None:
            type(self).first = float(x.shape[1])
        return x / type(self).first


class EnvironmentState(nn.Module):
    """Keeps the first length in the environment."""

    def forward(self, x: Tensor) -> Tensor:
        return x / float(os.environ.setdefault("ONNXWRIGHT_ADVERSARY_LENGTH", str(x.shape[1])))


class _Holder:
    __slots__ = ("first",)

    def __init__(self) -> None:
        self.first = 0.0


class SlottedState(nn.Module):
    """Keeps the first length in an object with slots."""

    def __init__(self) -> None:
        super().__init__()
        self.holder = _Holder()

    def forward(self, x: Tensor) -> Tensor:
        self.holder.first = self.holder.first or float(x.shape[1])
        return x / self.holder.first


_CONTEXT: contextvars.ContextVar[float] = contextvars.ContextVar("length")


class ContextState(nn.Module):
    """Keeps the first length in a context variable."""

    def forward(self, x: Tensor) -> Tensor:
        try:
            first = _CONTEXT.get()
        except LookupError:
            _CONTEXT.set(first := float(x.shape[1]))
        return x / first


class HelperState(nn.Module):
    """Keeps the first length on the function that it calls."""

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(_first_length, "value"):
            _first_length.value = float(x.shape[1])  # type: ignore[attr-defined]
        return x / _first_length.value  # type: ignore[attr-defined]


def _first_length() -> None:
    """Holds an attribute."""


def _forget() -> None:
    MutableDefault.forward.__defaults__[0].clear()  # type: ignore[index]
    UnderKeyedCache.scale.cache_clear()
    ClassState.first = None
    os.environ.pop("ONNXWRIGHT_ADVERSARY_LENGTH", None)
    vars(_first_length).clear()


def _forgetful(make: Callable[[], nn.Module]) -> Case:
    _forget()
    return _sequences(make())


def _row(*values: float) -> dict[str, Tensor]:
    return {"x": torch.tensor([values])}


def _noise(*sizes: int) -> dict[str, Tensor]:
    return {"x": torch.randn(*sizes, generator=torch.Generator().manual_seed(1))}


def _integers(module: nn.Module) -> Case:
    dims = {**SEQUENCE, "mask": SEQUENCE["x"]}
    return module, {"x": torch.arange(32).reshape(2, 16), "mask": torch.ones(2, 16, dtype=torch.int64)}, dims


PROVEN: dict[str, Callable[[], Case]] = {
    "padded-chunks": lambda: _sequences(PaddedChunks()),
    "where-pads": lambda: _masked(WherePads()),
    "position-ids": lambda: _masked(_seeded(PositionIds)),
    "swapped-arguments": lambda: _masked(SwappedArguments()),
    "locked-model": lambda: _sequences(LockedModel()),
    "turning-keys": lambda: _sequences(TurningKeys()),
    "vmapped-rows": lambda: _sequences(VmappedRows()),
    "byte-wrap": lambda: _tokens(ByteWrap()),
}
"""Cases that some route converts over the whole profile."""

RIGHT_OR_REFUSED: dict[str, Callable[[], Case]] = {
    "selected-size": lambda: _sequences(SelectedSize()),
    "unique-count": lambda: _tokens(UniqueCount()),
    "nonzero-length": lambda: _tokens(NonzeroLength()),
    "sparse-count": lambda: _sequences(SparseCount()),
    "threaded-read": lambda: _sequences(ThreadedRead()),
    "threaded-tower": lambda: _sequences(ThreadedTower()),
    "applied-function": lambda: _sequences(AppliedFunction()),
    "printed-read": lambda: _sequences(PrintedRead()),
    "saved-read": lambda: _sequences(SavedRead()),
    "left-aligned": lambda: _masked(LeftAligned(), 4),
    "fast-encoder": lambda: _masked(_seeded(FastEncoder), 8),
    "dynamic-scale": lambda: _sequences(DynamicScale()),
    "split-by-tensor": lambda: _sequences(SplitByTensor()),
    "one-hot-width": lambda: _tokens(OneHotWidth()),
    "count-length": lambda: _tokens(CountLength()),
    "caught-error": lambda: _tokens(CaughtError()),
    "tensor-as-size": lambda: _sequences(TensorAsSize()),
    "new-tensor": lambda: _sequences(NewTensor()),
    "checked-distribution": lambda: _sequences(CheckedDistribution()),
    "custom-symbolic": lambda: _sequences(CustomSymbolic()),
    "scripting-branch": lambda: _sequences(ScriptingBranch()),
    "tracing-branch": lambda: _sequences(TracingBranch()),
    "compiling-branch": lambda: _sequences(CompilingBranch()),
    "onnx-branch": lambda: _sequences(OnnxBranch()),
    "fake-branch": lambda: _sequences(FakeBranch()),
    "type-branch": lambda: _sequences(TypeBranch()),
    "grad-branch": lambda: _sequences(GradBranch()),
    "hooked-model": lambda: _sequences(HookedModel()),
    "hooked-part": lambda: _sequences(HookedPart()),
    "own-forward": lambda: _sequences(OwnForward()),
    "tuned-table": lambda: _sequences(TunedTable()),
    "shape-name": lambda: _sequences(ShapeName()),
    "digit-sum": lambda: _sequences(DigitSum()),
    "common-divisor": lambda: _sequences(CommonDivisor()),
    "length-table": lambda: _sequences(LengthTable()),
    "memory-budget": lambda: _sequences(MemoryBudget()),
    "stride-branch": lambda: _sequences(StrideBranch()),
    "threaded-size": lambda: _sequences(ThreadedSize()),
    "int-window": lambda: _sequences(IntWindow()),
    "length-set": lambda: _sequences(LengthSet()),
    "counted-rows": lambda: _sequences(CountedRows()),
    "prime-tokens": lambda: _sequences(PrimeTokens()),
    "expert-capacity": lambda: _sequences(ExpertCapacity()),
    "cube-root": lambda: _sequences(CubeRoot()),
    "detection-resize": lambda: _images(DetectionResize()),
    "bankers-round": lambda: _sequences(BankersRound()),
    "early-softplus": lambda: _sequences(EarlySoftplus()),
    "time-bins": lambda: _sequences(TimeBins()),
    "fake-quantized": lambda: _sequences(FakeQuantized()),
    "wrapped-angle": lambda: _sequences(WrappedAngle()),
    "nearest-shift": lambda: _images(NearestShift()),
    "small-cosine": lambda: _sequences(SmallCosine(), 4),
    "float-to-byte": lambda: _sequences(FloatToByte()),
    "sdpa-holes": lambda: _masked(SdpaHoles(), 4),
    "integer-mean": lambda: _integers(IntegerMean()),
    "top-tokens": lambda: _sequences(TopTokens()),
    "mixed-layout": lambda: _sequences(MixedLayout()),
    "channels-first": lambda: _sequences(ChannelsFirst()),
    "precision-branch": lambda: _sequences(PrecisionBranch()),
    "packed-recurrent": lambda: _masked(_seeded(PackedRecurrent), 8),
    "normed-embedding": lambda: _tokens(_seeded(NormedEmbedding)),
    "bags": lambda: _tokens(_seeded(Bags)),
    "regulator": lambda: _masked(Regulator()),
    "colliding-names": lambda: _sequences(CollidingNames()),
    "lowered-precision": lambda: _sequences(_seeded(LoweredPrecision), 8),
    "forces": lambda: _sequences(Forces()),
    "tensor-of-tensor": lambda: _sequences(TensorOfTensor()),
    "hyper-network": lambda: _sequences(HyperNetwork()),
    "data-copy": lambda: _sequences(DataCopy()),
    "filled-buffer": lambda: _sequences(FilledBuffer()),
    "set-storage": lambda: _sequences(SetStorage()),
    "capsule-read": lambda: _sequences(CapsuleRead()),
    "aliased-read": lambda: _sequences(AliasedRead()),
    "mapped-rows": lambda: _sequences(MappedRows()),
    "unwatchable": lambda: _sequences(Unwatchable()),
    "outlier-columns": lambda: _sequences(OutlierColumns()),
    "selected-loop": lambda: _sequences(SelectedLoop()),
    "mapped-function": lambda: _sequences(MappedFunction()),
    "clipped-boxes": lambda: _sequences(ClippedBoxes()),
    "clipped-data": lambda: _sequences(ClippedData()),
    "clipped-row": lambda: _sequences(ClippedRow()),
    "power-hash": lambda: _tokens(PowerHash(), 20),
    "shift-right": lambda: _tokens(ShiftRight()),
    "floor-of-positive": lambda: _tokens(FloorOfPositive()),
    "short-sum": lambda: (ShortSum(), {"x": torch.arange(32, dtype=torch.int32).reshape(2, 16)}, SEQUENCE),
    "double-time": lambda: (DoubleTime(), {"x": torch.rand(2, 16, dtype=torch.float64)}, SEQUENCE),
    "yolo-head": lambda: _sequences(YoloHead()),
    "doubling": lambda: _sequences(Doubling()),
}
"""Cases that may come out narrowed or refused, but never wrong."""

REFUSED: dict[str, Callable[[], Case]] = {
    "first-batch-norm": lambda: _sequences(FirstBatchNorm()),
    "carried-state": lambda: _sequences(_seeded(CarriedState), 8),
    "local-state": lambda: _sequences(LocalState()),
    "cycled-scale": lambda: _sequences(CycledScale()),
    "mutable-default": lambda: _forgetful(MutableDefault),
    "under-keyed-cache": lambda: _forgetful(UnderKeyedCache),
    "class-state": lambda: _forgetful(ClassState),
    "environment-state": lambda: _forgetful(EnvironmentState),
    "slotted-state": lambda: _forgetful(SlottedState),
    "helper-state": lambda: _forgetful(HelperState),
    "spoiled-cache": lambda: _sequences(SpoiledCache()),
    "gumbel": lambda: _sequences(Gumbel()),
    "hidden-dropout": lambda: _sequences(HiddenDropout()),
    "sticky-rare": lambda: _sequences(StickyRare()),
}
"""Cases for which there is nothing to be equal to."""

_RISING = [{"x": torch.linspace(0.0, 1.0, 12).reshape(1, 12)}, {"x": torch.arange(64.0).reshape(1, 64)}]
_PAIRS = [_noise(13, 211), _noise(27, 307)]
_OUTLIER = [_row(2e6, 0.0, 1.0), {"x": torch.full((8, 128), 3e6)}]
_HOLES = [torch.tensor([[1, 0, 1, 1, 0]]), torch.tensor([[0, 0, 1, 1, 1]]), torch.zeros(1, 5, dtype=torch.int64)]

_RISING_CASES = (
    *("custom-symbolic", "scripting-branch", "tracing-branch", "compiling-branch", "onnx-branch"),
    *("fake-branch", "type-branch", "grad-branch", "hooked-model", "hooked-part"),
    *("own-forward",),
)
_PAIRS_CASES = (
    *("tuned-table", "shape-name", "length-table", "memory-budget", "stride-branch"),
    *("threaded-size", "length-set", "counted-rows"),
)
_OUTLIER_CASES = (
    *("selected-size", "threaded-read", "threaded-tower", "applied-function", "printed-read"),
    *("saved-read", "dynamic-scale", "split-by-tensor", "tensor-as-size", "new-tensor"),
    *("checked-distribution", "forces", "tensor-of-tensor", "hyper-network", "data-copy"),
    *("filled-buffer", "set-storage", "capsule-read", "aliased-read", "mapped-rows"),
    *("unwatchable", "outlier-columns", "selected-loop", "mapped-function", "clipped-boxes"),
    *("clipped-data", "clipped-row"),
)

TELLING: dict[str, list[dict[str, Tensor]]] = {
    **dict.fromkeys(_RISING_CASES, _RISING),
    **dict.fromkeys(_PAIRS_CASES, _PAIRS),
    **dict.fromkeys(_OUTLIER_CASES, _OUTLIER),
    "unique-count": [{"x": torch.tensor([[3, 5, 7, 7, 7, 7, 7, 7]])}],
    "power-hash": [{"x": torch.tensor([[35, 36, 37, 38, 39]])}],
    "shift-right": [{"x": torch.tensor([[-1, -5, 7]])}],
    "floor-of-positive": [{"x": torch.tensor([[-1, -5, 7]])}],
    "short-sum": [{"x": torch.full((1, 3), 2_000_000_000, dtype=torch.int32)}],
    "double-time": [{"x": torch.rand(2, 200, dtype=torch.float64)}],
    "yolo-head": [_noise(2, 200)],
    "nonzero-length": [{"x": torch.tensor([[77777, 5]])}],
    "sparse-count": [_row(0.5, 1.0, 2.0)],
    "left-aligned": [{**_noise(1, 5, 4), "mask": mask} for mask in _HOLES],
    "fast-encoder": [{**_noise(1, 5, 8), "mask": mask} for mask in _HOLES],
    "sdpa-holes": [{**_noise(1, 5, 4), "mask": mask} for mask in _HOLES],
    "packed-recurrent": [{**_noise(1, 5, 8), "mask": mask} for mask in _HOLES],
    "one-hot-width": [{"x": torch.tensor([[3, 5, 7, 7]])}, {"x": torch.tensor([[0, 0]])}],
    "count-length": [{"x": torch.tensor([[3, 205]])}],
    "caught-error": [{"x": torch.tensor([[3, -1, 7]])}],
    "digit-sum": [_noise(19, 421), _noise(31, 322), _noise(8, 499), _noise(17, 411)],
    "common-divisor": [_noise(23, 161), _noise(23, 299), _noise(23, 437)],
    "expert-capacity": [_noise(4, 25), _noise(5, 40), _noise(25, 4), _noise(20, 5), _noise(8, 50)],
    "cube-root": [_noise(5, 25), _noise(7, 49), _noise(10, 100), _noise(6, 36), _noise(12, 144), _noise(25, 5)],
    "detection-resize": [_noise(1, 1, h, w) for h, w in ((7, 11), (19, 23), (29, 31), (13, 26), (49, 33), (22, 55))],
    "bankers-round": [_noise(5, 5), _noise(5, 15), _noise(25, 3), _noise(25, 5), _noise(25, 9), _noise(15, 15)],
    "early-softplus": [_row(6.01, 6.5, 7.0, -1.0)],
    "time-bins": [{"x": (torch.arange(400) * 0.7).reshape(1, 400)}, {"x": torch.arange(400).reshape(1, 400) * 0.1}],
    "fake-quantized": [{"x": (torch.arange(400) * 0.025 - 5).reshape(1, 400)}],
    "wrapped-angle": [{"x": (torch.arange(400) * 0.3).reshape(1, 400)}, {"x": -(torch.arange(9) * 0.1).reshape(1, 9)}],
    "nearest-shift": [_noise(1, 1, size, other) for size, other in ((8, 8), (16, 4), (4, 24), (9, 18), (2, 2))],
    "mixed-layout": [_noise(2, 200)],
    "channels-first": [_noise(2, 200)],
    "int-window": [_noise(11, 150), _noise(32, 141)],
    "prime-tokens": [_noise(17, 289), _noise(23, 361), _noise(29, 401), _noise(19, 503)],
    "precision-branch": [_noise(11, 150)],
    "integer-mean": [{"x": torch.arange(5)[None], "mask": torch.tensor([[1, 0, 1, 1, 0]])}],
    "top-tokens": [_row(1.0, 1.0, 1.0, 1.0, 0.5), {"x": torch.zeros(2, 90)}],
    "normed-embedding": [{"x": torch.arange(300)[None]}],
    "bags": [{"x": torch.tensor([[0, 0, 0]])}, {"x": torch.tensor([[299, 0, 4]])}],
    "byte-wrap": [{"x": torch.tensor([[90, 99, 3]])}],
    "float-to-byte": [_row(-17.0, 40.0, 300.0, -1000.0)],
    "regulator": [{"x": torch.ones(2, 5), "mask": torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0]])}],
    "position-ids": [{**_noise(1, 5), "mask": mask} for mask in _HOLES],
    "where-pads": [{**_noise(1, 5), "mask": mask} for mask in _HOLES],
    "swapped-arguments": [{**_noise(1, 5), "mask": _HOLES[0]}],
}
"""Inputs on which a wrong conversion shows, where they lie in the declared range."""
