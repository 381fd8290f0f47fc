"""The proof itself: it passes what is right, catches what is planted, and says where."""

import dataclasses
import time

import numpy as np
import onnx_ir as ir
import pytest
import torch
from cases.functions import FunctionSession
from torch import nn

from onnxwright.backends import Options, engine
from onnxwright.errors import ForwardError
from onnxwright.manifest import Failure
from onnxwright.proof.prove import Plan, prove
from onnxwright.reference import reference_of
from onnxwright.stages.export import export
from onnxwright.stages.load import load
from onnxwright.tolerance import LEAST_LIMIT, MOST_LIMIT, distance, quantized

DIMS = {"x": {0: "batch", 1: "sequence"}, "mask": {0: "batch", 1: "sequence"}}
RANGES = {"batch": (1, 4, 8), "sequence": (1, 16, 64)}


class Attention(nn.Module):
    """A layer of attention with a mask, and a pooled answer."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(8, 8)
        self.key = nn.Linear(8, 8)
        self.value = nn.Linear(8, 8)

    def forward(self, x, mask):
        weights = self.query(x) @ self.key(x).transpose(1, 2) / 8**0.5
        weights = weights.masked_fill(mask[:, None, :] == 0, -1e9)
        states = torch.softmax(weights, -1) @ self.value(x)
        lengths = mask.sum(1, keepdim=True)
        return {"states": states, "pooled": (states * mask[..., None]).sum(1) / lengths, "lengths": lengths}


@pytest.fixture(scope="module")
def source():
    torch.manual_seed(1)
    inputs = {"x": torch.randn(2, 16, 8), "mask": torch.ones(2, 16, dtype=torch.int64)}
    return load(Attention(), example_inputs=inputs, dims=DIMS, ranges=RANGES)


@pytest.fixture(scope="module")
def reference(source):
    return reference_of(source, threads=1)


@pytest.fixture(scope="module")
def graph(source, tmp_path_factory):
    file = tmp_path_factory.mktemp("graph") / "model.onnx"
    ir.save(export(source).model, file)
    return file


def judge(source, reference, candidate, **plan):
    # Seconds of this process, so that a busy machine leaves no less time.
    plan = Plan(source.profile, source.traced, **{"seconds": 4.0, "clock": time.process_time, **plan})
    return prove(reference, {"it": candidate}, source.sampler, plan)["it"]


def run_graph(model, folder):
    ir.save(model, folder / "changed.onnx")
    return engine("onnxruntime").prepare(folder / "changed.onnx", Options(1))


def codes(proof):
    return [found.code for found in proof.findings]


def test_a_right_graph_is_proven_over_the_whole_profile(source, reference, graph):
    proof = judge(source, reference, engine("onnxruntime").prepare(graph, Options(1)))

    assert proof.verdict == "proven"
    assert proof.range == {"batch": (1, 8), "sequence": (1, 64)}
    assert proof.worst.error <= proof.worst.limit < 1e-2
    assert proof.tolerance.origin.startswith(
        "PyTorch in float64 against float32, or float32 on another number of threads"
    )
    assert {"batch": 8, "sequence": 64} in proof.sizes
    assert any(sizes != source.traced for sizes in proof.sizes)


def initializer(model, name):
    return next(value for key, value in model.graph.initializers.items() if name in key)


def change(model, name, edit):
    value = initializer(model, name)
    value.const_value = ir.tensor(np.ascontiguousarray(edit(value.const_value.numpy().copy())), name=value.name)
    return model


def wrong_element(weight):
    weight.flat[3] += 0.05
    return weight


def flipped_sign(weight):
    weight.flat[5] *= -1
    return weight


PLANTED = {
    "a wrong constant": lambda model: change(model, "value.bias", wrong_element),
    "one flipped sign": lambda model: change(model, "value.bias", flipped_sign),
    "a transposed weight": lambda model: change(model, "MatMul", lambda weight: weight.T),
    "a scaled bias": lambda model: change(model, "query.bias", lambda weight: weight * 1.01),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_catches_what_is_planted_in_a_graph(source, reference, graph, tmp_path, planted):
    proof = judge(source, reference, run_graph(PLANTED[planted](ir.load(graph)), tmp_path))

    assert "outputs-differ" in codes(proof)
    # One token attends to itself whatever its weights say: there, and only there, some changes are harmless.
    assert proof.verdict == "failed" or proof.range["sequence"] == (1, 1)


def test_catches_swapped_outputs(source, reference, graph, tmp_path):
    model = ir.load(graph)
    first, second, _ = model.graph.outputs
    first.name, second.name = "swapped", first.name
    first.name = "pooled"

    proof = judge(source, reference, run_graph(model, tmp_path))

    assert proof.verdict == "failed"


def spoiled(reference, spoil):
    """The reference's own answers, spoiled where the function says so."""

    def answer(feeds):
        answered = reference.session.run(feeds)
        spoil(feeds, answered)
        return answered

    return FunctionSession(answer)


