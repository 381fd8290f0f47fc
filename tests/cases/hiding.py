"""Modules that hide what they read of their inputs, or what they keep; a trace of each is wrong."""

from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import torch
from torch import Tensor, nn

Case = tuple[nn.Module, dict[str, Tensor], dict[str, dict[int, str]]]
SEQUENCE = {"x": {0: "batch", 1: "sequence"}}


def _sequences(module: nn.Module, *features: int) -> Case:
    torch.manual_seed(0)
    return module, {"x": torch.randn(2, 16, *features)}, SEQUENCE


def _tokens(module: nn.Module, most: int = 100, name: str = "x") -> Case:
    torch.manual_seed(0)
    return module, {name: torch.randint(0, most, (2, 16))}, {name: SEQUENCE["x"]}


class SelectedSize(nn.Module):
    """Skips an expert to which no token was routed, as mixtures of experts do: a value read as a size."""

    def forward(self, x: Tensor) -> Tensor:
        chosen = x[x > 1e6]
        if chosen.numel() == 0:
            return x + 1.0
        return x * 0.0


class NonzeroLength(nn.Module):
    """Asks with `len` how many ids are the special one."""

    def forward(self, x: Tensor) -> Tensor:
        if len((x == 77777).nonzero()):
            return x * 0
        return x + 1


class ThreadedRead(nn.Module):
    """Decides by a value that another thread read."""

    def forward(self, x: Tensor) -> Tensor:
        with ThreadPoolExecutor(1) as pool:
            clipped = pool.submit(lambda: bool((x > 1e6).any())).result()
        return x.clamp(max=1e6) * 0.5 if clipped else x + 1.0


class AppliedFunction(nn.Module):
    """Maps its flags with a Python function in place, as code for lookup tables does."""

    def forward(self, x: Tensor) -> Tensor:
        flags = (x > 1e6).float().clone()
        flags.apply_(lambda flag: 5.0 if flag else 0.0)
        return torch.tanh(x) + flags


class CountLength(nn.Module):
    """Asks how long the table of counts is."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.bincount(x.flatten(), minlength=200).shape[0] > 200:
            return x * 0
        return x + 1


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


class CommonDivisor(nn.Module):
    """Makes windows by what divides both of its sizes."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0 if math.gcd(x.shape[0], x.shape[1]) == 23 else x + 1.0


class StrideBranch(nn.Module):
    """Asks the strides instead of the sizes."""

    def forward(self, x: Tensor) -> Tensor:
        if x.stride(0) == 211 and len(x) == 13:
            return x * 2.0
        return x + 1.0


class ListedTable(nn.Module):
    """Looks its length up in a list."""

    SETTINGS: ClassVar[list[float]] = [2.0 if length == 211 else 1.0 for length in range(600)]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.SETTINGS[x.shape[1]]


class LookedUpToken(nn.Module):
    """Looks a token up in a dictionary."""

    SCALES: ClassVar[dict[int, float]] = {77777: 5.0}

    def forward(self, x: Tensor) -> Tensor:
        return x * self.SCALES.get(x[0, :1].tolist()[0], 1.0)


class SameSize(nn.Module):
    """Asks whether its input is as large as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("usual", torch.zeros(13, 211))

    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0 if x.is_same_size(self.usual) else x + 1.0


class CountedOnes(nn.Module):
    """Counts its columns by adding up ones."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0 if torch.ones(x.shape[1]).sum().item() == 211 else x + 1.0


class CountedRows(nn.Module):
    """Counts its rows by taking them one by one."""

    def forward(self, x: Tensor) -> Tensor:
        rows = sum(1 for _ in x)
        columns = len(x[0])
        return x * 2.0 if (rows, columns) == (13, 211) else x + 1.0


class CountedPieces(nn.Module):
    """Counts the pieces into which it cuts its axes."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.split(1), x.chunk(400, 1)
        return x * 2.0 if (len(rows), len(columns)) == (13, 211) else x + 1.0


class ListedZeros(nn.Module):
    """Makes lists as long as its axes, of no value of its input."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.new_zeros(x.shape[0]).tolist(), torch.zeros_like(x[0]).numpy()
        return x * 2.0 if (len(rows), len(columns)) == (13, 211) else x + 1.0


