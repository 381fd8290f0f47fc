"""What people told TensorRT 8 to 10, and what does the same now: TensorRT 11 and TensorRT for RTX took flags away."""

from __future__ import annotations

from typing import Final, NamedTuple


class Replacement(NamedTuple):
    """A flag or a call as it was, and what is done instead."""

    was: str
    now: str


WORD: Final = "trt10"
REPLACEMENTS: Final = (
    Replacement("trtexec --fp16, BuilderFlag.FP16", "The graph says it: build from a variant in float16."),
    Replacement("--bf16, BuilderFlag.BF16", "The graph says it: build from a variant in bfloat16."),
    Replacement(
        "--int8, BuilderFlag.INT8, IInt8Calibrator, set_dynamic_range",
        "The graph says it: QuantizeLinear and DequantizeLinear, signed and symmetric, calibrated beforehand. "
        "`onnxwright check FILE --target NAME` tells of those that aren't.",
    ),
    Replacement("--best", "There is no such choice any more: build variants, and measure them."),
    Replacement(
        "ILayer.precision, OBEY_PRECISION_CONSTRAINTS, PREFER_PRECISION_CONSTRAINTS",
        "Cast in the graph around what is to stay in float32.",
    ),
    Replacement("EXPLICIT_BATCH", "Leave it out: networks have no implicit batch."),
    Replacement("STRONGLY_TYPED, --stronglyTyped", "Leave it out: every network is strongly typed."),
    Replacement("TF32 (on unless cleared)", "`onnxwright build --tf32`; off unless given."),
    Replacement("max_workspace_size, --workspace", "`onnxwright build --workspace MIB`."),
    Replacement("--minShapes --optShapes --maxShapes", "`onnxwright build --batch 1 8 32 --sequence 1 128 512`."),
    Replacement("several profiles", "`onnxwright build --bucket 64 --bucket 256`, or `--lengths FILE`."),
    Replacement(
        "build_engine, execute_v2, bindings", "`ow.build(…).session().run({name: array})`; tensors have names."
    ),
    Replacement("HARDWARE_COMPATIBILITY", "`onnxwright build --target sm80 --target sm89` (TensorRT for RTX)."),
)


def page() -> str:
    """Returns the table in Markdown."""
    rows = (f"| {one.was} | {one.now} |" for one in REPLACEMENTS)
    head = "TensorRT 11 and TensorRT for RTX compute what the graph says, in the types that it says."
    return "\n".join(["## trt10", head, "", "| TensorRT up to 10 | now |", "|---|---|", *rows]) + "\n"
