"""A module computes in float64 without a copy of it, and is left as it was."""

import copy
import ctypes

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention.flex_attention import flex_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from onnxwright.errors import ForwardError
from onnxwright.pytorch import widened
from onnxwright.pytorch.modules import flatten
from onnxwright.pytorch.session import PyTorchSession
from onnxwright.pytorch.uncompiled import functions_as_written
from onnxwright.pytorch.widened import Widening, unwrapped, widen
from onnxwright.reference import reference_of
from onnxwright.stages.load import load
from onnxwright.tolerance import distance

ROWS = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(3))


class Function(nn.Module):
    """A module made of a function of a linear layer, a weight and the input."""

    def __init__(self, function):
        super().__init__()
        self.linear, self.weight = nn.Linear(8, 8), nn.Parameter(torch.randn(8))
        self.function = function

    def forward(self, x):
        return self.function(self, x)


class First(nn.Module):
    """The first output of a recurrent layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer(8, 16, num_layers=2, batch_first=True, bidirectional=True)

    def forward(self, x):
        return self.layer(x)[0]


class Convolved(nn.Module):
    """Convolutions, normalization and pooling over an image."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Conv1d(6, 16, 3, padding=1), nn.BatchNorm1d(16), nn.Conv1d(16, 4, 3)

    def forward(self, x):
        return self.second(torch.max_pool1d(torch.relu_(self.norm(self.first(x))), 2)).mean(2)


def bert():
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=200, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )

    class States(nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = BertModel(config, add_pooling_layer=False)

        def forward(self, x):
            ids = (x[..., 0].abs() * 50).long()
            mask = torch.ones_like(ids)
            mask[0, 3:] = 0
            return self.bert(input_ids=ids, attention_mask=mask).last_hidden_state

    return States()


def attended(module, x):
    query, key, value = (module.linear(x) * scale for scale in (1, 2, 3))
    return nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)


def attended_by_distance(module, x):
    query, key, value = (module.linear(x)[None] * scale for scale in (1, 2, 3))
    with functions_as_written():
        return flex_attention(query, key, value, score_mod=lambda score, b, h, i, j: score - 0.125 * (i - j).abs())


def written_in_place(module, x):
    hidden = torch.empty_like(x)
    torch.add(module.linear(x), 1, out=hidden)
    filled = torch.zeros(hidden.shape, dtype=x.dtype)
    filled[:, :4] = hidden[:, :4]
    filled[..., 4:] += 1
    filled[filled > 0.5] = 0.25
    return filled.transpose_(1, 2).mul_(3)


DOUBLED = {
    "tiny BERT": bert,
    "convolutions": Convolved,
    "LSTM": lambda: First(nn.LSTM),
    "GRU": lambda: First(nn.GRU),
    "transformer encoder": lambda: nn.TransformerEncoderLayer(8, 2, 32, batch_first=True),
    "attention": lambda: Function(attended),
    "FlexAttention": lambda: Function(attended_by_distance),
    "Fourier transform": lambda: Function(lambda m, x: torch.fft.irfft(torch.fft.rfft(m.linear(x)), n=8)),
    "in place": lambda: Function(written_in_place),
    "weights joined": lambda: Function(lambda m, x: x @ torch.cat([m.linear.weight, m.linear.weight * 2])[::2].T),
    "whole numbers divided": lambda: Function(lambda m, x: m.linear(x) * (torch.arange(8) / 3)),
}
"""Modules that a float64 copy computes right."""


def answers(module, x):
    """What the module answers in float32 and, widened, in float64."""
    mode = Widening()
    with torch.no_grad():
        plain = flatten(module.eval()(x))
        with mode:
            wide = flatten(module(widen(x)))
    return plain, {name: unwrapped(tensor) for name, tensor in wide.items()}, mode


@pytest.mark.parametrize("name", DOUBLED)
def test_answers_like_a_copy_in_float64(name):
    torch.manual_seed(0)
    module = DOUBLED[name]().eval()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            doubled = flatten(copy.deepcopy(module).double()(ROWS.double()))
    finally:
        torch.set_default_dtype(torch.float32)

    plain, wide, mode = answers(module, ROWS)

    assert not mode.narrow
    for output, expected in doubled.items():
        assert wide[output].dtype == torch.float64
        assert distance(expected.numpy(), wide[output].numpy()) < 1e-11
        assert distance(expected.numpy(), plain[output].double().numpy()) > 1e-9, "float32 is told apart"


