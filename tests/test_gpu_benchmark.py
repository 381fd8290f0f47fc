"""The benchmark for GPUs, as far as it needs none: the same program on the CPU, at tiny shapes."""

import sys
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import gpu

GRAPH = """<ir_version: 8, opset_import: ["" : 18]> counting (
    int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask, int64[batch, sequence] token_type_ids
) => (float[batch] total) <int64[1] axis = {1}, float half = {FACTOR}> {
    a = Mul (input_ids, attention_mask) b = Add (a, token_type_ids) c = Cast <to = 1> (b)
    d = ReduceSum <keepdims = 0> (c, axis) total = Mul (d, half) }"""


class Counting(nn.Module):
    def forward(self, input_ids, attention_mask, token_type_ids):
        return {"total": (input_ids * attention_mask + token_type_ids).float().sum(1) * 0.5}


@pytest.fixture
def compared(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)  # takes a minute, and isn't what is tested

    def run(factor):
        onnx.save(onnx.parser.parse_model(GRAPH.replace("FACTOR", str(factor))), tmp_path / "model.onnx")
        machine = gpu.Machine("cpu", torch.float32)
        feeds = {shape: gpu.drawn(shape, 50, "cpu") for shape in ("1x4", "2x8")}
        calls, reasons = gpu.engine_calls(tmp_path / "model.onnx", {"ours": tmp_path / "model.onnx"}, machine, {})
        assert not reasons
        module = Counting()
        return gpu.compare({**gpu.torch_calls(module, machine), **calls}, feeds, module_call(module), machine, 6)

    return run


def module_call(module):
    return lambda feeds: module(**feeds)


def test_every_way_is_timed_at_every_shape_and_held_against_float32(compared):
    found = compared(0.5)

    assert [(one.name, one.shape) for one in found] == [
        (name, shape)
        for shape in ("1x4", "2x8")
        for name in ("torch eager", "torch.compile", "onnxruntime by its CPU provider", "ours")
    ]
    assert all(len(one.milliseconds) == 6 and 0 < one.median_ms <= one.percentile_ms(0.99) for one in found)
    assert all(one.error == 0 for one in found)
    assert "1x4" in gpu.told(found)[0]


def test_a_wrong_engine_is_seen(compared):
    errors = {one.name: one.error for one in compared(0.501)}

    assert errors["onnxruntime by its CPU provider"] > 1e-4
    assert errors["torch eager"] == 0


def test_engines_are_built_for_all_shapes():
    shaped = gpu.shaped_for(gpu.SHAPES, ["input_ids"])

    assert shaped["input_ids"] == gpu.Shapes((1, 128), (8, 128), (32, 512))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line_and_exits_with_2(capsys):
    assert gpu.main([]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("no GPU: torch")
    assert told.err.count("\n") == 1
