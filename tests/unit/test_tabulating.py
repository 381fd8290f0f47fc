"""Which calls compute a number from one other, so that a table holds what they answer."""

import ast
import math

import numpy as np
import pytest

from onnxwright.repairs.control_flow.syntax.tabulating import tabulated

KNOWN = {"math": math, "np": np, "log2": math.log2, "int": int, "max": max, "min": min}


def value_of(function):
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return getattr(KNOWN.get(function.value.id), function.attr, None)
    return KNOWN.get(function.id) if isinstance(function, ast.Name) else None


def written(text):
    table = tabulated(ast.parse(text, mode="eval").body, value_of)
    return None if table is None else ast.unparse(ast.fix_missing_locations(table)).removeprefix("__tables__.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("math.log(n)", "tabulated(lambda number: math.log(number))(n)"),
        ("log2(n)", "tabulated(lambda number: log2(number))(n)"),
        ("int(math.log2(x.shape[1] + 3))", "tabulated(lambda number: int(math.log2(number + 3)))(x.shape[1])"),
        ("max(1, min(math.isqrt(n), n))", "tabulated(lambda number: max(1, min(math.isqrt(number), number)))(n)"),
        (
            "np.ceil(np.log1p(self.n)).astype('int').item()",
            "tabulated(lambda number: np.ceil(np.log1p(number)).astype('int').item())(self.n)",
        ),
        ("n.bit_length()", "tabulated(lambda number: number.bit_length())(n)"),
    ],
)
def test_what_is_computed_from_one_number_is_looked_up(text, expected):
    assert written(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("math.sqrt(n)", "math.ceil(n / 2)", "int(n / 3)", "min(n, 4)"),  # exporters write these
        *("math.log(n * m)", "math.pow(n, m)"),  # of two numbers
        *("math.log(2)", "np.log(3.0) + 1"),  # Python knows these
        *("unknown(n)", "max(unknown(n), 2)", "np.random.rand(n)", "n.log2()", "print(n)"),  # may do anything
        *("np.log(n, out=m)", "math.gcd(*n)"),
    ],
)
def test_other_calls_are_left_alone(text):
    assert written(text) is None


def test_what_an_unknown_function_answers_is_the_number():
    assert written("math.log(unknown(n))") == "tabulated(lambda number: math.log(number))(unknown(n))"
