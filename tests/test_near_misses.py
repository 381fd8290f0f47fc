"""Each repair of a module has its twin that it must leave alone: one that looks alike, and has nothing to mend."""

import functools

import pytest
import torch
from torch import Tensor, nn

from onnxwright.approach import parse
from onnxwright.findings import Finding
from onnxwright.manifest import Failure, Proof, Tolerance
from onnxwright.repairs import GraphRepair, Seen, repair, repairs
from onnxwright.stages.load import load

DIMS = {"x": {0: "batch", 1: "sequence"}}
RANGES = {"batch": (1, 2, 4), "sequence": (1, 16, 40)}
X = torch.tensor(0.5)
EXAMPLE = {"x": torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))}


class Plain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.gelu(x)


class Lengths(nn.Module):
    """Reads a size to build a tensor, and decides nothing by it."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.arange(x.shape[1])[:, None]


class Training(nn.Module):
    """Branches on a setting alone."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0 if self.training else x


class Differentiable(nn.Module):
    """Says that it could be asked for a derivative, and isn't."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            return (x.detach().requires_grad_() * 2.0).detach()


class Found(nn.Module):
    """Takes what `nonzero` finds as a tensor."""

    def forward(self, x: Tensor) -> Tensor:
        places = (x[0, 0] > 0).nonzero()
        return x.index_select(2, places.squeeze(1)).sum(2)


class Floats(nn.Module):
    """Calls operators of which exporters get other calls wrong."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.full_like(x, 2.0).cumsum(-1) + x


class Flags(nn.Module):
    """Adds up flags, which the tracing exporter does not."""

    def forward(self, x: Tensor) -> Tensor:
        return (x > 0).cumsum(-1) + torch.full_like(x, 2.0)


class LoopedRows(nn.Module):
    """Loops over what `nonzero` finds in a row that is as long as an input."""

    def forward(self, x: Tensor) -> Tensor:
        total = x[:, 0] * 0.0
        for place in (x[0, :, 0] > 0).nonzero():
            total = total + x[:, place[0]]
        return total


class Kept(nn.Module):
    """Keeps a table that is long enough from the start."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.arange(64.0)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > self.table.shape[0]:
            self.table = torch.arange(float(x.shape[1]))
        return x + self.table[: x.shape[1], None]


class OneForm(nn.Module):
    """Computes attention, and holds no other form of it."""

    def forward(self, x: Tensor) -> Tensor:
        return (x @ x.transpose(1, 2)).softmax(-1) @ x


def failed(*sizes):
    failures = tuple(Failure(one, "differs", "is off by 1", values="typical") for one in sizes)
    whole = {dim: (least, most) for dim, (least, _, most) in RANGES.items() if all(dim in one for one in sizes)}
    return Proof(
        "failed",
        whole,
        9,
        None,
        Tolerance("same-precision", {}, {}, "none"),
        "PyTorch",
        "ONNX Runtime",
        failures=failures,
    )


WRONG = failed({"batch": 2, "sequence": 9})
ALIKE = failed({"batch": 1, "sequence": 9}, {"batch": 3, "sequence": 3})
FROZEN = Finding("shape-branch-frozen", "decided once")

# Of each repair: a module that it must leave alone, the attempt that was made, and what that has shown.
NEAR = {
    "cases": (Training, "trace@18", {"findings": (FROZEN,)}),
    "attention": (OneForm, "trace@18", {"message": "attention is wrong"}),
    "control-flow": (Training, "dynamo@18", {"proof": WRONG}),
    "operators": (Plain, "trace@18", {"proof": WRONG}),
    "derivatives": (Differentiable, "dynamo@18", {"proof": WRONG}),
    "parametrized": (Plain, "trace@18", {"proof": WRONG}),
    "piecewise": (Lengths, "trace@18", {"proof": failed()}),
    "sample": (Lengths, "dynamo@18", {"proof": ALIKE}),
    "scripting": (Training, "trace@18", {"findings": (FROZEN,)}),
    "untold": (Training, "dynamo@18", {"proof": WRONG}),
    "visited": (Found, "trace@18", {"proof": WRONG}),
    "warmed": (Kept, "trace@18", {"proof": WRONG}),
}


def seen(kind, approach, *, dims=DIMS, ranges=RANGES, **shown):
    source = load(kind(), example_inputs=EXAMPLE, dims=dims, ranges=ranges)
    return Seen(source, parse(approach), **{"message": "", **shown})


def test_every_repair_of_modules_has_one():
    assert NEAR.keys() == {name for name, one in repairs().items() if not isinstance(one, GraphRepair)}


@pytest.mark.parametrize("name", NEAR)
def test_a_module_with_nothing_to_mend_is_left_alone(name):
    kind, approach, shown = NEAR[name]

    assert list(repair(name).proposals(seen(kind, approach, **shown))) == []


@pytest.mark.parametrize("name", NEAR)
def test_a_module_that_has_no_dims_is_left_alone_too(name):
    kind, approach, shown = NEAR[name]

    given = seen(kind, approach, dims={}, ranges={}, **{**shown, "proof": failed({})})
    assert list(repair(name).proposals(given)) == []


def test_a_loop_over_a_row_as_long_as_an_input_does_not_visit_all_of_it():
    assert list(repair("visited").proposals(seen(LoopedRows, "trace@18", proof=WRONG))) == []


def test_an_operator_counts_as_called_only_where_its_twin_may_be_right():
    assert list(repair("operators").proposals(seen(Floats, "trace@18", proof=WRONG))) == []
    assert set(repair("operators").proposals(seen(Flags, "trace@18", proof=WRONG))) == {"cumsum"}


class Bound(nn.Module):
    """Keeps functions of PyTorch in attributes: one with an argument given, some in a list and a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.mixed = functools.partial(torch.cumsum, dim=-1), torch.fft.fft
        self.larger, self.by_name = [torch.fmax, torch.neg], {"smaller": functools.partial(torch.fmin, other=X)}

    def forward(self, x: Tensor) -> Tensor:
        summed = self.count(x > 0) + self.mixed(x).real
        return self.larger[1](self.larger[0](summed, X)) + self.by_name["smaller"](summed)


def test_an_operator_that_a_module_keeps_in_an_attribute_is_called_too_and_put_back():
    given = seen(Bound, "trace@18", proof=WRONG)
    kept = dict(vars(given.source.module))
    (proposed,) = set(repair("operators").proposals(given))

    assert set(proposed.split(", ")) == {"cumsum", "fft", "fmax", "fmin"}
    assert all(vars(given.source.module)[name] is value for name, value in kept.items())
    assert (given.source.module.count.func, given.source.module.larger) == (torch.cumsum, [torch.fmax, torch.neg])


FIXED = """You marked L['tensors'][0].size()[1] as dynamic but your code specialized it to be a constant (16)."""


@pytest.mark.parametrize(
    ("kind", "approach", "message", "proposed"),
    [
        (Lengths, "dynamo@18; control-flow=model.py:3", FIXED, ["sequence > 1"]),
        (Lengths, "dynamo@18; control-flow=model.py:3; piecewise=sequence > 1", FIXED, []),
        (Lengths, "dynamo@18", FIXED, []),
        (Lengths, "dynamo@18; control-flow=model.py:3", "takes too long", []),
    ],
)
def test_a_size_of_one_is_a_piece_only_where_a_length_that_control_flow_kept_open_was_fixed(
    kind, approach, message, proposed
):
    assert list(repair("piecewise").proposals(seen(kind, approach, message=message))) == proposed
