"""Attention of many heads, as ONNX's own `Attention` (opset 23).

What `attention` describes becomes one node that takes heads one by one, as PyTorch has them. Keys and values that are
repeated for groups of queries (`repeat_kv` in Hugging Face's Llama) are taken once: the operator repeats them itself.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.attending import Attention, fitted_mask, found_attention
from onnxwright.graph.rules.attention import Attending
from onnxwright.graph.rules.products import produced_by
from onnxwright.graph.sizes import sizes_of
from onnxwright.graph.targets import Operator


class _Native(Attending):
    def rewrite(self, op: Any, attended: ir.Value, **_: Any) -> Any:
        """Writes the node."""
        found = found_attention(attended)
        assert found is not None, "it has been checked"
        mask = fitted_mask(op, found, (found.query, 2), (found.key, 3))
        key, value = taken_once(found) or (op.Transpose(found.key, perm=[0, 1, 3, 2]), found.value)
        given = [found.query, key, value, *([mask] if mask is not None else [])]
        return op.Attention(*given, scale=found.scale)


def taken_once(found: Attention) -> tuple[ir.Value, ir.Value] | None:
    """Returns the key and the value before they are repeated, where both are, in the same way."""
    turned = produced_by(found.key, "Transpose")
    if turned is None or list(turned.attributes.get_ints("perm", ())) != [0, 1, 3, 2]:
        return None
    key, value = _repeated(turned.inputs[0]), _repeated(found.value)
    if key is None or value is None or (sizes_of(key) or ())[1:2] != (sizes_of(value) or ())[1:2]:
        return None
    return key, value


def _repeated(value: ir.Value | None) -> ir.Value | None:
    """What each head of a value repeats: `Reshape(Expand(Unsqueeze(x)))`, head after head."""
    joined = produced_by(value, "Reshape")
    wide = produced_by(joined.inputs[0], "Expand") if joined is not None else None
    apart = produced_by(wide.inputs[0], "Unsqueeze") if wide is not None else None
    if wide is None or apart is None or value is None:
        return None
    sizes, many, one, whole = (sizes_of(each) for each in (apart.inputs[0], wide.outputs[0], wide.inputs[0], value))
    if sizes is None or many is None or whole is None or len(sizes) != 4 or None in (*sizes, *many):
        return None
    is_by_head = one == (*sizes[:2], 1, *sizes[2:]) and many == (*sizes[:2], many[2], *sizes[2:])
    heads = [size for size in (sizes[1], many[2]) if isinstance(size, int)]
    is_same = len(heads) == 2 and whole == (sizes[0], heads[0] * heads[1], *sizes[2:])
    return apart.inputs[0] if is_by_head and is_same else None


RULE = Rule(
    name="native-attention",
    group="fusion",
    summary="Makes one node of ONNX's of attention with many heads.",
    patterns=lambda _: [_Native.rule()],
    makes=(Operator("", "Attention", 23),),
)
