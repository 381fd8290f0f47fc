"""Values at which PyTorch's answer is no more than a choice, or nothing but rounding: they show nothing."""

import dataclasses
import time

import numpy as np
import pytest
import torch
from cases.functions import FunctionModule, FunctionSession

from onnxwright.errors import ForwardError
from onnxwright.proof.prove import Plan, prove
from onnxwright.reference import reference_of
from onnxwright.stages.load import load

X = torch.randn(2, 6, 2, generator=torch.Generator().manual_seed(0))


def nearest(x):
    apart = (x[:, :, None] - x[:, None]).abs().sum(-1)
    return x[torch.arange(x.shape[0])[:, None, None], apart.topk(3, largest=False).indices].sum(2)


def nearest_from_the_end(x, shift=0):
    """Takes the last of equal ones, and with a shift, the next after those that are nearest."""
    apart = np.abs(x[:, :, None] - x[:, None]).sum(-1)
    order = apart.shape[-1] - 1 - np.argsort(apart[..., ::-1], -1, kind="stable")
    chosen = order[..., shift : 3 + shift]
    return x[np.arange(x.shape[0])[:, None, None], chosen].sum(2)


def centred(x):
    return x * 3 - (x * 3).mean(0, keepdim=True)


def centred_otherwise(x, off=0.0):
    return 3 * (x - x.sum(0, keepdims=True, dtype=np.float32) / np.float32(x.shape[0])) + np.float32(off)


def above_the_mean(x):
    return (x > x.mean(1, keepdim=True)).float()


def added_one_by_one(x):
    """Adds in another order than PyTorch, and multiplies where it divides."""
    rows = np.moveaxis(x, 1, 0)
    return (np.add.accumulate(rows, dtype=np.float32)[-1] * np.float32(1 / len(rows)))[:, None]


def above_the_first(x):
    return (x > x[:, :1]).float()


def likeliest(x):
    best = (x + 0.5).softmax(1).topk(2, dim=1).indices
    return (best[..., :1] == 1).float()


def likeliest_of_equals(x, places=(0, 1)):
    order = np.argsort(-x, 1, kind="stable")[:, list(places)]
    return (order[..., :1] == 1).astype(np.float32)


def proof_of(function, answer, **reference):
    dims, ranges = {"x": {0: "batch", 1: "points"}}, {"batch": (2, 2, 3), "points": (5, 6, 8)}
    source = load(FunctionModule(function), example_inputs={"x": X}, dims=dims, ranges=ranges)
    candidate = FunctionSession(lambda feeds: {"output": answer(feeds["x"]).astype(np.float32)})
    plan = Plan(source.profile, source.traced, seconds=3.0, clock=time.process_time)
    held = dataclasses.replace(reference_of(source, threads=1), **reference)
    return prove(held, {"it": candidate}, source.sampler, plan)["it"]


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        (nearest, nearest_from_the_end),
        (centred, centred_otherwise),
        (above_the_mean, lambda x: x > added_one_by_one(x)),
        (above_the_mean, lambda x: x > added_one_by_one(x) + np.float32(1e-7) * np.abs(x).max(1, keepdims=True)),
        (likeliest, likeliest_of_equals),
    ],
)
def test_another_choice_among_equal_elements_and_rounding_of_what_cancels_are_no_failures(function, answer):
    assert proof_of(function, answer).verdict == "proven"


def found(x):
    """Of which size the answer is, rounding decides."""
    return x[x > x.mean(1, keepdim=True)].cumsum(0)[-1:]


def found_by_adding(x):
    return np.cumsum(x[x > added_one_by_one(x)], dtype=np.float32)[-1:]


def test_an_answer_of_another_size_is_no_failure_where_rounding_decides_on_it():
    assert proof_of(found, found_by_adding).verdict == "proven"


def refuses(*_):
    raise ForwardError("refused")


@pytest.mark.parametrize("way", ["turned", "jittered"])
@pytest.mark.parametrize(("answer", "verdict"), [(refuses, "proven"), (lambda *_: {"output": np.ones(1)}, "failed")])
def test_a_refusal_is_no_failure_where_pytorch_refuses_too_once_it_chooses_otherwise(way, answer, verdict):
    def doubled_unless_constant(x):
        return refuses() if x.max() == x.min() else x * 2

    ways = {"turned": None, "jittered": None, way: answer}

    proof = proof_of(lambda x: x * 2, doubled_unless_constant, has_ties=lambda _, **__: True, **ways)

    assert proof.verdict == verdict


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        (nearest, lambda x: nearest_from_the_end(x, shift=1)),
        (nearest, lambda x: nearest_from_the_end(x) + (0.5 if (x * 2 == np.round(x * 2)).all() else 0.0)),
        (centred, lambda x: centred_otherwise(x, off=1e-3)),
        (centred, lambda x: centred_otherwise(x, off=0.01 if (x[:1] == x).all() else 0.0)),
        (above_the_mean, lambda x: x >= added_one_by_one(x)),
        (above_the_mean, lambda x: x > added_one_by_one(x) + np.float32(0.05)),
        (above_the_first, lambda x: x >= x[:, :1]),
        (likeliest, lambda x: likeliest_of_equals(x, places=(1, 0))),
        (found, lambda x: found_by_adding(x[:1])),
    ],
)
def test_what_is_wrong_otherwise_fails(function, answer):
    assert proof_of(function, answer).verdict != "proven"
