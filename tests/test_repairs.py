"""Each repair: wrong before, proven after, the user's module as it was; and nothing where it has nothing to mend."""

import copy
import os
import signal
import types

import pytest
import torch
from cases import control_flow, thorough
from torch import Tensor, nn

import onnxwright as ow
from onnxwright.stages import attempt as attempts

DIMS = {"x": {0: "batch", 1: "sequence"}}
RANGES = {"batch": (1, 2, 4), "sequence": (1, 16, 40)}
EXAMPLE = {"x": torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))}


class LengthBranch(nn.Module):
    """Guards against TorchScript, so that no compiler keeps the branch."""

    def forward(self, x: Tensor) -> Tensor:
        named = {True: x * 2.0, False: x - 1.0}
        return named[True] if x.shape[1] > 8 else named[False]


class OddPadding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        pads = dict.fromkeys(("one",), x[:, :1] * 0.0)
        if x.shape[1] % 2:
            x = torch.cat([x, pads["one"]], dim=1)
        return x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2]).sum(2)


class Inner(nn.Module):
    """Can be compiled."""

    def forward(self, x: Tensor) -> Tensor:
        y = x
        while y.abs().max() > 1.0:
            y = y * 0.5
        return y


class Mixed(nn.Module):
    """Can't be compiled itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: Tensor) -> Tensor:
        return {name: self.inner(part) for name, part in {"x": x * 3.0}.items()}["x"]


class MedianPool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.median(1).values


class Fading(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        kept = x.sigmoid()
        kept[:, 1:].cumprod_(1)
        return x * kept


class Orthogonal(nn.Module):
    """Two parts with weights computed from others, one of them a copy, which has the same class as the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.orthogonal(nn.Linear(8, 8), orthogonal_map="householder")
        self.second = copy.deepcopy(self.first)
        nn.init.normal_(self.second.parametrizations.weight.original)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1)

    def forward(self, x: Tensor) -> Tensor:
        is_padded = torch.arange(x.shape[1]) >= 8.0 * x[:, :1, 0].abs()
        return self.layers(x, src_key_padding_mask=is_padded)


class Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.size(0), 6)
        for place in range(x.size(1)):
            state = self.cell(x[:, place], state)
        return state


