"""Which line of the user's Python runs, and what kind of statement stands there."""

import inspect

import pytest
import torch
from torch import nn

from onnxwright.pytorch.lines import Line, Whereabouts, line_of_forward, user_line, user_line_among, user_line_of


def samples(x):
    if x.shape[1] > 8:
        y = x * 2.0
    for step in range(x.shape[1]):
        y = x + step
        if step:
            y = y * 2.0
    while x.shape[0] > 3:
        x = x[1:]
    z = x if x.shape[0] > 1 else y
    return [one + 1 for one in z[: x.shape[0]]]


FIRST = inspect.getsourcelines(samples)[1]


def at(text):
    lines = inspect.getsource(samples).splitlines()
    return Line(__file__, FIRST + next(number for number, line in enumerate(lines) if text in line))


KINDS = {
    "if x.shape[1] > 8": "branch",
    "y = x * 2.0": "other",
    "for step in": "loop",
    "y = x + step": "other",
    "while x.shape": "loop",
    "z = x if": "branch",
    "return [one + 1": "loop",
}


@pytest.mark.parametrize("text", KINDS)
def test_a_line_knows_whether_it_asks_counts_or_neither(text):
    assert at(text).kind == KINDS[text]


def test_a_line_knows_the_branch_or_loop_that_it_stands_in():
    inner = at("y = y * 2.0")

    assert inner.question() == at("if step")
    assert inner.question("loop") == at("for step in")
    assert at("y = x * 2.0").question("loop") is None
    assert at("z = x if").question() is None


def leaving(x):
    y = x + 1
    if x.shape[0]:
        y = y + 2
    if x.shape[1]:
        return y
    return y * 3


def test_a_line_knows_the_branch_by_which_code_left_before_it():
    first = inspect.getsourcelines(leaving)[1]

    assert Line(__file__, first + 6).exit_after(Line(__file__, first + 1)) == Line(__file__, first + 4)
    assert Line(__file__, first + 4).exit_after(Line(__file__, first + 1)) is None


def test_an_excerpt_marks_the_line():
    excerpt = at("y = x + step").excerpt()

    assert [line.startswith(">") for line in excerpt] == [False, True, False]
    assert "y = x + step" in excerpt[1]


def test_a_line_without_source_has_no_excerpt_and_asks_nothing(tmp_path):
    line = Line(str(tmp_path / "gone.py"), 3)

    assert line.excerpt() == ()
    assert line.kind == "other"
    assert line.question() is None


def test_lines_of_torch_are_not_the_users():
    class Raising(nn.Module):
        def forward(self, x):
            return nn.functional.linear(x, torch.zeros(2, 9))

    with pytest.raises(RuntimeError) as problem:
        nn.Sequential(Raising())(torch.zeros(2, 3))

    assert user_line_of(problem.value).file == __file__
    assert user_line_among([(torch.__file__, 3), (__file__, 7)]) == Line(__file__, 7)
    assert user_line_among([(torch.__file__, 3)]) is None
    assert str(user_line()).endswith(f"test_lines.py:{inspect.currentframe().f_lineno}")


def test_whereabouts_name_the_innermost_submodule_and_forget_it_when_it_raises():
    seen = []

    class Inner(nn.Module):
        def forward(self, x):
            seen.append(whereabouts.module)
            if x.sum() > 100:
                raise ValueError(x)
            return x

    module = nn.Sequential(nn.Identity(), nn.Sequential(Inner()))
    whereabouts = Whereabouts(module)

    with whereabouts:
        module(torch.zeros(2))
        with pytest.raises(ValueError, match="tensor"):
            module(torch.full((2,), 100.0))
        after = whereabouts.module

    module(torch.zeros(2))
    assert seen == ["1.0", "1.0", ""]
    assert after == ""
    assert line_of_forward(module[1][0]).file == __file__