def dropped_mask(feeds, answered):
    if (feeds["mask"] == 0).any():
        answered["states"] = answered["states"] * 1.1


def wrong_row(feeds, answered):
    if len(feeds["x"]) == 5:
        answered["states"][3] += 1e-2


def off_by_one(feeds, answered):
    answered["states"] = np.roll(answered["states"], 1, axis=1)


def missing_output(feeds, answered):
    del answered["lengths"]


def other_type(feeds, answered):
    answered["lengths"] = answered["lengths"].astype(np.int32)


def one_count_off(feeds, answered):
    answered["lengths"] = answered["lengths"] + (feeds["x"].shape[1] == 33)


def not_a_number(feeds, answered):
    answered["pooled"][0, 0] = np.nan


@pytest.mark.parametrize("spoil", [dropped_mask, off_by_one, missing_output, other_type, not_a_number])
def test_fails_an_answer_that_is_wrong_everywhere_or_whenever_rows_are_padded(source, reference, spoil):
    proof = judge(source, reference, spoiled(reference, spoil))

    assert proof.verdict != "proven"
    assert "outputs-differ" in codes(proof)


@pytest.mark.parametrize(("spoil", "dim", "wrong"), [(wrong_row, "batch", 5), (one_count_off, "sequence", 33)])
def test_leaves_out_the_one_size_at_which_a_candidate_is_wrong(source, reference, spoil, dim, wrong):
    proof = judge(source, reference, spoiled(reference, spoil))

    assert proof.verdict == "partial"
    low, high = proof.range[dim]
    assert not low <= wrong <= high
    assert "range-narrowed" in codes(proof)


def test_finds_the_edge_of_a_range_to_the_size(source, reference):
    def spoil(feeds, answered):
        if feeds["x"].shape[1] < 9:
            answered["pooled"] += 1.0

    proof = judge(source, reference, spoiled(reference, spoil))

    assert proof.verdict == "partial"
    assert proof.range == {"batch": (1, 8), "sequence": (9, 64)}


def test_sees_what_only_the_far_corner_shows(source, reference):
    def spoil(feeds, answered):
        if feeds["x"].shape[0] * feeds["x"].shape[1] > 8 * 60:
            answered["pooled"] *= 1.5

    proof = judge(source, reference, spoiled(reference, spoil))

    assert proof.verdict == "partial"
    (_, batch), (_, sequence) = proof.range.values()
    assert batch * sequence <= 8 * 60


def test_a_candidate_that_raises_is_wrong_there(source, reference):
    def answer(feeds):
        if feeds["x"].shape[0] == 1:
            raise RuntimeError("frozen batch")
        return reference.session.run(feeds)

    proof = judge(source, reference, FunctionSession(answer))

    assert proof.range["batch"] == (2, 8)
    assert any("frozen batch" in found.message for found in proof.findings)


def test_right_at_the_traced_size_alone_is_nothing(source, reference):
    def spoil(feeds, answered):
        if {"batch": feeds["x"].shape[0], "sequence": feeds["x"].shape[1]} != source.traced:
            answered["pooled"] += 1.0

    assert judge(source, reference, spoiled(reference, spoil)).verdict == "failed"


def test_an_error_just_beyond_the_limit_fails_and_just_within_passes(source, reference):
    limit = judge(source, reference, spoiled(reference, lambda *_: None)).tolerance.limits["pooled"]

    def off_by(error):
        def spoil(feeds, answered):
            right = answered["pooled"].astype(np.float64)
            shift = np.abs(right) + 1e-3
            scaled = right + shift * error / distance(right, right + shift)
            answered["pooled"] = scaled.astype(np.float32)

        return judge(source, reference, spoiled(reference, spoil)).verdict

    assert off_by(0.3 * limit) == "proven"
    assert off_by(40 * limit) == "failed"


