"""What each operator makes of the sizes that it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import onnx_ir as ir

from onnxwright.graph.sizes import TO_THE_END, Elements, Size, Sizes, broadcast_all, quotient, sizes_of
from onnxwright.graph.targets import CONTRIB, RMS_NORM

_KEEPING: Final = tuple(
    f"{CONTRIB}::{name}"
    for name in (
        *("Gelu", "FastGelu", "BiasGelu", "QuickGelu", "RotaryEmbedding", "GroupQueryAttention"),
        *("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"),
    )
)
_ATTENTIONS: Final = (f"{CONTRIB}::MultiHeadAttention", f"{CONTRIB}::Attention")
TYPED_BY_FIRST: Final = frozenset({RMS_NORM, "Reshape", "Transpose", *_KEEPING, *_ATTENTIONS})
"""Operators that answer the type of their first input, and that ONNX's inference doesn't know, or not after them."""
PAIRING: Final = (
    *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Max", "Min", "Where", "And", "Or", "Xor", "BitwiseAnd", "BitwiseOr"),
    *("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"),
)
"""Operators that take elements by their place, from tensors that are broadcast to each other."""
EACH: Final = (
    *("Identity", "Cast", "Dropout"),
    *("Abs", "Ceil", "Clip", "Cos", "Erf", "Exp", "Floor", "IsInf", "IsNaN", "Log", "Neg", "Not", "Reciprocal"),
    *("Round", "Sign", "Sin", "Sqrt"),
    *("Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Swish", "Tanh"),
)
"""Operators that make each element of their first input alone another one."""
_ALONG: Final = ("Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization", "CumSum", "Trilu")
"""Others whose answer has the sizes of their first input."""
_Rule = Callable[[ir.Node, Elements], Sizes | None]


def _same(node: ir.Node, _: Elements) -> Sizes | None:
    return sizes_of(node.inputs[0])


def _elementwise(node: ir.Node, _: Elements) -> Sizes | None:
    shapes = [sizes_of(value) for value in node.inputs]
    known = [shape for shape in shapes if shape is not None]
    return broadcast_all(*known) if known and len(known) == len(shapes) else None


def _matmul(node: ir.Node, _: Elements) -> Sizes | None:
    one, other = (sizes_of(value) for value in node.inputs[:2])
    if one is None or other is None or min(len(one), len(other)) < 2:
        return None
    return (*broadcast_all(one[:-2], other[:-2]), one[-2], other[-1])


def _gather(node: ir.Node, _: Elements) -> Sizes | None:
    table, indices = (sizes_of(value) for value in node.inputs[:2])
    if table is None or indices is None:
        return None
    axis = node.attributes.get_int("axis", 0) % max(len(table), 1)
    return (*table[:axis], *indices, *table[axis + 1 :])


def _gather_nd(node: ir.Node, _: Elements) -> Sizes | None:
    table, indices = (sizes_of(value) for value in node.inputs[:2])
    depth = indices[-1] if indices else None
    if table is None or indices is None or not isinstance(depth, int):
        return None
    return (*indices[:-1], *table[node.attributes.get_int("batch_dims", 0) + depth :])


def _reshape(node: ir.Node, elements: Elements) -> Sizes | None:
    target, sizes = elements(node.inputs[1]), sizes_of(node.inputs[0])
    if target is None:
        return None
    if not node.attributes.get_int("allowzero", 0):
        if sizes is None and 0 in target:
            return None
        target = tuple(sizes[axis] if size == 0 and sizes else size for axis, size in enumerate(target))
    if -1 not in target:
        return target
    rest = None if sizes is None else quotient(sizes, [size for size in target if size != -1])
    return tuple(rest if size == -1 else size for size in target)


def _expand(node: ir.Node, elements: Elements) -> Sizes | None:
    target, sizes = elements(node.inputs[1]), sizes_of(node.inputs[0])
    return None if target is None or sizes is None else broadcast_all(sizes, target)


def _tile(node: ir.Node, elements: Elements) -> Sizes | None:
    sizes, times = sizes_of(node.inputs[0]), elements(node.inputs[1])
    if sizes is None or times is None:
        return None
    return tuple(quotient(pair, ()) for pair in zip(sizes, times, strict=True))


def _transpose(node: ir.Node, _: Elements) -> Sizes | None:
    sizes = sizes_of(node.inputs[0])
    if sizes is None:
        return None
    return tuple(sizes[axis] for axis in node.attributes.get_ints("perm", range(len(sizes))[::-1]))


def _axes(node: ir.Node, elements: Elements, rank: int) -> list[int] | None:
    """The axes that a node has as an attribute or as its second input, counted from the front."""
    told = node.attributes.get_ints("axes", ()) or (elements(node.inputs[1]) if len(node.inputs) > 1 else None)
    axes = [axis for axis in told or () if isinstance(axis, int)]
    return [axis % rank for axis in axes] if told is not None and len(axes) == len(told) else None


def _unsqueeze(node: ir.Node, elements: Elements) -> Sizes | None:
    sizes = sizes_of(node.inputs[0])
    count = len(node.attributes.get_ints("axes", ()) or (elements(node.inputs[1]) if node.inputs[1:] else None) or ())
    axes = None if sizes is None else _axes(node, elements, len(sizes) + count)
    if sizes is None or not axes:
        return None
    left = iter(sizes)
    return tuple(1 if axis in axes else next(left) for axis in range(len(sizes) + count))


def _squeeze(node: ir.Node, elements: Elements) -> Sizes | None:
    sizes = sizes_of(node.inputs[0])
    axes = None if not sizes else _axes(node, elements, len(sizes))
    return None if sizes is None or not axes else tuple(size for axis, size in enumerate(sizes) if axis not in axes)


def _slice(node: ir.Node, elements: Elements) -> Sizes | None:
    """Slices from the front, in steps of 1, to a number, a name or the end."""
    sizes = sizes_of(node.inputs[0])
    given = [elements(value) for value in node.inputs[1:]]
    if sizes is None or len(given) < 3 or any(one is None for one in given[:3]):
        return None
    starts, ends, axes = (one or () for one in given[:3])
    steps = given[3] if len(given) > 3 else (1,) * len(axes)
    answer = list(sizes)
    for start, end, axis, step in zip(starts, ends, axes, steps or (None,) * len(axes), strict=True):
        if not isinstance(axis, int):
            return None
        answer[axis] = _sliced(sizes[axis], end) if (start, step) == (0, 1) else None
    return tuple(answer)


def _sliced(size: Size, end: Size) -> Size:
    if (isinstance(end, int) and end >= TO_THE_END) or size == end:
        return size
    if isinstance(end, int) and isinstance(size, int):
        return min(size, end if end >= 0 else size + end)
    if (isinstance(end, int) and end < 0) or size is None or end is None:
        return None
    return f"Min({size}, {end})" if isinstance(size, int) else f"Min({end}, {size})"


def _concat(node: ir.Node, _: Elements) -> Sizes | None:
    shapes = [sizes_of(value) for value in node.inputs]
    known = [shape for shape in shapes if shape is not None]
    if len(known) != len(shapes):
        return None
    axis = node.attributes.get_int("axis", 0) % len(known[0])
    numbers = [shape[axis] for shape in known if isinstance(shape[axis], int)]
    total = sum(size for size in numbers if isinstance(size, int)) if len(numbers) == len(known) else None
    return (*known[0][:axis], total, *known[0][axis + 1 :])


def _gemm(node: ir.Node, _: Elements) -> Sizes | None:
    one, other = (sizes_of(value) for value in node.inputs[:2])
    if one is None or other is None or len(one) != 2 or len(other) != 2:
        return None
    rows, columns = (node.attributes.get_int(name, 0) for name in ("transA", "transB"))
    return (one[1 if rows else 0], other[0 if columns else 1])


def _many_heads(node: ir.Node, _: Elements) -> Sizes | None:
    query, *others = (sizes_of(value) for value in node.inputs[:3])
    is_side_by_side = len(others) == 2 and query is not None and others[1] is not None and len(others[1]) == 3
    return (*query[:2], others[1][2]) if is_side_by_side and query and others[1] else None


def _packed_attention(node: ir.Node, _: Elements) -> Sizes | None:
    given, columns = (sizes_of(value) for value in node.inputs[:2])
    width = columns[1] if columns else None
    is_even = isinstance(width, int) and not node.attributes.get_ints("qkv_hidden_sizes", ())
    return (*given[:2], width // 3) if given is not None and is_even and isinstance(width, int) else None


def _filled(node: ir.Node, elements: Elements) -> Sizes | None:
    return elements(node.inputs[0])


def _range(node: ir.Node, elements: Elements) -> Sizes | None:
    start, limit, step = (elements(value) for value in node.inputs)
    return (limit[0],) if limit and start == (0,) and step == (1,) else None


def _shape_of_shape(node: ir.Node, elements: Elements) -> Sizes | None:
    sizes = elements(node.outputs[0])
    return None if sizes is None else (len(sizes),)


def parts(node: ir.Node, elements: Elements) -> list[Sizes]:
    """Returns the sizes of all that a `Split` gives."""
    sizes = sizes_of(node.inputs[0])
    if sizes is None:
        return []
    axis, count = node.attributes.get_int("axis", 0) % len(sizes), len(node.outputs)
    told = node.attributes.get_ints("split", ()) or (elements(node.inputs[1]) if len(node.inputs) > 1 else None)
    whole = sizes[axis]
    even = [whole // count] * count if isinstance(whole, int) and whole % count == 0 else [None] * count
    return [(*sizes[:axis], part, *sizes[axis + 1 :]) for part in told or even]


SHAPES: Final[dict[str, _Rule]] = {
    **dict.fromkeys(PAIRING, _elementwise),
    **dict.fromkeys((*EACH, *_ALONG), _same),
    **dict.fromkeys((RMS_NORM, *_KEEPING), _same),
    **dict(zip(_ATTENTIONS, (_many_heads, _packed_attention), strict=True)),
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "GatherElements": lambda node, _: sizes_of(node.inputs[1]),
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Slice": _slice,
    "Concat": _concat,
    "Range": _range,
    "ConstantOfShape": _filled,
    "Shape": _shape_of_shape,
}
