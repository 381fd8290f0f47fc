"""What the README shows is what happens."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import onnxwright as ow
from onnxwright.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = sorted(set(re.findall(r"^onnxwright (\w+)", README, flags=re.MULTILINE)))


def test_python_examples_run_and_print_what_they_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    converting, running, classic, proving = BLOCKS

    exec(compile(converting, "README.md", "exec"), {"__name__": "readme"})
    assert f"# {capsys.readouterr().out.strip().splitlines()[-1]}" in converting

    with pytest.raises(ow.OutOfRangeError) as refusal:
        exec(compile(running, "README.md", "exec"), {})
    assert str(refusal.value).partition(". ")[0] in running

    scope = {}
    exec(compile(classic, "README.md", "exec"), scope)
    assert (tmp_path / "model.onnx").is_file()

    capsys.readouterr()
    exec(compile(proving, "README.md", "exec"), scope)
    assert f"# {capsys.readouterr().out.strip()}" in proving


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_it_exists_and_explains_itself(command):
    shown = CliRunner().invoke(app, [command, "--help"])

    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) > 5


def test_commands_are_shown():
    assert COMMANDS == [
        "build",
        "check",
        "convert",
        "diff",
        "explain",
        "inspect",
        "optimize",
        "prove",
        "quantize",
        "run",
    ]


def test_commands_of_the_page_on_tensorrt_exist():
    page = (ROOT / "docs/tensorrt.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^onnxwright (\w+)", page, flags=re.MULTILINE))

    assert named == {"build", "check", "convert", "prove"}
    for option in set(re.findall(r"`(?:[\w ./-]* )?(--[a-z0-9]+)", page)):
        shown = " ".join(CliRunner().invoke(app, [one, "--help"]).output for one in ("build", "check", "convert"))
        assert option in shown


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_that_pages_name_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:stages|proof|tests|benchmarks|tasks|backends|graph|routes)/[\w/]+\.py)`", text))

    for name in {name for name in named if not name.endswith("/NAME.py")}:
        assert (ROOT / name).is_file() or (ROOT / "src/onnxwright" / name).is_file(), name
