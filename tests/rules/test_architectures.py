"""Attention, norms and Gelu of ordinary architectures, as either exporter writes them, are found and mean the same."""

import functools
import re

import numpy as np
import onnx_ir as ir
import pytest
import torch
import transformers
from cases.graphs import LIMIT, error

from onnxwright.graph.comparing import structure
from onnxwright.graph.optimizing import Plan, apply, plans
from onnxwright.graph.precision.floats import lowered
from onnxwright.graph.sizes import sizes_of
from onnxwright.graph.targets import target
from onnxwright.routes import Task, route
from onnxwright.signature import Signature, TensorSpec

LAYERS, HEADS = 2, 4
FUSED = re.compile("Norm|microsoft")
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 40,
    "vocab_size": 90,
    "max_position_embeddings": 64,
}
DISTIL = {"dim": 32, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": 40}
GPT2 = {"n_embd": 32, "n_layer": LAYERS, "n_head": HEADS, "vocab_size": 90, "n_positions": 64, "use_cache": False}
KINDS = {
    "bert": ("Bert", SIZES),
    "roberta": ("Roberta", {**SIZES, "pad_token_id": 1}),
    "distilbert": ("DistilBert", {**DISTIL, "vocab_size": 90, "max_position_embeddings": 64}),
    "vit": ("ViT", {**SIZES, "image_size": 16, "patch_size": 8}),
    "gpt2": ("GPT2", GPT2),
    "llama": ("Llama", {**SIZES, "num_key_value_heads": 2, "use_cache": False}),
}
TRACED = [(name, "trace", form) for name in KINDS for form in ("sdpa", "eager")]
# One export by `torch.export`; the rest takes minutes.
EXPORTED = [("bert", "dynamo", "sdpa")]
HALVED = [("bert", "trace", "sdpa"), ("llama", "trace", "eager")]
REST_HALVED = [case for case in TRACED if case not in HALVED]
REST = [case for name, _, form in TRACED if (case := (name, "dynamo", form)) not in EXPORTED]
LIKE_BERT = [("roberta", "trace", "eager"), ("distilbert", "trace", "eager")]
CASES = [
    *(case for case in [*TRACED, *EXPORTED] if case not in LIKE_BERT),
    *(pytest.param(*case, marks=pytest.mark.thorough) for case in [*LIKE_BERT, *REST]),
]


def module_of(name, form, head="Model"):
    """A model in which no parameter is as it was initialized: biases of zero hide what is lost."""
    kind, settings = KINDS[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**settings, attn_implementation=form)
    module = getattr(transformers, f"{kind}{head}")(config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return module


def drawn(name, batch, sequence, *, padded):
    numbers = np.random.default_rng(batch)
    if name == "vit":
        return {"pixel_values": numbers.standard_normal((batch, 3, 16, 16)).astype(np.float32)}
    mask = np.ones((batch, sequence), np.int64)
    if padded:
        mask[-1, sequence // 2 :] = 0
    return {"input_ids": numbers.integers(3, 90, (batch, sequence)), "attention_mask": mask}


@functools.cache
def exported(name, way, form) -> ir.Model:
    rows = ("batch", 5, 32) if name == "vit" else ("batch", "sequence", 32)
    return graph_of(module_of(name, form), name, way, TensorSpec("last_hidden_state", "float32", rows))


def graph_of(module, name, way, output) -> ir.Model:
    text = tuple(TensorSpec(one, "int64", ("batch", "sequence")) for one in ("input_ids", "attention_mask"))
    image = (TensorSpec("pixel_values", "float32", ("batch", 3, 16, 16)),)
    signature = Signature(image if name == "vit" else text, (output,))
    sample = {one: torch.from_numpy(array) for one, array in drawn(name, 2, 7, padded=True).items()}
    return route(way, opset=18).export(Task(module, signature, sample, opset=18)).model


def best(graph) -> Plan:
    """The plan with the most rules."""
    return max(plans(graph, target("onnxruntime")), key=lambda plan: len(plan.rules))


@pytest.mark.parametrize(("name", "way", "form"), CASES)
def test_every_attention_is_found_and_means_the_same(name, way, form):
    before = exported(name, way, form)

    after, trace = apply(before, best(before), target("onnxruntime"))

    assert trace.counts["attention"] == LAYERS
    assert trace.counts.get("packed-attention", 0) == (0 if name in {"gpt2", "llama"} else LAYERS)
    assert not trace.setbacks
    assert "Softmax" not in trace.after
    for batch, sequence, padded in ((2, 7, True), (3, 12, True), (1, 1, False)):
        assert error(before, after, drawn(name, batch, sequence, padded=padded)) <= LIMIT


@pytest.mark.parametrize(
    ("name", "way", "form"),
    [
        *((name, "trace", "sdpa") for name in ("bert", "roberta", "distilbert", "vit")),
        pytest.param("bert", "dynamo", "eager", marks=pytest.mark.thorough),
    ],
)
def test_the_last_layer_of_a_classifier_computes_its_queries_and_what_follows_at_one_place(name, way, form):
    head = "ForImageClassification" if name == "vit" else "ForSequenceClassification"
    before = graph_of(module_of(name, form, head), name, way, TensorSpec("logits", "float32", ("batch", 2)))

    after, trace = apply(before, best(before), target("onnxruntime"))

    assert trace.counts["needed-place"] == 1
    assert trace.counts["attention"] == LAYERS
    narrow = [node for node in after.graph if node.op_type == "MatMul" and (sizes_of(node.outputs[0]) or ())[1] == 1]
    assert len(narrow) >= 4, "queries, what attention answers, and the two of the perceptron"
    for batch, sequence, padded in ((2, 7, True), (3, 12, True), (1, 1, False)):
        assert error(before, after, drawn(name, batch, sequence, padded=padded)) <= LIMIT


@pytest.mark.parametrize(
    ("name", "way", "form"), [*HALVED, *(pytest.param(*case, marks=pytest.mark.thorough) for case in REST_HALVED)]
)
def test_in_float16_it_is_fused_like_in_float32(name, way, form):
    whole, engine = exported(name, way, form), target("onnxruntime")
    half = lowered(whole, "float16", None).model

    after, trace = apply(half, best(half), engine)
    _, other = apply(whole, best(whole), engine)

    assert trace.counts["attention"] == LAYERS
    assert not trace.setbacks
    assert {name: count for name, count in trace.after.items() if FUSED.search(name)} == {
        name: count for name, count in other.after.items() if FUSED.search(name)
    }
    given = drawn(name, 2, 7, padded=True)
    assert error(whole, after, given) <= 1.5 * max(error(whole, half, given), 2**-10)


@pytest.mark.parametrize(("name", "way", "form"), [TRACED[0], TRACED[-1], EXPORTED[0]])
def test_engines_without_contrib_operators_get_standard_ones(name, way, form):
    before = exported(name, way, form)
    engine = target("openvino")
    plan = max(plans(before, engine), key=lambda plan: len(plan.rules))

    after, trace = apply(before, plan, engine)

    assert {node.domain for node in after.graph.all_nodes()} == {""}
    assert after.graph.num_nodes() < before.graph.num_nodes()
    assert not trace.setbacks
    assert error(before, after, drawn(name, 2, 9, padded=True)) <= LIMIT


def test_positions_are_turned_in_one_node_also_where_attention_stays_apart():
    before = exported("llama", "trace", "sdpa")
    turned = [plan for plan in plans(before, target("onnxruntime")) if "turned" in plan.name]

    assert [plan.name for plan in turned] == [
        "simplified+apart+turned+merged",
        "simplified+unguarded+apart+turned+merged",
    ]
    for plan in turned:
        after, trace = apply(before, plan, target("onnxruntime"))
        assert (trace.counts["rotary"], trace.after["Softmax"]) == (2 * LAYERS, LAYERS)
        assert error(before, after, drawn("llama", 3, 12, padded=True)) <= LIMIT


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_optimizing_twice_is_optimizing_once(name):
    before = exported(name, "trace", "sdpa")
    once, _ = apply(before, best(before), target("onnxruntime"))

    twice, trace = apply(once, best(before), target("onnxruntime"))

    assert structure(once) == structure(twice)
    assert not trace.steps


def test_without_dropping_the_guard_attention_is_told_as_a_near_miss():
    before = exported("bert", "trace", "sdpa")
    rules = tuple(one for one in best(before).rules if one not in {"nan-guard", "later-guard"})

    _, trace = apply(before, Plan("guarded", rules), target("onnxruntime"))

    reasons = [(miss.reason, miss.where) for miss in trace.near_misses if miss.rule == "attention"]
    assert len(reasons) == LAYERS
    assert all("guard against rows that are masked whole" in reason for reason, _ in reasons)
    assert all(where for _, where in reasons)


@pytest.mark.parametrize(
    ("way", "form", "name", "fused"),
    [("dynamo", "sdpa", "ort_fusions", "com.microsoft::Attention"), ("trace", "eager", "ort-optimizer", "BiasGelu")],
)
def test_borrowed_optimizers_run_behind_the_same_guard(way, form, name, fused):
    before = exported("bert", way, form)
    plan = next(plan for plan in plans(before, target("onnxruntime")) if plan.name == name)

    after, trace = apply(before, plan, target("onnxruntime"))

    assert any(one.endswith(fused) for one in trace.after)
    assert not trace.setbacks
    assert error(before, after, drawn("bert", 2, 9, padded=True)) <= LIMIT


def test_a_lost_bias_would_be_seen():
    before = exported("bert", "trace", "eager")
    after, _ = apply(before, best(before), target("onnxruntime"))
    bias = next(value for name, value in after.graph.initializers.items() if name.endswith("_bias"))
    bias.const_value = ir.tensor(np.zeros(bias.shape.numpy(), np.float32), name=bias.name)

    assert error(before, after, drawn("bert", 2, 7, padded=True)) > LIMIT
