"""PyTorch with what it rounds rounded otherwise."""

import pytest
import torch
from torch.nn import functional

from onnxwright.pytorch.jittered import Jittered

X = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))


def jittered(function, x, seed=0):
    with Jittered(seed) as watch:
        answered = function(x)
    return answered, watch.is_deciding


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.mean(-1, keepdim=True),
        lambda x: x.cumsum(-1),
        lambda x: x @ x.T,
        lambda x: x.softmax(-1),
        lambda x: x.exp_(),
        lambda x: functional.layer_norm(x, (8,)),
        lambda x: functional.linear(x, x),
        lambda x: functional.conv1d(x[None], x[:, :4, None]),
        lambda x: torch.fft.rfft(x).abs(),
        lambda x: functional.scaled_dot_product_attention(x[None, None], x[None, None], x[None, None]),
        lambda x: x.double().sum(0),
    ],
)
def test_sums_and_functions_are_off_by_a_few_roundings(function):
    expected = function(X.clone())

    answers = [jittered(function, X.clone(), seed)[0] for seed in range(2)]

    step = 16 * torch.finfo(expected.dtype).eps * expected.abs().amax()
    for answered in answers:
        assert not torch.equal(answered, expected)
        assert (answered - expected).abs().max() <= step
    assert not torch.equal(*answers)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 3.0 - x / 7.0,
        lambda x: x.T[2:].flip(0).clamp(min=0.1),
        lambda x: x.sort().values[:, :3],
        lambda x: torch.where(x > 0.1, x, x.abs()),
        lambda x: (x * 0.0).sum(-1),
        lambda x: x[:, :1].mean(-1),
        lambda x: x.long().sum(-1),
        lambda x: functional.max_pool1d(x[None], 2),
        lambda x: functional.pad(x, (1, 1))[:, torch.tensor([0, 3])],
    ],
)
def test_what_only_moves_numbers_or_is_defined_to_the_last_bit_stays(function):
    assert torch.equal(jittered(function, X.clone())[0], function(X))


@pytest.mark.parametrize(
    ("function", "is_deciding"),
    [
        (lambda x: x > x.mean(), True),
        (lambda x: x.softmax(-1).argmax(-1), True),
        (lambda x: (x.sum(-1) / 3).floor(), True),
        (lambda x: x.mean().long(), True),
        (lambda x: x.softmax(-1) @ x.T, False),
        (lambda x: torch.arange(4) > 2, False),
    ],
)
def test_it_tells_whether_anything_is_decided(function, is_deciding):
    assert jittered(function, X.clone())[1] is is_deciding
