"""Modules that use PyTorch's operators of control flow, or functions that are compiled, are proven as they stand."""

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops.associative_scan import associative_scan
from torch._higher_order_ops.map import map as mapped
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import onnxwright as ow

EXAMPLE = {"x": torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))}
DIMS = {"x": {0: "batch", 1: "sequence"}}
RANGES = {"batch": (1, 2, 3), "sequence": (1, 6, 12)}


class Controlled(nn.Module):
    """A recurrence that chooses in each round, a root found round by round, and a part of its own for each row."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        def step(state: Tensor, row: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            after = torch.cond(row.mean() > 0, lambda s, r: self.up(s) + r, lambda s, r: self.down(r) - s, (state, row))
            return after, {"state": after.clone()}

        _, states = scan(step, x.new_zeros(x.shape[0], 8), x, dim=1)
        return mapped(lambda row: row.softmax(-1) - row.amin(-1, keepdim=True), states["state"] * root(x.abs() + 0.5))


def root(x: Tensor) -> Tensor:
    def is_going(guess: Tensor, count: Tensor) -> Tensor:
        return ((guess * guess - x).abs().amax((0, 1, 2)) > 1e-5) & (count < 40)

    def closer(guess: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        return 0.5 * (guess + x / guess), count + 1

    return while_loop(is_going, closer, (x + 0, torch.tensor(0)))[0]


def test_branches_loops_scans_and_maps_stay_in_the_graph(tmp_path):
    package = converted(Controlled(), tmp_path, route="dynamo")

    assert [attempt.approach for attempt in package.manifest.attempts] == ["dynamo@18"]
    assert {"If", "Loop", "Scan"} <= set(operators(onnx.load(tmp_path / "out/onnx/model.onnx").graph))


def operators(graph):
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from operators(attribute.g)


class Recurrence(nn.Module):
    """A linear recurrence by an associative scan."""

    def forward(self, x: Tensor) -> Tensor:
        def joined(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return before[0] * after[0], after[0] * before[1] + after[1]

        return associative_scan(joined, (x.sigmoid(), x), 1, combine_mode="generic")[1]


class Flexible(nn.Module):
    """Attention by rules: no token sees what comes after it, nor what is far off, and near ones count for more."""

    def __init__(self) -> None:
        super().__init__()
        self.packed = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (one.unflatten(-1, (2, 4)).transpose(1, 2) for one in self.packed(x).chunk(3, -1))
        mask = create_block_mask(lambda b, h, i, j: (i >= j) & (i - j < 5), None, None, *[x.shape[1]] * 2, device="cpu")
        seen = flex_attention(query, key, value, lambda score, b, h, i, j: score - 0.5 * (i - j), mask)
        return seen.transpose(1, 2).flatten(2)


@pytest.mark.parametrize(
    ("kind", "approach"),
    [
        pytest.param(Recurrence, "dynamo@18; operators=associative_scan", marks=pytest.mark.thorough),
        pytest.param(Flexible, "dynamo@18; operators=block_mask, flex_attention", marks=pytest.mark.thorough),
    ],
)
def test_what_exporters_break_has_a_twin(kind, approach, tmp_path):
    converted(kind(), tmp_path, replay=approach)


@torch.compile
def gated(x: Tensor, gate: Tensor) -> Tensor:
    return nn.functional.gelu(x) * gate.sigmoid() + x.mean(-1, keepdim=True)


class Compiled(nn.Module):
    """Calls functions that are compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 16)
        self.attend = torch.compile(lambda x: x.softmax(-1) @ x.mT, fullgraph=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(gated(*self.linear(x).chunk(2, -1)))


def test_compiled_functions_are_followed(tmp_path):
    module = Compiled()
    attend = module.attend

    converted(module, tmp_path)

    assert module.attend is attend


def converted(module, folder, **options):
    torch.manual_seed(0)
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.3)
    asked = {"measure": False, "engine": "onnxruntime", "proof": "quick", **options}
    package = ow.convert(module, folder / "out", example_inputs=EXAMPLE, dims=DIMS, profile=RANGES, **asked)
    assert (package.proof.verdict, package.proof.range) == ("proven", {"batch": (1, 3), "sequence": (1, 12)})
    return package
