"""Each node says which submodule and which line of the user's code it comes from, and nothing of the machine."""

from pathlib import Path

import onnx_ir as ir
import pytest
import torch
from torch import nn

from onnxwright.graph.provenance import keep_provenance, provenance_of
from onnxwright.pytorch.modules import CompiledPart, paths_of
from onnxwright.stages.export import export
from onnxwright.stages.load import load

HERE = Path(__file__)
DIMS = {"x": {0: "batch", 1: "sequence"}}


class Leaf(nn.Module):
    """A submodule with a line of its own."""

    def forward(self, x):
        return torch.sin(x)  # the sine


class Nested(nn.Module):
    """Submodules in a list, a mapping and a sequence, some called like their parent, one shared."""

    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleList([Leaf(), nn.ModuleList([Leaf()])])
        self.named = nn.ModuleDict({"a": Leaf()})
        self.sequence = nn.Sequential(Leaf(), nn.Sequential(Leaf()))
        self.shared = self.sequence[0]

    def forward(self, x):
        x = self.sequence(self.named["a"](self.inner[1][0](self.inner[0](x))))
        return torch.cos(self.shared(x))  # the cosine


@torch.jit.script
def branching(x):
    if x.shape[1] > 3:
        x = torch.cos(x)  # the branch
    return x * 3.0


class Branching(nn.Module):
    """A compiled branch."""

    def forward(self, x):
        return branching(torch.sin(x))


def line_of(text):
    lines = HERE.read_text(encoding="utf-8").splitlines()
    number = next(place for place, line in enumerate(lines, start=1) if line.endswith(f"# {text}"))
    return f"{HERE.name}:{number}"


def exported(module, route):
    source = load(module, example_inputs={"x": torch.randn(2, 4)}, dims=DIMS)
    return export(source, route_name=route).model


def places(model, operator):
    return [provenance_of(node) for node in model.graph.all_nodes() if node.op_type == operator]


def base(place):
    return place.module, Path(place.where).name


@pytest.mark.parametrize("route", ["trace", "dynamo"])
def test_a_node_knows_its_submodule_and_line(route):
    model = exported(Nested(), route)

    expected = ["inner.0", "inner.1.0", "named.a", "sequence.0", "sequence.1.0", "sequence.0"]
    assert [base(place) for place in places(model, "Sin")] == [(path, line_of("the sine")) for path in expected]
    assert [base(place) for place in places(model, "Cos")] == [("", line_of("the cosine"))]


@pytest.mark.parametrize("route", ["trace", "script"])
def test_a_node_in_a_compiled_branch_knows_its_line(route):
    (inside,) = places(exported(Branching(), route), "Cos")

    assert base(inside) == (None if route == "trace" else "", line_of("the branch"))


@pytest.mark.parametrize("route", ["trace", "dynamo", "script"])
@pytest.mark.parametrize("make", [Nested, Branching])
def test_no_path_of_the_machine_is_in_the_file(make, route, tmp_path):
    ir.save(exported(make(), route), tmp_path / "model.onnx")

    content = (tmp_path / "model.onnx").read_bytes()

    assert str(HERE.parent).encode() not in content
    assert str(Path(torch.__file__).parent).encode() not in content
    assert str(Path.home()).encode() + b"/" not in content


def test_nothing_is_printed(capfd):
    exported(Nested(), "trace")

    assert capfd.readouterr() == ("", "")


def marked(name, paths, **extra):
    node = ir.node("Relu", inputs=[ir.Value(name="x")], name=name)
    node.metadata_props.update(extra.get("metadata", {}))
    node.doc_string = extra.get("doc_string")
    model = ir.Model(ir.Graph([], [], nodes=[node], opset_imports={"": 18}), ir_version=9)
    keep_provenance(model, {path: path for path in ["", *paths]})
    return node


@pytest.mark.parametrize(
    ("name", "paths", "module"),
    [
        ("/module/Relu", [], ""),
        ("/module/layers.0/Relu", ["layers", "layers.0"], "layers.0"),
        ("/module/head/head.0/Relu", ["head", "head.0"], "head.0"),
        ("/module/head/head.0/Relu", ["head", "head.head", "head.head.0"], "head.head.0"),
        ("/module/a/Relu", ["one", "one.a", "two", "two.a"], ""),
        ("Relu_7", ["layers"], None),
        ("/Relu", ["layers"], None),
        (None, ["layers"], None),
    ],
)
def test_reads_the_path_from_a_traced_name(name, paths, module):
    assert provenance_of(marked(name, paths)).module == module


@pytest.mark.parametrize(
    ("doc_string", "where"),
    [
        ("/somewhere/model.py(8): forward\n/elsewhere/main.py(3): main\n", "model.py:8"),
        (f"{torch.__file__}(5): run\n/somewhere/model.py(8): forward\n", "model.py:8"),
        ('  File "/somewhere/model.py", line 15\n    x * 2\n    ~~~~~ <--- HERE\n', "model.py:15"),
        ('  File "<string>", line 13\n  return a.mH', None),
        ("", None),
        (None, None),
    ],
)
def test_reads_the_line_from_a_traced_stack(doc_string, where):
    node = marked("/module/Relu", [], doc_string=doc_string)

    assert provenance_of(node).where == where
    assert node.doc_string is None


def test_reads_the_innermost_line_of_a_traceback_and_drops_it():
    told = 'File "/a/outer.py", line 3, in forward\n    self.b(x)\n  File "/a/inner.py", line 9, in forward\n    x + 1'
    metadata = {"pkg.torch.onnx.stack_trace": told, "pkg.torch.onnx.name_scopes": "['', 'module', 'module.b@1', 'add']"}

    node = marked("node_add", ["b"], metadata={**metadata, "namespace": ": wrapper", "mine": "kept"})

    assert provenance_of(node) == ("b", "inner.py:9")
    assert set(node.metadata_props) == {"mine", "onnxwright.module", "onnxwright.where"}


def test_what_is_compiled_has_the_path_of_what_it_stands_in_for():
    module = nn.Sequential(nn.Linear(2, 2), CompiledPart(nn.Sequential(nn.ReLU())))

    assert paths_of(module) == {"": "", "0": "0", "1": "1", "1.compiled": "1", "1.compiled.0": "1.0"}