def test_several_candidates_are_judged_in_one_pass(source, reference):
    asked = []

    class Counting:
        ran = reference.session.ran

        def run(self, feeds):
            asked.append(feeds)
            return reference.session.run(feeds)

    counted = type(reference)(Counting(), reference.twin, reference.origin)
    plan = Plan(source.profile, source.traced, seconds=4.0, clock=time.process_time)
    right = spoiled(reference, lambda *_: None)
    proofs = prove(counted, {"one": right, "other": right}, source.sampler, plan)

    assert proofs["one"].points == proofs["other"].points
    assert len(asked) < 1.2 * proofs["one"].points


def test_sizes_that_the_reference_refuses_are_left_out_with_the_reason(source, reference):
    class Short:
        ran = reference.session.ran

        def run(self, feeds):
            if feeds["x"].shape[1] > 40:
                raise ForwardError("position table too short")
            return reference.session.run(feeds)

    short = type(reference)(Short(), reference.twin, reference.origin)
    proof = judge(source, short, spoiled(reference, lambda *_: None))

    assert proof.verdict == "partial"
    assert proof.range["sequence"] == (1, 40)
    assert any(found.code == "reference-refuses-size" and "too short" in found.message for found in proof.findings)


def test_nothing_is_shown_where_the_reference_answers_only_nan(source, reference):
    class Broken:
        ran = reference.session.ran

        def run(self, feeds):
            answered = reference.session.run(feeds)
            answered["pooled"][...] = np.nan
            return answered

    broken = type(reference)(Broken(), reference.twin, reference.origin)
    proof = prove(broken, {"it": Broken()}, source.sampler, Plan(source.profile, source.traced, seconds=2.0))["it"]

    assert proof.verdict == "failed"
    assert "vacuous-output" in codes(proof)


def test_what_was_wrong_of_another_candidate_is_tried_whatever_the_time(source, reference):
    def spoil(feeds, answered):
        if feeds["x"].shape[:2] == (5, 37):
            answered["pooled"] += 1.0

    candidate = spoiled(reference, spoil)
    failure = Failure({"batch": 5, "sequence": 37}, "differs", "is off by 1", values="sign-flipped", seed=3)

    assert judge(source, reference, candidate, seconds=0.0).failures == ()
    (found,) = judge(source, reference, candidate, seconds=0.0, refuted=[failure]).failures
    assert (found.sizes, found.values, found.seed) == (failure.sizes, failure.values, failure.seed)


def test_an_end_that_time_does_not_allow_is_not_declared(source, reference):
    class Slow:
        ran = reference.session.ran

        def run(self, feeds):
            time.sleep(0.002 * feeds["x"].shape[0] * feeds["x"].shape[1])
            return reference.session.run(feeds)

    slow = type(reference)(Slow(), reference.twin, reference.origin)
    proof = judge(source, slow, spoiled(reference, lambda *_: None), seconds=0.05, clock=time.monotonic)

    assert proof.range["sequence"][1] < 64
    assert proof.verdict == "partial"


class IsOfLength:
    """Asks whether the sequence has one certain length."""

    def __init__(self, length):
        self.length = length

    def holds(self, sizes):
        return sizes["sequence"] == self.length


def test_a_way_that_the_code_goes_and_no_size_tried_is_not_declared(source, reference):
    asked = ({"batch": 2, "sequence": 33},)
    plan = {"asked": asked, "questions": (IsOfLength(33),), "seconds": 0.0}
    proof = judge(source, reference, spoiled(reference, lambda *_: None), **plan)

    assert not any(sizes["sequence"] == 33 for sizes in proof.sizes), "there was no time for it"
    assert proof.verdict == "partial"
    assert proof.range["sequence"][1] < 33


def test_the_same_seed_gives_the_same_proof(source, reference, graph):
    session = engine("onnxruntime").prepare(graph, Options(1))
    first, second = (judge(source, reference, session, seconds=30.0) for _ in range(2))

    assert first == second


class Deep(nn.Module):
    """A deep convnet whose random weights are drawn so wide that each layer stretches small differences."""

    def __init__(self, layers, width):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Conv1d(8, 8, 3, padding=1) for _ in range(layers))
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=width)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sin(layer(x))
        return x


