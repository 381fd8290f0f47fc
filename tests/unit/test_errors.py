"""The tree in the docstring of `errors` is the one of the classes."""

import inspect
import re

from onnxwright import errors


def drawn():
    """The parent of each exception, as the tree draws it."""
    parents, above = {}, []
    for line in re.findall(r"^[│ ]*(?:[├└]── )?\w+Error\b", errors.__doc__, re.MULTILINE):
        name = re.search(r"\w+$", line)[0]
        depth = line.index(name) // 4
        parents[name] = above[depth - 1] if depth else None
        above[depth:] = [name]
    return parents


def test_the_tree_shows_every_error_below_its_parent():
    made = {
        name: kind.__bases__[0].__name__ if kind is not errors.OnnxwrightError else None
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.OnnxwrightError)
    }

    assert drawn() == made


def test_every_error_has_the_exit_code_that_the_tree_says():
    codes = {kind.exit_code for kind in (errors.UsageError, errors.SourceError, errors.EngineError, errors.OutputError)}

    assert codes == {2}
    assert {kind.exit_code for kind in (errors.ModelError, errors.RepairError, errors.FutileError)} == {1}
