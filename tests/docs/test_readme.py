"""What the README and the page on Python show is what happens."""

import re
from pathlib import Path

import pytest

import onnxwright as ow

ROOT = Path(__file__).parents[2]


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


def test_the_page_on_python_writes_a_file_and_proves_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    writing, proving = examples("docs/python.md")
    scope = {}

    run(writing, scope)
    assert (tmp_path / "model.onnx").is_file()

    capsys.readouterr()
    run(proving, scope)
    assert f"# {capsys.readouterr().out.strip()}" in proving
