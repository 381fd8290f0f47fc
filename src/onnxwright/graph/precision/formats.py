"""The lower floating-point types, and what numbers they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from onnxwright.errors import UsageError, accepted

FLOAT: Final = ir.DataType.FLOAT


@dataclass(frozen=True)
class Format:
    """A type lower than float32: its largest number, the least with all digits, the least but 0, and what it counts to.

    Every whole number up to `whole` is one of its numbers.
    """

    name: str
    dtype: ir.DataType
    largest: float
    least_normal: float
    least: float
    whole: int

    @property
    def is_as_wide(self) -> bool:
        """Whether it reaches as far as float32, so that only digits are lost."""
        return self.largest > 1e38


_FORMATS: Final = {
    one.name: one
    for one in (
        Format("float16", ir.DataType.FLOAT16, 65504.0, 2.0**-14, 2.0**-24, 2048),
        Format("bfloat16", ir.DataType.BFLOAT16, 2.0**127 * (2 - 2.0**-7), 2.0**-126, 2.0**-133, 256),
    )
}


def format_of(name: str) -> Format:
    """Returns a lower type by its name.

    Raises:
        UsageError: when there is none of that name.
    """
    if name not in _FORMATS:
        raise UsageError(f"type '{name}' is no lower floating-point type; expected {accepted(name, _FORMATS)}.")
    return _FORMATS[name]
