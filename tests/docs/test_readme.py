"""What the README and the page on Python show is what happens."""

import re
from pathlib import Path

import pytest

import onnxwright as ow

ROOT = Path(__file__).parents[2]


LAYER = """import torch

class Pooling(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.score = torch.nn.Linear(8, 1)
"""
FACTORY = """

def make():
    return Pooling(), {"x": torch.randn(2, 16, 8)}, {"x": {0: "batch", 1: "sequence"}}
"""


def examples(page):
    """The Python in a page, block by block."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)


def run(code, scope=None):
    """Runs a block as a program, or after others in their scope."""
    exec(compile(code, "page.md", "exec"), {"__name__": "page"} if scope is None else scope)


def test_the_readme_converts_a_module_and_runs_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    converting, running = examples("README.md")

    run(converting)
    assert f"# {capsys.readouterr().out.strip().splitlines()[-1]}" in converting

    with pytest.raises(ow.OutOfRangeError) as refusal:
        run(running)
    assert str(refusal.value).partition(". ")[0] in running


def test_the_story_is_true(tmp_path):
    """The layer that the README tells of: a trace is right from nine tokens on, and blamed on its line."""
    (shown,) = re.findall(
        r"```\n(    def forward\(self, x\):.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
    )
    (tmp_path / "model.py").write_text(f"{LAYER}{shown}{FACTORY}")

    package = ow.convert(
        f"{tmp_path / 'model.py'}:make",
        tmp_path / "out",
        profile={"sequence": (1, 16, 40)},
        engine="onnxruntime",
        proof="quick",
        measure=False,
    )

    trace, *_, last = package.manifest.attempts
    assert (trace.approach, trace.verdict, trace.range["sequence"]) == ("trace@18", "partial", (9, 40))
    assert "The branch at model.py:8 was decided once" in trace.message
    assert (last.approach, last.verdict, package.proof.verdict) == ("script@18", "proven", "proven")


def test_the_page_on_python_writes_a_file_and_proves_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    writing, proving = examples("docs/python.md")
    scope = {}

    run(writing, scope)
    assert (tmp_path / "model.onnx").is_file()

    capsys.readouterr()
    run(proving, scope)
    assert f"# {capsys.readouterr().out.strip()}" in proving
