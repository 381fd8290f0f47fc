"""Inputs that say how long rows are, or where pieces start: found by name and example, drawn as far as a dim goes."""

import numpy as np
import pytest
import torch
from torch import nn

from onnxwright.counting import Lengths, Offsets, counting
from onnxwright.loaders.module import load
from onnxwright.samples import REGIMES, TYPICAL, ZERO, Floats, Integers, Sampler
from onnxwright.signature import Signature, TensorSpec

ROWS = TensorSpec("x", "float32", ("batch", "sequence", 8))
TEXT = TensorSpec("text", "int64", ("batch", "tokens"))
FLAT = TensorSpec("x", "float32", ("tokens", 8))
EXAMPLE = {"x": np.zeros((3, 10, 8), np.float32), "text": np.zeros((3, 6), np.int64)}


def found(name, values, *inputs, dim="batch", **example):
    spec = TensorSpec(name, "int64", (dim,))
    told = counting((*inputs, spec), {**example, name: np.array(values)})
    return told.get(name)


@pytest.mark.parametrize("name", ["lengths", "x_lens", "seq_len", "input_lengths", "seqlens", "ilens", "Length"])
def test_lengths_go_by_their_name(name):
    assert found(name, [4, 10, 7], ROWS, x=EXAMPLE["x"]) == Lengths("int64", "sequence")


@pytest.mark.parametrize("name", ["labels", "lenient", "kind", "challenge"])
def test_what_is_called_otherwise_is_none(name):
    assert found(name, [4, 10, 7], ROWS, x=EXAMPLE["x"]) is None


def test_lengths_are_of_the_input_that_they_name():
    for name, dim in (("x_lengths", "sequence"), ("text_lengths", "tokens"), ("lengths", "tokens")):
        assert found(name, [2, 6, 3], ROWS, TEXT, **EXAMPLE).dim == dim, "the last by its greatest"


def test_what_no_dim_is_as_long_as_is_no_length():
    assert found("lengths", [2, 11, 3], ROWS, x=EXAMPLE["x"]) is None
    assert found("lengths", [2, -1, 3], ROWS, x=EXAMPLE["x"]) is None


def test_an_example_says_whether_lengths_descend_and_may_be_zero():
    assert found("lengths", [10, 7, 7], ROWS, x=EXAMPLE["x"]).is_descending
    assert not found("lengths", [10, 10, 10], ROWS, x=EXAMPLE["x"]).is_descending
    assert found("lengths", [10, 0, 4], ROWS, x=EXAMPLE["x"]).least == 0


def test_offsets_ascend_from_zero():
    flat = np.zeros((14, 8), np.float32)
    assert found("where", [0, 5, 9], FLAT, dim="bags", x=flat) == Offsets("int64", "tokens")
    assert found("cu_seqlens", [0, 5, 14], FLAT, dim="bags", x=flat) == Offsets("int64", "tokens", is_closed=True)
    assert found("where", [0, 1, 2], FLAT, dim="bags", x=flat) is None, "positions"
    assert found("offsets", [0, 1, 2], FLAT, dim="bags", x=flat) is not None
    assert found("offsets", [3, 5, 9], FLAT, dim="bags", x=flat) is None


def test_a_graph_has_names_alone():
    lengths, bounds = TensorSpec("x_lens", "int64", ("batch",)), TensorSpec("cu_seqlens", "int32", ("bounds",))

    assert counting((ROWS, lengths)) == {"x_lens": Lengths("int64", "sequence")}
    assert counting((FLAT, bounds)) == {"cu_seqlens": Offsets("int32", "tokens", is_closed=True)}


def drawn(meaning, count, size, values=TYPICAL):
    sampler = Sampler(
        Signature((FLAT, TensorSpec("it", "int64", ("count",))), ()), {"x": Floats("float32"), "it": meaning}
    )
    return [sampler.draw({"tokens": size, "count": count}, values, seed=seed)["it"] for seed in range(20)]


@pytest.mark.parametrize("size", [1, 2, 9, 300])
def test_lengths_reach_from_one_to_the_size(size):
    for values in REGIMES:
        assert all(1 <= one <= size for many in drawn(Lengths("int64", "tokens"), 5, size, values) for one in many)
    usual = drawn(Lengths("int64", "tokens"), 5, size)
    assert all(many.max() == size for many in usual)
    assert size < 9 or len(np.unique(usual)) > 8
    assert {one for many in drawn(Lengths("int64", "tokens", least=0), 5, size, ZERO) for one in many} == {0}


def test_descending_lengths_descend():
    assert all((np.diff(many) <= 0).all() for many in drawn(Lengths("int64", "tokens", is_descending=True), 7, 30))


@pytest.mark.parametrize(("count", "size"), [(1, 5), (2, 1), (4, 30), (8, 8), (9, 3), (5, 0)])
@pytest.mark.parametrize("is_closed", [False, True])
def test_offsets_ascend_within_the_size(count, size, is_closed):
    for many in drawn(Offsets("int64", "tokens", is_closed=is_closed), count, size):
        assert many[0] == 0
        assert (np.diff(many) >= 0).all()
        assert many[-1] <= max(size - (not is_closed), 0)
        assert not is_closed or count == 1 or many[-1] == size
        assert count > size or (np.diff(many) > 0).all(), "no piece is empty"


class Packed(nn.Module):
    """Takes no length beyond the rows, and none of zero."""

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)[0]


def test_a_module_that_packs_takes_its_whole_range():
    inputs = {"x": torch.randn(3, 10, 8), "lengths": torch.tensor([4, 10, 7])}
    source = load(Packed(), inputs, {"x": {0: "batch", 1: "sequence"}, "lengths": {0: "batch"}})

    assert source.profile["sequence"].least == 1
    assert source.profile["sequence"].most == 512
    assert not [one for one in source.findings if one.code == "reference-refuses-size"]
    assert source.signature.outputs[0].shape == ("batch", "sequence", 8)


def test_labels_stay_as_they_were():
    inputs = {"x": torch.randn(3, 10, 8), "labels": torch.tensor([4, 10, 7])}
    source = load(Labelled(), inputs, {"x": {0: "batch", 1: "sequence"}, "labels": {0: "batch"}})

    assert source.sampler.meanings["labels"] == Integers("int64", 4, 10)


class Labelled(nn.Module):
    """Adds labels to rows."""

    def forward(self, x, labels):
        return x.sum((1, 2)) + labels