class Choosing(nn.Module):
    """Picks the greater of two numbers that are as far from each other as `gap` says."""

    def __init__(self, gap):
        super().__init__()
        self.gap = gap

    def forward(self, x):
        pair = torch.stack([x, x * (1.0 + self.gap)], -1)
        return pair.topk(1, -1).indices[..., 0].to(torch.float32)


def prove_choosing(gap, is_wrong, *, is_noise=False):
    """Proves a candidate that chooses otherwise where `is_wrong`, as PyTorch in float64 does too if it `is_noise`."""
    inputs = {"x": torch.randn(2, 16, generator=torch.Generator().manual_seed(0))}
    source = load(Choosing(gap), example_inputs=inputs, dims={"x": DIMS["x"]}, ranges=RANGES)
    reference = reference_of(source, threads=1)

    def answer(feeds):
        (answered,) = reference.session.run(feeds).values()
        return {"output": 1.0 - answered if is_wrong(feeds["x"].shape) else answered}

    if is_noise:
        reference = dataclasses.replace(reference, twin=FunctionSession(answer), order=None)
    return judge(source, reference, FunctionSession(answer), seconds=30.0)


@pytest.mark.parametrize("is_noise", [False, True])
def test_a_choice_that_rounding_makes_is_no_error_where_hardly_any_is_made_otherwise(is_noise):
    proof = prove_choosing(2e-6, lambda shape: shape == (4, 29), is_noise=is_noise)

    assert proof.verdict == "proven"
    assert "ties" in codes(proof)


@pytest.mark.parametrize(
    ("gap", "is_wrong"), [(0.5, lambda shape: shape == (4, 29)), (2e-6, lambda shape: shape[1] > 20)]
)
@pytest.mark.parametrize("is_noise", [False, True])
def test_a_choice_that_is_clear_or_often_made_otherwise_is_an_error(gap, is_wrong, is_noise):
    proof = prove_choosing(gap, is_wrong, is_noise=is_noise)

    assert proof.verdict != "proven"
    assert ("ill-conditioned" in codes(proof)) is is_noise


class Normalizing(nn.Module):
    """Divides a signal by its own deviation: where it is constant, only rounding is left to be divided."""

    def __init__(self, *, has_jump=False):
        super().__init__()
        self.has_jump = has_jump

    def forward(self, x):
        wave = x * 1.7 + 0.3
        centred = wave - wave.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-14).sqrt()
        is_constant = (x == x[:, :1]).all(-1, keepdim=True)
        return torch.where(is_constant, scaled + 1.0, scaled) if self.has_jump else scaled


def prove_normalizing(candidate, *, has_jump=False):
    """Proves what a function of the right answer and the inputs answers."""
    inputs = {"x": torch.randn(2, 16, generator=torch.Generator().manual_seed(0))}
    module = Normalizing(has_jump=has_jump)
    source = load(module, example_inputs=inputs, dims={"x": DIMS["x"]}, ranges=RANGES)
    reference = reference_of(source, threads=1)

    def answer(feeds):
        shaken = feeds["x"].astype(np.float64) * (
            1 + 2.0**-24 * np.sin(np.arange(feeds["x"].size)).reshape(feeds["x"].shape)
        )
        return {"output": candidate(shaken if np.ptp(feeds["x"]) == 0 else feeds["x"].astype(np.float64))}

    return judge(source, reference, FunctionSession(answer), seconds=30.0)


def normalized(x):
    wave = x * 1.7 + 0.3
    centred = wave - wave.mean(-1, keepdims=True)
    return (centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-14)).astype(np.float32)


def test_rounding_that_the_model_itself_amplifies_at_unusual_values_is_no_error():
    proof = prove_normalizing(normalized)

    assert proof.verdict == "proven"
    assert "steep-values" in codes(proof)


def test_what_is_wrong_at_values_that_amplify_rounding_is_wrong_at_usual_ones_too():
    proof = prove_normalizing(lambda x: normalized(x) * np.float32(1.001))

    assert proof.verdict != "proven"


def test_a_condition_that_one_rounding_turns_round_is_not_taken_for_rounding():
    proof = prove_normalizing(normalized, has_jump=True)

    assert proof.verdict == "failed"
    assert "steep-values" not in codes(proof)


class Doubling(nn.Module):
    """Is right of any values."""

    def forward(self, x):
        return x * 2.0


class Centred(nn.Module):
    """Takes the mean from logarithms: where all are equal, nothing but the rounding of a mean is left."""

    def forward(self, x):
        logs = x.square().clamp_min(1e-6).log()
        return logs - logs.sum(1, keepdim=True) / x.shape[1]


