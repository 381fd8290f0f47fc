"""A model's graph with the token states, or the logits, as its only output, as either exporter writes it."""

from typing import Final

import onnx_ir as ir
import torch
from torch import nn

from onnxwright.backends import Tensors
from onnxwright.routes import Task, route
from onnxwright.signature import Dim, Signature, TensorSpec

OPSET: Final = 18
STATES: Final = "last_hidden_state"
LOGITS: Final = "logits"
TEXT: Final = ("input_ids", "attention_mask")


def answer(shape: tuple[Dim, ...]) -> str:
    """Returns the name of an answer of these sizes."""
    return STATES if len(shape) == 3 else LOGITS


def states_graph(module: nn.Module, sample: Tensors, way: str, shape: tuple[Dim, ...]) -> ir.Model:
    """Exports a module by a route; inputs of two axes are text, of which both vary, others images of one size.

    Its answer is `STATES` where it has three axes, else `LOGITS`.
    """
    inputs = tuple(
        TensorSpec(name, array.dtype.name, ("batch", "sequence") if array.ndim == 2 else ("batch", *array.shape[1:]))
        for name, array in sample.items()
    )
    signature = Signature(inputs, (TensorSpec(answer(shape), "float32", shape),))
    tensors = {name: torch.from_numpy(array) for name, array in sample.items()}
    return route(way, opset=OPSET).export(Task(module, signature, tensors, opset=OPSET)).model
