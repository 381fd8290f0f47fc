"""How the TorchScript exporter writes an operator, while that is ours to say."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch.onnx import utils


@contextlib.contextmanager
def written(symbols: Mapping[str, Callable[..., Any]], opset: int) -> Iterator[None]:
    """Has operators (`aten::mul`) written by these functions at an opset while entered."""
    for name, symbol in symbols.items():
        utils.register_custom_op_symbolic(name, symbol, opset)
    try:
        yield
    finally:
        for name in symbols:
            utils.unregister_custom_op_symbolic(name, opset)