def prove_centred(beside):
    """Proves what adds up the logarithms in another order, and something besides."""
    inputs = {"x": torch.randn(2, 16, generator=torch.Generator().manual_seed(0))}
    source = load(Centred(), example_inputs=inputs, dims={"x": DIMS["x"]}, ranges=RANGES)

    def answer(feeds):
        logs = np.log(np.maximum(np.square(feeds["x"]), np.float32(1e-6)))
        mean = np.add.accumulate(logs, 1)[:, -1:] / np.float32(logs.shape[1])
        return {"output": logs - mean + np.float32(beside)}

    return judge(source, reference_of(source, threads=1), FunctionSession(answer), seconds=30.0)


def test_rounding_that_alone_is_left_where_everything_cancels_is_no_error():
    assert prove_centred(0.0).verdict == "proven"


def test_what_is_wrong_beyond_the_rounding_that_is_left_where_everything_cancels_is_wrong():
    assert prove_centred(1e-3).verdict == "failed"


def test_what_is_tried_for_one_candidate_is_known_of_all():
    source = load(Doubling(), example_inputs={"x": torch.randn(2, 16)}, dims={"x": DIMS["x"]})
    reference = reference_of(source, threads=1)

    def wrong_of_zeros(divisor, multiple):
        def spoil(feeds, answered):
            batch, sequence = feeds["x"].shape
            is_wrong = (multiple * batch + sequence * (sequence + batch**2)) % divisor < 2
            answered["output"] += 1.0 if is_wrong and not feeds["x"].any() else 0.0

        return spoiled(reference, spoil)

    candidates = {"one": wrong_of_zeros(7, 5), "other": wrong_of_zeros(8, 6)}
    plan = Plan(source.profile, source.traced, seconds=3.0, clock=time.process_time)
    proofs = prove(reference, candidates, source.sampler, plan)

    assert {proof.verdict for proof in proofs.values()} == {"failed"}


def prove_deep(width, candidate):
    inputs = {"x": torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(0))}
    source = load(Deep(14, width), example_inputs=inputs, dims={"x": {0: "batch"}}, ranges={"batch": (1, 2, 4)})
    reference = reference_of(source, threads=1)
    return judge(source, reference, candidate(reference, source.module), seconds=60.0)


def in_float64(reference, module):
    return FunctionSession(
        lambda feeds: {name: array.astype(np.float32) for name, array in reference.twin.run(feeds).items()}
    )


def with_a_changed_weight(reference, module):
    changed = Deep(14, 0.0)
    changed.load_state_dict(module.state_dict())
    with torch.no_grad():
        changed.layers[7].weight[2, 3, 1] += 0.2

    def answer(feeds):
        with torch.no_grad():
            return {"output": changed(torch.from_numpy(feeds["x"])).numpy()}

    return FunctionSession(answer)


def a_hundredfold(reference, module):
    return spoiled(reference, lambda _, answered: answered.update(output=answered["output"] * 100))


WELL, BADLY = 0.35, 2.0


def test_nothing_is_told_of_an_ill_conditioned_model_right_or_wrong():
    right, changed = prove_deep(BADLY, in_float64), prove_deep(BADLY, with_a_changed_weight)

    assert right.verdict == changed.verdict == "failed"
    assert codes(right) == codes(changed) == ["ill-conditioned"]
    assert not right.failures, "what is right is not called wrong"
    assert "nothing smaller can be told" in right.findings[0].message


def test_what_is_wrong_beyond_all_noise_is_wrong_in_an_ill_conditioned_model():
    proof = prove_deep(BADLY, a_hundredfold)

    assert proof.verdict == "failed"
    assert "outputs-differ" in codes(proof)


def test_a_model_that_stretches_noise_within_reason_is_told_right_from_wrong():
    right, changed = prove_deep(WELL, in_float64), prove_deep(WELL, with_a_changed_weight)

    assert right.verdict == "proven"
    assert LEAST_LIMIT < right.tolerance.limits["output"] <= MOST_LIMIT
    assert changed.verdict == "failed"
    assert "outputs-differ" in codes(changed)


