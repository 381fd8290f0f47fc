"""Modules that answer oddly: each ends in a right package, or in an error that says what to change."""

import time
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from cases.functions import FunctionModule
from torch import nn

import onnxwright as ow
from onnxwright.errors import ForwardError
from onnxwright.proof.prove import BUDGETS
from onnxwright.pytorch.session import PyTorchSession, to_tensor
from onnxwright.reference import reference_of
from onnxwright.samples import Sampler, meaning_of
from onnxwright.signature import Signature, TensorSpec
from onnxwright.stages.load import load

DIMS = {"x": {0: "batch", 1: "sequence"}}
NARROW = {"batch": (1, 2, 4), "sequence": (1, 16, 64)}


@pytest.fixture
def convert(tmp_path):
    """Converts a function; with `profile=NARROW` the range is asked for, without it is the default one."""

    def run(function, **options):
        torch.manual_seed(0)
        words = {"example_inputs": {"x": torch.randn(2, 16)}, "dims": DIMS, "engine": "onnxruntime", "proof": "quick"}
        module = function if isinstance(function, nn.Module) else FunctionModule(function)
        return ow.convert(module, tmp_path / "out", **words, measure=False, **options)

    return run


def told(package, code):
    return " ".join(found.message for found in package.manifest.findings if found.code == code)


def assert_right(package, function):
    """Holds the file, in plain ONNX Runtime, against the function at the corners of the range that is declared."""
    session = onnxruntime.InferenceSession(package.file())
    meaning = meaning_of(np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32), name="x")
    sampler = Sampler(package.signature, {"x": meaning})
    names = list(package.signature.output_names)
    for batch in package.proof.range["batch"]:
        for sequence in package.proof.range["sequence"]:
            feeds = sampler.draw({"batch": batch, "sequence": sequence}, seed=99)
            expected = function(to_tensor(feeds["x"]))
            expected = expected if isinstance(expected, dict) else {names[0]: expected}
            for name, got in zip(names, session.run(names, feeds), strict=True):
                want = expected[name].numpy()
                assert (got.dtype, got.shape) == (want.dtype, want.shape), name
                np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4, err_msg=name)


def long_only(x):
    if x.shape[1] > 40:
        raise ValueError("no more than 40 tokens")
    return x * 2


def odd_only(x):
    if x.shape[1] % 2 and x.shape[1] > 20:
        raise ValueError("even lengths only")
    return x * 2


class TestRaises:
    def test_beyond_a_size_narrows_the_default_range_and_says_where(self, convert):
        package = convert(long_only)

        assert package.proof.range == {"batch": (1, 32), "sequence": (1, 40)}
        message = told(package, "reference-refuses-size")
        assert "Dim 'sequence': the default range ends at 40 and not at 512, since the module refuses 41" in message
        assert "ValueError at " in message
        assert "test_odd_outputs.py:" in message
        assert "no more than 40 tokens" in message
        assert_right(package, long_only)

    def test_beyond_a_size_narrows_the_range_that_was_asked_for(self, convert):
        package = convert(long_only, profile=NARROW)

        assert package.proof.verdict == "partial"
        assert package.proof.range == {"batch": (1, 4), "sequence": (1, 40)}
        assert "no more than 40 tokens" in told(package, "reference-refuses-size")
        assert "shown for batch 1…4, sequence 1…40" in told(package, "range-narrowed")
        assert {"batch": 4, "sequence": 64} in package.proof.refused

    def test_here_and_there_leaves_the_sizes_between_out(self, convert):
        package = convert(odd_only, profile=NARROW)

        assert package.proof.range == {"batch": (1, 4), "sequence": (1, 20)}
        assert "even lengths only" in told(package, "reference-refuses-size")


@pytest.mark.thorough
def test_slow_calls_keep_to_the_time_and_what_was_not_tried_is_told(convert):
    def slow(x):
        time.sleep(0.4)
        return x * 2

    package = convert(slow, route="trace")

    assert package.manifest.attempts[0].seconds < 4 * BUDGETS["quick"]
    assert "for lack of time" in told(package, "not-tried")
    assert package.proof.untried
    tried = [tuple(sizes.values()) for sizes in package.proof.sizes]
    untried = [tuple(sizes.values()) for sizes in package.proof.untried]
    assert len(set(untried)) == len(untried)
    assert not set(tried) & set(untried)