class Right(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.gelu(x)


class Masked(nn.Module):
    """Branches on whole numbers, which an exporter hands to an operator of bools."""

    def forward(self, x: Tensor) -> Tensor:
        kept = (x[..., 0] > -0.5).to(torch.int64)
        if not bool(kept.all()):
            x = x * kept[..., None]
        return x


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if torch.is_nonzero((x == 0).all()):
            return x + 1.0
        return x * 2.0


class OptionalMask(nn.Module):
    """Leaves its mask out where that hides nothing."""

    def forward(self, x: Tensor) -> Tensor:
        mask = x[..., 0] > -1.5
        if mask.all():
            mask = None
        return self.hidden(x * 2.0, mask)

    def hidden(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return x if mask is None else x * mask[..., None]


class NeededNone(OptionalMask):
    """Answers otherwise where the mask is left out."""

    def hidden(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return x if mask is None else x * mask[..., None] + 1.0


class RareNone(OptionalMask):
    """Leaves the mask out where no sample does."""

    def forward(self, x: Tensor) -> Tensor:
        mask = x[..., 0] > -1.5
        if (x == 0.3712).all():
            mask = None
        return self.hidden(x * 2.0, mask)


class Exporting(nn.Module):
    """Takes another way where it is exported, which answers otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 3.0 if torch.compiler.is_exporting() else x * 2.0


class Chunked(nn.Module):
    """Has one chunk at the length of the sample."""

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        padded = torch.nn.functional.pad(x, (0, 0, 0, (20 - length % 20) % 20))
        chunks = padded.reshape(batch, -1, 20, width).cumsum(2)
        before = torch.cat([torch.zeros_like(chunks[:, :1, -1]), chunks[:, :-1, -1]], 1)
        return (chunks + before[:, :, None]).reshape(batch, -1, width)[:, :length]


class Growing(nn.Module):
    """Keeps a table that it enlarges when it must."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.arange(4.0)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > self.table.shape[0]:
            self.table = torch.arange(float(x.shape[1]))
        return x + self.table[: x.shape[1], None]


class Experts(nn.Module):
    """Has each row computed by the expert that it chooses, and only experts that some row has chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleDict({f"expert_{number}": nn.Linear(8, 8) for number in range(4)})

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        chosen = rows[:, :4].argmax(1)
        answer = torch.zeros_like(rows)
        for hit in (chosen[:, None] == torch.arange(4)).sum(0).nonzero():
            (here,) = torch.where(chosen == hit[0])
            answer = answer.index_add(0, here, self.experts[f"expert_{hit[0]}"](rows[here]))
        return answer.view_as(x)


class CountedExperts(Experts):
    """Answers by how many experts were chosen, so that those that were not count."""

    def forward(self, x: Tensor) -> Tensor:
        total = x * 0.0
        for hit in (x[..., :4].argmax(-1)[..., None] == torch.arange(4)).sum((0, 1)).nonzero():
            total = total + hit[0] + 1.0
        return total


def halved(x: Tensor) -> Tensor:
    while x.abs().max() > 1.0:
        x = x * 0.5
    return x


class Halving(nn.Module):
    """Calls a function that can be compiled, and can't be itself."""

    def forward(self, x: Tensor) -> Tensor:
        return {name: halved(part) for name, part in {"x": x * 3.0}.items()}["x"]


class TwoForms(nn.Module):
    """Holds two forms of attention, as `transformers` models do, one of which is wrong where it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.config = types.SimpleNamespace(_attn_implementation="sdpa")

    def forward(self, x: Tensor) -> Tensor:
        weights = x @ x.transpose(1, 2)
        if self.config._attn_implementation == "sdpa" and torch._C._get_tracing_state() is not None:
            weights = weights * 0.5
        return weights.softmax(-1) @ x


class Forms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = TwoForms()

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x)


class Stepping(nn.Module):
    """Goes through a length step by step, in a short way where there is one step, as recurrent layers do."""

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros_like(x[:, 0])
        if x.shape[1] == 1:
            return (x[:, 0] + state).tanh()[:, None]
        states = torch.zeros_like(x)
        for step in range(x.shape[1]):
            state = (x[:, step] + 0.5 * state).tanh()
            states[:, step] = state
        return states


class Counted(nn.Module):
    """Asks for the first size by `len`."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.arange(len(x)).reshape(len(x), 1, 1).to(x.dtype)


class Faint(nn.Module):
    """Answers small chances only, of which ONNX Runtime's operator has few digits."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x - 13.0)


class Volume(nn.Module):
    """Needs an operator that opset 18 does not have."""

    def forward(self, x: Tensor) -> Tensor:
        grid = torch.nn.functional.affine_grid(torch.eye(2, 3).repeat(x.shape[0], 1, 1), [x.shape[0], 1, 4, 8])
        return torch.nn.functional.grid_sample(x[:, None, :, :], grid, align_corners=False)


class Upsampling(nn.Module):
    """Cuts what it has made longer to the length that it had, or pads it, on both sides; and transposes it."""

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.nn.functional.avg_pool1d(x.mT, 3, 3, ceil_mode=True)
        longer = pooled.repeat_interleave(3, -1)
        missing = x.shape[1] - longer.shape[-1]
        return torch.nn.functional.pad(longer, (missing // 2, missing - missing // 2)).mT


class Gate(torch.autograd.Function):
    """An activation that keeps less for its gradient than its operators would."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs)


class GatedByChannel(nn.Module):
    """Maps a function with a gradient of its own over channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.vmap(Gate.apply, in_dims=-1, out_dims=-1)(x).cumsum(1)


class Attributed(nn.Module):
    """Weighs its inputs by what they count for."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            given = x.detach().requires_grad_()
            (counts,) = torch.autograd.grad(self.layers(given).sum(), given)
        return x * counts


class Packed(nn.Module):
    """Takes a product apart as attention does: by a size of its input, which is a tensor while it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.packed = nn.Parameter(torch.randn(8, 16) / 4)

    def forward(self, x: Tensor) -> Tensor:
        keys, values = (x.transpose(0, 1) @ self.packed).unflatten(-1, (2, x.size(-1))).unbind(-2)
        heads = keys.reshape(keys.shape[0], x.shape[0] * 2, 4).transpose(0, 1)
        return (heads @ heads.transpose(1, 2)).sum(-1) + values.sum()


# The module, the way that mends it, and the route that is asked for: the others take their time.
MENDED = {
    "piecewise on a length": (LengthBranch, "trace@18; piecewise=sequence > 8", "trace"),
    "piecewise on a remainder": (OddPadding, "trace@18; piecewise=", "trace"),
    "piecewise on one step": (Stepping, "piecewise=sequence > 1", "dynamo"),
    "control flow, by values": (control_flow.ValueBranch, "dynamo@18; control-flow=", "dynamo"),
    "control flow, by rows": (control_flow.Rows, "dynamo@18; control-flow=", "dynamo"),
    "control flow, one side left out": (OptionalMask, "dynamo@18; control-flow=", "dynamo"),
    "untold": (Exporting, "dynamo@18; untold=exporting", "dynamo"),
    "sample": (Chunked, "dynamo@18; sample=batch", "dynamo"),
    "warmed": (Growing, "trace@18; warmed", "trace"),
    "attention": (Forms, "trace@18; attention=eager", "trace"),
    "visited": (Experts, "trace@18; visited", "trace"),
    "opset": (Volume, "trace@20", "trace"),
    "scripting a function": (Halving, "trace@18; scripting=test_repairs.py:", "trace"),
    "scripting": (Mixed, "trace@18; scripting=inner", "trace"),
    "operators, halves of sizes": (Upsampling, "floor_divide, mT", "trace"),
    "derivatives": (Attributed, "dynamo@18; derivatives", "dynamo"),
    "parametrized": (Orthogonal, "trace@18; parametrized", "trace"),
    "operators, in place": (Fading, "dynamo@18; operators=cumprod", "dynamo"),
    "operators, median": (MedianPool, "dynamo@18; operators=median", "dynamo"),
    "operators, attention": (Encoder, "dynamo@18; operators=unflatten, scaled_dot_product_attention", "dynamo"),
    "operators, of sizes": (Packed, "trace@18; operators=unflatten", "trace"),
    "operators, len": (Counted, "trace@18; operators=len", "trace"),
    "operators, sigmoid": (Faint, "trace@18; operators=sigmoid", "trace"),
    "operators, functions under vmap": (GatedByChannel, "trace@18; operators=custom_function", "trace"),
    "operators, cells": (Loop, "script@18; operators=gru_cell", "script"),
    "operators, compiled": (Zero, "script@18; operators=is_nonzero", "script"),
    "types": (Masked, "script@18; types", "script"),
}


def made(kind):
    torch.manual_seed(0)
    return kind()


def convert(module, folder, **options):
    asked = {"measure": False, "engine": "onnxruntime", "proof": "quick", "profile": RANGES, **options}
    return ow.convert(module, folder / "out", example_inputs=EXAMPLE, dims=DIMS, **asked)


def is_whole(package):
    return package.proof.verdict == "proven" and package.proof.range == {"batch": (1, 4), "sequence": (1, 40)}


def test_a_side_left_out_is_told_with_its_line(tmp_path):
    package = convert(made(OptionalMask), tmp_path, route="dynamo")

    (told,) = [one for one in package.manifest.findings if one.code == "branch-left-out"]

    assert "test_repairs.py:" in told.where
    assert "None where it is true" in told.message


@pytest.mark.parametrize(
    ("kind", "code"),
    [pytest.param(NeededNone, "values-differ", marks=pytest.mark.thorough), (RareNone, "branch-not-taken")],
)
def test_a_side_left_out_is_not_proven_unless_samples_take_it_and_agree(kind, code, tmp_path):
    with pytest.raises(ow.ProofError) as refusal:
        convert(made(kind), tmp_path, route="dynamo")

    assert code in {found.code for found in refusal.value.findings}


LONG = {
    *("operators, attention", "piecewise on one step", "operators, halves of sizes", "operators, cells"),
    *("operators, median", "sample", "control flow, by rows", "control flow, one side left out", "derivatives"),
    *("operators, in place", "operators, of sizes", "scripting"),
}
"""What they mend with has tests of its own: `unit/test_twins.py`, `test_control_flow.py`, `test_derivatives.py`."""


@pytest.mark.parametrize("name", thorough.marked(MENDED, LONG))
def test_what_no_route_gets_right_alone_is_mended_and_proven(name, tmp_path):
    kind, expected, route = MENDED[name]
    module = made(kind)
    before = copy.deepcopy(module.state_dict())

    package = convert(module, tmp_path, route=route)

    *failed, last = package.manifest.attempts
    assert is_whole(package)
    assert expected in last.approach
    assert all(attempt.verdict != "proven" for attempt in failed)
    assert any(not attempt.repairs for attempt in failed), "it was tried without repairs"
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    answered = package.session(engine="onnxruntime").run({"x": EXAMPLE["x"][:1, :5].numpy()})
    expected = module.eval()(EXAMPLE["x"][:1, :5])
    expected = expected["y"] if isinstance(expected, dict) else expected
    torch.testing.assert_close(torch.from_numpy(next(iter(answered.values()))), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.thorough
def test_what_is_visited_without_having_been_found_must_add_nothing(tmp_path):
    with pytest.raises(ow.ProofError, match="Wrong at "):
        convert(made(CountedExperts), tmp_path, replay="trace@18; visited")


class Routed(nn.Module):
    """Has some rows computed, and puts them back in their places, of which there are as many as before."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, 1)
        (rows,) = torch.where(flat[:, 0] > 0.0)
        y = torch.zeros_like(flat).index_add(0, rows, flat[rows] * 2.0)
        return y.view(x.size(0), y.size(0) // x.size(0), y.size(1))


def test_what_is_added_to_rows_keeps_their_number(tmp_path):
    package = convert(Routed(), tmp_path, route="trace")

    assert is_whole(package)
    assert [attempt.approach for attempt in package.manifest.attempts] == ["trace@18"]


class Decided(nn.Module):
    """Can be compiled and scripted itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0 if x.shape[1] > 8 else x - 1.0


class Wrapping(nn.Module):
    """Holds a part that is compiled already, in which Python decides."""

    def __init__(self) -> None:
        super().__init__()
        self.part = torch.compile(Decided())

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x) + 1.0


COMPILED = {
    "by TorchScript": lambda: torch.jit.script(Decided()),
    "traced": lambda: torch.jit.trace(Right(), EXAMPLE["x"]),
    "by torch.compile": lambda: torch.compile(Decided()),
    "by torch.compile, in a part": Wrapping,
}


@pytest.mark.parametrize("way", thorough.marked(COMPILED, {"by torch.compile, in a part"}))
def test_what_comes_compiled_is_converted_and_stays_compiled(way, tmp_path):
    module = COMPILED[way]()
    parts = dict(module.named_modules())

    package = convert(module, tmp_path)

    assert is_whole(package)
    assert dict(module.named_modules()) == parts


def test_what_is_right_at_once_is_not_repaired(tmp_path):
    package = convert(Right(), tmp_path)

    assert [attempt.approach for attempt in package.manifest.attempts] == ["trace@18"]


def test_an_attempt_is_replayed_alone(tmp_path):
    package = convert(made(LengthBranch), tmp_path, replay="trace@18; piecewise=sequence > 8")

    assert is_whole(package)
    assert [attempt.approach for attempt in package.manifest.attempts] == ["trace@18; piecewise=sequence > 8"]
    assert package.manifest.lineage[1].details["repairs"] == ["piecewise=sequence > 8"]


def test_a_repair_on_the_wrong_question_is_no_proof(tmp_path):
    package = convert(made(LengthBranch), tmp_path, replay="trace@18; piecewise=sequence > 9")

    assert package.proof.verdict == "partial"
    assert package.proof.range["sequence"][0] > 8


@pytest.mark.parametrize(
    ("replay", "words"),
    [
        ("trace", "expected one as a package's journal writes it"),
        ("walk@18", "route 'walk' is unknown"),
        ("trace@18; glue=x", "repair 'glue' is unknown; expected "),
        ("trace@18; piecewise=colour > 8", "asks about none of the dims"),
        ("trace@18; piecewise=sequence >", "is no question about sizes"),
        ("trace@18; operators=juggle", "operator 'juggle' has no twin"),
    ],
)
def test_an_attempt_that_is_none_is_a_usage_error(replay, words, tmp_path):
    with pytest.raises(ow.UsageError, match=words):
        convert(made(LengthBranch), tmp_path, replay=replay)
    assert not (tmp_path / "out").exists()


def test_a_submodule_that_is_not_there_is_a_failed_attempt(tmp_path):
    with pytest.raises(ow.ProofError, match="'nowhere' can't be compiled"):
        convert(made(LengthBranch), tmp_path, replay="trace@18; scripting=nowhere")


class Crash(nn.Module):
    """Ends the process in which it is exported."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_tracing() or torch.compiler.is_exporting():
            os.kill(os.getpid(), signal.SIGKILL)
        return x + 1.0


def test_an_export_that_ends_its_process_is_a_failed_attempt(tmp_path):
    with pytest.raises(ow.ProofError, match="ends the process that runs it"):
        convert(Crash(), tmp_path, route="dynamo")


def test_points_at_which_an_attempt_was_wrong_are_tried_in_those_that_follow(tmp_path, monkeypatch):
    refuted, prove = [], attempts.prove
    monkeypatch.setattr(attempts, "prove", lambda *args: refuted.append(args[3].refuted) or prove(*args))

    package = convert(made(LengthBranch), tmp_path, route="trace")

    assert is_whole(package)
    assert refuted[0] == ()
    assert all(one.sizes["sequence"] <= 8 for one in refuted[1])
    assert refuted[1]


def test_nothing_is_repaired_when_the_time_is_up(tmp_path):
    package = convert(made(LengthBranch), tmp_path, repair_seconds=0.0)

    # Its code decides by a size: what compiles it comes before what would keep what was decided.
    assert [attempt.approach for attempt in package.manifest.attempts] == ["trace@18", "script@18", "dynamo@18"]
    assert package.proof.verdict == "partial"


class GatedPart(nn.Module):
    """Loops over a cell, which only its twin gives a form."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()

    def forward(self, x: Tensor) -> Tensor:
        return {name: self.loop(part) for name, part in {"x": x}.items()}["x"]


def test_an_operator_inside_of_a_compiled_part_has_its_twin(tmp_path):
    few = {"batch": (1, 2, 2), "sequence": (1, 6, 8)}  # each of them is tried, on a slow machine too
    package = convert(made(GatedPart), tmp_path, replay="trace@18; operators=gru_cell; scripting=loop", profile=few)

    assert (package.proof.verdict, package.proof.range) == ("proven", {"batch": (1, 2), "sequence": (1, 8)})


def test_an_attempt_says_its_route_itself(tmp_path):
    with pytest.raises(ow.UsageError, match="Leave --route and --opset out"):
        convert(made(LengthBranch), tmp_path, replay="trace@18", route="dynamo")


class WrongBranch(nn.Module):
    """Holds an operator that the script route gets wrong, in a branch that a rare value takes."""

    def forward(self, x: Tensor) -> Tensor:
        if bool((x == -999.0).any()):
            x = x.clamp(-5.0, 5.0)
            x = (x - (x // 0.1) * 0.1) / 0.1
        return x.clamp(-3.0, 3.0)


def test_a_branch_that_is_wrong_wherever_it_is_taken_is_no_part_of_a_range(tmp_path):
    with pytest.raises(ow.ProofError, match=r"Wrong (with|at) .* values"):
        convert(made(WrongBranch), tmp_path, replay="script@18")