def test_the_tolerance_of_each_output_says_its_class_and_where_it_comes_from(source, reference):
    shown = judge(source, reference, spoiled(reference, lambda *_: None)).tolerance

    assert shown.classes == {"states": "same-precision", "pooled": "same-precision", "lengths": "exact"}
    assert (shown.floors["lengths"], shown.limits["lengths"]) == (0.0, 0.0)
    assert shown.limits["pooled"] == max(LEAST_LIMIT, shown.multiple * shown.floors["pooled"])


def turned(feeds, answered):
    answered["states"] = -answered["states"]


def in_half(feeds, answered):
    for name in ("states", "pooled"):
        answered[name] = answered[name].astype(np.float16).astype(np.float32)


def test_a_candidate_in_a_lower_type_is_held_to_what_that_type_can(source, reference):
    as_if_full = judge(source, reference, spoiled(reference, in_half))
    as_half = judge(source, reference, spoiled(reference, in_half), classes={"it": quantized({"pooled": 3e-4})})
    wrong = judge(source, reference, spoiled(reference, turned), classes={"it": quantized({"pooled": 3e-4})})
    miscounted = judge(
        source,
        reference,
        spoiled(reference, lambda _, a: a["lengths"].__iadd__(1)),
        classes={"it": quantized({"pooled": 3e-2})},
    )

    assert as_if_full.verdict != "proven"
    assert wrong.verdict == miscounted.verdict == "failed"
    assert as_half.verdict == "proven"
    assert as_half.tolerance.classes == {"states": "lower-precision", "pooled": "lower-precision", "lengths": "exact"}
    assert as_if_full.tolerance.limits["pooled"] < as_half.tolerance.limits["pooled"] <= 0.05


def in_steps(feeds, answered):
    for name in ("states", "pooled"):
        step = np.abs(answered[name]).max(initial=0.0, where=np.isfinite(answered[name])) / 31
        answered[name] = np.rint(answered[name] / step) * step


def swapped_rows(feeds, answered):
    answered["states"] = answered["states"][::-1]


def without_mask(feeds, answered):
    answered["pooled"] = answered["states"].mean(1)


def as_if_short(feeds, answered):
    """As a graph in which a branch for short inputs was frozen."""
    if feeds["x"].shape[1] > 32:
        answered["states"] = answered["states"] * 0.4


@pytest.mark.parametrize("spoil", [swapped_rows, without_mask, as_if_short])
def test_a_candidate_in_int8_that_is_structurally_wrong_is_refuted(source, reference, spoil):
    """However coarse its steps are: the class is never wider than one half of the whole tensor."""
    proof = judge(source, reference, spoiled(reference, spoil), classes={"it": quantized({"states": 1.0})}, seconds=1.0)

    assert proof.verdict != "proven"
    assert "outputs-differ" in codes(proof)


def test_a_candidate_in_int8_may_be_off_by_steps(source, reference):
    proof = judge(
        source, reference, spoiled(reference, in_steps), classes={"it": quantized({"states": 0.03})}, seconds=1.0
    )

    assert proof.verdict == "proven"
    assert proof.tolerance.is_overall
    assert proof.tolerance.is_for_usual


def relabelled(share, least=0):
    """Counts that are other ones in a share of the rows, of batches from a size on."""
    rng = np.random.default_rng(0)

    def spoil(_, answered):
        lengths = answered["lengths"]
        if len(lengths) >= least:
            answered["lengths"] = lengths + (rng.random(lengths.shape) < share).astype(lengths.dtype)

    return spoil


def test_whole_numbers_that_floats_decide_may_differ_as_often_as_on_samples_alone(source, reference):
    held_to = quantized({"lengths": 0.02}, {"lengths"})
    rarely, always, many = (
        judge(source, reference, spoiled(reference, relabelled(*how)), classes={"it": held_to}, seconds=2.0)
        for how in ((0.02,), (1.0,), (1.0, 6))
    )

    assert rarely.verdict == "proven"
    assert rarely.tolerance.classes["lengths"] == "lower-precision"
    assert always.verdict != "proven", "a batch of three shows it"
    assert many.verdict != "proven"
    assert "whole numbers" in next(one.message for one in many.findings if one.code == "outputs-differ")


def test_kinds_of_values_that_the_time_does_not_allow_are_told(source, reference, graph):
    proof = judge(source, reference, engine("onnxruntime").prepare(graph, Options(1)), seconds=0.0)

    told = " ".join(found.message for found in proof.findings if found.code == "not-tried")
    assert "masked throughout" in told
    assert "typical" not in told
