"""When outputs disagree, the first place that does is named: submodule, line of Python, node."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from cases.functions import FunctionSession
from torch import nn

import onnxwright as ow
from onnxwright import manifest
from onnxwright.backends import Options, engine
from onnxwright.errors import ForwardError, OutputError, ProofError
from onnxwright.manifest import Failure
from onnxwright.stages.export import export
from onnxwright.stages.load import load
from onnxwright.stages.locate import located
from onnxwright.stages.repro import save_repro, save_repro_of
from onnxwright.watching.divergence import Case, first_divergence, segments
from onnxwright.watching.recording import Recording

HERE = Path(__file__)
DIMS = {"x": {0: "batch", 1: "sequence"}}
SIZES = {"batch": 2, "sequence": 5}


class Layer(nn.Module):
    """Attention without much, and a step of its own in `forward`."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(8, 8)
        self.key = nn.Linear(8, 8)
        self.value = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        query = self.query(x)  # query
        weights = torch.softmax(query @ self.key(x).transpose(1, 2) / 3.0, -1)  # weights
        mixed = weights @ self.value(x)  # mixed
        return self.norm(x + mixed * 0.7)  # norm


class Encoder(nn.Module):
    """Six layers and a head."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(6))
        self.head = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))


class Branch(nn.Module):
    """Takes another way from eight on."""

    def forward(self, x):
        y = torch.tanh(x)
        if x.shape[1] >= 8:
            y = y * 2.0  # long
        return y + 1.0  # after


class Choice(nn.Module):
    """Answers on one of two lines."""

    def forward(self, x):
        if x.shape[1] >= 8:
            return x * 2.0  # long choice
        return x + 1.0  # short choice


class Baked(nn.Module):
    """Divides by a length that an exporter keeps."""

    def forward(self, x):
        total = torch.tanh(x).sum(1)
        return total / int(x.shape[1])  # divided


class Table(nn.Module):
    """Makes positions for a length that an exporter keeps."""

    def forward(self, x):
        positions = torch.arange(int(x.shape[1]))  # positions
        return x + positions  # added


class Identical(nn.Module):
    """Folds constants, drops nothing, transposes and casts: much that an exporter leaves out of the graph."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.scale = nn.Parameter(torch.randn(6, 6))

    def forward(self, x):
        weight = torch.exp(self.scale) / 3.0
        square = (x @ x.transpose(0, 1).contiguous()).to(torch.float32)
        return self.drop(square).sum(1, keepdim=True) + self.drop(x) @ weight[: x.shape[1], : x.shape[1]]


@torch.jit.script
def compiled(x):
    return torch.tanh(x) * 2.0


class Compiled(nn.Module):
    """Calls what is compiled, and goes on."""

    def forward(self, x):
        return compiled(x) + 1.0


class Numpy(nn.Module):
    """Goes through numpy on its way."""

    def forward(self, x):
        return torch.from_numpy(np.tanh(x.numpy())) * 2.0  # numpy


class Raising(nn.Module):
    """Refuses long inputs."""

    def forward(self, x):
        if x.shape[1] > 6:
            raise ValueError("too long")
        return x * 2.0


def line_of(text):
    lines = HERE.read_text(encoding="utf-8").splitlines()
    return f"{HERE.name}:{next(place for place, line in enumerate(lines, start=1) if line.endswith(f'# {text}'))}"


def made(module, width=None, seed=1):
    torch.manual_seed(seed)
    shape = (2, 6) if width is None else (2, 6, width)
    return load(module, example_inputs={"x": torch.randn(shape)}, dims=DIMS)


def case_of(source, model, folder, sizes=SIZES, **changes):
    ir.save(model, folder / "model.onnx")
    given = {"module": source.module, "signature": source.signature, "file": folder / "model.onnx", "sizes": sizes}
    return Case(**{**given, "feeds": source.sampler.draw(sizes), **changes})


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return made(Encoder(), 8)


@pytest.fixture(scope="module", params=["trace", "dynamo"])
def graph(encoder, request, tmp_path_factory):
    file = tmp_path_factory.mktemp("encoder") / "model.onnx"
    ir.save(export(encoder, route_name=request.param).model, file)
    return file


def flipped(model, module, operator):
    """Flips the sign of one element of what a node reads as a constant."""
    node = next(
        node
        for node in model.graph
        if node.metadata_props.get("onnxwright.module") == module and node.op_type == operator
    )
    place, weight = next((place, value) for place, value in enumerate(node.inputs) if value.is_initializer())
    array = weight.const_value.numpy().copy()
    array.flat[5] *= -1
    wrong = ir.Value(name="wrong", const_value=ir.tensor(array, name="wrong"))
    model.graph.initializers["wrong"] = wrong
    node.replace_input_with(place, wrong)
    return node.name


