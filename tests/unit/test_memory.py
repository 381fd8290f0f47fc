"""What a proof takes of memory is told before it is taken."""

import ctypes
import dataclasses
import logging

import onnx.parser
import pytest
import torch
from torch import nn

from onnxwright.errors import ProfileError
from onnxwright.pytorch.live import LiveBytes
from onnxwright.stages.load import load
from onnxwright.watching import memory

MIB = 2**20


class Widening(nn.Module):
    """Makes a thousand numbers of each and adds them up, as often as it has layers."""

    def __init__(self, layers=1):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 1024) for _ in range(layers))

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x).reshape(*x.shape[:-1], 8, 128).sum(-1)
        return x


class ByValue(Widening):
    """Takes a branch that depends on a number."""

    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else x


class ByAddress(Widening):
    """Reads a number where it lies in memory."""

    def forward(self, x):
        return super().forward(x) if ctypes.c_float.from_address(x.data_ptr()).value > 0 else x


def source_of(module, ranges=None):
    ranges = ranges or {"batch": (1, 4, 1024), "rows": (1, 16, 64)}
    return load(module, example_inputs={"x": torch.rand(2, 16, 8)}, dims={"x": {0: "batch", 1: "rows"}}, ranges=ranges)


def test_the_peak_of_a_call_is_what_is_alive_at_once():
    sizes = {"batch": 1024, "rows": 64}
    once, thrice = (memory.peak_of_call(source_of(Widening(layers)), sizes) for layers in (1, 3))

    wide, narrow = 1024 * 64 * 1024 * 4, 1024 * 64 * 8 * 4
    assert wide + narrow <= once <= wide + 3 * narrow
    assert once <= thrice <= once + 2 * narrow, "what a layer has used is free again"


def test_nothing_is_allocated_to_find_it_out():
    huge = memory.peak_of_call(source_of(Widening()), {"batch": 10**6, "rows": 10**4})

    assert huge > 10**10 * 1024 * 4, "more than any machine here has"


def test_what_is_kept_alive_counts_and_what_is_dropped_does_not():
    def peak(keep):
        kept = []
        with LiveBytes(nn.Linear(1, 1)) as live:
            for _ in range(4):
                made = torch.zeros(MIB // 4)
                kept += [made] if keep else []
        return live.peak

    assert peak(keep=True) == 4 * MIB
    assert peak(keep=False) < 3 * MIB


@pytest.mark.parametrize("module", [ByValue, ByAddress])
def test_a_module_that_fakes_can_not_run_is_judged_by_its_inputs_and_outputs(module):
    source, sizes = source_of(module()), {"batch": 1024, "rows": 64}

    assert memory.peak_of_call(source, sizes) is None
    assert memory.needs(source, sizes, candidates=1).call == 2 * 1024 * 64 * 8 * 4


class Logged(Widening):
    """Calls an operator whose form on fake tensors refuses it, of which torch makes a long entry in its log."""

    def forward(self, x):
        return torch._grouped_mm(x, x, torch.tensor([1], dtype=torch.int32))


def test_what_fakes_can_not_run_is_not_logged():
    source, kept = load(Widening(), example_inputs=torch.rand(2, 8)), []
    handler = logging.Handler()
    handler.emit = kept.append
    log = logging.getLogger("torch._subclasses.fake_tensor")
    log.addHandler(handler)

    assert memory.peak_of_call(dataclasses.replace(source, module=Logged()), {"batch": 2}) is None

    log.removeHandler(handler)
    assert kept == []


def test_a_graph_is_judged_by_its_inputs_and_outputs(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[batch, 8] x) => (float[batch, 8] y) { y = Neg (x) }"""
    file = tmp_path / "g.onnx"
    file.write_bytes(onnx.parser.parse_model(text).SerializeToString())

    needed = memory.needs(load(file), {"batch": 100}, candidates=1)

    assert needed.call == 2 * 100 * 8 * 4
    assert needed.weights == file.stat().st_size


def test_each_candidate_has_weights_and_a_call_of_its_own():
    source, sizes = source_of(Widening()), {"batch": 4, "rows": 4}
    one, five = (memory.needs(source, sizes, candidates=count) for count in (1, 5))

    assert one.weights == (8 + 1) * 1024 * 4
    assert five.total - one.total == 4 * (one.call + one.weights)
    assert one.total == 3 * one.call + one.weights, "the reference's wider twin and the candidate"


def test_a_profile_whose_most_does_not_fit_is_refused_with_what_would():
    source = source_of(Widening())
    needed = memory.needs(source, source.profile.most, candidates=1).total

    memory.check(source, candidates=1, available=needed)
    memory.check(source, candidates=1, available=None)
    with pytest.raises(
        ProfileError, match=r"at its most \(batch 1024, rows 64\) needs about .* GiB .* MiB are free"
    ) as told:
        memory.check(source, candidates=1, available=100 * MIB)

    words = str(told.value).split("--batch ")[1].rstrip(".").split()
    least, usual, most = map(int, words)
    assert 1 <= least <= usual <= most < 1024
    memory.check(
        source_of(Widening(), {"batch": (least, usual, most), "rows": (1, 16, 64)}), candidates=1, available=100 * MIB
    )


def test_a_dim_without_an_option_of_its_own_is_named_by_dim():
    source = load(
        Widening(), example_inputs={"x": torch.rand(2, 8)}, dims={"x": {0: "rows"}}, ranges={"rows": (1, 16, 10**6)}
    )

    with pytest.raises(ProfileError, match=r"Ask for less, as with --dim rows=1:16:\d+\."):
        memory.check(source, candidates=1, available=100 * MIB)


def test_where_nothing_would_fit_it_says_so():
    with pytest.raises(ProfileError, match="larger machine"):
        memory.check(source_of(Widening()), candidates=1, available=1024)


def test_convert_refuses_before_anything_is_exported(tmp_path):
    from onnxwright.stages.convert import convert
    from onnxwright.stages.request import Request

    out = tmp_path / "package"
    request = Request(
        Widening(), out, {"x": torch.rand(2, 16, 8)}, {"x": {0: "batch", 1: "rows"}}, {"batch": (1, 4, 10**9)}
    )

    with pytest.raises(ProfileError, match="--batch 1 4 "):
        convert(request)
    assert not out.exists()
