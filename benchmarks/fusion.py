"""What is fused of ordinary architectures, as either exporter writes them, and what declines, with reasons.

Tiny models with random weights, eager and sdpa where they have it: nodes before and after the plan with the most rules
for ONNX Runtime, attentions of all layers, and the largest error of the answers at other sizes than the traced ones. In
these no row is masked whole: that is what proofs are for.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
import transformers
from torch import nn

from onnxwright.backends import Tensors
from onnxwright.graph.optimizing import apply, plans
from onnxwright.graph.targets import target
from onnxwright.tolerance import RUN_TO_RUN, SAME_PRECISION, distance
from record import keep
from states import OPSET, TEXT, states_graph

LAYERS: Final = 2
HEADS: Final = 4
WIDTH: Final = {
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 40,
    "vocab_size": 90,
    "max_position_embeddings": 64,
}
DECODER: Final = {**WIDTH, "num_key_value_heads": 2, "use_cache": False}
DISTIL: Final = {"dim": 32, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": 40, "vocab_size": 90}
T5: Final = {"d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": LAYERS, "num_heads": HEADS, "vocab_size": 90}
DEBERTA: Final = {"relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"]}
ENDS: Final = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "cls_token_id": 2, "sep_token_id": 1}
MODERN: Final = {**WIDTH, **ENDS, "local_attention": 8, "global_attn_every_n_layers": 2}
GPT2: Final = {"n_embd": 32, "n_layer": LAYERS, "n_head": HEADS, "vocab_size": 90, "n_positions": 64}
MODELS: Final[Mapping[str, tuple[str, str, dict[str, Any]]]] = {
    "bert": ("BertModel", "BertConfig", WIDTH),
    "roberta": ("RobertaModel", "RobertaConfig", {**WIDTH, "pad_token_id": 1}),
    "distilbert": ("DistilBertModel", "DistilBertConfig", {**DISTIL, "max_position_embeddings": 64}),
    "mpnet": ("MPNetModel", "MPNetConfig", {**WIDTH, "pad_token_id": 1}),
    "deberta-v2": ("DebertaV2Model", "DebertaV2Config", {**WIDTH, **DEBERTA}),
    "modernbert": ("ModernBertModel", "ModernBertConfig", MODERN),
    "t5 encoder": ("T5EncoderModel", "T5Config", T5),
    "vit": ("ViTModel", "ViTConfig", {**WIDTH, "image_size": 16, "patch_size": 8}),
    "gpt2": ("GPT2Model", "GPT2Config", {**GPT2, "use_cache": False}),
    "llama": ("LlamaModel", "LlamaConfig", DECODER),
    "qwen3": ("Qwen3Model", "Qwen3Config", {**DECODER, "head_dim": 8}),
    "gemma3": ("Gemma3TextModel", "Gemma3TextConfig", {**DECODER, "head_dim": 8, "pad_token_id": 0}),
}


def made(name: str, form: str) -> nn.Module:
    """Makes a model in which no parameter is as it was initialized: biases of zero hide what is lost."""
    kind, config, settings = MODELS[name]
    torch.manual_seed(0)
    model: nn.Module = getattr(transformers, kind)._from_config(
        getattr(transformers, config)(**settings), attn_implementation=form
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def drawn(name: str, batch: int, sequence: int) -> Tensors:
    """Draws inputs; the last tokens of the last row are padding."""
    numbers = np.random.default_rng(batch)
    if name == "vit":
        return {"pixel_values": numbers.standard_normal((batch, 3, 16, 16)).astype(np.float32)}
    mask = np.ones((batch, sequence), np.int64)
    mask[-1, max(1, sequence - 2) :] = 0
    return dict(zip(TEXT, (numbers.integers(3, 90, (batch, sequence)), mask), strict=True))


def exported(name: str, way: str, form: str) -> ir.Model:
    """Exports a model with the token states as its output."""
    return states_graph(made(name, form), drawn(name, 2, 7), way, ("batch", 5 if name == "vit" else "sequence", 32))


def answers(graph: ir.Model, feeds: Tensors) -> Any:
    """Returns what ONNX Runtime answers without rewriting the graph itself."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(ir.to_proto(graph).SerializeToString(), options)
    return session.run(None, feeds)[0]


def fused(name: str, way: str, form: str) -> dict[str, Any]:
    """Returns what came of one graph."""
    given, engine = exported(name, way, form), target("onnxruntime")
    most = max(plans(given, engine), key=lambda plan: len(plan.rules))
    graph, trace = apply(given, most, engine)
    points = [drawn(name, batch, sequence) for batch, sequence in ((2, 7), (3, 12), (1, 1))]
    error = max(distance(answers(given, feeds), answers(graph, feeds)) for feeds in points)
    declined = Counter((miss.rule, miss.reason) for miss in trace.near_misses)
    return {
        "plan": most.name,
        "nodes": [sum(trace.before.values()), sum(trace.after.values())],
        "attentions": sum(count for kind, count in trace.after.items() if kind.endswith("Attention")),
        "layers": LAYERS,
        "error": error,
        "is_right": error <= SAME_PRECISION.limit(RUN_TO_RUN),
        "rewrote": trace.counts,
        "declined": [{"rule": rule, "reason": reason, "times": times} for (rule, reason), times in declined.items()],
        "setbacks": [f"{one.step}: {one.message}" for one in trace.setbacks],
    }


def rows(names: list[str]) -> Iterator[dict[str, Any]]:
    """Yields what came of each architecture, exporter and form of attention; a form that there is none of is told."""
    for name in names:
        for way in ("trace", "dynamo"):
            for form in ("sdpa", "eager"):
                row = {"model": name, "exporter": way, "attention": form}
                try:
                    yield {**row, **fused(name, way, form)}
                except ValueError as refusal:
                    yield {**row, "refused": str(refusal).split(". ")[0][:200]}


def show(row: Mapping[str, Any]) -> None:
    """Prints one row."""
    what = f"{row['model']:12} {row['exporter']:7} {row['attention']:6}"
    if "refused" in row:
        print(f"{what} {row['refused']}")
        return
    before, after = row["nodes"]
    right = "" if row["is_right"] else "  WRONG"
    print(f"{what} {before:4} → {after:3} nodes  {row['attentions']} of {row['layers']} attentions{right}", flush=True)
    for one in row["declined"]:
        print(f"    declined {one['times']} times: {one['rule']}: {one['reason']}")


def main() -> None:
    """Fuses, prints, and keeps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), help=f"of {', '.join(MODELS)}")
    names = parser.parse_args().models.split(",")
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    found = []
    for row in rows(names):
        show(row)
        found.append(row)
    keep("fusion", {"opset": OPSET, "rows": found})


if __name__ == "__main__":
    main()
