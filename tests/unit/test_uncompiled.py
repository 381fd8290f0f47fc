"""What compiles itself runs as Python's own control flow does, and answers the same, nested the same."""

import pytest
import torch
from torch._higher_order_ops.map import map as mapped
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.nn.attention.flex_attention import flex_attention
from torch.utils._pytree import tree_flatten

from onnxwright.pytorch.dispatching import OperatorMode
from onnxwright.pytorch.uncompiled import functions_as_written

X = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))


def chosen(sign):
    def one(given):
        return {"y": given["x"].sin(), "z": (given["x"][0] * 2, given["x"].sum())}

    def other(given):
        return {"y": given["x"].cos(), "z": (given["x"][1] - 1, given["x"].prod())}

    return torch.cond((X * sign).sum() > 0, one, other, ({"x": X},))


def counted(most):
    def is_going(state, more):
        return (state["round"] < most) & (more[0].abs().amax() < 1e6)

    def body(state, more):
        return {"round": state["round"] + 1, "x": state["x"] * 0.5 + X[0]}, (more[0] * 1.5,)

    return while_loop(is_going, body, ({"round": torch.tensor(0), "x": X[1]}, (X[0],)))


def gated(*, reverse):
    def step(state, row):
        after = {"h": torch.tanh(state["h"] * row["a"] + row["b"])}
        return after, {"h": after["h"].clone(), "total": (after["h"].sum(-1), row["b"] * 2)}

    return scan(step, {"h": X[:, 0].clone()}, {"a": X, "b": X.cos()}, dim=1, reverse=reverse)


CALLS = {
    "one branch": lambda: chosen(1.0),
    "the other branch": lambda: chosen(-1.0),
    "a loop": lambda: counted(4),
    "a scan": lambda: gated(reverse=False),
    "a scan from the end": lambda: gated(reverse=True),
    "a map": lambda: mapped(lambda row, more: (row @ more, row.amax(-1)), X, torch.eye(4) * 2),
    "FlexAttention": lambda: flex_attention(X[None], X[None], X[None], score_mod=lambda s, b, h, i, j: s - (i - j)),
}


class Counting(OperatorMode):
    """Counts operators."""

    def __init__(self):
        super().__init__()
        self.names = []

    def _operator(self, func, args, kwargs):
        self.names.append(func.name())
        return func(*args, **kwargs)


@pytest.mark.parametrize("name", CALLS)
def test_answers_the_same_and_is_seen_operator_by_operator(name):
    with torch.no_grad():
        expected, nested = tree_flatten(CALLS[name]())
        with functions_as_written(), Counting() as seen:
            answered, answered_nested = tree_flatten(CALLS[name]())

    assert answered_nested == nested
    assert all(one.startswith(("aten::", "prims::")) for one in seen.names)
    assert len(seen.names) > 2
    for one, other in zip(answered, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_loop_of_no_rounds_hands_on_what_it_was_given():
    with torch.no_grad(), functions_as_written():
        round_, x = while_loop(lambda i, _: i < 0, lambda i, x: (i + 1, x / 0), (torch.tensor(0), X))

    assert (round_, torch.equal(x, X)) == (0, True)


@torch.compile
def doubled(x):
    """Tells whether it is compiled."""
    return x * 2 if torch.compiler.is_compiling() else x * 3


def test_what_was_compiled_before_runs_as_it_was_written_and_is_compiled_again_within():
    compile_before = torch.compile

    with functions_as_written():
        assert torch.equal(doubled(X), X * 3)
        assert torch.equal(torch.compile(lambda x: x + 1, fullgraph=True)(X), X + 1)
        assert torch.equal(torch.compile(fullgraph=True)(doubled)(X), X * 3)
        with functions_as_written(is_asked=False):
            assert torch.compile is compile_before

    assert torch.compile is compile_before