def rotated(module, x):
    pairs = torch.view_as_complex(module.linear(x).reshape(*x.shape[:-1], 4, 2))
    return torch.view_as_real(pairs * torch.polar(torch.ones(4), torch.arange(4).float())).flatten(-2)


def insists_on_float32(module, x):
    if x.dtype != torch.float32 or module.linear(x).dtype != module.weight.dtype:
        raise TypeError("float32 alone")
    hidden = module.linear(x).float()
    spread = hidden.to(torch.float32).pow(2).mean(-1, keepdim=True)
    return module.weight * (hidden * torch.rsqrt(spread + 1e-6)).type_as(x) + torch.softmax(hidden, -1, torch.float32)


NARROW = {"complex rotation": rotated, "names float32": insists_on_float32}
"""Modules that no copy in float64 can compute."""


@pytest.mark.parametrize("name", NARROW)
def test_goes_where_a_copy_in_float64_fails(name):
    torch.manual_seed(0)
    module = Function(NARROW[name])
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises((TypeError, RuntimeError)):
            copy.deepcopy(module).double()(ROWS.double()) - ROWS.float() @ module.linear.weight.double()
    finally:
        torch.set_default_dtype(torch.float32)

    plain, wide, _ = answers(module, ROWS)

    assert wide["output"].dtype == torch.float64
    assert 1e-9 < distance(wide["output"].numpy(), plain["output"].double().numpy()) < 1e-5


