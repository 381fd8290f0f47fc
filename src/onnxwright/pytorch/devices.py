"""A module where PyTorch is to run it, with products in all bits of its type."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator

import torch
from torch import nn

from onnxwright.pytorch.modules import setting


def on_device(module: nn.Module, device: str) -> nn.Module:
    """Returns the module itself for the CPU, and for another device a copy there: the user's own stays where it is."""
    return module if device == "cpu" else copy.deepcopy(module).to(device)


@contextlib.contextmanager
def whole_mantissas() -> Iterator[None]:
    """Has convolutions on a GPU keep 24 bits of mantissa: by default PyTorch lets cuDNN round to 11 (TF32).

    A reference that rounds so much would let every candidate do so.
    """
    put = functools.partial(setattr, torch.backends.cudnn, "allow_tf32")
    with setting(put, value=False, before=torch.backends.cudnn.allow_tf32):
        yield
