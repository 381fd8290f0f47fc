"""Questions about sizes as nodes of a graph: `sequence > 8`, `batch * sequence <= 64`, `sequence % 2 == 0`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from onnxwright.signature import Signature

_BINARY: Final[dict[type[ast.operator], str]] = {
    ast.Add: "Add",
    ast.Sub: "Sub",
    ast.Mult: "Mul",
    ast.FloorDiv: "Div",
    ast.Mod: "Mod",
}
_COMPARED: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "Equal",
    ast.Lt: "Less",
    ast.LtE: "LessOrEqual",
    ast.Gt: "Greater",
    ast.GtE: "GreaterOrEqual",
}
_CALLED: Final = {"min": "Min", "max": "Max", "abs": "Abs"}


class Question:
    """The nodes that answer a question about the sizes of a graph's inputs; `answer` is true or false, without axes.

    The question is Python, in which `dims['x']` is the size of the dim `x`, an int64.

    Raises:
        ValueError: when it holds what has no form here.
    """

    def __init__(self, code: str, signature: Signature, inputs: Mapping[str, ir.Value], prefix: str):
        self.nodes: list[ir.Node] = []
        self._axes = {
            dim: (inputs[spec.name], axis)
            for spec in reversed(signature.inputs)
            for axis, dim in enumerate(spec.shape)
            if isinstance(dim, str)
        }
        self._prefix = prefix
        self._sizes: dict[str, ir.Value] = {}
        asked = ast.parse(code, mode="eval").body
        if not isinstance(asked, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
            raise ValueError(f"`{code}` is neither true nor false")  # noqa: TRY004 - a text, whatever its tree
        self.answer = self._value(asked)

    def _value(self, node: ast.expr) -> ir.Value:
        for kind, write in self._known():
            if isinstance(node, kind):
                return write(node)
        raise ValueError(f"`{ast.unparse(node)}` has no form in a graph")

    def _known(self) -> Iterator[tuple[type[ast.expr], Callable[..., ir.Value]]]:
        yield ast.Constant, self._constant
        yield ast.Subscript, self._size
        yield ast.BinOp, self._binary
        yield ast.UnaryOp, self._unary
        yield ast.BoolOp, self._bool
        yield ast.Compare, self._compare
        yield ast.Call, self._call

    def _constant(self, node: ast.Constant) -> ir.Value:
        if type(node.value) is not int:
            raise ValueError(f"`{ast.unparse(node)}` is no whole number")
        return self._node("Constant", [], value=ir.tensor(np.array(node.value, np.int64)))

    def _size(self, node: ast.Subscript) -> ir.Value:
        dim = ast.literal_eval(node.slice)
        if dim not in self._sizes:
            value, axis = self._axes[dim]
            shape = self._node("Shape", [value], start=axis, end=axis + 1)
            axes = self._node("Constant", [], value=ir.tensor(np.array([0], np.int64)))
            self._sizes[dim] = self._node("Squeeze", [shape, axes])
        return self._sizes[dim]

    def _binary(self, node: ast.BinOp) -> ir.Value:
        if type(node.op) not in _BINARY:
            raise ValueError(f"`{ast.unparse(node)}` has no form in a graph")
        left, right = self._value(node.left), self._value(node.right)
        if isinstance(node.op, ast.FloorDiv):  # `Div` cuts off, Python rounds down
            left = self._node("Sub", [left, self._node("Mod", [left, right])])
        return self._node(_BINARY[type(node.op)], [left, right])

    def _unary(self, node: ast.UnaryOp) -> ir.Value:
        known = {ast.USub: "Neg", ast.Not: "Not"}
        if type(node.op) not in known:
            raise ValueError(f"`{ast.unparse(node)}` has no form in a graph")
        return self._node(known[type(node.op)], [self._value(node.operand)])

    def _bool(self, node: ast.BoolOp) -> ir.Value:
        first, *others = map(self._value, node.values)
        for other in others:
            first = self._node("And" if isinstance(node.op, ast.And) else "Or", [first, other])
        return first

    def _compare(self, node: ast.Compare) -> ir.Value:
        if len(node.ops) != 1:
            raise ValueError(f"`{ast.unparse(node)}` compares more than two")
        sides = [self._value(node.left), self._value(node.comparators[0])]
        if isinstance(node.ops[0], ast.NotEq):
            return self._node("Not", [self._node("Equal", sides)])
        if type(node.ops[0]) not in _COMPARED:
            raise ValueError(f"`{ast.unparse(node)}` has no form in a graph")
        return self._node(_COMPARED[type(node.ops[0])], sides)

    def _call(self, node: ast.Call) -> ir.Value:
        name = ast.unparse(node.func)
        if name not in _CALLED:
            raise ValueError(f"`{ast.unparse(node)}` has no form in a graph")
        return self._node(_CALLED[name], [self._value(argument) for argument in node.args])

    def _node(self, operator: str, given: list[ir.Value], **attributes: object) -> ir.Value:
        name = f"{self._prefix}/{operator}_{len(self.nodes)}"
        node = ir.node(operator, given, attributes=attributes or None, name=name)  # type: ignore[arg-type]  # ints and tensors
        node.outputs[0].name = f"{name}_output"
        self.nodes.append(node)
        return node.outputs[0]
