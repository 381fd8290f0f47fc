"""Imports point one way, heavy libraries stay inside functions, one module prints, one reads the environment."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import onnxwright

PACKAGE = "onnxwright"
ROOT = Path(onnxwright.__path__[0])
PICTURE = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8")

# Low to high. A module imports from its own layer and from those below; a package counts as one entry.
LAYERS = {
    "vocabulary": "errors dtypes findings signature profile tolerance manifest environment heap discovery files "
    "samples counting staging settings progress excerpts words isolation approach rewrites wire estimates",
    "backends": "backends nvidia casting",
    "modules": "pytorch",
    "graphs": "graph",
    "artefacts and sources": "artifact engine sheltered text tasks losses source loaders given reference "
    "evidence proof",
    "steps": "pipelines records corpus watching routes repairs recipes",
    "verbs": "stages reports",
    "surface": "api cli __init__",
}
RANK = {entry: rank for rank, entries in enumerate(LAYERS.values()) for entry in entries.split()}
LAYER = {entry: layer for layer, entries in LAYERS.items() for entry in entries.split()}

HEAVY = {
    *("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "jinja2", "matplotlib"),
    *("onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"),
}
# Packages whose every module is imported to find out what is there, also where no heavy library is installed.
PLUGINS = {"backends", "tasks", "losses", "recipes"}
EXITS = {"print", "exit", "quit", "sys.exit", "os._exit", "SystemExit"}
MACHINE = {"os.environ", "os.getenv", "os.cpu_count", "os.sched_getaffinity", "multiprocessing.cpu_count"}

Modules = Mapping[str, ast.Module]


def read_package(root: Path) -> dict[str, ast.Module]:
    """Parses every module of a package, by its dotted name; a package's own is that of its folder."""
    found = {}
    for file in sorted(root.rglob("*.py")):
        parts = (PACKAGE, *file.relative_to(root).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = ast.parse(file.read_text(encoding="utf-8"))
    return found


def executed(node: ast.AST, *, inside_functions: bool) -> Iterator[ast.AST]:
    """Walks the code that runs: without `if TYPE_CHECKING`, and with or without the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if not inside_functions and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield child
        yield from executed(child, inside_functions=inside_functions)


def imported(node: ast.AST, modules: Modules, *, inside_functions: bool = True) -> Iterator[tuple[int, str]]:
    """Names the modules that some code imports, with the line."""
    for statement in executed(node, inside_functions=inside_functions):
        if isinstance(statement, ast.Import):
            yield from ((statement.lineno, alias.name) for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                whole = f"{statement.module}.{alias.name}"
                yield statement.lineno, whole if whole in modules else str(statement.module)


def entry(module: str) -> str:
    """Names the top-level module or package that a module lies in."""
    return [*module.split("."), "__init__"][1]


def wrong_directions(modules: Modules) -> Iterator[str]:
    """Tells every import of a higher layer, and every top-level module that the table lacks."""
    for name, tree in modules.items():
        if entry(name) not in RANK:
            yield f"{name}: no layer has '{entry(name)}'; add it to the table."
            continue
        for line, target in imported(tree, modules):
            if target.split(".")[0] == PACKAGE and RANK.get(entry(target), 0) > RANK[entry(name)]:
                yield f"{name}:{line} ({LAYER[entry(name)]}) imports {target} ({LAYER[entry(target)]})"


def heavy_at_import(modules: Modules, start: str) -> Iterator[str]:
    """Tells every heavy library that is imported as soon as `start` is."""
    waiting, seen = [start], set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in modules:
            continue
        seen.add(name)
        for line, target in imported(modules[name], modules, inside_functions=False):
            if target.split(".")[0] in HEAVY:
                yield f"{name}:{line} imports {target} at the top"
            parts = target.split(".")
            waiting += [".".join(parts[: depth + 1]) for depth in range(len(parts))]


def uses(modules: Modules, names: set[str], allowed: str) -> Iterator[str]:
    """Tells every use of a name outside the one module or package that may; catching it is no use."""
    for module, tree in modules.items():
        handlers = [node.type for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type]
        caught = {part for handler in handlers for part in ast.walk(handler)}
        for node in ast.walk(tree):
            is_name = isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in names
            is_import = isinstance(node, ast.ImportFrom) and any(f"{node.module}.{a.name}" in names for a in node.names)
            if entry(module) != allowed and node not in caught and (is_name or is_import):
                yield f"{module}:{node.lineno} has {ast.unparse(node)}"


@pytest.fixture(scope="module")
def package() -> dict[str, ast.Module]:
    return read_package(ROOT)


def parsed(**texts: str) -> dict[str, ast.Module]:
    return {f"{PACKAGE}.{name.replace('__', '.')}": ast.parse(text) for name, text in texts.items()}


def test_imports_point_one_way(package):
    assert list(wrong_directions(package)) == []


@pytest.mark.parametrize("start", [PACKAGE, f"{PACKAGE}.cli"])
def test_nothing_heavy_is_imported_with_the_package(package, start):
    assert list(heavy_at_import(package, start)) == []


def test_the_picture_of_the_rooms_shows_every_entry():
    rows = {row.split("|")[1].strip(): row for row in PICTURE.splitlines() if row.startswith("| ")}
    shown = {layer: {name.rstrip("/") for name in re.findall(r"[\w/]+", rows[layer])} for layer in LAYERS}

    assert [name for name, layer in LAYER.items() if name not in shown[layer]] == []


def test_nothing_heavy_is_imported_with_plugins(package):
    plugins = [name for name in package if entry(name) in PLUGINS]

    assert [line for name in plugins for line in heavy_at_import(package, name)] == []


@pytest.mark.parametrize("start", [PACKAGE, f"{PACKAGE}.cli"])
def test_nothing_heavy_is_loaded_with_the_package(start):
    code = f"import {start}, sys; print(sorted({HEAVY} & set(sys.modules)))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"


def test_only_the_command_line_prints_and_exits(package):
    assert list(uses(package, EXITS, "cli")) == []


def test_only_one_module_reads_the_machine(package):
    assert list(uses(package, MACHINE, "environment")) == []


@pytest.mark.parametrize(
    ("text", "is_wrong"),
    [
        ("from onnxwright.stages import prove", True),
        ("from onnxwright.proof.prove import prove", True),
        ("import onnxwright.proof.prove", True),
        ("def late():\n    from onnxwright.artifact import Package", True),
        ("from onnxwright import open", True),
        ("from onnxwright import errors", False),
        ("from onnxwright.errors import UsageError", False),
        ("from onnxwright.backends.other import twin", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from onnxwright.artifact import Package", False),
    ],
)
def test_catches_an_import_of_a_higher_layer(text, is_wrong):
    modules = parsed(errors="", artifact="", stages__prove="", backends__other="", backends__one=text)

    assert bool(list(wrong_directions(modules))) is is_wrong


def test_catches_a_module_without_a_layer():
    assert list(wrong_directions(parsed(helpers=""))) == [
        "onnxwright.helpers: no layer has 'helpers'; add it to the table."
    ]


@pytest.mark.parametrize(
    ("text", "is_heavy"),
    [
        ("import torch", True),
        ("from torch.nn import Module", True),
        ("try:\n    import onnx\nexcept ImportError:\n    onnx = None", True),
        ("class Late:\n    import onnxruntime", True),
        ("def late():\n    import torch", False),
        ("import onnxwright.backends.onnxruntime", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", False),
    ],
)
def test_catches_a_heavy_import_however_far(text, is_heavy):
    modules = parsed(
        cli="from onnxwright import stages", stages="from onnxwright.stages import prove", stages__prove=text
    )

    assert bool(list(heavy_at_import(modules, "onnxwright.cli"))) is is_heavy


@pytest.mark.parametrize("text", ["print(1)", "import sys\nsys.exit(1)", "from sys import exit", "raise SystemExit"])
def test_catches_printing_and_exiting(text):
    assert list(uses(parsed(text=text), EXITS, "cli"))
    assert not list(uses(parsed(cli=text), EXITS, "cli"))


@pytest.mark.parametrize("text", ["import os\nos.environ['A']", "from os import environ", "os.cpu_count()"])
def test_catches_reading_the_machine(text):
    assert list(uses(parsed(text=text), MACHINE, "environment"))
    assert not list(uses(parsed(environment=text), MACHINE, "environment"))


def test_no_module_hides_a_public_name():
    """Importing a submodule binds it in the package, in place of a lazy name that is called alike."""
    modules = {entry.stem for entry in ROOT.iterdir()}

    assert not modules & set(onnxwright.__all__)
