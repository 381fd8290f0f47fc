"""What rewriting a graph gains on ONNX Runtime and OpenVINO: our plans beside the optimizers of other libraries.

Claimed: nothing that `optimize` keeps is slower than the graph as exported. Every graph is measured against that one,
which runs in two sessions: how far these differ is what the measurement itself does not know. Ratios are pair by pair,
interleaved in one process, three graphs at a time. The peers get the export that they know best: ONNX Runtime's
optimizer a trace with eager attention, `ort_fusions` a graph of `torch.export`; the exporter of transformers makes its
own. Each graph is held against the one as exported on padded rows, too. Weights are random but for MiniLM. With
`--engines onnxruntime-cuda` the same runs on a GPU, copies to it and back included.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import onnx
import onnx_ir as ir
import torch
import transformers
from onnx_ir.passes.common import RemoveUnusedNodesPass
from torch import nn

from onnxwright import environment
from onnxwright.backends import Options, Session, Tensors, engine
from onnxwright.backends.onnxruntime import OnnxRuntimeSession
from onnxwright.errors import EngineError
from onnxwright.graph.borrowed import borrowed
from onnxwright.graph.optimizing import Plan, apply, plans
from onnxwright.graph.passes import operators
from onnxwright.graph.saving import save_model
from onnxwright.graph.targets import target
from onnxwright.isolation import isolated
from onnxwright.manifest import Latency
from onnxwright.nvidia.driver import Driver
from onnxwright.signature import Dim
from onnxwright.stages.measure import Plan as Timing
from onnxwright.stages.measure import in_words, mean_speedup, measure
from onnxwright.stages.trials import beyond, is_worth_it
from onnxwright.tolerance import distance
from record import keep, minilm
from states import OPSET, TEXT, answer, states_graph

CUDA: Final = "onnxruntime-cuda"
RAW, AGAIN = "as exported", "as exported, again"
AT_ONCE: Final = 2
APART, UNGUARDED = "sums-apart", "nan-guard"
_SPREAD: Final = 0.02
WRONG: Final = 1e-3
"""An error of float32 that is no rounding."""
TEXTS, IMAGES = "ForSequenceClassification", "ForImageClassification"
BASE: Final = {"vocab_size": 5000, "max_position_embeddings": 512}
Maker = Callable[[str], nn.Module]


def _made(kind: str, head: str = "Model", /, **settings: Any) -> Maker:
    """Makes a random model of a kind, with a form of attention."""

    def make(form: str) -> nn.Module:
        torch.manual_seed(0)
        made = getattr(transformers, f"{kind}Config")(**settings)
        architecture = getattr(transformers, f"{kind}{head}")
        offered = form if form != "sdpa" or architecture._supports_sdpa else "eager"
        model: nn.Module = architecture._from_config(made, attn_implementation=offered)
        return _as_trained(model).eval()

    return make


@torch.no_grad()
def _as_trained(model: nn.Module) -> nn.Module:
    """Gives biases and norms numbers: none is 0 or 1 in a trained model, and what is can be left out of a graph."""
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.add_(torch.randn_like(parameter), alpha=_SPREAD)
    return model


def _minilm(form: str) -> nn.Module:
    model: nn.Module = transformers.AutoModel.from_pretrained(minilm(), attn_implementation=form)
    return model.eval()


@dataclass(frozen=True)
class Model:
    """A model to measure: how it is made, its width, its heads, what ONNX Runtime's optimizer calls it, its image."""

    make: Maker
    width: int
    heads: int
    kind: str = "bert"
    image: int = 0
    labels: int = 0
    """Of a classifier, which answers with logits."""

    @property
    def sizes(self) -> tuple[Dim, ...]:
        """What it answers with."""
        if self.labels:
            return ("batch", self.labels)
        return ("batch", (self.image // 16) ** 2 + 1 if self.image else "sequence", self.width)


LARGE: Final = {**BASE, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
DECODER: Final = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "use_cache": False}
GROUPS: Final = {"num_attention_heads": 9, "num_key_value_heads": 3}
BASE_SIZED: Final = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
DEBERTA: Final = {
    **BASE_SIZED,
    "relative_attention": True,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "type_vocab_size": 0,
    "position_biased_input": False,
}
MODELS: Final = {
    "MiniLM-L6": Model(_minilm, 384, 12),
    "bert-base": Model(_made("Bert", **BASE), 768, 12),
    "distilbert-base": Model(_made("DistilBert", **BASE), 768, 12),
    "roberta-large": Model(_made("Roberta", **LARGE, intermediate_size=4096), 1024, 16),
    "deberta-v3-base": Model(_made("DebertaV2", **BASE, **DEBERTA), 768, 12),
    "modernbert-base": Model(_made("ModernBert", **BASE, pad_token_id=0), 768, 12),
    "gpt2": Model(_made("GPT2", vocab_size=5000, use_cache=False), 768, 12, "gpt2"),
    "vit-base": Model(_made("ViT"), 768, 12, "vit", 224),
    "bert-base-classifier": Model(_made("Bert", TEXTS, **BASE), 768, 12, labels=2),
    "distilbert-base-classifier": Model(_made("DistilBert", TEXTS, **BASE), 768, 12, labels=2),
    "vit-base-classifier": Model(_made("ViT", IMAGES, num_labels=1000), 768, 12, "vit", 224, labels=1000),
    "smollm-135m": Model(_made("Llama", **BASE, **DECODER, **GROUPS), 576, 9, "gpt2"),
}


@dataclass(frozen=True)
class Variant:
    """A graph to measure: where it lies, whether ONNX Runtime may rewrite it itself, what it took to make."""

    name: str
    file: Path
    is_optimized: bool = True
    seconds: float = 0.0

    @property
    def counts(self) -> dict[str, int]:
        """How many nodes it has, and how many of them are attention."""
        found = operators(ir.load(self.file))
        fused = sum(count for name, count in found.items() if name.endswith("Attention"))
        return {"nodes": sum(found.values()), "attentions": fused}

    def session(self, name: str) -> Session:
        """Loads it into an engine."""
        options = Options(environment.cores())
        if self.is_optimized:
            return engine(name).prepare(self.file, options)
        return OnnxRuntimeSession(self.file, options, is_optimized=False)


def drawn(model: Model, batch: int, sequence: int) -> Tensors:
    """Draws a full batch."""
    numbers = np.random.default_rng(0)
    if model.image:
        return {"pixel_values": numbers.standard_normal((batch, 3, model.image, model.image)).astype(np.float32)}
    ids = numbers.integers(5, 5000, (batch, sequence))
    return dict(zip(TEXT, (ids, np.ones_like(ids)), strict=True))


def padded(model: Model) -> Tensors:
    """Draws rows that are padded on the right, on the left, and in between."""
    drawn_rows = {**drawn(model, 3, 16)}
    if not model.image:
        for row, hidden in enumerate((slice(12, None), slice(4), slice(5, 8))):
            drawn_rows["attention_mask"][row, hidden] = 0
    return drawn_rows


def error_where_padded(model: Model, raw: Variant, one: Variant) -> float | None:
    """How far the states of tokens that are attended to lie from those of the graph as exported, on ONNX Runtime."""
    feeds = padded(model)
    try:
        expected, answered = (each.session("onnxruntime").run(feeds)[answer(model.sizes)] for each in (raw, one))
    except EngineError:
        return None
    is_for_tokens = "sequence" in model.sizes
    attended = feeds["attention_mask"].astype(bool) if is_for_tokens else np.ones(expected.shape[:1], bool)
    return distance(expected[attended], answered[attended])


def exported(model: Model, way: str, form: str) -> ir.Model:
    """Exports a model with the token states as its output, or the logits."""
    return states_graph(model.make(form), drawn(model, 2, 16), way, model.sizes)


def ours(given: ir.Model, name: str) -> Iterator[tuple[str, Plan]]:
    """Yields the plans that need no proof, and those that rewrite the most.

    These are two with sums joined to norms, and two with sums apart: of those that drop the guard against rows that
    are masked whole, and of those that keep it.
    """
    offered = [plan for plan in plans(given, target(name)) if plan.borrowed is None]
    ways: dict[tuple[bool, bool], list[Plan]] = {}
    for plan in offered:
        ways.setdefault((APART in plan.rules, UNGUARDED in plan.rules), []).append(plan)
    most = [max(way, key=lambda plan: len(plan.rules)) for way in ways.values()]
    for plan in dict.fromkeys([*(one for one in offered if not one.doubtful), *most]):
        yield f"ours: {plan.name}", plan


def simplified(given: ir.Model) -> ir.Model:
    """What `onnxscript.optimizer` makes of a graph."""
    from onnxscript import optimizer

    optimizer.optimize(given)
    return given


def fused(given: ir.Model) -> ir.Model:
    """What `ort_fusions` makes of a graph."""
    borrowed()["ort_fusions"].change(given)
    return given


def slimmed(graph: Path) -> ir.Model:
    """What onnxslim makes of a graph, which it takes with all weights in memory."""
    slim = importlib.import_module("onnxslim").slim
    proto: onnx.ModelProto = slim(onnx.load(graph))
    return ir.from_proto(proto)


def transformed(model: Model, folder: Path, given: ir.Model) -> ir.Model:
    """What ONNX Runtime's optimizer for transformers makes of a graph, in a process of its own."""
    source, place = folder / "given.onnx", folder / "taken.onnx"
    save_model(given, source)

    def run() -> None:
        from onnxruntime.transformers import optimizer

        hints = {"model_type": model.kind, "num_heads": model.heads, "hidden_size": model.width, "opt_level": 0}
        optimizer.optimize_model(str(source), **hints).save_model_to_file(str(place))

    isolated(run, seconds=900.0, folder=str(folder))
    return ir.from_proto(onnx.load(place))


def exported_by_transformers(model: Model) -> ir.Model:
    """What the exporter of transformers makes of a model for ONNX Runtime, with that output alone."""
    module: Any = importlib.import_module("transformers.exporters.exporter_onnx")
    sample = {name: torch.from_numpy(array) for name, array in drawn(model, 2, 16).items()}
    settings = module.OnnxConfig(dynamic=True, ort_fusions="cpu")
    made: ir.Model = module.OnnxExporter().export(model.make("sdpa"), sample, settings).program
    kept = [value for value in made.graph.outputs if value.name == answer(model.sizes)]
    made.graph.outputs.clear()
    made.graph.outputs.extend(kept)
    RemoveUnusedNodesPass()(made)
    return made


def variants(model: Model, folder: Path) -> Iterator[Variant]:
    """Yields every graph to measure; the first is the one as exported."""
    raw = folder / "raw.onnx"
    save_model(exported(model, "trace", "sdpa"), raw)
    yield Variant(RAW, raw)
    yield Variant("ONNX Runtime's own rewriting off", raw, is_optimized=False)
    for name, plan in ours(ir.load(raw), "onnxruntime"):
        yield _written(name, folder, partial(_applied, raw, plan, "onnxruntime"))
    yield _written("onnxscript.optimizer", folder, lambda: simplified(ir.load(raw)))
    if importlib.util.find_spec("onnxslim") is None:
        print("  onnxslim: not measured: it is not installed")
    else:
        yield _written("onnxslim", folder, lambda: slimmed(raw))
    peers: Mapping[str, Callable[[], ir.Model]] = {
        "ort_fusions, of torch.export": lambda: fused(exported(model, "dynamo", "sdpa")),
        "ONNX Runtime's optimizer, of eager": lambda: transformed(model, folder, exported(model, "trace", "eager")),
        "transformers' exporter, with fusions": lambda: exported_by_transformers(model),
    }
    for name, make in peers.items():
        try:
            yield _written(name, folder, make)
        except Exception as problem:  # noqa: BLE001 - other libraries raise anything
            print(f"  {name}: not measured: {type(problem).__name__}: {str(problem)[:200]}")


def _written(name: str, folder: Path, make: Callable[[], ir.Model]) -> Variant:
    started = time.perf_counter()
    made = make()
    seconds = time.perf_counter() - started
    file = folder / f"{len(list(folder.iterdir()))}.onnx"
    save_model(made, file)
    return Variant(name, file, seconds=round(seconds, 2))


def compared(
    found: Sequence[Variant], feeds: Sequence[tuple[Mapping[str, int], Tensors]], name: str, seconds: float
) -> dict[str, dict[str, Any]]:
    """Measures every graph against the first, and that against itself, a few at a time."""
    raw, *others = found
    if not seconds:
        return {one.name: {**one.counts, "seconds_to_make": one.seconds} for one in others}
    rows: dict[str, dict[str, Any]] = {}
    kept = {RAW: raw.session(name), AGAIN: raw.session(name)}
    for start in range(0, len(others), AT_ONCE):
        sessions = dict(kept)
        for one in others[start : start + AT_ONCE]:
            try:
                sessions[one.name] = one.session(name)
            except EngineError as refusal:
                rows[one.name] = {"refused": str(refusal)[:300]}
        told = measure(sessions, feeds, baseline=RAW, plan=Timing(seconds=seconds, runs=60))
        for one in others[start : start + AT_ONCE]:
            if one.name in told:
                rows[one.name] = _row(one, told[one.name].latencies, told[AGAIN].latencies, told[one.name].error)
    return rows


def _row(one: Variant, latencies: Sequence[Latency], control: Sequence[Latency], error: float | None) -> dict[str, Any]:
    return {
        **one.counts,
        "seconds_to_make": one.seconds,
        "error": error,
        "gain": mean_speedup(latencies),
        "is_worth_it": is_worth_it(latencies, control),
        "beyond_control": [beyond(*pair) for pair in zip(latencies, control, strict=True)],
        "latencies": msgspec.to_builtins(latencies),
        "control": msgspec.to_builtins(control),
    }


def show(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints a row for each graph."""
    for name, row in rows.items():
        if "refused" in row:
            print(f"  {name:70} refused: {row['refused'][:80]}")
            continue
        counts = f"  {name:70} {row['nodes']:5} nodes {row['attentions']:3} attentions"
        if "latencies" not in row:
            print(counts)
            continue
        latencies = msgspec.convert(row["latencies"], tuple[Latency, ...])
        gains = "; ".join(in_words(one) for one in latencies)
        own = "; ".join(in_words(one) for one in msgspec.convert(row["control"], tuple[Latency, ...]))
        print(f"{counts}  {gains}  (same graph: {own})")


def run(name: str, shapes: Sequence[tuple[int, int]], engines: Sequence[str], seconds: float) -> dict[str, Any]:
    """Measures one model."""
    model = MODELS[name]
    sizes = [shape for place, shape in enumerate(shapes) if not model.image or place in {0, len(shapes) - 1}]
    feeds = [({"batch": batch, "sequence": sequence}, drawn(model, batch, sequence)) for batch, sequence in sizes]
    with tempfile.TemporaryDirectory() as folder:
        found = list(variants(model, Path(folder)))
        raw = found[0]
        errors = {one.name: error_where_padded(model, raw, one) for one in found[1:]}
        wrong = [f"{one}: off by {error:.1g}" for one, error in errors.items() if error and error > WRONG]
        print(f"{name}: wrong where rows are padded: {'; '.join(wrong) or 'none'}")
        made: dict[str, Any] = {"as_exported": raw.counts, "errors_where_padded": errors}
        for one in engines:
            print(f"{name} on {one}: {raw.counts['nodes']} nodes as exported", flush=True)
            made[one] = compared(_for_engine(found, Path(folder), one), feeds, one, seconds)
            show(made[one])
    return made


def _for_engine(found: Sequence[Variant], folder: Path, name: str) -> list[Variant]:
    """All graphs for ONNX Runtime, on a GPU but the one that its CPU alone runs; for another engine, our plans."""
    raw = found[0]
    if name == "onnxruntime":
        return list(found)
    if name == CUDA:
        return [one for one in found if one.is_optimized]
    plans_there = ours(ir.load(raw.file), name)
    return [raw, *(_written(told, folder, partial(_applied, raw.file, plan, name)) for told, plan in plans_there)]


def _applied(file: Path, plan: Plan, name: str) -> ir.Model:
    return apply(ir.load(file), plan, target(name))[0]


def main() -> None:
    """Measures, prints, and keeps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="MiniLM-L6,bert-base,vit-base,smollm-135m", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--engines", default="onnxruntime,openvino")
    parser.add_argument("--shapes", default="1x16,1x128,8x128")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each group of graphs; 0 counts nodes only")
    given = parser.parse_args()
    shapes = [tuple(int(size) for size in shape.split("x")) for shape in given.shapes.split(",")]
    pairs = [(batch, sequence) for batch, sequence in shapes]
    engines = given.engines.split(",")
    machine: dict[str, Any] = {"threads": environment.cores(), "instructions": environment.instructions()}
    machine |= {"gpu": Driver().name()} if CUDA in engines else {}
    kept = "optimize" if given.seconds else "optimize_nodes"
    for name in given.models.split(","):
        found = run(name, pairs, engines, given.seconds)
        keep(
            "_".join([kept, *(["gpu"] if CUDA in engines else []), name]),
            {"opset": OPSET, **machine, "model": name, **found},
        )


if __name__ == "__main__":
    main()
