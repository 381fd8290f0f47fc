"""Normalization by the root mean square, written out.

`LlamaRMSNorm` and its kin compute `x * rsqrt((x ** 2).mean(-1, keepdim=True) + epsilon) * weight`, in float32 also
where `x` is float16. It becomes ONNX Runtime's `SimplifiedLayerNormalization`, or ONNX's `RMSNormalization` (opset 23).
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.constants import commuted
from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.layer_norm import Normed, declined, normalized, typed_like
from onnxwright.graph.rules.products import produced_by
from onnxwright.graph.sizes import sizes_of
from onnxwright.graph.targets import RMS_NORM, Operator


class _RmsNorm(RewriteRuleClassBase):
    def __init__(self, made: Operator) -> None:
        super().__init__()
        self._made = made

    def pattern(self, op: Any, one: Any, other: Any) -> Any:
        """Matches any product; `check` looks for the weight and what is scaled."""
        return op.Mul(one, other, _outputs=["scaled"])

    def check(self, context: Any, scaled: ir.Value, **_: Any) -> MatchResult:
        """Declines other types than floats, and what something else takes a part of."""
        result, found = MatchResult(), _scaled(scaled)
        return result.fail() if found is None else declined(result, *found, context.root)

    def rewrite(self, op: Any, scaled: ir.Value, **_: Any) -> Any:
        """Writes one node."""
        found = _scaled(scaled)
        assert found is not None, "it has been checked"
        normed, scale = found
        stash = {"stash_type": 1}
        return getattr(op, self._made.name)(normed.x, scale, axis=-1, epsilon=normed.epsilon, **stash)


def _scaled(value: ir.Value) -> tuple[Normed, ir.Value] | None:
    """What is normalized and not centred before, and its scale."""
    root = value.producer()
    for scale, inner in commuted(*root.inputs) if root is not None else ():
        normed = normalized(inner)
        if normed is not None and len(sizes_of(scale) or ()) == 1 and produced_by(normed.x, "Sub") is None:
            return Normed(typed_like(normed.x, value), normed.epsilon), scale
    return None


RULE = Rule(
    name="rms-norm",
    group="fusion",
    summary="Makes one node of a normalization by the root mean square.",
    patterns=lambda made: [_RmsNorm.rule(made)] if made else [],
    makes=(Operator("", RMS_NORM), Operator("", "RMSNormalization", 23)),
)
