"""One way from a loaded module to a file, in a process of its own; says when the module is loaded, and waits.

python benchmarks/bare_memory.py HIDDEN LAYERS FOLDER trace|dynamo|convert|ROUTE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

NAMES = ("input_ids", "attention_mask")
VOCABULARY = 50265
POSITIONS = 514
HEAD = 64
PROFILE = {"batch": (1, 2, 4), "sequence": (1, 16, 64)}
"""Small, so that the weights are what takes memory."""


class States(nn.Module):
    """Passes its inputs on by name and answers the token states alone."""

    def __init__(self, hidden: int, layers: int):
        super().__init__()
        from transformers import RobertaConfig, RobertaModel

        torch.manual_seed(0)
        config = RobertaConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=hidden // HEAD,
            intermediate_size=4 * hidden,
            max_position_embeddings=POSITIONS,
            type_vocab_size=1,
        )
        self.encoder = RobertaModel(config, add_pooling_layer=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Answers the token states."""
        states: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states


def inputs() -> dict[str, Tensor]:
    """Returns a sample."""
    ids = torch.randint(5, 1000, (2, 16), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def trace(model: nn.Module, folder: Path) -> None:
    """Exports as PyTorch does, by tracing."""
    axes = {name: {0: "batch", 1: "sequence"} for name in NAMES}
    given = tuple(inputs().values())
    torch.onnx.export(
        model, given, str(folder / "model.onnx"), input_names=list(NAMES), dynamo=False, dynamic_axes=axes
    )


def dynamo(model: nn.Module, folder: Path) -> None:
    """Exports as PyTorch does, by `torch.export`."""
    dims = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in NAMES}
    given = tuple(inputs().values())
    torch.onnx.export(model, given, str(folder / "model.onnx"), dynamo=True, dynamic_shapes=dims)


def convert(model: nn.Module, folder: Path, **how: Any) -> None:
    """Makes a proven package."""
    import onnxwright as ow

    dims = {name: {0: "batch", 1: "sequence"} for name in NAMES}
    package = ow.convert(
        model, folder / "package", example_inputs=inputs(), dims=dims, profile=PROFILE, engine="onnxruntime", **how
    )
    if package.proof.verdict != "proven":
        raise SystemExit(f"{package.proof.verdict} over {package.proof.range}")


def main(hidden: str, layers: str, folder: str, step: str) -> None:
    """Loads the module, says how large it is, waits for a word, and goes the way."""
    model = States(int(hidden), int(layers)).eval()
    print(sum(weight.nbytes for weight in model.parameters()), flush=True)
    sys.stdin.readline()
    steps = {
        "bare trace": trace,
        "bare dynamo": dynamo,
        "convert by trace, not measured": lambda *to: convert(*to, route="trace", measure=False),
        "convert by trace": lambda *to: convert(*to, route="trace"),
        "convert by dynamo, not measured": lambda *to: convert(*to, route="dynamo", measure=False),
    }
    steps[step](model, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
