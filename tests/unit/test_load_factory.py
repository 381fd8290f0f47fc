"""Loading `file.py:factory`, and telling sources apart."""

import sys

import pytest

from onnxwright.errors import ForwardError, SignatureError, SourceError, UsageError
from onnxwright.profile import Profile
from onnxwright.stages.load import load

HEAD = """
import torch
from torch import nn

class Double(nn.Module):
    def forward(self, x):
        return x * 2

"""


@pytest.fixture
def write(tmp_path):
    """Writes a Python file; returns its path with the factory's name."""

    def write_file(body, name="own.py", factory="make"):
        (tmp_path / name).write_text(HEAD + body)
        return f"{tmp_path / name}:{factory}"

    return write_file


@pytest.mark.parametrize(
    ("returned", "inputs", "profile"),
    [
        ("Double(), {'x': torch.randn(2, 3)}", "float32[batch, 3]", Profile(batch=(1, 8, 32))),
        ("Double(), (torch.randn(2, 3),)", "float32[batch, 3]", Profile(batch=(1, 8, 32))),
        ("Double(), torch.randn(2, 3)", "float32[batch, 3]", Profile(batch=(1, 8, 32))),
        ("Double(), torch.randn(2, 3), None", "float32[batch, 3]", Profile(batch=(1, 8, 32))),
        ("Double(), torch.randn(2, 3), {'x': {1: 'width'}}", "float32[2, width]", Profile(width=(1, 3, 6))),
        ("Double(), torch.randn(2, 3), {}", "float32[2, 3]", Profile()),
    ],
)
def test_returns_module_inputs_and_dims(write, returned, inputs, profile):
    source = load(write(f"def make(): return {returned}"))
    assert str(source.signature.inputs[0]) == inputs
    assert source.profile == profile
    assert source.name == "own.py:make"


def test_may_have_defaults_be_a_lambda_or_import_its_neighbours(write, tmp_path):
    (tmp_path / "neighbour_of_own.py").write_text("WIDTH = 7")
    body = "def make(width=4): return Double(), torch.randn(2, width)\nshort = lambda: make(5)\n"
    body += "def late():\n    from neighbour_of_own import WIDTH\n    return make(WIDTH)"
    assert load(write(body)).signature.inputs[0].shape == ("batch", 4)
    assert load(write(body, factory="short")).signature.inputs[0].shape == ("batch", 5)
    assert load(write(body, factory="late")).signature.inputs[0].shape == ("batch", 7)


def test_does_not_take_the_place_of_a_library(write):
    import signal

    load(write("def make(): return Double(), torch.randn(2, 3)", name="signal.py"))
    assert sys.modules["signal"] is signal


def test_may_have_a_name_that_is_no_identifier(write):
    made = load(write("def make(): return torch.jit.script(Double()), {'x': torch.randn(2, 3)}", name="my-model v2.py"))

    assert made.name == "my-model v2.py:make"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "def make(): raise ValueError('no luck')",
            r"own.py:make' raised ValueError at .*: no luck\. Mend the factory",
        ),
        ("def make(): raise SystemExit(0)", r"own.py:make' raised SystemExit at .*own.py:9: 0"),
        ("def make(): return Double()", r"expected it to return \(module, example_inputs\) or .*, got Double"),
        ("def make(): return None", r"got NoneType"),
        ("def make(): return ()", r"got a tuple of 0"),
        ("def make(): return 1, 2, 3, 4", r"got a tuple of 4"),
        ("def make(): return [Double(), torch.ones(2)]", r"got list"),
        ("def make(): return Double, torch.ones(2)", r"expected an nn.Module, got type"),
        (
            "def make(size): return None",
            r"factory 'make' is called without arguments: missing a required argument: 'size'",
        ),
        ("make = 3", r"factory 'make': 'own.py' has no such callable; expected one of Double"),
        ("def other(): return None", r"factory 'make': 'own.py' has no such callable; expected one of Double, other"),
        ("def make(:", r"'own.py' is not valid Python: .* at own.py:9"),
        (
            "import a_module_that_is_nowhere",
            r"'own.py' can't be imported: ModuleNotFoundError at .*own.py:9: No module",
        ),
        ("1 / 0", r"'own.py' can't be imported: ZeroDivisionError at .*own.py:9.*Mend the file"),
        ("raise SystemExit(0)", r"'own.py' can't be imported: SystemExit at .*own.py:9"),
    ],
)
def test_that_fails_is_told_with_the_line(write, body, words):
    with pytest.raises(SourceError, match=words):
        load(write(body))


def test_that_defines_nothing_is_told(tmp_path):
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(SourceError, match=r"'empty.py' has no such callable; it defines none"):
        load(f"{tmp_path / 'empty.py'}:make")


