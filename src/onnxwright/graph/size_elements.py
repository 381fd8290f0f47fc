"""What operators make of small tensors of whole numbers whose elements are known, by number or by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import onnx_ir as ir

from onnxwright.graph.sizes import TO_THE_END, Elements, Size, Sizes, quotient, sizes_of

MOST_ELEMENTS: Final = 16
_Rule = Callable[[ir.Node, Elements], Sizes | None]


def _elements_of_shape(node: ir.Node, _: Elements) -> Sizes | None:
    sizes = sizes_of(node.inputs[0])
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", TO_THE_END)
    return None if sizes is None else sizes[start:end]


def _kept_elements(node: ir.Node, elements: Elements) -> Sizes | None:
    return elements(node.inputs[0])


def _cast_elements(node: ir.Node, elements: Elements) -> Sizes | None:
    is_wide = ir.DataType(node.attributes.get_int("to")) in {ir.DataType.INT64, ir.DataType.INT32}
    return elements(node.inputs[0]) if is_wide else None


def _gathered(node: ir.Node, elements: Elements) -> Sizes | None:
    given, places = elements(node.inputs[0]), elements(node.inputs[1])
    if given is None or places is None:
        return None
    known = dict(enumerate((*given, *given), -len(given)))
    return tuple(known.get(place) if isinstance(place, int) else None for place in places)


def _sliced_elements(node: ir.Node, elements: Elements) -> Sizes | None:
    bounds = [node.attributes.get_ints(name, ()) for name in ("starts", "ends")]  # before opset 10
    given = [elements(node.inputs[0]), *([*bounds] if all(bounds) else map(elements, node.inputs[1:]))]
    if len(given) < 3 or any(one is None or len(one) != 1 for one in given[1:]) or given[0] is None:
        return None
    (start,), (end,), *rest = (one for one in given[1:] if one)
    step = rest[1][0] if len(rest) > 1 else 1
    numbers = [one for one in (start, end, step) if isinstance(one, int)]
    return given[0][slice(*numbers)] if len(numbers) == 3 else None


def _joined(node: ir.Node, elements: Elements) -> Sizes | None:
    parts = [elements(value) for value in node.inputs]
    return None if any(part is None for part in parts) else tuple(one for part in parts for one in part or ())


def _constant_elements(node: ir.Node, elements: Elements) -> Sizes | None:
    target = elements(node.inputs[0])
    value = node.attributes["value"].as_tensor() if "value" in node.attributes else None
    if target is None or len(target) > 1 or value is None or not value.dtype.is_integer():
        return None
    count = target[0] if target else 1
    number = int(value.numpy().reshape(-1)[0])
    return (number,) * count if isinstance(count, int) and count <= MOST_ELEMENTS else None


def _pairs(node: ir.Node, elements: Elements) -> list[tuple[Size, Size]] | None:
    one, other = (elements(value) for value in node.inputs[:2])
    if not one or not other or (len(one) != len(other) and 1 not in {len(one), len(other)}):
        return None
    count = max(len(one), len(other))
    return list(zip(one * (count // len(one) or 1), other * (count // len(other) or 1), strict=True))


def _added(node: ir.Node, elements: Elements) -> Sizes | None:
    """Adds numbers; a name stays where nothing is added to it."""
    pairs = _pairs(node, elements)
    return None if pairs is None else tuple(_sum(*pair) for pair in pairs)


def _sum(one: Size, other: Size) -> Size:
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return one if other == 0 else other if one == 0 else None


def _subtracted(node: ir.Node, elements: Elements) -> Sizes | None:
    pairs = _pairs(node, elements)
    return None if pairs is None else tuple(_difference(*pair) for pair in pairs)


def _difference(one: Size, other: Size) -> Size:
    if isinstance(one, int) and isinstance(other, int):
        return one - other
    return one if other == 0 else 0 if one is not None and one == other else None


def _divided(node: ir.Node, elements: Elements) -> Sizes | None:
    """Divides what goes in evenly."""
    pairs = _pairs(node, elements)
    return None if pairs is None else tuple(quotient((one,), (other,)) for one, other in pairs)


def _multiplied(node: ir.Node, elements: Elements) -> Sizes | None:
    pairs = _pairs(node, elements)
    return None if pairs is None else tuple(quotient(pair, ()) for pair in pairs)


def _equal(node: ir.Node, elements: Elements) -> Sizes | None:
    """1 where two are equal and 0 where they can't be; a size is never negative."""
    pairs = _pairs(node, elements)
    return None if pairs is None else tuple(_is_equal(*pair) for pair in pairs)


def _is_equal(one: Size, other: Size) -> Size:
    if one is not None and one == other:
        return 1
    numbers = [size for size in (one, other) if isinstance(size, int)]
    return 0 if len(numbers) == 2 or (any(number < 0 for number in numbers) and None not in {one, other}) else None


def _chosen(node: ir.Node, elements: Elements) -> Sizes | None:
    asked, *sides = (elements(value) for value in node.inputs)
    if asked is None or any(side is None or len(side) != len(asked) for side in sides):
        return None
    either = zip(asked, *(side or () for side in sides), strict=True)
    return tuple(yes if is_so == 1 else no if is_so == 0 else None for is_so, yes, no in either)


ELEMENTS: Final[dict[str, _Rule]] = {
    "Shape": _elements_of_shape,
    "Gather": _gathered,
    "Slice": _sliced_elements,
    "Concat": _joined,
    **dict.fromkeys(("Identity", "Unsqueeze", "Squeeze", "Reshape"), _kept_elements),
    "Cast": _cast_elements,
    "ConstantOfShape": _constant_elements,
    "Equal": _equal,
    "Where": _chosen,
    "Add": _added,
    "Sub": _subtracted,
    "Mul": _multiplied,
    "Div": _divided,
}
