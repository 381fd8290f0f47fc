"""A module where PyTorch is to run it, with products in all bits of its type."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from onnxwright.pytorch.modules import setting


def on_device(module: nn.Module, device: str) -> nn.Module:
    """Returns a module whose weights lie on a device: itself where they do, else a copy; the user's own stays as it is.

    No weight is there twice on either device meanwhile.
    """
    weights: list[Tensor] = [*module.parameters(), *module.buffers()]
    moved = [weight for weight in weights if weight.device.type != torch.device(device).type]
    return (
        copied(module, {id(weight): like(weight, weight.detach().to(device)) for weight in moved}) if moved else module
    )


def copied(module: nn.Module, instead: dict[int, Any]) -> nn.Module:
    """Returns a copy of a module with other things in the place of some, which are known by their identity."""
    with torch.no_grad():
        return copy.deepcopy(module, instead)


def like(weight: Tensor, other: Tensor) -> Tensor:
    """Returns another tensor, as a parameter where a weight is one."""
    return nn.Parameter(other, weight.requires_grad) if isinstance(weight, nn.Parameter) else other


@contextlib.contextmanager
def whole_mantissas() -> Iterator[None]:
    """Has convolutions on a GPU keep 24 bits of mantissa: by default PyTorch lets cuDNN round to 11 (TF32).

    A reference that rounds so much would let every candidate do so.
    """
    put = functools.partial(setattr, torch.backends.cudnn, "allow_tf32")
    with setting(put, value=False, before=torch.backends.cudnn.allow_tf32):
        yield
