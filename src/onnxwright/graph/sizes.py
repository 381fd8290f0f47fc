"""Sizes of tensors, as numbers or as names, and which are equal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import onnx_ir as ir

Size = int | str | None
"""A number, a name, or None where nothing is known."""
Sizes = tuple[Size, ...]
TO_THE_END: Final = 2**31 - 1
"""An end of a slice that lies beyond every axis, as exporters write it at least."""
ONE_SIZE_OPSET: Final = 15
"""Since this opset, `Shape` can answer one size alone."""
_PRODUCT: Final = re.compile(r"\w+(\*\w+)+")
"""How a size is written that is a product of others: by `torch.export` and here."""
Elements = Callable[[ir.Value | None], Sizes | None]
"""What tells the elements of a small tensor of whole numbers, of rank 0 or 1, as far as they are known."""


def sizes_of(value: ir.Value | None) -> Sizes | None:
    """Returns the declared sizes of a value; None where not even their number is known."""
    if value is None or value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)


def broadcast(one: Size, other: Size) -> Size:
    """Returns the size that two broadcast to, where they do."""
    if other in {one, 1}:
        return one
    if one == 1:
        return other
    if isinstance(one, int) or isinstance(other, int):
        return one if isinstance(one, int) else other
    if one is None or other is None:
        return None
    return next((size for size, least in ((one, other), (other, one)) if _is_least_of(least, size)), None)


def broadcast_all(*shapes: Sizes) -> Sizes:
    """Returns the sizes that shapes broadcast to."""
    rank = max(map(len, shapes))
    answer: list[Size] = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            answer[axis] = broadcast(answer[axis], size)
    return tuple(answer)


def _is_least_of(least: str, size: str) -> bool:
    return least.startswith("Min(") and size in least[4:-1].split(", ")


def quotient(sizes: Sequence[Size], others: Sequence[Size]) -> Size:
    """Returns the product of sizes divided by that of others, as a number, a name, or a product such as `4*batch`."""
    if None in sizes or None in others:
        return None
    above, below = (Counter(_factors(each)) for each in (sizes, others))
    numbers = [_product(left) for left in (above - below, below - above)]
    names = [sorted(one for one in left.elements() if isinstance(one, str)) for left in (above - below, below - above)]
    if names[1] or not numbers[1] or numbers[0] % numbers[1]:
        return None
    number = numbers[0] // numbers[1]
    if not names[0] or number < 1:
        return number if not names[0] or not number else None
    return "*".join([*([str(number)] if number != 1 else []), *names[0]])


def _factors(sizes: Sequence[Size]) -> Iterator[Size]:
    """The factors of sizes, those that are products taken apart."""
    for size in sizes:
        if isinstance(size, str) and _PRODUCT.fullmatch(size):
            yield from (int(part) if part.isdigit() else part for part in size.split("*"))
        else:
            yield size


def _product(sizes: Counter[Size]) -> int:
    number = 1
    for size in sizes.elements():
        number *= size if isinstance(size, int) else 1
    return number
