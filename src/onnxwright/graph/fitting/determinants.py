"""Writes the determinant of small matrices, as of rotations, as the sum over permutations that defines it."""

from __future__ import annotations

import itertools
from typing import Final

import onnx_ir as ir

from onnxwright.graph.defining import define_by
from onnxwright.graph.fitting import Fit

_MOST: Final = 4
"""Of five rows there are 120 permutations, and elimination loses less."""


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "Det", _text)


def _text(node: ir.Node) -> str:
    value = node.inputs[0]
    size = None if value is None or value.shape is None or value.dtype != ir.DataType.FLOAT else value.shape[-1]
    if not isinstance(size, int) or not 1 <= size <= _MOST:
        return ""
    numbers = range(size)
    lines = [f"i{one} = Constant <value = int64 {{{one}}}> ()" for one in numbers]
    lines += [f"r{row} = Gather <axis = -2> (x, i{row})" for row in numbers]
    lines += [f"e{row}{column} = Gather <axis = -1> (r{row}, i{column})" for row in numbers for column in numbers]
    total = ""
    for place, order in enumerate(itertools.permutations(numbers)):
        product = f"e0{order[0]}"
        for row in range(1, size):
            lines.append(f"p{place}_{row} = Mul ({product}, e{row}{order[row]})")
            product = f"p{place}_{row}"
        if total:
            lines.append(f"t{place} = {'Sub' if _is_odd(order) else 'Add'} ({total}, {product})")
        total = f"t{place}" if total else product
    return f"(x) => (y) {{ {' '.join(lines)} y = Identity ({total}) }}"


def _is_odd(order: tuple[int, ...]) -> bool:
    return sum(one > other for one, other in itertools.combinations(order, 2)) % 2 == 1


FIT = Fit(
    name="determinants",
    summary="Writes determinants of up to four rows as sums of products.",
    change=_rewrite,
    operators=frozenset({"Det"}),
)