@pytest.mark.parametrize("layer", [0, 3, 5])
def test_one_flipped_sign_in_a_layer_is_found(encoder, graph, tmp_path, layer):
    model = ir.load(graph)
    flipped(model, f"layers.{layer}.value", "MatMul")

    found = first_divergence(case_of(encoder, model, tmp_path))

    assert found.module == f"layers.{layer}.value"
    assert Path(found.where).name == line_of("mixed")
    assert found.sizes == SIZES
    assert found.operator in {"MatMul", "Add"}
    assert found.node in {node.name for node in model.graph}
    assert found.error > 1e-3
    assert f"in 'layers.{layer}.value'" in found.message


@pytest.mark.parametrize("weight", ["query", "key"])
def test_an_error_that_attention_damps_is_found_where_it_begins(encoder, graph, tmp_path, weight):
    model = ir.load(graph)
    flipped(model, f"layers.2.{weight}", "MatMul")

    assert first_divergence(case_of(encoder, model, tmp_path)).module == f"layers.2.{weight}"


def shifted(model, module, amount):
    """Adds to one element of a bias."""
    node = next(
        node
        for node in model.graph
        if node.metadata_props.get("onnxwright.module") == module and node.op_type == "Gemm"
    )
    array = node.inputs[2].const_value.numpy().copy()
    array.flat[0] += amount
    node.inputs[2].const_value = ir.tensor(array, name=node.inputs[2].name)


@pytest.mark.parametrize(("amount", "module"), [(1e-3, "head.2"), (1e-4, "head.2"), (1e-7, None)])
def test_an_error_beyond_rounding_is_found_and_rounding_is_not(encoder, graph, tmp_path, amount, module):
    model = ir.load(graph)
    shifted(model, "head.2", amount)

    found = first_divergence(case_of(encoder, model, tmp_path))

    assert (found and found.module) == module


def test_without_a_float64_twin_the_leap_of_the_error_tells(encoder, graph, tmp_path, monkeypatch):
    model = ir.load(graph)
    flipped(model, "layers.3.value", "MatMul")
    monkeypatch.setattr(type(encoder.module), "__deepcopy__", refuse, raising=False)

    found = first_divergence(case_of(encoder, model, tmp_path))

    assert found.module == "layers.3.value"


def refuse(*_):
    raise TypeError("this module can't be copied")


def test_the_error_grows_from_rounding_to_the_divergence(encoder, graph, tmp_path):
    model = ir.load(graph)
    flipped(model, "layers.3.value", "MatMul")

    found = first_divergence(case_of(encoder, model, tmp_path))

    at = next(place for place, drift in enumerate(found.growth) if drift.error == found.error)
    assert at >= 3
    assert all(drift.error < 1e-5 for drift in found.growth[:at])
    assert len(found.growth) > at + 1


def test_a_right_graph_gives_none(encoder, graph, tmp_path):
    assert first_divergence(case_of(encoder, ir.load(graph), tmp_path)) is None


def test_a_right_graph_that_leaves_much_out_gives_none(tmp_path):
    source = made(Identical())

    assert first_divergence(case_of(source, export(source).model, tmp_path)) is None


def found_at(module, sequence, folder, route="trace"):
    source = made(module)
    return first_divergence(
        case_of(source, export(source, route_name=route).model, folder, {"batch": 2, "sequence": sequence})
    )


@pytest.mark.parametrize("route", ["trace", "dynamo"])
@pytest.mark.parametrize(("module", "line"), [(Branch(), "long"), (Choice(), "long choice")])
def test_a_branch_that_the_graph_lost_is_named(module, line, route, tmp_path):
    found = found_at(module, 9, tmp_path, route)

    assert Path(found.where).name == line_of(line)
    assert found.message.startswith(f"PyTorch runs {found.where} here, which the graph does not hold.")
    assert found_at(module, 5, tmp_path, route) is None


@pytest.mark.parametrize("module", [Branch(), Choice()])
def test_a_branch_that_the_graph_always_takes_is_named(module, tmp_path):
    source = made(module)
    sampler = source.sampler
    long = load(module, example_inputs={"x": torch.randn(2, 9)}, dims=DIMS)

    found = first_divergence(case_of(source, export(long).model, tmp_path, feeds=sampler.draw(SIZES)))

    taken = line_of("long" if isinstance(module, Branch) else "long choice")
    assert taken in {Path(found.where).name, *map(base_of, found.message.split())}
    assert found.error > 0.1


def base_of(word):
    return Path(word).name


def test_a_number_that_the_graph_keeps_is_found_where_it_is_used(tmp_path):
    found = found_at(Baked(), 5, tmp_path)

    assert (Path(found.where).name, found.operator) == (line_of("divided"), "Div")
    assert "what was compared before it by at most" in found.message


