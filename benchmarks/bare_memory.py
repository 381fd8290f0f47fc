"""One way to a file, in a process of its own; says when what it starts from is there, and waits.

python benchmarks/bare_memory.py HIDDEN LAYERS FOLDER WAY

WAY is "bare trace", "bare dynamo", "convert by trace" or "convert by dynamo" from a loaded module, or "rewrite" from a
graph in a file.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

NAMES = ("input_ids", "attention_mask")
VOCABULARY = 50265
POSITIONS = 514
HEAD = 64
OPSET = 18
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


def convert(model: nn.Module, folder: Path, route: str) -> None:
    """Makes a proven package, without measuring how fast it is."""
    import onnxwright as ow

    dims = {name: {0: "batch", 1: "sequence"} for name in NAMES}
    package = ow.convert(
        model,
        folder / "package",
        example_inputs=inputs(),
        dims=dims,
        profile=PROFILE,
        engine="onnxruntime",
        route=route,
        measure=False,
    )
    if package.proof.verdict != "proven":
        raise SystemExit(f"{package.proof.verdict} over {package.proof.range}")


def written(model: nn.Module, hidden: int, folder: Path) -> Path:
    """Writes the graph of a module as it is exported."""
    from onnxwright.graph.saving import save_model
    from onnxwright.routes import Task, route
    from onnxwright.signature import Signature, TensorSpec

    texts = tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name in NAMES)
    signature = Signature(texts, (TensorSpec("output", "float32", ("batch", "sequence", hidden)),))
    place = folder / "given.onnx"
    save_model(route("trace", opset=OPSET).export(Task(model, signature, inputs(), opset=OPSET)).model, place)
    return place


def rewrite(file: Path) -> None:
    """Rewrites a graph for ONNX Runtime by the plan with the most rules, and writes what comes of it."""
    from onnxwright.graph.optimizing import apply, plans
    from onnxwright.graph.reading import read_model
    from onnxwright.graph.saving import save_model
    from onnxwright.graph.targets import target

    model, engine = read_model(file), target("onnxruntime")
    made, trace = apply(model, max(plans(model, engine), key=lambda plan: len(plan.rules)), engine)
    if not trace.hits:
        raise SystemExit("nothing was rewritten")
    save_model(made, file.with_name("made.onnx"))


def main(hidden: str, layers: str, folder: str, step: str) -> None:
    """Makes what a way starts from, says how large its weights are, waits for a word, and goes the way."""
    model = States(int(hidden), int(layers)).eval()
    size = sum(weight.nbytes for weight in model.parameters())
    ways: dict[str, Callable[[], None]] = {
        "bare trace": partial(trace, model, Path(folder)),
        "bare dynamo": partial(dynamo, model, Path(folder)),
        "convert by trace": partial(convert, model, Path(folder), route="trace"),
        "convert by dynamo": partial(convert, model, Path(folder), route="dynamo"),
    }
    go = partial(rewrite, written(model, int(hidden), Path(folder))) if step == "rewrite" else ways[step]
    if step == "rewrite":
        del model, ways
        gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what drawing the weights has taken beside them
    print(size, flush=True)
    sys.stdin.readline()
    go()


if __name__ == "__main__":
    main(*sys.argv[1:])
