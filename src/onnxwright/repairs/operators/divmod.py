"""`divmod` of a size, a tensor while it is traced, or a symbol: neither has it, only `//` and `%`."""

from __future__ import annotations

from typing import Any

from onnxwright.repairs.operators import Twin


def _divide(x: Any, other: Any) -> tuple[Any, Any]:
    return x // other, x % other


_PLACES = ("torch.Tensor.__divmod__", "torch.SymInt.__divmod__")

TWIN = Twin("divmod", _PLACES, _divide, told="divmod()")
