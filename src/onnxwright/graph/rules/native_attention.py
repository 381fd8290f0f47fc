"""Attention of many heads, as ONNX's own `Attention` (opset 23).

What `attention` describes becomes one node that takes heads one by one, as PyTorch has them. Keys and values that are
repeated for groups of queries (`repeat_kv` in Hugging Face's Llama) are taken once: the operator repeats them itself.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.attending import fitted_mask, found_attention
from onnxwright.graph.rules.attention import Attending
from onnxwright.graph.targets import Operator


class _Native(Attending):
    def rewrite(self, op: Any, attended: ir.Value, **_: Any) -> Any:
        """Writes the node."""
        found = found_attention(attended)
        assert found is not None, "it has been checked"
        mask = fitted_mask(op, found, (found.query, 2), (found.key, 3))
        key = op.Transpose(found.key, perm=[0, 1, 3, 2])
        given = [found.query, key, found.value, *([mask] if mask is not None else [])]
        return op.Attention(*given, scale=found.scale)


RULE = Rule(
    name="native-attention",
    group="fusion",
    summary="Makes one node of ONNX's of attention with many heads.",
    patterns=lambda _: [_Native.rule()],
    makes=(Operator("", "Attention", 23),),
)
