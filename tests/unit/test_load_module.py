"""Loading an `nn.Module` with example inputs: names, dims, types, ranges, and what is refused."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
import torch
from cases.functions import FunctionModule
from torch import nn

from onnxwright.errors import CheckpointError, ForwardError, ProfileError, SignatureError, SourceError, UsageError
from onnxwright.profile import Profile
from onnxwright.samples import Bools, Floats, Integers, Mask
from onnxwright.stages.load import load

torch.manual_seed(0)


class Sum(nn.Module):
    def forward(self, x, y=None, *, scale=None, mask=None):
        total = x if y is None else x + y
        total = total if scale is None else total * scale
        return total if mask is None else torch.where(mask, total, 0.0)


def inputs_of(source):
    return {spec.name: str(spec) for spec in source.signature.inputs}


def outputs_of(source):
    return {spec.name: str(spec) for spec in source.signature.outputs}


class TestInputs:
    @pytest.mark.parametrize(
        "given",
        [torch.randn(2, 5), (torch.randn(2, 5),), [torch.randn(2, 5)], {"x": torch.randn(2, 5)}, np.random.rand(2, 5)],
    )
    def test_are_named_after_forward(self, given):
        source = load(Sum(), example_inputs=given)

        assert list(inputs_of(source)) == ["x"]
        assert source.signature.inputs[0].shape == ("batch", 5)

    def test_keep_the_order_in_which_they_are_given(self):
        source = load(Sum(), example_inputs={"y": torch.randn(2, 5), "x": torch.randn(2, 5)})
        assert source.signature.input_names == ("y", "x")

    def test_may_be_optional_and_keyword_only(self):
        example = {"x": torch.randn(2, 5), "mask": torch.tensor([[True, False, True, True, False]] * 2)}
        source = load(Sum(), example_inputs={**example, "y": None})
        assert inputs_of(source) == {"x": "float32[batch, 5]", "mask": "bool[batch, 5]"}

    def test_may_be_numbers_without_axes(self):
        example = {"x": torch.randn(3, 5), "scale": torch.tensor(2.5), "y": torch.tensor(3)}
        source = load(Sum(), example_inputs=example)
        assert inputs_of(source) == {"x": "float32[batch, 5]", "scale": "float32[]", "y": "int64[]"}
        assert source.sampler.draw({"batch": 4})["scale"].shape == ()

    @pytest.mark.parametrize(
        ("dtype", "name"),
        [
            (torch.float64, "float64"),
            (torch.float16, "float16"),
            (torch.bfloat16, "float32"),  # numpy has no bfloat16
            (torch.int32, "int32"),
            (torch.uint8, "uint8"),
            (torch.bool, "bool"),
        ],
    )
    def test_keep_their_type(self, dtype, name):
        example = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
        source = load(FunctionModule(lambda x: x.to(torch.float32)), example_inputs=example)
        assert inputs_of(source) == {"x": f"{name}[batch, 3]"}
        assert source.sampler.draw({"batch": 3})["x"].dtype.name == name

    def test_mean_what_the_example_says(self):
        class Several(nn.Module):
            def forward(self, ids, attention_mask, flags, levels):
                return ids.sum() + attention_mask.sum() + flags.sum() + levels.sum()

        example = {
            "ids": torch.tensor([[3, 9], [4, 4]]),
            "attention_mask": torch.tensor([[1, 0], [1, 1]]),
            "flags": torch.tensor([[True, False], [True, True]]),
            "levels": torch.tensor([[1.0, 3.0], [0.5, 0.0]]),
        }
        meanings = load(Several(), example_inputs=example).sampler.meanings
        assert meanings["ids"] == Integers("int64", 3, 9)
        assert meanings["attention_mask"] == Mask("int64")
        assert meanings["flags"] == Bools()
        assert isinstance(meanings["levels"], Floats)
        assert meanings["levels"].is_positive

    def test_of_text_models_have_their_usual_dims(self):
        class Text(nn.Module):
            def forward(self, input_ids, attention_mask):
                return (input_ids * attention_mask).sum(-1)

        ids = torch.randint(0, 9, (2, 7))
        source = load(Text(), example_inputs={"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        assert inputs_of(source)["input_ids"] == "int64[batch, sequence]"
        assert source.profile == Profile(batch=(1, 8, 32), sequence=(1, 128, 512))

    def test_may_be_those_of_a_scripted_module(self):
        source = load(torch.jit.script(nn.Sequential(nn.Linear(5, 3))), example_inputs=torch.randn(2, 5))
        assert inputs_of(source) == {"input": "float32[batch, 5]"}

    def test_are_sampled_as_they_were_given_too(self):
        x = torch.randn(2, 5)
        (given,) = load(Sum(), example_inputs={"x": x}).sampler.given
        assert (given["x"] == x.numpy()).all()

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (
                {"z": torch.ones(2)},
                r"example input 'z': forward has no such argument; expected one of mask, scale, x, y",
            ),
            ({"y": torch.ones(2)}, r"forward needs 'x', got y. Add it"),
            ({"x": None}, r"forward needs 'x', got nothing"),
            ({}, r"forward needs 'x', got nothing"),
            ({"x": 3.0}, r"example input 'x': expected a tensor, got float. Wrap a number with torch.tensor"),
            ({"x": "text"}, r"example input 'x': expected a tensor, got str"),
            ({0: torch.ones(2)}, r"example input 0: expected the name of an argument of forward"),
            ((torch.ones(2),) * 3, r"example inputs: 3 tensors for forward\(x, y\)"),
            (3, r"example inputs: expected a dict of name to tensor, got int"),
            ({"x": torch.zeros(2, 0)}, r"example input 'x': has no elements \(shape \[2, 0\]\)"),
            ({"x": torch.eye(2).to_sparse()}, r"example input 'x': expected a dense tensor .*, got torch.sparse_coo"),
            ({"x": np.array(["a"])}, r"example input 'x': expected a dense tensor of numbers or bools, got str"),
        ],
    )
    def test_that_do_not_fit_forward_are_refused(self, given, words):
        with pytest.raises(SignatureError, match=words):
            load(Sum(), example_inputs=given)

    def test_of_nothing_but_defaults_are_refused(self):
        class Alone(nn.Module):
            def forward(self, x=None):
                return torch.ones(2)

        with pytest.raises(SignatureError, match="expected at least one tensor, got none"):
            load(Alone(), example_inputs={})

    def test_that_go_by_position_alone_get_names(self):
        class Many(nn.Module):
            def forward(self, *tensors):
                return tensors[0] - 2 * tensors[1]

        class First(nn.Module):
            def forward(self, x, /, y, *others, scale=1.0):
                return (x - 2 * y - 3 * sum(others)) * scale

        class Open(nn.Module):
            def forward(self, *inputs, **named):
                return inputs[0] - 2 * named.get("y", 1.0)

        one, two, three = torch.full((2, 3), 1.0), torch.full((2, 3), 2.0), torch.full((2, 3), 5.0)
        for module, example, names, expected in (
            (Many(), (one, two), ["tensors_0", "tensors_1"], -3.0),
            (Many(), {"tensors_1": one, "tensors_0": two}, ["tensors_1", "tensors_0"], 0.0),
            (Many(), {"b": two, "a": one}, ["b", "a"], 0.0),
            (First(), (one, two), ["x", "y"], -3.0),
            (First(), (one, two, three), ["x", "y", "others_0"], -18.0),
            (First(), {"y": one, "x": three, "scale": two}, ["y", "x", "scale"], 6.0),
            (Open(), (three,), ["inputs_0"], 3.0),
            (Open(), {"inputs_0": three, "y": two}, ["inputs_0", "y"], 1.0),
        ):
            source = load(module, example_inputs=example)
            (given,) = source.sampler.given
            answered = source.module(**{name: torch.from_numpy(array) for name, array in given.items()})
            assert list(source.signature.input_names) == names
            assert source.name == type(module).__name__
            assert answered.unique().tolist() == [expected]

    def test_that_go_by_position_are_refused_where_one_before_them_is_left_out(self):
        class Optional(nn.Module):
            def forward(self, x, y=None, *others):
                return x - others[0]

        for example, told in (
            ((torch.ones(2), None, torch.ones(2)), "'y' is left out, and what comes after it goes by position"),
            ({"x": torch.ones(2), "y": torch.ones(2), "others_1": torch.ones(2)}, r"expected others_0 for '\*others'"),
            ({"x": torch.ones(2), "ohters_0": torch.ones(2)}, "forward has no such argument"),
        ):
            with pytest.raises(SignatureError, match=told):
                load(Optional(), example_inputs=example)

    def test_of_what_torch_has_exported_are_called_as_they_were(self):
        class Weighing(nn.Module):
            def forward(self, x, y, scale=None):
                return (x - y) * scale

        one, two = torch.full((2, 3), 5.0), torch.full((2, 3), 2.0)
        sizes = {name: {0: torch.export.Dim.DYNAMIC} for name in ("x", "y", "scale")}
        program = torch.export.export(Weighing().eval(), (one, two), {"scale": two}, dynamic_shapes=sizes)

        for module in (program, program.module()):
            source = load(module, example_inputs={"scale": two, "y": two, "x": one})
            (given,) = source.sampler.given
            answered = source.module(**{name: torch.from_numpy(array) for name, array in given.items()})
            assert inputs_of(source) == dict.fromkeys(("scale", "y", "x"), "float32[batch, 3]")
            assert answered.unique().tolist() == [6.0]

    def test_are_asked_for(self):
        with pytest.raises(UsageError, match="example_inputs: expected a dict of name to tensor beside a module"):
            load(Sum())

    def test_come_with_modules_only(self, tmp_path):
        with pytest.raises(UsageError, match=r"example_inputs and dims: expected with an nn.Module only"):
            load(tmp_path, example_inputs={"x": torch.ones(2)})

    def test_of_something_else_are_refused(self):
        with pytest.raises(SourceError, match=r"expected an nn.Module, got type"):
            load(Sum, example_inputs={"x": torch.ones(2)})


class TestDims:
    def test_are_those_that_the_caller_names(self):
        example = {"x": torch.randn(3, 4, 5)}
        source = load(Sum(), example_inputs=example, dims={"x": {0: "rows", -1: "columns"}})
        assert inputs_of(source) == {"x": "float32[rows, 4, columns]"}
        assert outputs_of(source) == {"output": "float32[rows, 4, columns]"}
        assert source.profile == Profile(rows=(1, 3, 6), columns=(1, 5, 10))

    def test_are_all_fixed_where_the_caller_names_none(self):
        source = load(Sum(), example_inputs={"x": torch.randn(3, 4)}, dims={})
        assert inputs_of(source) == {"x": "float32[3, 4]"}
        assert dict(source.profile) == {}

    def test_are_the_batch_alone_where_nobody_says(self):
        source = load(Sum(), example_inputs={"x": torch.randn(3, 4), "y": torch.randn(3, 1)})
        assert inputs_of(source) == {"x": "float32[batch, 4]", "y": "float32[batch, 1]"}

    def test_do_not_guess_a_batch_where_axes_disagree(self):
        source = load(Sum(), example_inputs={"x": torch.randn(3, 4), "y": torch.randn(1, 4)})
        assert inputs_of(source) == {"x": "float32[3, 4]", "y": "float32[1, 4]"}

    def test_do_not_guess_a_batch_that_the_module_refuses(self):
        source = load(FunctionModule(lambda x: x.view(2, 3)), example_inputs={"x": torch.randn(2, 3)})
        assert inputs_of(source) == {"x": "float32[2, 3]"}

    def test_that_are_shared_have_one_size(self):
        dims = {"x": {0: "n"}, "y": {0: "n"}}
        with pytest.raises(SignatureError, match=r"dim 'n': is 3 in 'x' and 1 in 'y'. Give the two axes names"):
            load(Sum(), example_inputs={"x": torch.randn(3, 4), "y": torch.randn(1, 4)}, dims=dims)

    @pytest.mark.parametrize(
        ("dims", "words"),
        [
            ({"z": {0: "n"}}, r"dims: 'z' is not an input; expected one of x"),
            ({"x": {2: "n"}}, r"dims of 'x': there is no axis 2; the input has 2 axes"),
            ({"x": {-3: "n"}}, r"dims of 'x': there is no axis -3"),
            ({"x": {"0": "n"}}, r"dims of 'x': there is no axis '0'"),
            ({"x": {0: 3}}, r"axis 0 can't be called 3; expected letters, digits and underscores"),
            ({"x": {0: "two words"}}, r"axis 0 can't be called 'two words'"),
            ({"x": {0: ""}}, r"axis 0 can't be called ''"),
            ({"x": {0: "a", -2: "b"}}, r"axis -2 is called both 'a' and 'b'"),
            ({"x": ["batch"]}, r"dims of 'x': expected {axis: name}, got \['batch'\]"),
            (["batch"], r"dims: expected {input: {axis: name}}, got list"),
        ],
    )
    def test_that_do_not_fit_are_refused(self, dims, words):
        with pytest.raises(SignatureError, match=words):
            load(Sum(), example_inputs={"x": torch.randn(3, 4)}, dims=dims)


class TestRanges:
    def test_are_given_or_default(self):
        dims = {"x": {0: "batch", 1: "width"}}
        source = load(Sum(), example_inputs={"x": torch.randn(3, 4)}, dims=dims, ranges={"width": (2, 3, 9)})
        assert source.profile == Profile(batch=(1, 8, 32), width=(2, 3, 9))

    @pytest.mark.parametrize("ranges", [{"height": (1, 2, 3)}, {"sequence": (1, 2, 3)}])
    def test_of_unknown_dims_list_what_there_is(self, ranges):
        with pytest.raises(ProfileError, match="the model has no such dim; it has batch"):
            load(Sum(), example_inputs={"x": torch.randn(3, 4)}, ranges=ranges)
        with pytest.raises(ProfileError, match="the model has no such dim; all of its dims are fixed"):
            load(Sum(), example_inputs={"x": torch.randn(3, 4)}, ranges=ranges, dims={})

    @pytest.mark.parametrize("sizes", [(3, 2, 4), (1, 5, 4), (-1, 2, 3), (1, 2, 2.5), (1, 2), (True, 2, 3)])
    def test_are_ordered_whole_numbers(self, sizes):
        with pytest.raises(ProfileError, match="range of dim 'batch': expected"):
            load(Sum(), example_inputs={"x": torch.randn(3, 4)}, ranges={"batch": sizes})

    def test_that_are_not_given_end_where_the_module_refuses(self):
        table = nn.Embedding(23, 4)
        limited = FunctionModule(lambda x: x + table(torch.arange(x.shape[1]))[:, 0])
        dims = {"x": {0: "batch", 1: "sequence"}}
        example = {"x": torch.randn(2, 7)}
        assert load(limited, example_inputs=example, dims=dims).profile["sequence"] == (1, 23, 23)
        wide = load(limited, example_inputs=example, dims=dims, ranges={"sequence": (1, 8, 64)})
        assert wide.profile["sequence"] == (1, 8, 64)

    def test_that_are_not_given_begin_where_the_module_refuses(self):
        convolution = nn.Conv1d(1, 1, 5)
        source = load(
            FunctionModule(lambda x: convolution(x[:, None])),
            example_inputs=torch.randn(2, 9),
            dims={"x": {1: "sequence"}},
        )
        assert source.profile["sequence"] == (5, 128, 512)

    def test_are_found_where_the_batch_can_not_be_small(self):
        pairs = FunctionModule(lambda x: x if x.shape[0] >= 4 else x.view(0))
        source = load(pairs, example_inputs=torch.randn(6, 9), dims={"x": {0: "batch", 1: "sequence"}})
        assert source.profile == Profile(batch=(4, 8, 32), sequence=(1, 128, 512))

    def test_are_traced_inside_at_sizes_that_differ(self):
        example = {"x": torch.randn(1, 1)}
        source = load(Sum(), example_inputs=example, dims={"x": {0: "batch", 1: "sequence"}})
        assert len({1, *source.traced.values()}) == 3


class Pair(NamedTuple):
    left: object
    right: object


@dataclasses.dataclass
class Result:
    score: torch.Tensor
    details: object


class TestOutputs:
    @pytest.mark.parametrize(
        ("answer", "names"),
        [
            (lambda x: x * 2, ["output"]),
            (lambda x: (x, x + 1), ["output_0", "output_1"]),
            (lambda x: [x], ["output_0"]),
            (lambda x: {"logits": x, "hidden": [x, {"last": x}]}, ["logits", "hidden_0", "hidden_1_last"]),
            (lambda x: Pair(x, (x, x)), ["left", "right_0", "right_1"]),
            (lambda x: Result(x, {"a": x}), ["score", "details_a"]),
            (lambda x: (x, None), ["output_0"]),
            (lambda x: {"a b.c": x}, ["a_b_c"]),
        ],
    )
    def test_are_named_however_they_are_nested(self, answer, names):
        assert list(outputs_of(load(FunctionModule(answer), example_inputs=torch.randn(2, 5)))) == names

    def test_have_types_and_dims(self):
        def answer(x):
            return {
                "mean": x.mean(),
                "rows": x.sum(1),
                "best": x.argmax(1),
                "positive": x > 0,
                "twice": torch.cat([x, x]),
                "constant": torch.ones(3),
            }

        assert outputs_of(load(FunctionModule(answer), example_inputs=torch.randn(2, 5))) == {
            "mean": "float32[]",
            "rows": "float32[batch]",
            "best": "int64[batch]",
            "positive": "bool[batch, 5]",
            "twice": "float32[twice_0, 5]",
            "constant": "float32[3]",
        }

    def test_of_equal_size_by_chance_keep_their_own_dim(self):
        dims = {"x": {0: "batch", 1: "sequence"}}
        source = load(FunctionModule(lambda x: x.T), example_inputs=torch.randn(4, 4), dims=dims)
        assert outputs_of(source) == {"output": "float32[sequence, batch]"}

    def test_that_are_no_tensors_are_told(self):
        source = load(
            FunctionModule(lambda x: {"y": x, "count": 3, "nested": ("a", x)}), example_inputs=torch.randn(2, 5)
        )
        assert list(outputs_of(source)) == ["y", "nested_1"]
        assert [(found.code, found.message) for found in source.findings] == [
            ("skipped-output", "Output 'count' is left out, being of type int; a graph answers tensors only."),
            ("skipped-output", "Output 'nested_0' is left out, being of type str; a graph answers tensors only."),
        ]

    def test_are_told_apart_from_inputs_of_the_same_name(self):
        source = load(FunctionModule(lambda x: {"x": x * 2, "y": x}), example_inputs=torch.randn(2, 5))
        assert list(outputs_of(source)) == ["x_output", "y"]

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (lambda x: "text", "returned a str without any tensor"),
            (lambda x: None, "returned a NoneType without any tensor"),
            (lambda x: {}, "returned a dict without any tensor"),
            (lambda x: {"a b": x, "a_b": x}, "output 'a_b': two outputs have this name"),
        ],
    )
    def test_that_no_graph_could_have_are_refused(self, answer, words):
        with pytest.raises(ForwardError, match=words):
            load(FunctionModule(answer), example_inputs=torch.randn(2, 5))


class TestModule:
    def test_that_raises_is_refused_with_the_line(self):
        def broken(x):
            raise ValueError("no luck")

        words = r"can't be run on its example inputs: ValueError at .*test_load_module.py:\d+: no luck. Mend forward"
        with pytest.raises(ForwardError, match=words):
            load(FunctionModule(broken), example_inputs=torch.randn(2, 5))

    @pytest.mark.parametrize("code", [0, 1, "bye"])
    def test_that_exits_is_refused(self, code):
        def leave(x):
            raise SystemExit(code)

        with pytest.raises(ForwardError, match="SystemExit at "):
            load(FunctionModule(leave), example_inputs=torch.randn(2, 5))

    @pytest.mark.parametrize("name", ["weight", "running_mean"])
    def test_with_nan_is_refused(self, name):
        module = nn.BatchNorm1d(5)
        getattr(module, name).data[2] = float("nan")
        with pytest.raises(CheckpointError, match=f"NaN in {name}. The checkpoint is damaged"):
            load(module, example_inputs=torch.randn(2, 5))

    @pytest.mark.parametrize("module", [nn.LazyLinear(3), nn.Linear(5, 3, device="meta")])
    def test_without_values_is_refused(self, module):
        with pytest.raises(CheckpointError, match=r"no values in .*weight.* Load or initialize them first"):
            load(module, example_inputs=torch.randn(2, 5))

    @pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr", "to_sparse_csc"])
    def test_a_sparse_buffer_is_put_back(self, layout):
        class Weighing(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("weight", getattr(torch.eye(5), layout)())

            def forward(self, x):
                self.weight.values().mul_(2.0) if layout != "to_sparse" else self.weight.mul_(2.0)
                return x + self.weight.to_dense()[:1]

        module = Weighing()
        load(module, example_inputs=torch.randn(2, 5))
        assert torch.equal(module.weight.to_dense(), torch.eye(5))

    def test_an_exported_program_keeps_the_sizes_that_it_was_exported_for(self):
        program = torch.export.export(nn.Linear(5, 3), (torch.randn(2, 5),))
        assert inputs_of(load(program.module(), example_inputs=torch.randn(2, 5))) == {"input": "float32[2, 5]"}

    def test_is_handed_back_as_it_came(self):
        class Counting(nn.Module):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout(0.5)
                self.norm = nn.BatchNorm1d(5).eval()
                self.calls = []
                self.register_buffer("count", torch.zeros(()))

            def forward(self, x):
                self.calls.append(len(x))
                self.count += 1
                self.last = x
                return self.drop(self.norm(x))

        module = Counting().train()
        module.norm.eval()
        load(module, example_inputs=torch.randn(2, 5))
        assert (module.training, module.drop.training, module.norm.training) == (True, True, False)
        assert (module.calls, float(module.count), hasattr(module, "last")) == ([], 0.0, False)
