"""What engines take: one table, and for ONNX Runtime what the installed version says of itself."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnx_ir as ir

from onnxwright.errors import UsageError, accepted

CONTRIB: Final = "com.microsoft"
RMS_NORM: Final = "SimplifiedLayerNormalization"
"""An operator of ONNX Runtime that it has in ONNX's own domain."""


@dataclass(frozen=True)
class Operator:
    """An operator by domain and name, and the version of that domain since which it is there."""

    domain: str
    name: str
    since: int = 1

    def __str__(self) -> str:
        return f"{self.domain}::{self.name}".removeprefix("::")


@dataclass(frozen=True)
class Target:
    """An engine: which opsets it reads, which domains it has beside ONNX's, and which of ONNX's operators it lacks."""

    name: str
    opsets: range
    domains: frozenset[str] = frozenset()
    lacking: frozenset[str] = frozenset()
    safe_opsets: range | None = None
    """Those at which it was tried; it may read others and mistake them. All that it reads, unless some are named."""
    types: frozenset[str] = frozenset()
    """The element types that it has; none where it isn't known that it lacks any."""

    def takes(self, operator: Operator, imports: Mapping[str, int]) -> bool:
        """Whether a graph with these opsets may hold an operator for this engine."""
        if operator.domain:
            return operator.domain in self.domains and _is_in_runtime(operator)
        version = imports.get("", 0)
        is_known = operator.since <= version and version in self.opsets and operator.name not in self.lacking
        return is_known and (not self.domains or _is_in_runtime(operator))


FUSED_TYPES: Final = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16})
"""What ONNX Runtime's own operators take; on a CPU, it casts where it lacks a kernel for float16."""
_LATE: Final = frozenset({"Attention", "RotaryEmbedding", "RMSNormalization", RMS_NORM})
"""What only ONNX Runtime is known to run."""
_TRIED: Final = range(18, 21)
TYPES: Final = frozenset(
    {
        *("FLOAT", "FLOAT16", "BFLOAT16", "INT8", "INT4", "INT32", "INT64", "BOOL", "UINT8", "DOUBLE"),
        *("FLOAT8E4M3FN", "FLOAT4E2M1"),
    }
)
"""What TensorRT's parser takes; of doubles it makes floats."""
TARGETS: Final = {
    target.name: target
    for target in (
        Target("onnxruntime", range(7, 27), domains=frozenset({CONTRIB, "com.ms.internal"})),
        Target("onnxruntime-cuda", range(7, 27), domains=frozenset({CONTRIB})),
        # It reads LayerNormalization and Gelu; its plug-ins fuse attention from plain operators themselves.
        Target("openvino", range(7, 24), lacking=_LATE),
        # Its parser accepts operators of later opsets than its builder has: float32 Attention fails to build.
        Target("tensorrt", range(9, 24), lacking=_LATE, safe_opsets=_TRIED, types=TYPES),
        Target("tensorrt-rtx", range(9, 24), lacking=_LATE, safe_opsets=_TRIED, types=TYPES),
    )
}


def target(name: str) -> Target:
    """Returns the target of that name.

    Raises:
        UsageError: when there is none.
    """
    if name not in TARGETS:
        raise UsageError(f"engine '{name}' is unknown; expected {accepted(name, TARGETS)}.")
    return TARGETS[name]


def _is_in_runtime(operator: Operator) -> bool:
    """Whether the installed ONNX Runtime has a kernel for an operator on the CPU; one that doesn't tell has all.

    What it has on a GPU is not asked: a graph of which a part would run on the CPU is refused when it is loaded.
    """
    kernels = _kernels()
    return not kernels or (operator.domain, operator.name) in kernels


_ALONE: Final = frozenset({"CPUExecutionProvider", "AzureExecutionProvider"})
"""The providers of a build for CPUs."""


@functools.cache
def _kernels() -> frozenset[tuple[str, str]]:
    """The operators of ONNX Runtime on the CPU, by domain and name; a build without the table tells none.

    A build for GPUs isn't asked: it ends the process where a library of one of its providers is missing, as TensorRT's.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    if not _ALONE.issuperset(state.get_available_providers()):
        return frozenset()
    told: list[Any] = getattr(state, "get_all_opkernel_def", list)()
    return frozenset((one.domain, one.op_name) for one in told if one.provider == "CPUExecutionProvider")
