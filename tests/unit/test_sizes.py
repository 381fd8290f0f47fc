"""Sizes by number, by name, and as products."""

import pytest

from onnxwright.graph.sizes import quotient


@pytest.mark.parametrize(
    ("sizes", "others", "expected"),
    [
        (("batch", 4), (), "4*batch"),
        ((4, "batch"), (), "4*batch"),
        (("sequence", "batch"), (), "batch*sequence"),
        (("4*batch", "s", "s"), (4, "s", "s"), "batch"),
        (("4*batch",), (2,), "2*batch"),
        (("4*batch",), ("batch",), 4),
        (("batch",), ("batch",), 1),
        ((6,), (4,), None),
        (("batch",), ("sequence",), None),
        (("batch", None), ("batch",), None),
        (("batch", -1), (), None),
        ((-1, -1), (), 1),
        (("batch", 0), (), 0),
        (("Min(64, s)", 2), (2,), "Min(64, s)"),
        (("s + 1*t",), ("t",), None),
    ],
)
def test_products_and_quotients(sizes, others, expected):
    assert quotient(sizes, others) == expected
