"""Which names a block hands on: those that are read elsewhere, or before they are set."""

import ast

import pytest

from onnxwright.repairs.control_flow.syntax.lasting import is_set_at_once, is_set_first, reads


def block(text):
    return ast.parse(text).body


@pytest.mark.parametrize(
    ("text", "is_first"),
    [
        ("row = x[0]; y = row + 1", True),
        ("y = row + 1; row = x[0]", False),
        ("row = row + 1", False),
        ("row += 1", False),
        ("row[0] = 1", False),
        ("row, rest = x", True),
        ("if a:\n    row = x\n    y = row", True),
        ("if a:\n    row = x\ny = row", False),
        ("if row:\n    row = x", False),
        ("if a:\n    row = x\nelse:\n    y = row", False),
        ("for i in n:\n    row = x\n    y = row", True),
        ("for i in n:\n    y = row\n    row = x", False),
        ("with a:\n    row = x\n    y = row", False),
        ("y = [row for row in x]; row = 1", False),
        ("y = x", True),
    ],
)
def test_a_name_is_set_before_it_is_read(text, is_first):
    assert is_set_first("row", block(text)) is is_first


@pytest.mark.parametrize(
    ("text", "is_at_once"), [("row = x", True), ("if a:\n    row = x", False), ("y = row", False), ("y = x", True)]
)
def test_a_name_is_set_by_the_block_itself(text, is_at_once):
    assert is_set_at_once("row", block(text)) is is_at_once


def test_what_is_changed_in_place_is_read():
    assert reads(block("a += b; c.append(a); d[0] = 1; e = 2")) == {"a": 2, "b": 1, "c": 1, "d": 1}