@pytest.mark.parametrize("ending", ["", ":"])
def test_without_a_name_lists_the_callables(write, ending):
    source = write("def make(): return None").removesuffix(":make") + ending
    with pytest.raises(SourceError, match=r"'own.py' has no such callable; expected one of Double, make"):
        load(source)


@pytest.mark.parametrize("source", ["missing.py:make", "missing.py", r"C:\models\missing.py:make"])
def test_that_is_missing_is_told_without_a_look_at_the_hub(source):
    with pytest.raises(SourceError, match=r"missing.py:.*': no such file. Give path/to/file.py:factory"):
        load(source)


def test_errors_in_what_it_returns_are_those_of_a_module(write):
    with pytest.raises(SignatureError, match="forward needs 'x', got nothing"):
        load(write("def make(): return Double(), {}"))
    with pytest.raises(ForwardError, match="can't be run on its example inputs"):
        load(write("def make(): return nn.Linear(3, 3), torch.randn(2, 4)"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", r"source: is empty. Expected a folder, a hub id, path/to/file.py:factory, or a .onnx file"),
        ("  ", r"source: is empty"),
        ("./nowhere", r"source './nowhere': no such file or folder. Expected a folder"),
        ("/no/where/at/all", r"no such file or folder"),
        (r"C:\models\bert", r"source 'C:\\models\\bert': no such file or folder"),
        ("~/no-such-folder-here", r"source '~/no-such-folder-here': no such file or folder"),
        ("~nobody-at-home/model", r"no such file or folder"),
        ("a/b/c", r"no such file or folder"),
        ("nowhere.onnx", r"source 'nowhere.onnx': no such file"),
    ],
)
def test_sources_that_are_nowhere_are_told_without_a_look_at_the_hub(source, words):
    with pytest.raises(SourceError, match=words):
        load(source)


@pytest.mark.parametrize(("name", "kind"), [("model.pt", "a .pt file"), ("weights", "a file without suffix")])
def test_files_of_other_kinds_are_refused(tmp_path, name, kind):
    (tmp_path / name).write_bytes(b"abc")
    with pytest.raises(SourceError, match=f"{kind} is not a source. Expected a folder, a hub id"):
        load(tmp_path / name)


def test_home_is_understood(tmp_path, monkeypatch, write):
    monkeypatch.setenv("HOME", str(tmp_path))
    write("def make(): return Double(), torch.randn(2, 3)")
    assert load("~/own.py:make").name == "own.py:make"


class TestSamples:
    @pytest.fixture
    def source(self, write):
        return write("def make(): return Double(), torch.randn(2, 3)")

    def test_are_drawn_beside_the_example(self, source, tmp_path):
        import numpy as np

        np.savez(tmp_path / "own.npz", x=np.full((4, 3), 7, np.float32))
        example, own = load(source, samples=tmp_path / "own.npz").sampler.given
        assert (example["x"].shape, own["x"].shape) == ((2, 3), (4, 3))

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("none.npz", None, r"samples '.*none.npz': no such file. Give texts, one a line, or an .npz"),
            ("bad.npz", b"PK\x03\x04", r"samples '.*bad.npz': not an .npz file of plain arrays"),
            ("bad.npz", b"", r"not an .npz file of plain arrays"),
            ("empty.txt", b"\n  \n", r"samples '.*empty.txt': no text in it"),
            ("some.txt", b"text\n", r"texts need a tokenizer, and 'own.py:make' has none. Give an .npz file"),
        ],
    )
    def test_that_can_not_be_used_are_refused(self, source, tmp_path, name, content, words):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=words):
            load(source, samples=tmp_path / name)

    def test_that_are_pickled_are_refused_unread(self, source, tmp_path):
        import numpy as np

        np.savez(tmp_path / "own.npz", x=np.array([{"a": 1}], dtype=object))
        with pytest.raises(UsageError, match=r"not an .npz file of plain arrays"):
            load(source, samples=tmp_path / "own.npz")

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"y": (2, 3)}, r"inputs: expected x; missing 'x'; unexpected 'y'"),
            ({"x": (2, 4)}, r"input 'x': expected float32\[batch, 3\], got float32\[2, 4\]; that axis is fixed"),
            ({"x": (2,)}, r"input 'x': expected float32\[batch, 3\], got float32\[2\]. Reshape it"),
        ],
    )
    def test_that_do_not_fit_are_refused(self, source, tmp_path, arrays, words):
        import numpy as np

        np.savez(tmp_path / "own.npz", **{name: np.ones(shape, np.float32) for name, shape in arrays.items()})
        with pytest.raises(SignatureError, match=words):
            load(source, samples=tmp_path / "own.npz")