class CountedBytes(nn.Module):
    """Asks how much memory it takes."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0 if x.nbytes == 13 * 211 * 4 else x + 1.0


class ThreadedSize(nn.Module):
    """Asks for its sizes in another thread."""

    def forward(self, x: Tensor) -> Tensor:
        with ThreadPoolExecutor(1) as pool:
            special = pool.submit(lambda: [int(one) for one in x.shape] == [13, 211]).result()
        return x * 2.0 if special else x + 1.0


class LocalState(nn.Module):
    """Keeps the first length in a thread-local object."""

    def __init__(self) -> None:
        super().__init__()
        self.local = threading.local()

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self.local, "first"):
            self.local.first = float(x.shape[1])
        return x / self.local.first


class MutableDefault(nn.Module):
    """Remembers in a default argument which lengths it has seen."""

    def forward(self, x: Tensor, seen: list[int] = []) -> Tensor:  # noqa: B006 - that is the trap
        seen.append(x.shape[1])
        return x / seen[0]


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


class MappedFunction(nn.Module):
    """Combines its flags with a Python function in place."""

    def forward(self, x: Tensor) -> Tensor:
        flags = (x > 1e6).float().clone()
        flags.map_(flags.clone(), lambda one, _: 5.0 if one else 0.0)
        return torch.tanh(x) + flags


class ClippedData(nn.Module):
    """Clips in place behind autograd's back."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y.data.clamp_(max=1e6)
        return y


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


class HelperState(nn.Module):
    """Keeps the first length on the function that it calls."""

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(_first_length, "value"):
            _first_length.value = float(x.shape[1])  # type: ignore[attr-defined]
        return x / _first_length.value  # type: ignore[attr-defined]


def _first_length() -> None:
    """Holds an attribute."""


def looked_up_token() -> Case:
    """Returns the module that looks a token up, which a twin of `tolist` must not hide."""
    return _tokens(LookedUpToken(), 100_000)


def _forget() -> None:
    MutableDefault.forward.__defaults__[0].clear()  # type: ignore[index]
    UnderKeyedCache.scale.cache_clear()
    ClassState.first = None
    os.environ.pop("ONNXWRIGHT_ADVERSARY_LENGTH", None)
    vars(_first_length).clear()


def _forgetful(make: Callable[[], nn.Module]) -> Case:
    _forget()
    return _sequences(make())


HIDING: dict[str, Callable[[], Case]] = {
    "class-state": lambda: _forgetful(ClassState),
    "slotted-state": lambda: _forgetful(SlottedState),
    "local-state": lambda: _sequences(LocalState()),
    "mutable-default": lambda: _forgetful(MutableDefault),
    "helper-state": lambda: _forgetful(HelperState),
    "environment-state": lambda: _forgetful(EnvironmentState),
    "under-keyed-cache": lambda: _forgetful(UnderKeyedCache),
    "shape-name": lambda: _sequences(ShapeName()),
    "stride-branch": lambda: _sequences(StrideBranch()),
    "tuned-table": lambda: _sequences(TunedTable()),
    "common-divisor": lambda: _sequences(CommonDivisor()),
    "listed-table": lambda: _sequences(ListedTable()),
    "counted-ones": lambda: _sequences(CountedOnes()),
    "counted-rows": lambda: _sequences(CountedRows()),
    "counted-pieces": lambda: _sequences(CountedPieces()),
    "listed-zeros": lambda: _sequences(ListedZeros()),
    "same-size": lambda: _sequences(SameSize()),
    "counted-bytes": lambda: _sequences(CountedBytes()),
    "threaded-size": lambda: _sequences(ThreadedSize()),
    "threaded-read": lambda: _sequences(ThreadedRead()),
    "selected-size": lambda: _sequences(SelectedSize()),
    "nonzero-length": lambda: _tokens(NonzeroLength()),
    "count-length": lambda: _tokens(CountLength()),
    "outlier-columns": lambda: _sequences(OutlierColumns()),
    "applied-function": lambda: _sequences(AppliedFunction()),
    "mapped-function": lambda: _sequences(MappedFunction()),
    "clipped-data": lambda: _sequences(ClippedData()),
    "unwatchable": lambda: _sequences(Unwatchable()),
}
