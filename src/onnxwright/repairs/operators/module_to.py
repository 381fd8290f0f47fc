"""`nn.Module.to` of a module that is there already, as nothing: `torch.export` refuses to move parameters."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from onnxwright.repairs.operators import Twin


def _stay(module: nn.Module, to: torch.device | torch.dtype | str) -> nn.Module:
    return module


def _is_there(module: nn.Module, to: object) -> bool:
    held = list(itertools.chain(module.parameters(), module.buffers()))
    if isinstance(to, torch.dtype):
        return all(one.dtype == to for one in held if one.is_floating_point())
    return isinstance(to, (torch.device, str)) and all(one.device == torch.device(to) for one in held)


TWIN = Twin("module_to", ("torch.nn.Module.to",), _stay, _is_there)
