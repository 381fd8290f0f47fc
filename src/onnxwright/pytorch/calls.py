"""What each torch call at a line of the user's code answers, as fingerprints, so that two runs can be held together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from onnxwright.pytorch.lines import Place, Whereabouts

_MOST_ELEMENTS = 1 << 16

Note = Callable[[Place, Sequence[Any], Any], None]
"""Takes the place of a call, its arguments, and its answer."""


class Call(NamedTuple):
    """One call: where it comes from, and of each tensor that it answers a number and the scale of that number."""

    place: Place
    prints: tuple[tuple[float, float], ...]

    def is_like(self, other: Call, tolerance: float) -> bool:
        """Whether it stands at the same place and answers the same, up to a part of its scale."""
        if self.place != other.place or len(self.prints) != len(other.prints):
            return False
        pairs = zip(self.prints, other.prints, strict=True)
        return all(_is_near(one, another, tolerance * max(scale, size)) for (one, scale), (another, size) in pairs)


class _Noting(TorchFunctionMode):
    def __init__(self, whereabouts: Whereabouts, note: Note) -> None:
        super().__init__()
        self._whereabouts = whereabouts
        self._note = note

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        answer = func(*args, **(kwargs or {}))
        place = self._whereabouts.place
        if place.line.is_users:
            self._note(place, args, answer)
        return answer


@contextlib.contextmanager
def noting(module: nn.Module, note: Note) -> Iterator[None]:
    """Hands every outermost torch call that a module's code makes to `note`, while it is entered."""
    whereabouts = Whereabouts(module)
    with whereabouts, _Noting(whereabouts, note):
        yield


class Log:
    """Collects calls; with `rows`, the first row alone of whatever has that many."""

    def __init__(self, rows: int | None = None):
        self.calls: list[Call] = []
        self._rows = rows

    def note(self, place: Place, args: Sequence[Any], answer: Any) -> None:
        """Takes in one call; one that answers nothing has written into its first argument."""
        tensors = [leaf for leaf in tree_leaves(args[:1] if answer is None else answer) if isinstance(leaf, Tensor)]
        if tensors:
            self.calls.append(Call(place, tuple(_print(self._part(tensor)) for tensor in tensors)))

    def _part(self, tensor: Tensor) -> Tensor:
        is_row = self._rows is not None and tensor.dim() > 0 and tensor.shape[0] == self._rows
        return tensor[:1] if is_row else tensor


def departure(one: Sequence[Call], other: Sequence[Call], tolerance: float) -> Place | None:
    """Returns where two runs first answer otherwise; None where they don't."""
    for call, twin in zip(one, other, strict=False):
        if not call.is_like(twin, tolerance):
            return call.place
    longer = max(one, other, key=len)
    return None if len(one) == len(other) else longer[min(len(one), len(other))].place


def _print(tensor: Tensor) -> tuple[float, float]:
    """A weighted sum of the elements, and the sum of their magnitudes."""
    if (
        torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        or tensor.is_sparse
        or tensor.is_complex()
        or tensor.is_quantized
        or tensor.numel() == 0
    ):
        return 0.0, float(tensor.numel())
    flat = tensor.detach().reshape(-1)
    flat = flat[:: max(1, flat.numel() // _MOST_ELEMENTS)].double()
    weights = torch.cos(torch.arange(flat.numel(), dtype=torch.float64) * 0.7 + 0.3).to(flat.device)
    finite = torch.where(flat.isfinite(), flat, flat.isnan() * 1e-3)
    return float(finite @ weights), float(finite.abs().sum())


def _is_near(one: float, other: float, most: float) -> bool:
    return abs(one - other) <= most
