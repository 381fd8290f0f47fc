"""Traced graphs hold the module's own weights, and are what the exporter would have written of them."""

import io

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx_ir.tensor_adapters import TorchTensor
from torch import nn
from torch.ao.quantization import FakeQuantize, PerChannelMinMaxObserver

from onnxwright.routes import silence
from onnxwright.routes.left_out import put_in, weights_left_out
from onnxwright.stages.export import export
from onnxwright.stages.load import load

WIDTH, WORDS = 32, 90


class Everything(nn.Module):
    """Weights that are shared, turned, folded into others, narrow, and buffers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(WORDS, WIDTH)
        self.line = nn.Linear(WIDTH, WIDTH)
        self.convolution = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.norm = nn.BatchNorm1d(WIDTH)
        self.recurrent = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.narrow = nn.Parameter(torch.randn(WIDTH, WIDTH).bfloat16())
        self.register_buffer("table", torch.randn(WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, WORDS)
        self.head.weight = self.words.weight

    def forward(self, ids):
        states = self.line(self.words(ids))
        states = self.norm(self.convolution(states.transpose(1, 2))).transpose(1, 2)
        states, _ = self.recurrent(states @ self.table + states @ self.narrow.float())
        return self.head(states)


class Counting(nn.Module):
    """Changes a buffer in each call, out of the exporter's sight."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(1000))

    def forward(self, ids):
        answer = ids + self.total
        self.total.data.add_(1)
        return answer


class Snapped(nn.Module):
    """A line whose weights lie on a grid for each channel, and a scale that is learnt."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(64, 16)
        self.grid = FakeQuantize(
            PerChannelMinMaxObserver,
            quant_min=-128,
            quant_max=127,
            dtype=torch.qint8,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
        )
        self.grid(self.line.weight)
        self.grid.disable_observer()

    def forward(self, x):
        return nn.functional.linear(x, self.grid(self.line.weight), self.line.bias)


def words_of(module):
    ids = torch.randint(0, WORDS, (2, 5), generator=torch.Generator().manual_seed(0))
    return load(module, example_inputs={"ids": ids}, dims={"ids": {0: "batch", 1: "sequence"}})


def large_weights(model):
    found = {name: value.const_value for name, value in model.graph.initializers.items()}
    return {name: weight for name, weight in found.items() if weight.nbytes > 1024}


def bare(module, ids, opset):
    """What the exporter itself writes."""
    written = io.BytesIO()
    with silence():
        torch.onnx.export(module, (ids,), written, dynamo=False, opset_version=opset, input_names=["ids"])
    return onnx.load_from_string(written.getvalue())


@pytest.mark.parametrize("opset", [9, 13, 17, 20])
def test_the_weights_are_those_that_the_exporter_writes(opset, tmp_path):
    module, ids = Everything().eval(), torch.arange(10).reshape(2, 5)
    plain = bare(module, ids, opset)

    with weights_left_out(module) as weights:
        structure = bare(module, ids, opset)
    model = ir.to_proto(put_in(ir.from_proto(structure), weights))

    assert len(structure.SerializeToString()) < len(plain.SerializeToString()) / 4
    assert {one.name: one for one in model.graph.initializer} == {one.name: one for one in plain.graph.initializer}
    assert model.graph.node == ir.to_proto(ir.from_proto(plain)).graph.node


@pytest.mark.parametrize("route", ["trace", "script"])
def test_weights_that_are_not_computed_anew_are_the_modules_own(route):
    module = Everything()
    own = {weight.untyped_storage().data_ptr() for weight in module.parameters()}

    found = large_weights(export(words_of(module), route_name=route).model)

    assert all(isinstance(weight, TorchTensor) for weight in found.values())
    kept = [weight for weight in found.values() if weight.raw.untyped_storage().data_ptr() in own]
    assert {(WORDS, WIDTH), (WIDTH, WIDTH)} <= {tuple(weight.shape) for weight in kept}


def test_a_weight_that_is_tied_stands_there_once_for_each_form():
    model = export(words_of(Everything())).model

    tables = [weight for weight in large_weights(model).values() if sorted(weight.shape) == [WIDTH, WORDS]]
    assert len({weight.raw.data_ptr() for weight in tables}) == 1


def test_a_buffer_that_a_call_changes_is_as_the_exporter_saw_it():
    module = Counting().eval()

    with weights_left_out(module) as weights:
        bare(module, torch.rand(2, 1000), 18)
    seen = module.total.clone()
    module.total.zero_()

    assert seen.unique().numel() == 1
    assert torch.equal(weights["total"], seen)


def test_weights_on_a_grid_for_each_channel_are_snapped_to_it():
    module = Snapped().eval()
    source = load(module, example_inputs={"x": torch.rand(2, 64)}, dims={"x": {0: "batch"}})

    found = large_weights(export(source, opset=13).model)

    (snapped,) = (weight.numpy() for name, weight in found.items() if name.endswith("_on_grid"))
    assert np.array_equal(snapped, module.grid(module.line.weight).detach().numpy())


def test_where_torch_has_other_passes_the_exporter_writes_the_weights(monkeypatch):
    monkeypatch.delattr(torch._C, "_jit_pass_onnx_deduplicate_initializers")

    with weights_left_out(Everything()) as left_out:
        assert not hasattr(torch._C, "_jit_pass_onnx_deduplicate_initializers")

    assert left_out == {}


def test_the_exporter_is_as_it_was_afterwards():
    before = torch._C._jit_pass_onnx_deduplicate_initializers

    with pytest.raises(ValueError, match="stop"), weights_left_out(nn.Linear(2, 2)):
        raise ValueError("stop")

    assert torch._C._jit_pass_onnx_deduplicate_initializers is before