class TestNumberOfOutputs:
    def test_more_at_other_sizes_narrows(self, convert):
        def grows(x):
            return {"a": x * 2, "b": x + 1} if x.shape[1] > 40 else {"a": x * 2}

        package = convert(grows, profile=NARROW)

        assert package.proof.range["sequence"] == (1, 40)
        message = told(package, "reference-refuses-size")
        assert "output 'b': answered at these sizes, but not for the example; expected a only" in message
        assert_right(package, grows)

    def test_more_at_other_sizes_narrows_the_default_range(self, convert):
        package = convert(lambda x: (x * 2, x + 1) if x.shape[1] > 300 else (x * 2,))

        assert package.proof.range["sequence"] == (1, 300)
        assert "since the module refuses 301: output 'output_1': answered" in told(package, "reference-refuses-size")

    def test_fewer_at_other_sizes_narrows(self, convert):
        def shrinks(x):
            return {"a": x * 2, "b": x + 1} if x.shape[1] <= 40 else {"a": x * 2}

        package = convert(shrinks, profile=NARROW)

        assert package.signature.output_names == ("a", "b")
        assert package.proof.range["sequence"] == (1, 40)
        assert "output 'b': not answered at these sizes; got a" in told(package, "reference-refuses-size")
        assert_right(package, shrinks)

    def test_one_for_each_row_is_declared_for_the_rows_of_the_example(self, convert):
        package = convert(lambda x: [row * 2 for row in x])

        assert package.proof.range["batch"] == (2, 2)
        assert "output 'output_2': answered at these sizes" in told(package, "reference-refuses-size")

    def test_a_model_whose_outputs_are_picked_may_answer_more(self):
        spec = TensorSpec("x", "float32", ("batch", 3))
        signature = Signature((spec,), (TensorSpec("a", "float32", ("batch", 3)),))
        module = FunctionModule(lambda x: {"a": x * 2, "b": x})
        feeds = {"x": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)}

        picked = PyTorchSession(module, signature, threads=1).run(feeds)

        np.testing.assert_array_equal(picked["a"], feeds["x"] * 2)
        assert list(picked) == ["a"]
        with pytest.raises(ForwardError, match=r"output 'b': answered at these sizes.*expected a only"):
            PyTorchSession(module, signature, threads=1, is_whole=True).run(feeds)


class TestNoTensor:
    def test_is_left_out_and_told(self, convert):
        package = convert(
            lambda x: {"y": x * 2, "none": None, "word": "text", "count": 3, "flag": True}, profile=NARROW
        )

        assert package.proof.verdict == "proven"
        assert package.signature.output_names == ("y",)
        message = told(package, "skipped-output")
        for name, kind in (("none", "NoneType"), ("word", "str"), ("count", "int"), ("flag", "bool")):
            assert f"Output '{name}' is left out, being of type {kind}; a graph answers tensors only." in message

    @pytest.mark.parametrize("instead", [None, 5, "text"])
    def test_at_some_sizes_narrows(self, convert, instead):
        def sometimes(x):
            return {"y": x * 2, "extra": x + 1 if x.shape[1] <= 40 else instead}

        package = convert(sometimes, profile=NARROW)

        assert package.signature.output_names == ("y", "extra")
        assert package.proof.range["sequence"] == (1, 40)
        assert "output 'extra': not answered at these sizes; got y" in told(package, "reference-refuses-size")

    def test_for_the_example_but_a_tensor_elsewhere_narrows(self, convert):
        package = convert(lambda x: {"y": x * 2, "extra": x + 1 if x.shape[1] > 40 else None}, profile=NARROW)

        assert package.proof.range["sequence"] == (1, 40)
        assert "Output 'extra' is left out" in told(package, "skipped-output")
        assert "output 'extra': answered at these sizes" in told(package, "reference-refuses-size")

    def test_at_all_is_refused(self, convert):
        with pytest.raises(ForwardError, match="returned a NoneType without any tensor; expected a tensor, or tuples"):
            convert(lambda x: None)


