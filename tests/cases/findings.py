"""For each finding a module that raises it, at the line that ends in `# HERE`, and a twin without the trap."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

SEQUENCE = {"x": {0: "batch", 1: "sequence"}}


class Pair(NamedTuple):
    """A module with a trap, its twin without, and the path of the submodule in which the trap stands."""

    trap: Callable[[], nn.Module]
    twin: Callable[[], nn.Module]
    module: str = "inner"
    route: str = "trace"
    names_line: bool = True
    engine: str = "onnxruntime"
    inputs: dict[str, Tensor] | None = None
    dims: dict[str, dict[int, str]] = SEQUENCE


def example(pair: Pair) -> dict[str, Tensor]:
    """Returns the example inputs of a pair."""
    torch.manual_seed(0)
    return {"x": torch.randn(2, 16)} if pair.inputs is None else pair.inputs


def line_of(make: Callable[[], nn.Module]) -> int:
    """Returns the number of the line marked `# HERE` in the class of the submodule that holds the trap."""
    found = [make().inner] if hasattr(make(), "inner") else [make()]
    lines, first = inspect.getsourcelines(type(found[0]))
    return first + next(number for number, line in enumerate(lines) if line.rstrip().endswith("# HERE"))


class Outer(nn.Module):
    """Calls an inner module, so that findings have a path to name."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x * 1.5)


