"""What the library that builds an engine makes of a graph: what it refuses, mistakes, and builds of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from onnxwright import backends
from onnxwright.errors import BuildError
from onnxwright.nvidia.asking import SECONDS, CrashError
from onnxwright.nvidia.backend import TensorRt, refusal
from onnxwright.nvidia.orders import Answer, Refusal, Settings

if TYPE_CHECKING:
    import onnx_ir

_NAMES: Final = {"half": "float16", "bf16": "bfloat16", "fp8": "float8e4m3fn", "fp4": "float4e2m1"}
"""ONNX's names of TensorRT's types, where they are others."""


def answer_of(
    name: str, file: Path, settings: Settings, engine: Path | None = None, *, seconds: float = SECONDS
) -> Answer:
    """Asks a library to parse a graph and to build it; every node of an operator that it lacks is told, too.

    It isn't asked to build what it would take for something else.

    Raises:
        BuildError: when it crashes, or takes longer than `seconds`.
        EngineError: when the library can't be used here.
    """
    from onnxwright.graph.reading import read_model

    builder = backends.builder(name)
    assert isinstance(builder, TensorRt), "the only ones so far"
    model = read_model(file)
    wrong = _misread(name, model) if engine is not None else ()
    if wrong:
        return Answer("", refused=wrong)
    operators = tuple(sorted({node.op_type for node in model.graph.all_nodes()}))
    try:
        answer = builder.build(file, settings, engine, operators=operators, seconds=seconds)
    except CrashError as crash:
        raise BuildError(f"{name}, with this graph, {crash}") from crash
    return _with_same_types(answer, model)


def misreading_of(name: str, file: Path) -> str:
    """Says what an engine's parser would take for something else; nothing where it is read right, or not parsed."""
    from onnxwright.graph.reading import read_model

    wrong = _misread(name, read_model(file)) if name in backends.builders() else ()
    return refusal(name, Answer("", refused=wrong)) if wrong else ""


def _misread(name: str, model: onnx_ir.Model) -> tuple[Refusal, ...]:
    from onnxwright.graph.linting import misread
    from onnxwright.graph.passes import named
    from onnxwright.graph.targets import TARGETS

    return tuple(Refusal(-1, named(node), node.op_type, why) for node, why in misread(model, TARGETS[name]))


def _with_same_types(answer: Answer, model: onnx_ir.Model) -> Answer:
    """Refuses an engine whose inputs or outputs have other types than the graph's: it makes floats of doubles."""
    values = {value.name: value for value in (*model.graph.inputs, *model.graph.outputs)}
    for tensor in (*answer.inputs, *answer.outputs):
        kind = values[tensor.name].dtype if tensor.name in values else None
        if kind is not None and kind.name.lower() != _NAMES.get(tensor.dtype, tensor.dtype):
            told = f"it computes '{tensor.name}' in {tensor.dtype}, and the graph declares {kind.name.lower()}."
            return msgspec.structs.replace(answer, is_built=False, problem=told)
    return answer
