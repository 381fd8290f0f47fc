"""The bare road: a model folder to an ONNX file with `torch.onnx.export`, and nothing shown of the result.

python benchmarks/bare_export.py FOLDER FILE dynamo|trace
"""

from __future__ import annotations

import sys

import torch
from transformers import AutoModel

NAMES = ("input_ids", "attention_mask", "token_type_ids")


def main(folder: str, file: str, route: str) -> None:
    """Loads the model and exports it with a dynamic batch and sequence."""
    model = AutoModel.from_pretrained(folder).eval()
    ids = torch.randint(5, model.config.vocab_size, (2, 16))
    inputs = dict(zip(NAMES, (ids, torch.ones_like(ids), torch.zeros_like(ids)), strict=True))
    if route == "dynamo":
        dims = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in NAMES}
        torch.onnx.export(model, (), file, kwargs=inputs, dynamo=True, dynamic_shapes=dims)
    else:
        axes = {name: {0: "batch", 1: "sequence"} for name in NAMES}
        torch.onnx.export(model, (), file, kwargs=inputs, dynamo=False, input_names=list(NAMES), dynamic_axes=axes)


if __name__ == "__main__":
    main(*sys.argv[1:])
