"""Ways that Python takes by values, each traced by itself and joined under an `If`."""

import pytest
import torch
from torch import Tensor, nn

import onnxwright as ow


class Skipping(nn.Module):
    """Leaves a mask out where it hides nothing, and goes back only where there is one, as some attention does.

    Some ask twice, the second time for a part that is the whole; some ask at last for what no mask is like.
    """

    def __init__(self, second: str = ""):
        super().__init__()
        self.second = second

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        hidden = self.hidden(x, mask)
        if hidden is None:
            return x.sum(1, keepdim=True) - x
        return torch.cumsum(x * hidden, 1)

    def hidden(self, x: Tensor, mask: Tensor, **_: object) -> Tensor | None:
        if mask.sum() == mask.numel():
            return None
        if self.second == "the same" and mask[:, : x.shape[1]].sum() == mask.numel():
            return None
        if self.second == "another" and mask.sum() < 0:
            return None
        if self.second == "a number" and mask.sum() < mask.numel() and mask.sum().item() < 0:
            return None
        return mask


class Negating(nn.Module):
    """Answers otherwise to what no sample holds."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return -x if mask.sum() < 0 else x * mask


EXAMPLE = {"x": torch.randn(2, 6, generator=torch.Generator().manual_seed(0)), "mask": torch.ones(2, 6)}
DIMS = {key: {0: "batch", 1: "sequence"} for key in EXAMPLE}
RANGES = {"batch": (1, 2, 4), "sequence": (1, 6, 20)}


def convert(module, folder, **options):
    asked = {"measure": False, "engine": "onnxruntime", "proof": "quick", "route": "trace", **options}
    return ow.convert(module, folder / "out", example_inputs=EXAMPLE, dims=DIMS, profile=RANGES, **asked)


@pytest.mark.parametrize("second", ["", "the same"])
def test_every_way_is_in_the_graph(second, tmp_path):
    package = convert(Skipping(second), tmp_path)

    assert package.manifest.attempts[-1].approach == "trace@18; cases"
    assert (package.proof.verdict, package.proof.range) == ("proven", {"batch": (1, 4), "sequence": (1, 20)})
    session = package.session(engine="onnxruntime")
    for length in (6, 4):
        mask = torch.ones(2, 6)
        mask[1, length:] = 0
        (answered,) = session.run({"x": EXAMPLE["x"].numpy(), "mask": mask.numpy()}).values()
        torch.testing.assert_close(torch.from_numpy(answered), Skipping()(EXAMPLE["x"], mask), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (Skipping("another"), "answered alike, and the graph keeps that"),
        (Skipping("a number"), "reads a value with .item()"),
        (Negating(), "decides alike by the values of all samples"),
    ],
)
def test_what_no_sample_was_answered_otherwise_stays_frozen(module, told, tmp_path):
    with pytest.raises(ow.ProofError) as refusal:
        convert(module, tmp_path, route="auto", replay="trace@18; cases")

    assert told in f"{refusal.value} {[found.message for found in refusal.value.findings]}"
