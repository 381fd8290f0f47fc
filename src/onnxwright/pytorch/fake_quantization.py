"""Modules of `torch.ao.quantization`, and of torchao, that pretend to quantize: their observers, and what they compute.

Such a module observes what it is given, moves its scale and zero point with that, and puts numbers on the grid. In
evaluation mode PyTorch observes on, so that each call changes what the next one answers; whoever converts a module
means it as it is. While it is evaluated, observers are therefore off.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

_OBSERVING: Final = ("observer_enabled", "static_enabled")
"""The buffers that say whether a module observes; of the one that learns its scale, the second."""


@contextlib.contextmanager
def observers_off(module: nn.Module) -> Iterator[None]:
    """Has nothing observe while entered, but for what quantizes by each input's own range; then as before."""
    switches = [switch for _, part in observing(module) for switch in _switches(part)]
    try:
        for switch in switches:
            switch.zero_()
        yield
    finally:
        for switch in switches:
            switch.fill_(1)


def observing(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Returns the modules that pretend to quantize and observe, each with its path."""
    return [
        (path, part)
        for path, part in quantizers(module)
        if not getattr(part, "is_dynamic", False) and any(bool(switch.any()) for switch in _switches(part))
    ]


def unobserved(module: nn.Module) -> list[str]:
    """Returns the paths of those that have never seen a number: their scale is the one they were made with."""
    return [path for path, part in quantizers(module) if _has_seen_nothing(part)]


def quantizers(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Returns the modules that pretend to quantize, each with its path."""
    known = _known()
    # The class of a compiled module has no `forward` to look at.
    parts = module.named_modules() if known else ()
    return [(path, part) for path, part in parts if getattr(type(part), "forward", None) in known]


def has_channels(module: nn.Module) -> bool:
    """Whether any has a scale for each channel."""
    known = _known()
    return any(known[type(part).forward](part).axis is not None for _, part in quantizers(module))


@contextlib.contextmanager
def called_plainly(module: nn.Module) -> Iterator[None]:
    """Has these modules call nothing but the operator that quantizes, by what their switches say now.

    They read their switches in Python, which `torch.export` refuses, or hand them to an operator that no exporter has.
    """
    standing = [(part, plain) for _, part in quantizers(module) if (plain := _plain(part)) is not None]
    try:
        for part, plain in standing:
            part.forward = plain
        yield
    finally:
        for part, _ in standing:
            vars(part).pop("forward", None)


@dataclass(frozen=True)
class _Call:
    """What such a module computes when nothing observes."""

    scale: Tensor
    zero: Tensor
    axis: int | None
    least: int
    most: int

    def __call__(self, X: Tensor) -> Tensor:  # noqa: N803 - the name in torch's signature
        if self.axis is None:
            return torch.fake_quantize_per_tensor_affine(X, self.scale, self.zero, self.least, self.most)
        return torch.fake_quantize_per_channel_affine(X, self.scale, self.zero, self.axis, self.least, self.most)


def _plain(part: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The operator that a module comes down to; none where it observes on."""
    if "forward" in vars(part) or any(bool(switch.any()) for switch in _switches(part)):
        return None
    if not bool(part.fake_quant_enabled[0]):  # type: ignore[index]  # a buffer
        return _same
    call = _known()[type(part).forward]
    return call(part)


def _same(X: Tensor) -> Tensor:  # noqa: N803 - the name in torch's signature
    return X


def _known() -> dict[Any, Callable[[Any], _Call]]:
    """How a call follows from a module's attributes, by its `forward`; where one is from is loaded once it is made."""
    homes = ((sys.modules.get(home), kinds) for home, kinds in _KINDS.items())
    return {
        getattr(home, name).forward: call
        for home, kinds in homes
        for name, call in kinds.items()
        if hasattr(home, name)
    }


def _of_observer(part: Any) -> _Call:
    watch = part.activation_post_process
    axis = part.ch_axis if part.is_per_channel else None
    return _Call(part.scale, part.zero_point, axis, watch.quant_min, watch.quant_max)


def _of_learned(part: Any) -> _Call:
    """A learned scale is at least `eps`, a learned zero point the step next to it."""
    symmetric = part.qscheme in (torch.per_channel_symmetric, torch.per_tensor_symmetric)
    scale = part.scale.detach().clamp(min=part.eps.item())
    learned = torch.zeros_like(part.zero_point) if symmetric else part.zero_point
    zero = learned.detach().round().clamp(part.quant_min, part.quant_max).to(torch.int32)
    is_per_channel = part.qscheme in (torch.per_channel_symmetric, torch.per_channel_affine)
    return _Call(scale, zero, part.ch_axis if is_per_channel else None, part.quant_min, part.quant_max)


_OBSERVED: Final[dict[str, Callable[[Any], _Call]]] = {
    "FakeQuantize": _of_observer,
    "FusedMovingAvgObsFakeQuantize": _of_observer,
}
_KINDS: Final[dict[str, dict[str, Callable[[Any], _Call]]]] = {
    "torch.ao.quantization.fake_quantize": _OBSERVED,
    "torchao.quantization.pt2e.fake_quantize": _OBSERVED,
    "torch.ao.quantization._learnable_fake_quantize": {"_LearnableFakeQuantize": _of_learned},
}


def _switches(part: nn.Module) -> list[Tensor]:
    return [switch for name in _OBSERVING if isinstance(switch := getattr(part, name, None), Tensor)]


def _has_seen_nothing(part: nn.Module) -> bool:
    watch = getattr(part, "activation_post_process", None)
    least, most = getattr(watch, "min_val", None), getattr(watch, "max_val", None)
    if not isinstance(least, Tensor) or not isinstance(most, Tensor):
        return False
    is_fresh = least.numel() == 0 or bool((least > most).any())
    scale, zero = part.scale, part.zero_point
    return is_fresh and bool((scale == 1.0).all()) and bool((zero == 0).all())  # type: ignore[union-attr]  # buffers
