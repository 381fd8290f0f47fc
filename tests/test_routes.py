"""Every route gives a graph with the signature's names, types and dims, and hands the module back as it came."""

import re

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

import onnxwright as ow
from onnxwright.errors import RouteError
from onnxwright.routes import routes, told
from onnxwright.stages.export import export
from onnxwright.stages.load import load

ROUTES = ["trace", "dynamo", "script"]
DIMS = {"x": {0: "batch", 1: "sequence"}}


class Scaled(nn.Module):
    """Two inputs, one output."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.9)
        self.line = nn.Linear(4, 4)

    def forward(self, x, scale):
        return self.drop(self.line(x)) * scale


class Passing(nn.Module):
    """Answers its input, the same answer twice, and something new."""

    def forward(self, x):
        doubled = x * 2
        return x, doubled, doubled, x.sum()


class Types(nn.Module):
    """Whole numbers, booleans and a lone number in, all of them out."""

    def forward(self, x, flags, offset):
        return torch.where(flags, x, -x) + offset, flags & (x > 2), offset * 2


class Unused(nn.Module):
    """Doesn't look at one of its inputs."""

    def forward(self, x, ignored):
        return x + 1


class Divided(nn.Module):
    """Rounds sizes, and what lies below zero, down and up to multiples."""

    def forward(self, x):
        length = x.shape[1]
        return x.new_zeros(length // 4), x.new_zeros(-(-length // 4) * 4), x.new_zeros((2 - length) // 3 + 99)


class Diagonal(nn.Module):
    """Puts numbers on diagonals of tables that are higher than wide, or wider than high."""

    def forward(self, x):
        wide = torch.diagonal_scatter(x, x.new_ones(x.shape[0]), 1)
        stacked = x.new_zeros(2, x.shape[1], 3, x.shape[0])
        return wide, torch.diagonal_scatter(stacked, stacked.diagonal(-1, 1, 3) + 2.0, -1, 1, 3)


class Convolved(nn.Module):
    """A convolution, a norm and a branch on nothing but tensors."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(1, 3, 3, padding=1)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        return functional.relu(self.norm(self.convolution(x.unsqueeze(1))))


class Listed(nn.Module):
    """Keeps its weights in a plain list, where PyTorch doesn't see them."""

    def __init__(self):
        super().__init__()
        self.layers = [{"line": nn.Linear(4, 4)}, nn.Parameter(torch.ones(4))]

    def forward(self, x):
        return self.layers[0]["line"](x) * self.layers[1]


class Repeated(nn.Module):
    """Cuts rows into as many pieces as a list repeated has elements, and multiplies numbers and flags."""

    def forward(self, x):
        ones = [1] * x.shape[1]
        pieces = x.split(ones, 1)
        return pieces[-1] * 2 + len(pieces) * x.shape[0], (x > 0) * (x < 1)


def sourced(module, dims=DIMS, **inputs):
    return load(module, example_inputs=inputs, dims=dims)


def answer(model, feeds, tmp_path):
    ir.save(model, tmp_path / "model.onnx")
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    return dict(zip((o.name for o in session.get_outputs()), session.run(None, feeds), strict=True))


def shapes(values):
    return {value.name: [dim if isinstance(dim, int) else dim.value for dim in value.shape] for value in values}


@pytest.mark.parametrize("route", ROUTES)
def test_names_types_dims_and_opset_are_the_signatures(route, tmp_path):
    source = sourced(Scaled(), x=torch.rand(2, 5, 4), scale=torch.rand(4))

    model = export(source, route_name=route, opset=18).model

    assert shapes(model.graph.inputs) == {"x": ["batch", "sequence", 4], "scale": [4]}
    assert shapes(model.graph.outputs) == {"output": ["batch", "sequence", 4]}
    assert model.opset_imports[""] == 18


def test_weights_that_pytorch_does_not_see_are_constants_and_need_their_gradient_afterwards(tmp_path):
    module = Listed()
    source = sourced(module, x=torch.rand(2, 5, 4))
    feeds = source.sampler.draw({"batch": 3, "sequence": 7})

    answered = answer(export(source, route_name="trace").model, feeds, tmp_path)["output"]

    with torch.no_grad():
        expected = module(torch.from_numpy(feeds["x"]))
    np.testing.assert_allclose(answered, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert module.layers[0]["line"].weight.requires_grad
    assert module.layers[1].requires_grad


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("route", ROUTES)
def test_exports_in_evaluation_mode_and_puts_the_mode_back(route, is_training, tmp_path):
    module = Scaled().train(is_training)
    module.drop.eval()
    source = sourced(module, x=torch.rand(2, 5, 4), scale=torch.rand(4))
    feeds = source.sampler.draw({"batch": 3, "sequence": 7})

    answered = answer(export(source, route_name=route).model, feeds, tmp_path)["output"]

    assert (module.training, module.drop.training, module.line.training) == (is_training, False, is_training)
    with torch.no_grad():
        expected = module.line(torch.from_numpy(feeds["x"])) * torch.from_numpy(feeds["scale"])
    np.testing.assert_allclose(answered, expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("route", ROUTES)
def test_outputs_that_are_inputs_or_each_other_keep_their_names(route, tmp_path):
    source = sourced(Passing(), x=torch.rand(2, 5))
    feeds = source.sampler.draw({"batch": 3, "sequence": 7})

    answered = answer(export(source, route_name=route).model, feeds, tmp_path)

    assert list(answered) == ["output_0", "output_1", "output_2", "output_3"]
    np.testing.assert_array_equal(answered["output_0"], feeds["x"])
    np.testing.assert_array_equal(answered["output_1"], feeds["x"] * 2)
    np.testing.assert_array_equal(answered["output_2"], feeds["x"] * 2)
    np.testing.assert_allclose(answered["output_3"], feeds["x"].sum(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("route", ROUTES)
def test_whole_numbers_booleans_and_lone_numbers_pass(route, tmp_path):
    dims = {**DIMS, "flags": {0: "batch", 1: "sequence"}}
    source = sourced(
        Types(), dims, x=torch.arange(10).reshape(2, 5), flags=torch.rand(2, 5) > 0.5, offset=torch.tensor(3)
    )
    feeds = source.sampler.draw({"batch": 3, "sequence": 7})

    answered = answer(export(source, route_name=route).model, feeds, tmp_path)

    np.testing.assert_array_equal(
        answered["output_0"], np.where(feeds["flags"], feeds["x"], -feeds["x"]) + feeds["offset"]
    )
    np.testing.assert_array_equal(answered["output_1"], feeds["flags"] & (feeds["x"] > 2))
    assert answered["output_2"].shape == ()


@pytest.mark.parametrize("route", ROUTES)
def test_an_input_that_nothing_depends_on_stays(route, tmp_path):
    source = sourced(Unused(), x=torch.rand(2, 5), ignored=torch.rand(3))
    feeds = source.sampler.draw({"batch": 3, "sequence": 7})

    answered = answer(export(source, route_name=route).model, feeds, tmp_path)

    np.testing.assert_allclose(answered["output"], feeds["x"] + 1)


@pytest.mark.parametrize("route", ROUTES)
def test_convolutions_are_in_the_graph(route, tmp_path):
    source = sourced(Convolved(), x=torch.rand(2, 9))
    exported = export(source, route_name=route)
    feeds = source.sampler.draw({"batch": 3, "sequence": 7})

    answered = answer(exported.model, feeds, tmp_path)["output"]

    assert "Conv" in {node.op_type for node in exported.model.graph}
    with torch.no_grad():
        expected = source.module.eval()(torch.from_numpy(feeds["x"])).numpy()
    np.testing.assert_allclose(answered, expected, atol=1e-5)


@pytest.mark.parametrize("route", ["dynamo", "script"])  # of a traced module, a twin divides
@pytest.mark.parametrize("length", [5, 7, 8, 9])
def test_whole_divisions_of_sizes_round_down(route, length, tmp_path):
    source = sourced(Divided(), x=torch.rand(2, 9))

    answered = answer(export(source, route_name=route).model, {"x": np.zeros((2, length), np.float32)}, tmp_path)

    assert [len(one) for one in answered.values()] == [length // 4, -(-length // 4) * 4, (2 - length) // 3 + 99]


@pytest.mark.parametrize("length", [7, 9])
def test_diagonals_are_where_pytorch_puts_them(length, tmp_path):
    source = sourced(Diagonal(), x=torch.rand(4, 9))
    x = np.random.default_rng(0).standard_normal((3, length)).astype(np.float32)

    answered = answer(export(source, route_name="dynamo").model, {"x": x}, tmp_path)

    for one, expected in zip(answered.values(), Diagonal()(torch.from_numpy(x)), strict=True):
        np.testing.assert_array_equal(one, expected.numpy())


@pytest.mark.parametrize("opset", [11, 18])
def test_a_list_repeated_by_a_size_has_as_many_elements_where_code_is_scripted(opset, tmp_path):
    source = sourced(Repeated(), x=torch.rand(2, 5))
    x = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)

    answered = answer(export(source, route_name="script", opset=opset).model, {"x": x}, tmp_path)

    last, flags = answered.values()
    np.testing.assert_allclose(last, x[:, -1:] * 2 + 21)
    np.testing.assert_array_equal(flags, (x > 0) & (x < 1))


@pytest.mark.parametrize(("route", "opset"), [("trace", 8), ("trace", 21), ("dynamo", 17), ("script", 21)])
def test_an_opset_that_a_route_can_not_write_is_refused_with_those_that_it_can(route, opset):
    known = routes()[route].opsets
    source = sourced(Unused(), x=torch.rand(2, 5), ignored=torch.rand(3))

    with pytest.raises(ow.UsageError, match=f"opset {opset}.*opsets {known[0]} to {known[-1]}"):
        export(source, route_name=route, opset=opset)


@pytest.mark.parametrize(("route", "opset"), [("trace", 11), ("trace", 20), ("dynamo", 20), ("script", 17)])
def test_the_opset_asked_for_is_written(route, opset, tmp_path):
    source = sourced(Scaled(), x=torch.rand(2, 5, 4), scale=torch.rand(4))

    assert export(source, route_name=route, opset=opset).model.opset_imports[""] == opset


def test_an_unknown_route_is_refused_with_the_known_ones():
    with pytest.raises(ow.UsageError, match="one of auto, dynamo, script, trace"):
        export(sourced(Unused(), x=torch.rand(2, 5), ignored=torch.rand(3)), route_name="tvm")


def reading(read):
    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("constant", torch.tensor([2.0]))

        def forward(self, x):
            return x * read(self, x)

    return Reading()


READS = {
    "branch": (lambda _, x: 2.0 if x.sum() > 0 else 1.0, "value-branch-frozen", "branches on a value"),
    "item": (lambda _, x: x.max().item(), "scalar-from-tensor", r"\.item\(\)"),
    "list": (lambda _, x: sum(x[0].tolist()), "scalar-from-tensor", r"\.tolist\(\)"),
    "numpy": (lambda _, x: float(np.abs(x.detach().numpy()).max()), "numpy-outside-graph", "numpy"),
    "asarray": (lambda _, x: float(np.asarray(x.detach()).max()), "numpy-outside-graph", "numpy"),
    "index": (lambda _, x: list(range(9))[x[0].argmax()], "scalar-from-tensor", "counts with a value"),
    "view": (lambda _, x: written_through_a_view(x), "value-branch-frozen", "branches on a value"),
}


def written_through_a_view(x):
    copy = torch.zeros_like(x)
    copy[0] = x[0]
    return 2.0 if copy.any() else 1.0


@pytest.mark.parametrize("name", READS)
def test_tracing_sees_what_python_reads_of_an_input(name):
    read, code, words = READS[name]
    exported = export(sourced(reading(read), x=torch.rand(2, 9)))

    assert exported.noted.findings[0].code == code
    assert re.search(words, exported.noted.findings[0].message)
    assert {found.code for found in exported.noted.findings} <= {code, "constant-from-sample"}
    assert all("test_routes.py:" in found.where for found in exported.noted.findings)


HARMLESS = {
    "size": lambda _, x: float(x.shape[1]) if x.shape[0] > 1 else 1.0,
    "constant": lambda self, _: self.constant.item(),
    "shape of a value": lambda _, x: float((x > 0).shape[1]),
    "zeros like it": lambda _, x: 2.0 if torch.zeros_like(x).any() else 1.0,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_reading_sizes_and_constants_is_no_read_of_a_value(name):
    exported = export(sourced(reading(HARMLESS[name]), x=torch.rand(2, 9)))

    assert not any(found.blocks_proof for found in exported.noted.findings)


def test_the_state_of_the_module_is_put_back():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0
            self.seen = []
            self.register_buffer("total", torch.zeros(1))

        def forward(self, x):
            self.calls += 1
            self.seen.append(x.shape)
            self.total += 1
            return x + 1

    module = Counting()
    export(sourced(module, x=torch.rand(2, 9)))

    assert (module.calls, module.seen, module.total.item()) == (0, [], 0.0)


OF_THE_EXPORT = """Failed to export. \x1b[96mThis is step 1/3\x1b[0m.
- Debug it and submit a PR to PyTorch.

## Exception summary

<class 'E'>: Could not guard on Eq(u0, 1)

(Refer to the full stack trace above for more information.)"""
OF_C = """Cannot call sizes()
Exception raised from throw at /pytorch/c10/core/TensorImpl.cpp:340 (most recent call first):
frame #0: c10::Error::Error(c10::SourceLocation) + 0x9d (0x7f10 in libc10.so)
<omitting python frames>
frame #62: <unknown function> + 0x74 (0x7fca in libtorch_python.so)

While executing %add"""
OF_A_GUARD = """Could not guard on Eq(u0, 1).
Caused by: (_export/utils.py:1)
For more information, run with TORCH_LOGS="dynamic"

For C++ stack trace, run with EXTENDED

The following call raised this error:
  File "own.py", line 7, in forward"""


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (OF_THE_EXPORT, "<class 'E'>: Could not guard on Eq(u0, 1)"),
        (OF_A_GUARD, 'Could not guard on Eq(u0, 1). The following call raised this error: File "own.py", line 7, in f'),
        ("Export failed on an operator. Please open a bug to request it.", "Export failed on an operator."),
        ("\x1b[1mForty\x1b[0m words on the report of a bug-free line", "Forty words on the report of a bug-free line"),
        ("Please report a bug to PyTorch", "Please report a bug to PyTorch"),
        (OF_C, "Cannot call sizes() While executing %add"),
    ],
)
def test_an_error_of_an_exporter_is_told_without_colours_and_advice_to_developers(problem, words):
    said = told(ValueError(problem))

    assert said.startswith(f"ValueError: {words}")
    assert "\x1b" not in said
    assert "more information" not in said


def test_what_dynamo_refuses_is_told_with_the_users_line():
    with pytest.raises(RouteError, match=r"Could not guard on data-dependent.*test_routes\.py\", line") as refusal:
        export(sourced(reading(READS["branch"][0]), x=torch.rand(2, 9)), route_name="dynamo")

    assert "TORCH_LOGS" not in str(refusal.value)
