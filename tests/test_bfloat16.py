"""Modules in bfloat16, which numpy lacks and engines hardly compute, are taken in float32, and say so."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import onnxwright as ow
from onnxwright.errors import ProofError, SourceError
from onnxwright.loaders.bfloat16 import in_float32
from onnxwright.loaders.module import load
from onnxwright.reference import reference_of

NARROW = torch.bfloat16
WIDTH = 16
ASKED = {"proof": "quick", "engine": "onnxruntime", "measure": False, "profile": {"batch": (1, 2, 4)}}
X = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1))


class Layer(nn.Module):
    """A layer in bfloat16 that keeps the type in an attribute, and a table of it that isn't registered."""

    def __init__(self, activation=functional.gelu):
        super().__init__()
        torch.manual_seed(0)
        self.wide, self.narrow, self.norm = nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH), nn.LayerNorm(WIDTH)
        self.activation, self.settings, self.table = activation, {"dtype": NARROW}, torch.linspace(-1, 1, WIDTH)
        self.table = self.table.to(NARROW)
        self.to(NARROW).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.to(self.settings["dtype"]) + self.table
        return self.norm(x + self.narrow(self.activation(self.wide(x))))


class Named(Layer):
    """One whose code names the type, so that no copy in float32 can run."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.to(NARROW)) @ self.wide.weight.to(NARROW).T


class Inside(nn.Module):
    """A module in float32 that computes in bfloat16 inside, as `autocast` has it."""

    def __init__(self, activation=torch.tanh):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.activation = nn.Linear(WIDTH, 32), nn.Linear(32, 8), activation
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=NARROW):
            return self.last(self.activation(self.first(x)))


def test_a_module_in_bfloat16_is_proven_as_it_is_in_float32(tmp_path):
    module = Layer()

    package = ow.convert(module, tmp_path / "out", example_inputs={"x": X.to(NARROW)}, **ASKED)

    (answered,) = package.session().run({"x": X.to(NARROW).float().numpy()}).values()
    own = module(X.to(NARROW)).float().detach().numpy()
    assert package.proof.verdict == "proven"
    assert package.proof.worst.limit < 1e-3
    assert package.manifest.signature.inputs[0].dtype == "float32"
    assert answered.dtype == np.float32
    np.testing.assert_allclose(answered, own, rtol=5e-2, atol=5e-2)
    assert {weight.dtype for weight in module.parameters()} == {NARROW}
    assert module.settings == {"dtype": NARROW}
    assert module.table.dtype == NARROW
    (finding,) = (one for one in package.manifest.findings if one.code == "bfloat16-widened")
    apart = np.sqrt(np.square(answered - own).mean() / np.square(own).mean())
    assert 1e-4 < apart < 2e-2
    assert f"lies {apart:.1e} from that in float32" in finding.message


@pytest.mark.parametrize("module", [Named(), Inside()])
def test_what_computes_in_bfloat16_inside_is_proven_to_what_that_rounds(module, tmp_path):
    package = ow.convert(module, tmp_path / "out", example_inputs={"x": X}, **ASKED)

    (answered,) = package.session().run({"x": X.numpy()}).values()
    assert package.proof.verdict == "proven"
    assert answered.dtype == np.float32
    np.testing.assert_allclose(answered, module(X).float().detach().numpy(), rtol=5e-2, atol=5e-2)
    assert all(2**-12 < floor < 2**-6 for floor in package.proof.tolerance.floors.values())


@pytest.mark.parametrize(
    ("module", "other"),
    [(Layer(), Layer(functional.silu)), (Inside(), Inside(functional.tanhshrink)), (Inside(), Inside(torch.sin))],
)
def test_what_computes_something_else_is_refused(module, other, tmp_path):
    given = {"example_inputs": {"x": X}}
    ow.convert(other, tmp_path / "other", route="trace", **given, **ASKED)

    file = tmp_path / "other" / "onnx" / "model.onnx"
    proof = ow.prove(module, file, **given, profile=ASKED["profile"], engine="onnxruntime", proof="quick")

    assert proof["onnxruntime"].verdict == "failed"
    assert "is off by" in " ".join(found.message for found in proof["onnxruntime"].findings)


class TestInFloat32:
    def test_weights_that_are_one_stay_one(self):
        module = Layer()
        module.tied = module.wide.weight

        taken = in_float32(module, {"x": X.numpy()})

        assert taken.module.tied is taken.module.wide.weight
        assert torch.equal(taken.module.tied, module.tied.float())

    def test_what_does_something_else_in_float32_stays_as_it_is(self):
        class Branching(Layer):
            def forward(self, x):
                return super().forward(x) * (100 if self.wide.weight.dtype == NARROW else 1)

        module = Branching()

        assert in_float32(module, {"x": X.numpy()}) == (module, {"x": pytest.approx(X.numpy())}, ())

    def test_what_only_keeps_weights_in_it_stays_as_it_is(self):
        class Kept(Layer):
            def forward(self, x):
                return functional.linear(x, self.wide.weight.float())

        module, example = Kept(), {"x": X.numpy()}

        assert in_float32(module, example) == (module, example, ())

    def test_other_weights_are_not_copied(self):
        module = Layer()
        module.norm.float()

        taken = in_float32(module, {"x": X.numpy()})

        assert taken.module.wide.weight is not module.wide.weight
        assert taken.module.norm.weight is module.norm.weight

    def test_what_is_kept_in_lists_is_taken_too(self):
        class Listing(Layer):
            def __init__(self):
                super().__init__()
                self.scales = [torch.ones(WIDTH).to(NARROW), {"last": torch.ones(WIDTH).to(NARROW)}]

            def forward(self, x):
                return super().forward(x) * self.scales[0] * self.scales[1]["last"]

        taken = in_float32(Listing(), {"x": X.numpy()})

        assert [taken.module.scales[0].dtype, taken.module.scales[1]["last"].dtype] == [torch.float32] * 2

    def test_a_small_difference_that_is_no_rounding_is_seen(self):
        class Slanted(Layer):
            def forward(self, x):
                return super().forward(x) * (1.0 if self.wide.weight.dtype == NARROW else 1.004)

        module = Slanted()

        assert in_float32(module, {"x": X.numpy()}).module is module

    def test_whole_numbers_are_compared(self):
        class Choosing(Layer):
            def forward(self, x):
                scores = super().forward(x.to(NARROW))
                return scores.argmax(-1) if self.wide.weight.dtype == NARROW else scores.argmin(-1)

        example = {"x": X.repeat(20, 1).to(NARROW).view(torch.int16).numpy().view(ow.dtypes.to_numpy("bfloat16"))}

        with pytest.raises(SourceError, match="it answers something else then"):
            in_float32(Choosing(), example)

    def test_what_pytorch_lacks_in_bfloat16_is_told(self):
        class Lacking(Layer):
            def forward(self, x):
                return torch.linalg.inv(self.narrow(self.wide(x)).reshape(2, 4, 4))

        taken = in_float32(
            Lacking(), {"x": X.to(NARROW).view(torch.int16).numpy().view(ow.dtypes.to_numpy("bfloat16"))}
        )

        assert taken.module.wide.weight.dtype == torch.float32
        assert "can't be run in bfloat16 on a CPU" in taken.findings[0].message

    def test_inputs_that_must_be_in_bfloat16_are_refused_with_the_way_out(self):
        example = {"x": X.to(NARROW).view(torch.int16).numpy().view(ow.dtypes.to_numpy("bfloat16"))}

        class Strict(Layer):
            def forward(self, x):
                assert x.dtype == NARROW
                return super().forward(x)

        with pytest.raises(SourceError, match=r"input 'x': is in bfloat16.*Cast its inputs inside the module"):
            in_float32(Strict(), example)

    def test_others_are_untouched(self):
        module, example = nn.Linear(WIDTH, 2).eval(), {"input": X.numpy()}

        taken = in_float32(module, example)

        assert taken.module is module
        assert taken.example is example
        assert not taken.findings


def test_what_is_not_rounded_is_held_to_float32():
    class Both(Inside):
        def __init__(self):
            super().__init__()
            self.kept = nn.Parameter(torch.randn(4, WIDTH).to(NARROW))

        def forward(self, x):
            return {"inside": super().forward(x).float(), "beside": functional.linear(x, self.kept.float())}

    reference = reference_of(load(Both(), {"x": X}), threads=1)

    assert reference.in_halves == {"inside"}


def test_a_module_whose_noise_hides_everything_is_no_success(tmp_path):
    class Steep(Inside):
        def forward(self, x):
            return (
                super().forward(x) * 1e4
                - super().forward(x.flip(0)).flip(0) * 1e4
                + torch.sin(1e4 * super().forward(x))
            )

    with pytest.raises(ProofError, match="its own noise reference"):
        ow.convert(Steep(), tmp_path / "out", example_inputs={"x": X}, replay="trace@18; widened=Gemm", **ASKED)