def test_a_table_that_the_graph_keeps_is_named_where_the_engine_stops(tmp_path):
    found = found_at(Table(), 9, tmp_path)

    assert Path(found.where).name == line_of("positions")
    assert found.message.startswith(f"The graph keeps what {found.where} was for the sample.")
    assert "ONNX Runtime stops at Add" in found.message
    assert found.error is None


def relabelled(model):
    """Makes a graph answer with another shape."""
    output = model.graph.outputs[0]
    axes = ir.Value(name="axis", const_value=ir.tensor(np.array([0]), name="axis"))
    model.graph.initializers["axis"] = axes
    node = ir.node("Unsqueeze", [output, axes])
    output.name, node.outputs[0].name = "inner", output.name
    model.graph.append(node)
    model.graph.outputs[0] = node.outputs[0]
    return model


def test_another_shape_is_a_divergence_without_a_number(tmp_path):
    source = made(Branch())

    found = first_divergence(case_of(source, relabelled(export(source).model), tmp_path))

    assert (found.operator, found.error) == ("Unsqueeze", None)
    assert "has the shape [1, 2, 5] where PyTorch has [2, 5]" in found.message


def test_an_engine_that_alone_is_wrong_is_named(encoder, graph, tmp_path):
    case = case_of(encoder, ir.load(graph), tmp_path)
    right = engine("onnxruntime").prepare(case.file, Options(1))
    wrong = FunctionSession(lambda feeds: {name: array + 0.01 for name, array in right.run(feeds).items()})

    found = first_divergence(case_of(encoder, ir.load(graph), tmp_path, engine=wrong))

    assert found.message.startswith("The graph is right: run node by node, it answers as PyTorch does. function 1")
    assert (found.node, found.where) == (None, None)
    assert first_divergence(case_of(encoder, ir.load(graph), tmp_path, engine=right)) is None


def test_an_error_within_an_outputs_limit_is_none(encoder, graph, tmp_path):
    model = ir.load(graph)
    flipped(model, "layers.3.value", "MatMul")
    strict = case_of(encoder, model, tmp_path)
    error = first_divergence(strict).growth[-1].error
    limits = {spec.name: 1e3 * error for spec in encoder.signature.outputs}

    assert first_divergence(case_of(encoder, model, tmp_path, limits=limits)) is None


@pytest.mark.parametrize("most_bytes", [pytest.param(1, marks=pytest.mark.thorough), 3000, 10**9])
def test_the_same_place_is_found_however_small_the_segments(encoder, graph, tmp_path, most_bytes):
    model = ir.load(graph)
    flipped(model, "layers.1.key", "MatMul")
    case = case_of(encoder, model, tmp_path)

    found = first_divergence(case, most_bytes=most_bytes, seconds=60.0)

    assert found.module == "layers.1.key"


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [
        ([], 10, []),
        ([4, 4, 4], 8, [range(2), range(2, 3)]),
        ([100, 1, 1], 8, [range(1), range(1, 3)]),
        ([1, 100, 1], 8, [range(1), range(1, 2), range(2, 3)]),
    ],
)
def test_segments_hold_so_many_bytes(sizes, most, expected):
    assert list(segments(sizes, most)) == expected


def test_only_what_is_wanted_is_kept(encoder):
    feeds = {"x": torch.randn(2, 5, 8)}

    with Recording(encoder.module, range(3, 5)) as recording:
        encoder.module(**feeds)
    with Recording(encoder.module) as empty:
        encoder.module(**feeds)

    assert set(recording.values) == {3, 4}
    assert not empty.values
    assert len(empty.steps) == len(recording.steps)


def test_a_recorded_module_is_left_as_it_was(encoder):
    hooks = [len(part._forward_hooks) for part in encoder.module.modules()]

    with pytest.raises(RuntimeError), Recording(encoder.module) as recording:
        encoder.module(torch.randn(2, 5, 7))
    encoder.module(torch.randn(2, 5, 8))

    assert recording.steps == []
    assert hooks == [len(part._forward_hooks) for part in encoder.module.modules()]


def test_compiled_code_is_one_step(tmp_path):
    assert found_at(Compiled(), 5, tmp_path) is None


def test_what_goes_through_numpy_is_found(tmp_path):
    found = found_at(Numpy(), 9, tmp_path)

    assert found is None or Path(found.where).name == line_of("numpy")


def converted(module, folder, profile):
    dims = {axis: dim for axis, dim in DIMS["x"].items() if dim in profile}
    options = {
        "measure": False,
        "engine": "onnxruntime",
        "proof": "quick",
        "route": "trace",
        "profile": profile,
        "repair_seconds": 0.0,
    }
    return ow.convert(
        module,
        folder / "package",
        example_inputs={"x": torch.randn(2, 6)},
        dims={"x": dims},
        **options,
    )


