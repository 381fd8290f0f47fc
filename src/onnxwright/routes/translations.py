"""What the exporter of `torch.export` lacks, or writes otherwise than Python and PyTorch compute it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import torch


def own_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Returns functions that write operators, by these, for `torch.onnx.export`."""
    return {
        round: _rounded,
        operator.floordiv: _floored,
        torch.ops.aten.diagonal_scatter.default: _diagonal_scattered,
        torch.ops.higher_order.map_impl: _mapped,
    }


def _mapped(body: Any, rows: Any, others: Any) -> Any:
    """A function of each row, with what it takes besides: a scan that carries nothing on."""
    from torch.onnx._internal.exporter._torchlib.ops.hop import higher_order_scan

    return higher_order_scan(body, (), rows, others)


def _rounded(x: Any, digits: int | None = None) -> Any:
    """`round` of a number computed from sizes."""
    from onnxscript import opset18 as op

    if digits is not None:
        raise NotImplementedError("rounds to whole numbers only")
    return op.Cast(op.Round(x), to=ir.DataType.INT64)


def _floored(dividend: Any, divisor: Any) -> Any:
    """`//` of numbers computed from sizes: the exporter's cuts off, so that `-(-length // 4)` is one too few."""
    from onnxscript import opset18 as op

    return op.Div(op.Sub(dividend, op.Mod(dividend, divisor)), divisor)


def _diagonal_scattered(x: Any, source: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """A tensor with its diagonal from another, which has that as its last axis."""
    from onnxscript import opset18 as op

    rank = len(x.shape)
    pair = [dim1 % rank, dim2 % rank]
    order = [axis for axis in range(rank) if axis not in pair] + pair
    table = op.Transpose(x, perm=order)
    zero, one = op.Constant(value_ints=[0]), op.Constant(value_ints=[1])
    sizes = (op.Squeeze(op.Shape(table, start=axis, end=axis + 1)) for axis in (rank - 2, rank - 1))
    rows, columns = (op.Range(op.Constant(value_int=0), size, op.Constant(value_int=1)) for size in sizes)
    is_on = op.Equal(op.Unsqueeze(op.Add(rows, op.Constant(value_int=offset)), one), op.Unsqueeze(columns, zero))
    last = op.Sub(op.Shape(source, start=-1), one)
    place = op.Min(op.Max(op.Sub(rows, op.Constant(value_int=max(-offset, 0))), zero), last)
    values = op.Unsqueeze(op.Gather(source, place, axis=-1), op.Constant(value_ints=[-1]))
    return op.Transpose(op.Where(is_on, values, table), perm=[order.index(axis) for axis in range(rank)])
