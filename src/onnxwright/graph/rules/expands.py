"""Drops `Expand` where a value has the sizes already.

Exporters write one for each broadcast that PyTorch's code or its decompositions ask for: `mask.expand(batch, 1, s, s)`,
`x.expand_as(x)`.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from onnxwright.graph.rules import Rule
from onnxwright.graph.rules.reshapes import is_same
from onnxwright.graph.sizes import sizes_of


class _Nothing(RewriteRuleClassBase):
    def pattern(self, op: Any, x: Any, shape: Any) -> Any:
        """Matches any `Expand`."""
        return op.Expand(x, shape, _outputs=["expanded"])

    def check(self, context: Any, x: ir.Value, expanded: ir.Value, **_: Any) -> MatchResult:
        """Declines where sizes differ, or may."""
        result = MatchResult()
        if not is_same(sizes_of(x), sizes_of(expanded)):
            return result.fail("It isn't known that the sizes are the same.", x)
        return result

    def rewrite(self, op: Any, x: ir.Value, **_: Any) -> Any:
        """Leaves the value."""
        return op.Identity(x)


RULE = Rule(
    name="expands",
    group="simplify",
    summary="Drops broadcasts to the sizes that a value has.",
    patterns=lambda _: [_Nothing.rule()],
    is_quiet=True,
)