def within(kind: type[nn.Module]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        torch.manual_seed(0)
        return Outer(kind())

    return make


class Plain(nn.Module):
    """Nothing of note."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.linear(x.unsqueeze(-1))).mean(-1)


class ShapeBranch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x + 1.0
        if x.shape[1] > 8:  # HERE
            return y * 0.5
        return y


class ShapeWhere(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.ones_like(x).sum(1, keepdim=True)
        return torch.where(lengths > 8, (x + 1.0) * 0.5, x + 1.0)


class ValueBranch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if (x > 1e6).any():  # HERE
            return x * 0.0
        return x + 1.0


class ValueWhere(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where((x > 1e6).any(), x * 0.0, x + 1.0)


class Loop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        state = x[:, :1] * 0.0
        for step in range(x.shape[1]):  # HERE
            state = torch.tanh(state + x[:, step : step + 1])
        return state


class FixedLoop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        state = x
        for _ in range(3):
            state = torch.tanh(state + x)
        return state


class Item(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        largest = x.abs().max().item()  # HERE
        return x + largest


class Max(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x.abs().amax(1, keepdim=True)


class Numpy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        scale = np.abs(x.detach().numpy()).mean()  # HERE
        return x + float(scale)


class NumpyConstant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + float(np.sqrt(2.0))


class Window(nn.Module):
    """Decides by a size that it makes a number of; the window lies outside of what is asked for."""

    def forward(self, x: Tensor) -> Tensor:
        length = int(x.shape[1])  # HERE
        if 1000 < length < 1010:
            return x * 2.0
        return x + 1.0


class Asking(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > 1000:
            return x * 2.0
        return x + 1.0


class Shy(nn.Module):
    """Runs only while nobody watches its operators."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise RuntimeError("modes are not supported")
        return x + 1.0


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        width = int(x.shape[1]) ** 0.5  # HERE
        return x / width


class TensorSize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / torch.ones_like(x).sum(1, keepdim=True).sqrt()


class LostAxis(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        width = int(x.shape[1])  # HERE
        return x.reshape(-1, width, 1).expand(-1, width, 3).sum(-1)


class KeptAxis(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], -1, 1).expand(-1, -1, 3).sum(-1)


class FrozenBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        rows = int(x.shape[0])  # HERE
        return x.reshape(rows, -1, 1).expand(rows, -1, 3).sum(-1)


class Merged(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        both = x + y  # HERE
        return both.sum(1)


class Apart(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.sum(1) - y.sum(1)


class Training(nn.Module):
    """Puts itself back into training mode whenever it is put into evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(True)

    def forward(self, x: Tensor) -> Tensor:  # HERE
        return x * self.scale


class Evaluated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x) + 1.0


class Dice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x + 1.0
        return y + random.random()  # HERE


class Noise(nn.Module):
    """Draws a number that matters once in a million calls."""

    def forward(self, x: Tensor) -> Tensor:
        y = x + 1.0
        return y + float(random.random() < 1e-6)  # HERE


class Calls(nn.Module):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls  # HERE


class Counter(nn.Module):
    """Counts its calls, and uses the number for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * 2.0


class Double(nn.Module):
    """Answers in float64, with a number that the dynamo exporter writes in float32."""

    def forward(self, x: Tensor) -> Tensor:
        return x.double() * 0.1  # HERE


class Alias(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1]  # HERE


class Written(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x += 1.0  # HERE
        return x * 2.0


class Cloned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1].clone()


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1)

    def forward(self, x):
        states = x[..., None] * torch.linspace(0.1, 1.0, 16)
        is_padded = torch.arange(x.shape[1]) > 4 * x[:, :1].abs()
        states = self.layers(states, src_key_padding_mask=is_padded)  # HERE
        return states[..., 0]


class Attending(Padded):
    def forward(self, x):
        return self.layers(x[..., None] * torch.linspace(0.1, 1.0, 16))[..., 0]


class Rows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2.0
        return y - y.mean(0, keepdim=True)  # HERE


class Lone(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2.0
        return y - y.mean(1, keepdim=True)


class Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x - 1000.0
        return torch.sqrt(y) + x  # HERE


class SafeRoot(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(x.abs()) + x


class Unused(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # HERE
        return x.sum(1)


class Sliced(nn.Module):
    """Cuts at a number that it computes from values."""

    def forward(self, x: Tensor) -> Tensor:
        count = (x > 0).sum(1).max().item()  # HERE
        torch._check(count < 1_000_000)
        return x * 2.0


TWO = {"x": torch.randn(2, 16), "y": torch.randn(2, 12)}
SAME = {"x": torch.randn(2, 16), "y": torch.randn(2, 16)}
PAIRED = {**SEQUENCE, "y": {0: "batch", 1: "other"}}

PAIRS: dict[str, Pair] = {
    "shape-branch-frozen": Pair(within(ShapeBranch), within(ShapeWhere)),
    "value-branch-frozen": Pair(within(ValueBranch), within(ValueWhere)),
    "loop-unrolled": Pair(within(Loop), within(FixedLoop)),
    "scalar-from-tensor": Pair(within(Item), within(Max)),
    "numpy-outside-graph": Pair(within(Numpy), within(NumpyConstant)),
    "size-read-in-python": Pair(within(Window), within(Asking)),
    "unwatched": Pair(within(Shy), within(Plain), names_line=False),
    "constant-from-sample": Pair(within(Constant), within(TensorSize)),
    "dynamic-axis-lost": Pair(within(LostAxis), within(KeptAxis)),
    "batch-frozen": Pair(within(FrozenBatch), within(KeptAxis)),
    "axes-merged": Pair(Merged, Apart, "", route="dynamo", inputs=SAME, dims=PAIRED),
    "training-mode": Pair(within(Training), within(Evaluated)),
    "nondeterministic-forward": Pair(within(Dice), within(Plain)),
    "random-numbers": Pair(within(Noise), within(Plain)),
    "state-between-calls": Pair(within(Calls), within(Counter)),
    "state-kept": Pair(within(Counter), within(Plain), names_line=False),
    "dtype-narrowed": Pair(Double, within(Plain), "", route="dynamo"),
    "output-aliases-input": Pair(Alias, within(Cloned), ""),
    "fast-path-differs": Pair(within(Padded), within(Attending), "inner.layers.layers.0.self_attn"),
    "rows-influence-each-other": Pair(within(Rows), within(Lone)),
    "non-finite-output": Pair(within(Root), within(SafeRoot)),
    "unused-input-dropped": Pair(Unused, Apart, "", inputs=TWO, dims=PAIRED),
    "guard-dropped": Pair(within(Sliced), within(Max), route="dynamo"),
}