class TestKindOfTensor:
    @pytest.mark.parametrize(
        ("function", "words"),
        [
            (lambda x: torch.complex(x, x * 2), r"'output': .*got complex64\. Return `torch\.view_as_real"),
            (lambda x: {"y": x, "z": torch.fft.fft(x)}, r"'z': expected a dense tensor of real numbers.*got complex64"),
            (lambda x: x.relu().to_sparse(), r"got torch\.sparse_coo float32\. Return `\.to_dense\(\)`"),
            (lambda x: x.to(torch.float8_e4m3fn), r"got float8_e4m3fn\. Cast it inside the module"),
        ],
    )
    def test_that_no_engine_takes_is_refused(self, convert, function, words, tmp_path, capfd):
        with pytest.raises(ForwardError, match=words) as refusal:
            convert(function)

        assert str(refusal.value).endswith(". Mend forward, or the example inputs.")
        assert ".. Mend" not in str(refusal.value)
        assert capfd.readouterr() == ("", "")
        assert not (tmp_path / "out").exists()

    def test_that_is_complex_is_refused_as_an_input_too(self, convert):
        with pytest.raises(ow.SignatureError, match=r"example input 'x': .*got torch\.strided complex64"):
            ow.convert(
                FunctionModule(lambda x: x.real), "never", example_inputs={"x": torch.randn(2, 3, dtype=torch.cfloat)}
            )

    def test_complex_numbers_inside_are_no_obstacle_to_an_answer_in_words(self, convert, capfd):
        with pytest.raises(ow.ProofError, match="aten::fft_ihfft"):
            convert(lambda x: torch.fft.ihfft(x).abs(), profile=NARROW, route="trace")

        assert "Traceback" not in capfd.readouterr().err

    def test_of_every_other_type_is_proven(self, convert):
        def types(x):
            whole = (x * 10).round().clamp(-100, 100)
            return {
                "double": x.double() * 2,
                "long": whole.long(),
                "flag": x > 0,
                "half": x.half(),
                "int": whole.int(),
                "byte": whole.abs().to(torch.uint8),
            }

        package = convert(types, profile=NARROW)

        assert package.proof.verdict == "proven"
        assert [spec.dtype for spec in package.signature.outputs] == [
            *("float64", "int64", "bool", "float16", "int32", "uint8")
        ]
        assert_right(package, types)

    def test_without_axes_is_proven(self, convert):
        def scalar(x):
            return {"loss": (x * x).mean(), "y": x * 2}

        package = convert(scalar, profile=NARROW)

        assert package.proof.verdict == "proven"
        assert str(package.signature.outputs[0]) == "float32[]"
        assert_right(package, scalar)

    @pytest.mark.parametrize(
        ("at_length", "words"),
        [
            (lambda y: y[None], "expected float32[batch, sequence] as for the example, got float32[1, "),
            (lambda y: y.double(), "expected float32[batch, sequence] as for the example, got float64["),
        ],
        ids=["axes", "type"],
    )
    def test_that_depends_on_the_size_narrows(self, convert, at_length, words):
        def changing(x):
            return at_length(x * 2) if x.shape[1] > 40 else x * 2

        package = convert(changing, profile=NARROW)

        assert package.proof.range["sequence"] == (1, 40)
        assert words in told(package, "reference-refuses-size")
        assert_right(package, changing)

    def test_that_loses_its_first_axis_alone_narrows(self, convert):
        package = convert(lambda x: (x * 2).squeeze(0))

        assert package.proof.range["batch"] == (2, 32)
        message = told(package, "reference-refuses-size")
        assert "Dim 'batch': the default range ends at 2 and not at 1, since the module refuses 1: output" in message


class TestNoElements:
    def test_where_the_profile_allows_it_is_proven(self, convert):
        def double(x):
            return {"y": x * 2, "total": x.sum(1)}

        package = convert(double, profile={"batch": (0, 2, 4), "sequence": (0, 8, 16)})

        assert package.proof.verdict == "proven"
        assert package.proof.range == {"batch": (0, 4), "sequence": (0, 16)}
        assert {"batch": 0, "sequence": 0} in package.proof.sizes
        assert_right(package, double)

    def test_where_the_module_refuses_it_narrows(self, convert):
        package = convert(lambda x: x.max(1).values, profile={"batch": (0, 2, 4), "sequence": (0, 8, 16)})

        assert package.proof.range == {"batch": (0, 4), "sequence": (1, 16)}
        assert "sequence 0" in told(package, "reference-refuses-size")

    def test_ever_shows_nothing(self, convert):
        with pytest.raises(
            ow.ProofError, match="Output 'none': the reference answers only NaN, infinity or no element"
        ):
            convert(lambda x: {"y": x * 2, "none": x[:, :0]}, profile=NARROW, route="trace")


def test_a_scripted_module_has_its_twin_in_float64_without_warnings():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(16, 4)

        def forward(self, x):
            return self.line(x) * 2 if x.shape[0] > 2 else self.line(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(Branch())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        example = {"x": torch.randn(2, 16)}
        source = load(scripted, example_inputs=example, dims={"x": {0: "batch"}}, ranges={"batch": (1, 2, 4)})
        reference = reference_of(source, threads=1)

    assert [str(warning.message) for warning in seen] == []
    assert reference.origin.startswith("PyTorch in float64 against float32")
