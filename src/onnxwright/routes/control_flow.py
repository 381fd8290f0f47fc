"""Operators of control flow that `torch.export` or the exporter after it refuses for reasons that no graph has.

Joining answers of two branches whose sizes differ, `torch.cond` follows the strides of each from axis to axis, and
stops at `max(size, 1)`, which PyTorch writes where a size might be 0. A graph has no strides: sizes are joined axis by
axis, as of dense answers.

It also refuses inputs that share memory, as views of one tensor do, and so do the loops (`weight.T` beside `weight`).
That matters to what writes into them, which is still refused.

The exporter names two versions of its own domain of functions, one inside of a loop, and refuses to inline them then.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, Final
from unittest import mock

import onnx_ir as ir
import torch
from onnx_ir.passes.common import InlinePass
from torch import Tensor

_AMONG_INPUTS: Final = "Input-to-input aliasing"


@contextlib.contextmanager
def control_flow_taken() -> Iterator[None]:
    """Has all of these exported while entered."""
    from torch._dynamo.output_graph import AliasingInfo, SubgraphTracer
    from torch._higher_order_ops import utils

    inline = InlinePass.call

    def inlined(inliner: InlinePass, model: ir.Model) -> ir.passes.PassResult:
        versions = {domain: model.opset_imports.get(domain, 1) for domain, *_ in model.functions}
        for function in model.functions.values():
            function.opset_imports.update(
                {domain: versions[domain] for domain in versions.keys() & function.opset_imports.keys()}
            )
        return inline(inliner, model)

    conditional: Any = sys.modules["torch._higher_order_ops.cond"]  # the package has a function of that name
    own = conditional._merge_output

    def merge(one: Any, other: Any, mode: Any) -> Any:
        if not (isinstance(one, Tensor) and isinstance(other, Tensor)) or one.dim() != other.dim():
            return own(one, other, mode)
        sizes = [own(_row(one, axis, mode), _row(other, axis, mode), mode).shape[0] for axis in range(one.dim())]
        with mode:
            return torch.empty(sizes, dtype=one.dtype, device=one.device)

    def shares_or_writes(*args: Any, **kwargs: Any) -> tuple[bool, bool]:
        (_, *with_answers), written = utils.potential_input_alias_or_mutation(*args, **kwargs)  # type: ignore[no-untyped-call]  # torch's
        return any(with_answers), bool(written)

    told_apart = SubgraphTracer.has_aliasing

    def shares(tracer: SubgraphTracer) -> AliasingInfo:
        told = told_apart(tracer)  # of inputs first; what is handed on was copied
        return AliasingInfo(has_aliasing=False, msg="") if told.msg.startswith(_AMONG_INPUTS) else told

    with (
        mock.patch.object(InlinePass, "call", inlined),
        mock.patch.object(conditional, "_merge_output", merge),
        mock.patch.object(SubgraphTracer, "has_aliasing", shares),
        mock.patch.object(utils, "has_potential_input_alias_or_mutation", shares_or_writes),
    ):
        yield


def _row(answer: Tensor, axis: int, mode: Any) -> Tensor:
    """What has one axis of an answer alone."""
    with mode:
        return torch.empty(answer.shape[axis], dtype=answer.dtype, device=answer.device)