def test_a_conversion_says_where_a_route_first_diverges(tmp_path):
    package = converted(Branch(), tmp_path, {"batch": (1, 2, 4), "sequence": (1, 6, 16)})

    divergence = package.manifest.proof.divergence
    (finding,) = (one for one in package.manifest.proof.findings if one.code == "outputs-differ")
    assert Path(divergence.where).name == line_of("long")
    assert divergence.sizes["sequence"] >= 8
    assert divergence.values == "typical"
    assert (finding.where, finding.evidence) == (divergence.where, divergence.message)
    assert manifest.from_json(manifest.to_json(package.manifest)) == package.manifest


def test_a_conversion_that_fails_says_so_too(tmp_path):
    with pytest.raises(ProofError) as problem:
        converted(Baked(), tmp_path, {"sequence": (1, 6, 16)})

    (finding,) = (one for one in problem.value.findings if one.code == "outputs-differ")
    assert Path(finding.where).name == line_of("divided")


def test_a_module_that_raises_leaves_its_proof_as_it_is(proof_of, tmp_path):
    source = made(Raising())
    case = case_of(source, export(source).model, tmp_path, {"batch": 2, "sequence": 9})
    proof = msgspec.structs.replace(proof_of({}), failures=(Failure({"batch": 2, "sequence": 9}, "values", "off"),))

    with pytest.raises(ForwardError, match="too long"):
        first_divergence(case)
    assert located({"it": proof}, {"it": FunctionSession(None)}, source, case.file) == {"it": proof}


def shown(folder):
    return subprocess.run([sys.executable, folder / "show.py"], capture_output=True, text=True, check=False)


def test_a_reproduction_shows_the_difference_with_few_nodes(encoder, graph, tmp_path):
    model = ir.load(graph)
    flipped(model, "layers.3.value", "MatMul")

    found = save_repro(case_of(encoder, model, tmp_path), tmp_path / "repro")

    printed = shown(tmp_path / "repro")
    assert printed.returncode == 0
    assert "expected float32[2, 5, 8], got float32[2, 5, 8]" in printed.stdout
    assert float(printed.stdout.split("largest difference ")[1].split()[0]) > 1e-3
    saved = onnx.load(tmp_path / "repro" / "model.onnx")
    onnx.checker.check_model(saved, full_check=True)
    assert len(saved.graph.node) <= 3
    assert found.message in (tmp_path / "repro" / "README.md").read_text(encoding="utf-8")
    assert {file.name for file in (tmp_path / "repro").iterdir()} == {
        "README.md",
        "expected.npz",
        "inputs.npz",
        "model.onnx",
        "show.py",
    }
    assert not any(str(tmp_path).encode() in file.read_bytes() for file in (tmp_path / "repro").iterdir())


def test_a_reproduction_of_an_engine_that_stops_holds_the_whole_graph(tmp_path):
    source = made(Table())
    case = case_of(source, export(source).model, tmp_path, {"batch": 2, "sequence": 9})

    save_repro(case, tmp_path / "repro")

    printed = shown(tmp_path / "repro")
    assert printed.returncode != 0
    assert "/module/Add" in printed.stderr


def test_a_reproduction_of_a_branch_shows_it(tmp_path):
    source = made(Choice())
    case = case_of(source, export(source).model, tmp_path, {"batch": 2, "sequence": 9})

    save_repro(case, tmp_path / "repro")

    assert float(shown(tmp_path / "repro").stdout.split("largest difference ")[1].split()[0]) > 0.1


@pytest.mark.parametrize("failures", [0, 1])
def test_a_failed_proof_is_reproduced_at_a_size_that_failed(failures, proof_of, tmp_path):
    source = made(Branch())
    case = case_of(source, export(source).model, tmp_path)
    failed = (
        Failure({"batch": 2, "sequence": 5}, "values", "off", "large"),
        Failure({"batch": 2, "sequence": 9}, "values", "off", "large"),
    )
    proof = msgspec.structs.replace(proof_of({}), failures=failed[: 2 * failures])
    session = engine("onnxruntime").prepare(case.file, Options(1))

    found = save_repro_of(proof, session, source, case.file, tmp_path / "repro")

    assert (found and (found.sizes, found.values)) == ((failed[1].sizes, "large") if failures else None)
    assert (tmp_path / "repro" / "show.py").exists() == bool(failures)


def test_nothing_is_written_where_nothing_differs(encoder, graph, tmp_path):
    assert save_repro(case_of(encoder, ir.load(graph), tmp_path), tmp_path / "repro") is None
    assert not (tmp_path / "repro").exists()


def test_a_folder_that_is_not_empty_is_not_overwritten(encoder, graph, tmp_path):
    (tmp_path / "repro").mkdir()
    (tmp_path / "repro" / "mine").touch()

    with pytest.raises(OutputError, match="exists and is not empty"):
        save_repro(case_of(encoder, ir.load(graph), tmp_path), tmp_path / "repro")
