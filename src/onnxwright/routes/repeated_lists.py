"""`[x] * n`, a list repeated: the TorchScript exporter writes a product of its elements with `n`, without a word.

Scripted code makes such lists to count with, or as sizes: `x.split([1] * x.shape[1], 1)`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.onnx import symbolic_helper
from torch.onnx._internal.torchscript_exporter.symbolic_opset9 import mul

from onnxwright.routes.symbols import written


def repeated_lists(opset: int) -> AbstractContextManager[None]:
    """Has lists of numbers repeated while entered; products of tensors stay what they are."""
    return written({"aten::mul": _mul}, opset)


def _mul(g: Any, one: Any, other: Any) -> Any:
    is_list, _ = (isinstance(value.type(), torch.ListType) for value in g.original_node.inputs())
    if not isinstance(g.original_node.output().type(), torch.ListType):
        return mul(g, one, other)
    repeated, times = (one, other) if is_list else (other, one)
    return g.op("Tile", repeated, symbolic_helper._unsqueeze_helper(g, times, [0]))
