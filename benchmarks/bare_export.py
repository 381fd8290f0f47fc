"""The bare road: a model folder to an ONNX file with `torch.onnx.export`, and nothing shown of the result.

python benchmarks/bare_export.py FOLDER FILE dynamo|trace
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModel

NAMES = ("input_ids", "attention_mask", "token_type_ids")


class ByName(nn.Module):
    """Passes its inputs on by name, since the encoder's `forward` doesn't take them in this order."""

    def __init__(self, folder: str):
        super().__init__()
        self.encoder = AutoModel.from_pretrained(folder)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Answers the token states."""
        states: Tensor = self.encoder(**dict(zip(NAMES, inputs, strict=True))).last_hidden_state
        return states


def main(folder: str, file: str, route: str) -> None:
    """Loads the model and exports it with a dynamic batch and sequence."""
    model = ByName(folder).eval()
    ids = torch.randint(5, 1000, (2, 16))
    inputs = (ids, torch.ones_like(ids), torch.zeros_like(ids))
    if route == "dynamo":
        dims = ({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC},) * len(NAMES)
        torch.onnx.export(model, inputs, file, input_names=list(NAMES), dynamo=True, dynamic_shapes=(dims,))
    else:
        axes = {name: {0: "batch", 1: "sequence"} for name in NAMES}
        torch.onnx.export(model, inputs, file, input_names=list(NAMES), dynamo=False, dynamic_axes=axes)
    if not Path(file).is_file():
        raise SystemExit(f"nothing was written to {file}")


if __name__ == "__main__":
    main(*sys.argv[1:])
