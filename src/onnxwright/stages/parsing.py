"""What the library that builds an engine makes of a graph: what it refuses, mistakes, and builds of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from onnxwright import backends
from onnxwright.errors import BuildError
from onnxwright.nvidia.asking import SECONDS, CrashError
from onnxwright.nvidia.backend import TensorRt, refusal
from onnxwright.nvidia.orders import Answer, Refusal, Settings, Tensor

if TYPE_CHECKING:
    import onnx_ir

_NAMES: Final = {"half": "float16", "bf16": "bfloat16", "fp8": "float8e4m3fn", "fp4": "float4e2m1"}
"""ONNX's names of TensorRT's types, where they are others."""
_WRITES_BEYOND: Final = frozenset({"openvino"})
_OF_TYPES: Final = "Failed to convert ONNX date type"


def answer_of(
    name: str, file: Path, settings: Settings, engine: Path | None = None, *, seconds: float = SECONDS
) -> Answer:
    """Asks a library to parse a graph and to build it; every node of an operator that it lacks is told, too.

    It isn't asked to build what it would take for something else. Inputs and outputs of types that it lacks are handed
    to it in wider ones, where nothing but a cast takes or gives them.

    Raises:
        BuildError: when it crashes, or takes longer than `seconds`.
        EngineError: when the library can't be used here.
    """
    from onnxwright.graph.bounding import handed
    from onnxwright.graph.reading import read_model

    builder = backends.builder(name)
    assert isinstance(builder, TensorRt), "the only ones so far"
    model = read_model(file)
    wrong = _misread(name, model) if engine is not None else ()
    if wrong:
        return Answer("", refused=wrong)
    operators = tuple(sorted({node.op_type for node in model.graph.all_nodes()}))
    with handed(file, model) as (taken, changed):
        try:
            answer = builder.build(taken, settings, engine, operators=operators, seconds=seconds)
        except CrashError as crash:
            raise BuildError(f"{name}, with this graph, {crash}") from crash
    return _with_same_types(_with_types_told(answer, model), model, changed)


def _with_types_told(answer: Answer, model: onnx_ir.Model) -> Answer:
    """Names the inputs and outputs for whose types the parser refuses a graph, which it doesn't."""
    from onnxwright.graph.linting import lacked

    told = "; ".join(lacked(model))
    if not told:
        return answer
    refused = tuple(
        msgspec.structs.replace(one, reason=f"{told}. {one.reason}") if _OF_TYPES in one.reason else one
        for one in answer.refused
    )
    return msgspec.structs.replace(answer, refused=refused)


def misreading_of(name: str, file: Path) -> str:
    """Says what an engine's parser would take for something else; nothing where it is read right, or not parsed."""
    from onnxwright.graph.reading import read_model

    wrong = _misread(name, read_model(file)) if name in backends.builders() else ()
    return refusal(name, Answer("", refused=wrong)) if wrong else ""


def may_end(name: str, file: Path) -> bool:
    """Whether an engine may bring down the process that runs a graph with it: a loop that adds to a sequence."""
    from onnxwright.graph.reading import read_model

    if name not in _WRITES_BEYOND:
        return False
    return {"Loop", "SequenceInsert"} <= {node.op_type for node in read_model(file).graph.all_nodes()}


def _misread(name: str, model: onnx_ir.Model) -> tuple[Refusal, ...]:
    from onnxwright.graph.linting import misread
    from onnxwright.graph.passes import named
    from onnxwright.graph.targets import TARGETS

    return tuple(Refusal(-1, named(node), node.op_type, why) for node, why in misread(model, TARGETS[name]))


def _with_same_types(answer: Answer, model: onnx_ir.Model, changed: Mapping[str, str]) -> Answer:
    """Refuses an engine whose inputs or outputs have other types than it was handed: it makes floats of doubles."""
    values = {value.name: value for value in (*model.graph.inputs, *model.graph.outputs)}
    for tensor in (*answer.inputs, *answer.outputs):
        kind = values[tensor.name].dtype if tensor.name in values else None
        if kind is not None and kind.name.lower() != _NAMES.get(tensor.dtype, tensor.dtype):
            told = f"it computes '{tensor.name}' in {tensor.dtype}, and the graph declares {kind.name.lower()}."
            return msgspec.structs.replace(answer, is_built=False, problem=told)
    return msgspec.structs.replace(
        answer, inputs=_declared(answer.inputs, changed), outputs=_declared(answer.outputs, changed)
    )


def _declared(tensors: tuple[Tensor, ...], changed: Mapping[str, str]) -> tuple[Tensor, ...]:
    return tuple(msgspec.structs.replace(one, declared=changed.get(one.name, "")) for one in tensors)