def test_an_operator_without_float64_runs_as_it_is_and_is_named():
    def quantized(module, x):
        scale, zero = torch.full((8,), 0.05), torch.zeros(8, dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(module.linear.weight, scale, zero, 0, -127, 127)
        return nn.functional.linear(x, weight)

    plain, wide, mode = answers(Function(quantized), ROWS)

    assert mode.narrow == {"fake_quantize_per_channel_affine_cachemask"}
    assert distance(wide["output"].numpy(), plain["output"].double().numpy()) < 1e-5


def test_random_numbers_are_those_of_float32():
    def noisy(module, x):
        torch.manual_seed(1)
        return module.linear(x) + torch.randn(8)

    plain, wide, _ = answers(Function(noisy), ROWS)

    assert distance(wide["output"].numpy(), plain["output"].double().numpy()) < 1e-5


def test_numpy_gets_the_numbers():
    plain, wide, _ = answers(Function(lambda m, x: m.linear(x) + torch.from_numpy(m.linear(x).numpy() * 2)), ROWS)

    assert distance(wide["output"].numpy(), plain["output"].double().numpy()) < 1e-5


def test_refuses_to_read_the_bits_of_a_float():
    with pytest.raises(NotImplementedError, match="reads the bits"):
        answers(Function(lambda m, x: m.linear(x).view(torch.int32)), ROWS)


def test_refuses_to_say_where_numbers_lie_that_are_not_there():
    with pytest.raises(RuntimeError, match="data pointer"):
        answers(Function(lambda m, x: m.linear(x) * ctypes.c_float.from_address(m.linear(x).data_ptr()).value), ROWS)


class Caching(nn.Module):
    """A module that writes into a buffer and keeps what it computed."""

    def __init__(self):
        super().__init__()
        self.linear, self.kept = nn.Linear(8, 8), None
        self.register_buffer("table", torch.zeros(6, 8))

    def forward(self, x):
        hidden = self.linear(x)
        self.table[:4] = hidden[0, :4]
        self.table.add_(1)
        self.kept = hidden
        return hidden + self.table.sum()


def test_a_buffer_written_into_keeps_its_type_and_the_module_its_state():
    x = ROWS.numpy()
    module = Caching()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    source = load(module, example_inputs={"x": ROWS}, dims={"x": {0: "batch"}}, ranges={"batch": (1, 2, 4)})
    session = PyTorchSession(module, source.signature, threads=1)

    plain, wide = session.run({"x": x}), session.run_widened({"x": x}, Widening())

    assert distance(wide["output"], plain["output"].astype(np.float64)) < 1e-5
    assert module.kept is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert {tensor.dtype for tensor in module.state_dict().values()} == {torch.float32}


class _Largest(TorchDispatchMode):
    """Notes the largest float64 tensor that operators answer; entered outside, it sees what the widening runs."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        wide = [one.numel() for one in tree_leaves(answer) if getattr(one, "dtype", None) == torch.float64]
        self.elements = max([self.elements, *wide])
        return answer


def test_no_table_that_is_only_looked_up_is_widened():
    class Lookup(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.linear = nn.Embedding(5000, 8), nn.Linear(8, 8)

        def forward(self, x):
            ids = (x[..., 0].abs() * 100).long()
            return self.linear(self.table(ids) + self.table.weight[:8].T[:, :1].sum() + self.table.weight[ids])

    largest = _Largest()
    with largest:
        answers(Lookup(), ROWS)
        looked_up = largest.elements
        answers(Function(lambda m, x: m.linear(x) + (torch.ones(5000, 8) * m.weight).sum()), ROWS)

    assert looked_up <= ROWS.numel()
    assert largest.elements == 40_000, "a large tensor is seen"


@pytest.mark.parametrize("bias", [True, False])
def test_a_large_weight_is_widened_in_parts(monkeypatch, bias):
    torch.manual_seed(0)
    module = nn.Linear(8, 300, bias=bias)
    _, whole, _ = answers(module, ROWS)
    monkeypatch.setattr(widened, "_LARGE", 8 * 70)

    largest = _Largest()
    with largest:
        answers(module, ROWS[:1, :1])
    _, parts, _ = answers(module, ROWS)

    assert largest.elements == 8 * 70
    assert distance(whole["output"].numpy(), parts["output"].numpy()) < 1e-13


def test_what_float64_can_not_run_is_measured_by_another_order_and_says_so():
    module = Function(lambda m, x: m.linear(x) + m.linear(x).view(torch.int32).view(torch.float32))
    source = load(module, example_inputs={"x": ROWS}, dims={"x": {0: "batch"}}, ranges={"batch": (1, 2, 4)})

    reference = reference_of(source, threads=2)
    feeds = source.sampler.draw({"batch": 3})

    assert reference.origin.startswith("float32 on another number of threads and without fused kernels, since float64")
    assert "reads the bits" in reference.origin
    assert reference.noise(feeds, reference.session.run(feeds))["output"] < 1e-5


class Forward(nn.Module):
    """Takes a derivative forward, in which a widened tensor would bring PyTorch down."""

    def forward(self, x):
        return torch.func.jvp(torch.nn.functional.gelu, (x,), (x + 1.0,))[1]


def test_a_derivative_that_is_taken_forward_is_measured_by_another_order():
    source = load(Forward(), example_inputs={"x": torch.randn(2, 8)}, dims={"x": {0: "batch"}})

    assert "in a derivative that is taken forward" in reference_of(source, threads=1).origin


def test_the_noise_is_that_of_the_farthest_twin():
    source = load(Function(lambda m, x: m.linear(x)), example_inputs={"x": ROWS}, dims={"x": {0: "batch"}})
    reference = reference_of(source, threads=1)
    feeds = source.sampler.draw(source.traced)
    answered = reference.session.run(feeds)

    class Off:
        def __init__(self, by):
            self.by = by

        def run(self, feeds):
            return {"output": answered["output"] * np.float32(1 + self.by)}

    class Refusing:
        def run(self, feeds):
            raise ForwardError("not here")

    def noise(twin, order):
        return type(reference)(reference.session, twin, "made up", order).noise(feeds, answered)["output"]

    assert noise(Off(0.0), Off(0.01)) == noise(Off(0.01), Off(0.0)) > noise(Off(0.001), Off(0.0)) > 0
    assert noise(Refusing(), Off(0.01)) == noise(Off(0.01), None)
    assert noise(Refusing(), None) == 0.0
