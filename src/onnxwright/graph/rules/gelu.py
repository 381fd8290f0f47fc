"""Gelu in its spellings: by `Erf`, by `Tanh` and by `Sigmoid`.

`torch.nn.GELU()` is exported below opset 20 as `0.5 * x * (1 + erf(x / sqrt(2)))`; `NewGELUActivation` and
`GELU("tanh")` are `0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))`; `QuickGELU` is
`x * sigmoid(1.702 * x)`. Each becomes one node: ONNX Runtime's `Gelu`, `FastGelu` or `QuickGelu`, else ONNX's `Gelu`
(opset 20), which has the first two. Factors may stand in any order, so products are taken apart rather than matched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.constants import commuted, is_close, is_near, number
from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.products import Product, produced_by, taken_apart, taken_outside
from onnxwright.graph.targets import CONTRIB, FUSED_TYPES, Operator

_EXACT, _TANH, _QUICK = "Gelu", "FastGelu", "QuickGelu"
_CUBIC: Final = 0.044715
_QUICK_ALPHA: Final = 1.702


class _Found(NamedTuple):
    x: ir.Value
    spelling: str
    nodes: Sequence[ir.Node]


class _Gelu(RewriteRuleClassBase):
    def __init__(self, made: Operator) -> None:
        super().__init__()
        self._made = made

    def pattern(self, op: Any, one: Any, other: Any) -> Any:
        """Matches any product; `check` takes it apart."""
        return op.Mul(one, other, _outputs=["product"])

    def check(self, context: Any, product: ir.Value, **_: Any) -> MatchResult:
        """Declines types that the operator lacks, and what something else takes a part of."""
        result, found = MatchResult(), _gelu(product)
        if found is None or (found.spelling == _QUICK and not self._made.domain):
            return result.fail()
        taken = taken_outside(found.nodes, context.root)
        if taken is not None:
            return result.fail("Something else takes a value inside of the pattern.", taken)
        if found.x.dtype not in FUSED_TYPES:
            return result.fail("The input isn't known to be float32 or float16.", found.x)
        return result

    def rewrite(self, op: Any, product: ir.Value, **_: Any) -> Any:
        """Writes one node."""
        found = _gelu(product)
        assert found is not None, "it has been checked"
        if self._made.domain:
            alpha = {"alpha": _QUICK_ALPHA} if found.spelling == _QUICK else {}
            return getattr(op, found.spelling)(found.x, _domain=CONTRIB, _version=1, **alpha)
        return op.Gelu(found.x, approximate="none" if found.spelling == _EXACT else "tanh")


def _gelu(value: ir.Value) -> _Found | None:
    product = taken_apart(value)
    if len(product.values) != 2:
        return None
    for x, gate in commuted(*product.values):
        for find in (_by_sum, _by_sigmoid):
            found = find(x, gate, product)
            if found is not None:
                return found
    return None


def _by_sum(x: ir.Value, gate: ir.Value, product: Product) -> _Found | None:
    """Half of `x * (1 + f(...))`."""
    added = produced_by(gate, "Add")
    if added is None or not is_near(product.number, 0.5, x):
        return None
    for one, curve in commuted(*added.inputs):
        bent = produced_by(curve, "Erf", "Tanh")
        if bent is not None and is_close(one, 1.0):
            inner = _inside_erf(x, bent) if bent.op_type == "Erf" else _inside_tanh(x, bent)
            spelling = _EXACT if bent.op_type == "Erf" else _TANH
            return None if inner is None else _Found(x, spelling, [*product.nodes, added, bent, *inner])
    return None


def _by_sigmoid(x: ir.Value, gate: ir.Value, product: Product) -> _Found | None:
    bent = produced_by(gate, "Sigmoid")
    if bent is None or not math.isclose(product.number, 1.0):
        return None
    inner = taken_apart(bent.inputs[0])
    if inner.values != [x] or not is_near(inner.number, _QUICK_ALPHA, x):
        return None
    return _Found(x, _QUICK, [*product.nodes, bent, *inner.nodes])


def _inside_erf(x: ir.Value, node: ir.Node) -> list[ir.Node] | None:
    inner = taken_apart(node.inputs[0])
    is_root = is_near(inner.number, math.sqrt(0.5), x)
    return inner.nodes if inner.values == [x] and is_root else None


def _inside_tanh(x: ir.Value, node: ir.Node) -> list[ir.Node] | None:
    """`sqrt(2 / pi) * (x + 0.044715 * x**3)`."""
    inner = taken_apart(node.inputs[0])
    added = produced_by(inner.values[0], "Add") if len(inner.values) == 1 else None
    if added is None or not is_near(inner.number, math.sqrt(2 / math.pi), x):
        return None
    for linear, cubic in commuted(*added.inputs):
        nodes = _cubed(x, cubic) if linear is x else None
        if nodes is not None:
            return [*inner.nodes, added, *nodes]
    return None


def _cubed(x: ir.Value, value: ir.Value) -> list[ir.Node] | None:
    """`0.044715 * x**3`, as a power or as a product."""
    product = taken_apart(value)
    if not is_near(product.number, _CUBIC, x):
        return None
    if product.values == [x, x, x]:
        return product.nodes
    power = produced_by(product.values[0], "Pow") if len(product.values) == 1 else None
    is_cube = power is not None and power.inputs[0] is x and number(power.inputs[1]) == 3.0
    return [*product.nodes, power] if power is not None and is_cube else None


RULE = Rule(
    name="gelu",
    group="fusion",
    summary="Makes one node of Gelu, by erf, tanh or sigmoid.",
    patterns=lambda made: [_Gelu.rule(made)] if made else [],
    makes=(Operator(CONTRIB, "Gelu"), Operator("", "Gelu", 20)),
)
