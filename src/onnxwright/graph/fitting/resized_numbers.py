"""Resizes whole numbers, as of a mask that is enlarged by its nearest neighbours, as floats.

Floats hold whole numbers up to 2**24.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from onnxwright.graph.defining import define_by, written
from onnxwright.graph.fitting import Fit

_WHOLE: Final = {ir.DataType.INT32, ir.DataType.INT64}


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "Resize", _text)


def _text(node: ir.Node) -> str:
    value = node.inputs[0]
    if value is None or value.dtype not in _WHOLE or node.attributes.get_string("mode", "nearest") != "nearest":
        return ""
    inputs = ["x", "roi", "scales", "sizes"][: len(node.inputs)]
    return f"""({", ".join(inputs)}) => (y) {{ f = Cast <to = 1> (x)
        r = Resize <{written(node) or 'mode = "nearest"'}> ({", ".join(["f", *inputs[1:]])}) y = CastLike (r, x) }}"""


FIT = Fit(
    name="resized_numbers",
    summary="Resizes whole numbers as floats.",
    change=_rewrite,
    words=("first input has type Int",),
)
