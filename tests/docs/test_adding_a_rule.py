"""The rule that CONTRIBUTING.md adds works, and its tests pass."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from onnxwright.graph import rules as room

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
RULE, TESTS = re.findall(r"```python\n(.*?)```", TEXT.partition("## Adding a rule")[2], re.DOTALL)


def run(name, code):
    """Runs code as a module of that name."""
    module = ModuleType(name)
    exec(compile(code, name, "exec"), module.__dict__)
    return module


@pytest.fixture
def offered(monkeypatch):
    """The rules, the example among them."""
    added = run(f"{room.__name__}.negations", RULE)
    monkeypatch.setitem(sys.modules, added.__name__, added)
    known = {**room.rules(), added.RULE.name: added.RULE}
    monkeypatch.setattr(room, "rules", lambda: known)


@pytest.mark.parametrize("name", re.findall(r"^def (test_\w+)", TESTS, re.MULTILINE))
def test_the_example_passes_its_tests(name, offered):
    getattr(run("example", TESTS), name)()


def test_the_example_is_as_long_as_a_page():
    assert len(RULE.splitlines()) < 50
