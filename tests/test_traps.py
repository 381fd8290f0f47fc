"""Modules with traps: each comes out right on the range that it declares, or is refused; none is declared wrong."""

import itertools
import time

import numpy as np
import onnxruntime
import pytest
import torch
from cases import adversary, hiding, thorough, traps

import onnxwright as ow
from onnxwright.pytorch.session import to_array, to_tensor
from onnxwright.samples import REGIMES, Sampler, meaning_of

QUICK = {"measure": False, "engine": "onnxruntime", "proof": "quick", "repair_seconds": 3.0}
ONCE = {**QUICK, "repair_seconds": 0.0, "route": "trace"}
PROVEN = {**traps.PROVEN, **adversary.PROVEN}
REFUSED = {**traps.REFUSED, **adversary.REFUSED}
EXPECTED = {**PROVEN, **traps.RIGHT_OR_REFUSED, **adversary.RIGHT_OR_REFUSED}


def convert(case, folder):
    module, example, dims = case()
    return ow.convert(module, folder, example_inputs=example, dims=dims, **QUICK)


MOST_ATTACKS = 40
MOST_SECONDS = 0.7


def sizes_to_attack(ranges):
    """Sizes of each dim with the others at both ends, and sizes between; evenly thinned where there are many."""
    dims = list(ranges)
    spans = [range(low, high + 1) for low, high in ranges.values()]
    found = []
    for moved, dim in enumerate(dims):
        others = [ranges[other] for other in dims if other != dim]
        for size, rest in itertools.product(spans[moved], itertools.product(*others)):
            found.append(dict(zip(dims, [*rest[:moved], size, *rest[moved:]], strict=True)))
    rng = np.random.default_rng(5)
    rng.shuffle(found)
    between = [{dim: int(rng.integers(*ends, endpoint=True)) for dim, ends in ranges.items()} for _ in range(15)]
    return found[:MOST_ATTACKS] + between


def is_declared(package, feeds):
    sizes = package.signature.bind(feeds).items()
    return all(package.proof.range[dim][0] <= size <= package.proof.range[dim][1] for dim, size in sizes)


def assert_right(package, name):
    """Attacks the ONNX file with plain ONNX Runtime against a fresh module for each call."""
    session = onnxruntime.InferenceSession(package.file())
    case = EXPECTED[name]
    _, example, _ = case()
    meanings = {name: meaning_of(tensor.numpy(), name=name) for name, tensor in example.items()}
    sampler = Sampler(package.signature, meanings)
    regimes = itertools.cycle(REGIMES)
    deadline = time.monotonic() + MOST_SECONDS
    telling = [{key: to_array(value) for key, value in one.items()} for one in adversary.TELLING.get(name, ())]
    drawn = (sampler.draw(sizes, next(regimes), seed=99) for sizes in sizes_to_attack(package.proof.range))
    for feeds in itertools.chain((one for one in telling if is_declared(package, one)), drawn):
        if time.monotonic() > deadline:
            break
        module = case()[0].eval()
        with torch.no_grad():
            expected = module(**{name: to_tensor(array) for name, array in feeds.items()})
        answered = session.run([package.signature.output_names[0]], feeds)[0]
        first = expected if isinstance(expected, torch.Tensor) else expected.logits
        largest = np.abs(first[first.isfinite()].numpy()).max(initial=0.0)
        rounding = max(1e-4, 2e-6 * largest)
        sizes = str(package.signature.bind(feeds))
        np.testing.assert_allclose(answered, first.numpy(), rtol=1e-4, atol=rounding, err_msg=sizes)


LIKE_OTHERS = {
    *("slow-length-equality", "length-loop", "eager-cleaning", "length-equality", "odd-length", "numpy-inside"),
    *("list-inside", "growing-cache", "slow-counter", "pair-window", "batch-equality", "equal-lengths", "log-length"),
    *("half-roll", "exact-real", "is-nonzero", "all-zero", "negative-number", "trim-to-longest", "mask-fast-path"),
    *("dlpack-read", "storage-read", "subclass-read", "rare-floor-branch", "rare-floor-where"),
    *("ratio-branch", "triple-equality", "chunk-threshold", "pixels-and-score", "writes-through-views"),
    *("python-length", "early-exit", "zero-state", "frozen-batch", "floor-division", "item-inside", "area-branch"),
    *("pair-equality", "optional-positions", "constant-rows", "value-branch", "export-branch"),
}
"""Five seconds and more each, of kinds that others show, or tests of findings and of repairs."""


@pytest.mark.parametrize("name", thorough.marked(EXPECTED, LIKE_OTHERS))
def test_no_trap_is_declared_right_where_it_is_wrong(name, tmp_path):
    refusal = None
    try:
        package = convert(EXPECTED[name], tmp_path / "out")
    except ow.ModelError as problem:
        refusal = problem

    if refusal is not None:
        assert name not in PROVEN, refusal
        assert not (tmp_path / "out").exists()
        return
    if name in PROVEN:
        assert package.proof.verdict == "proven"
        assert package.proof.range["sequence"] == (1, 512)
    assert_right(package, name)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_function_of_its_inputs_is_refused(name, tmp_path):
    with pytest.raises(ow.ModelError):
        convert(REFUSED[name], tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_a_branch_on_the_length_is_narrowed_to_where_tracing_is_right(tmp_path):
    module, example, dims = traps.RIGHT_OR_REFUSED["length-branch"]()

    package = ow.convert(module, tmp_path / "out", example_inputs=example, dims=dims, **ONCE)

    assert package.proof.verdict == "partial"
    assert package.proof.range == {"batch": (1, 32), "sequence": (9, 512)}
    with pytest.raises(ow.OutOfRangeError, match=r"sequence.*8.*9"):
        package.session().run({"x": np.zeros((2, 8), np.float32)})


def test_a_branch_on_a_value_is_refused_by_tracing_with_its_line(tmp_path):
    module, example, dims = traps.RIGHT_OR_REFUSED["rare-value-branch"]()

    with pytest.raises(ow.ProofError, match=r"branches on a value.*traps\.py:\d+") as refusal:
        ow.convert(module, tmp_path / "out", example_inputs=example, dims=dims, **ONCE)

    assert [found.code for found in refusal.value.findings] == ["value-branch-frozen"]


def test_the_module_is_handed_back_as_it_came(tmp_path):
    module, example, dims = traps.PROVEN["training-module"]()
    table = dict(module.__dict__)

    ow.convert(module, tmp_path / "out", example_inputs=example, dims=dims, **QUICK)

    assert module.training
    assert module.drop.training
    assert module.__dict__.keys() == table.keys()


ELSEWHERE = {
    *("counted-ones", "counted-rows", "counted-bytes", "counted-pieces", "shape-name", "same-size", "stride-branch"),
    *("listed-zeros", "listed-table", "common-divisor"),
}
"""Sizes taken as numbers, which `unit/test_conditions.py` shows of each kind, too."""


@pytest.mark.parametrize("name", thorough.marked(hiding.HIDING, ELSEWHERE))
def test_what_is_hidden_from_a_trace_is_never_called_right(name, tmp_path):
    module, example, dims = hiding.HIDING[name]()

    with pytest.raises(ow.ProofError) as refusal:
        ow.convert(module, tmp_path / "out", example_inputs=example, dims=dims, route="trace", **QUICK)

    assert any(found.blocks_proof for found in refusal.value.findings)


class ValueThenSizes(torch.nn.Module):
    """Decides by a value, and then by a pair of sizes; neither can be compiled."""

    def __init__(self):
        super().__init__()
        self.steps = {"shift": 1.0}

    def forward(self, x, **_):
        if x.mean() > 0:
            x = x + self.steps["shift"]
        if x.shape[0] == 31 and x.shape[1] == 509:
            return {"y": x * 2.0}
        return {"y": x}


class SizesTogether(torch.nn.Module):
    """Decides by two questions about both sizes at once."""

    def forward(self, x):
        return x * 2.0 if sum(x.shape) == 31 + 509 and max(x.shape) == 509 else x + 1.0


@pytest.mark.parametrize("make", [ValueThenSizes, SizesTogether])
def test_one_pair_of_sizes_is_not_called_right_unseen(make, tmp_path):
    torch.manual_seed(0)
    dims = {"x": {0: "batch", 1: "sequence"}}

    try:
        package = ow.convert(
            make(), tmp_path / "out", example_inputs={"x": torch.randn(2, 16)}, dims=dims, route="trace", **QUICK
        )
    except ow.ProofError:
        return

    assert package.proof.range["batch"][1] < 31 or package.proof.range["sequence"][1] < 509


def test_a_part_of_a_length_is_counted_as_python_counts_it(tmp_path):
    class Part(torch.nn.Module):
        def forward(self, x):
            return x[:, : int(x.shape[1] * 0.29) + 1].sum(1)

    package = ow.convert(
        Part(),
        tmp_path / "out",
        example_inputs={"x": torch.randn(2, 24, 3)},
        dims={"x": {0: "batch", 1: "sequence"}},
        profile={"sequence": (1, 24, 210)},
        replay="dynamo@18; control-flow=" + f"test_traps.py:{Part.forward.__code__.co_firstlineno + 1}",
        **QUICK,
    )

    x = torch.randn(2, 100, 3)
    assert package.proof.verdict == "proven"
    np.testing.assert_allclose(
        package.session().run({"x": x.numpy()})["output"], Part()(x).numpy(), rtol=1e-4, atol=1e-4
    )


class Named(torch.nn.Module):
    """Chooses by a name made of its length."""

    def forward(self, x):
        return x * {"length 5": 2.0}.get(f"length {int(x.shape[1])}", 1.0)


@pytest.mark.parametrize(("most", "verdict"), [(12, "proven"), pytest.param(4000, None, marks=pytest.mark.thorough)])
def test_a_size_taken_as_a_number_is_shown_by_all_sizes_or_not_at_all(most, verdict, tmp_path):
    def convert():
        return ow.convert(
            Named(),
            tmp_path / "out",
            example_inputs={"x": torch.randn(2, 8)},
            dims={"x": {0: "batch", 1: "sequence"}},
            profile={"batch": (1, 2, 4), "sequence": (1, 8, most)},
            **{**QUICK, "repair_seconds": 20.0 if verdict else 0.0, "route": "trace"},
        )

    if verdict is None:
        with pytest.raises(ow.ProofError, match="takes this size as a number"):
            convert()
        return
    package = convert()

    assert package.proof.verdict == verdict
    for length in range(1, most + 1):
        x = torch.randn(3, length)
        np.testing.assert_allclose(package.session().run({"x": x.numpy()})["output"], Named()(x).numpy(), rtol=1e-5)


def test_a_value_that_is_looked_up_is_read_whatever_stands_in_for_it(tmp_path):
    module, example, dims = hiding.looked_up_token()

    with pytest.raises(ow.ProofError, match="looks up a value"):
        ow.convert(
            module,
            tmp_path / "out",
            example_inputs=example,
            dims=dims,
            replay="trace@18; operators=tolist",
            **QUICK,
        )
