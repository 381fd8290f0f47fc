"""ONNX Runtime on an NVIDIA GPU, and PyTorch there as the reference: skipped, with the reason, where there is none."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from cases import architectures
from cases.parity import CASES, UNWRITTEN, exported, hold
from cases.runtimes import as_written
from torch import nn

import onnxwright as ow
from onnxwright import backends
from onnxwright.backends import Options
from onnxwright.errors import EngineError

CUDA = "onnxruntime-cuda"
REASON = backends.engines()[CUDA].available() or ("" if torch.cuda.is_available() else "PyTorch sees no GPU")
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"{CUDA}: {REASON}")


@pytest.mark.parametrize("name", sorted(set(CASES) - UNWRITTEN))
def test_answers_as_the_graph_is_written(name, tmp_path):
    _, graph = exported(name)
    file = tmp_path / "given.onnx"
    ir.save(graph, file)

    session = backends.engine(CUDA).prepare(file, Options(1, allows_fallback=True))

    hold(session, as_written(file), name)


@pytest.mark.parametrize("name", architectures.ORDINARY)
def test_an_architecture_is_proven_and_runs_whole_on_the_gpu(name, tmp_path):
    module, example, dims = architectures.ORDINARY[name]()

    package = ow.convert(
        module, tmp_path / "out", example_inputs=example, dims=dims, engine=CUDA, measure=False, proof="quick"
    )

    assert package.proof.verdict == "proven"
    assert f"{CUDA.partition('-')[0]} (CUDAExecutionProvider)" in package.proof.candidate


class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3)
        )
        self.head = nn.Linear(64, 10)

    def forward(self, pixel_values):
        return self.head(self.features(pixel_values).mean((2, 3)))


PIXELS = {"pixel_values": torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
SIZES = {"pixel_values": {0: "batch", 2: "height", 3: "width"}}
RANGES = {"batch": (1, 2, 4), "height": (8, 32, 64), "width": (8, 32, 64)}
ASKED = {"example_inputs": PIXELS, "dims": SIZES, "profile": RANGES, "measure": False, "proof": "quick"}


@pytest.mark.parametrize("engine", ["onnxruntime", CUDA])
def test_the_module_on_the_gpu_is_the_reference(engine, tmp_path):
    module = Pictures().eval()

    package = ow.convert(module, tmp_path / "out", device="cuda", engine=engine, **ASKED)

    assert package.proof.verdict == "proven"
    assert next(module.parameters()).device.type == "cpu", "the caller's own stays where it was"
    assert ow.prove(package.folder, engine=engine)[engine].verdict == "proven"


def test_a_wrong_graph_is_seen_by_the_module_on_the_gpu(tmp_path):
    package = ow.convert(Pictures().eval(), tmp_path / "out", engine="onnxruntime", **ASKED)
    graph = ir.load(package.file())
    for value in graph.graph.initializers.values():
        if value.shape == ir.Shape((64, 32, 3, 3)):
            array = value.const_value.numpy().copy()
            array[5] *= 1.01
            value.const_value = ir.tensor(array, name=value.name)
    ir.save(graph, tmp_path / "wrong.onnx")
    asked = {"example_inputs": PIXELS, "dims": SIZES, "profile": RANGES, "proof": "quick"}

    verdicts = ow.prove(Pictures().eval(), candidate=tmp_path / "wrong.onnx", device="cuda", engine=CUDA, **asked)

    assert verdicts[CUDA].verdict == "failed"


def test_products_and_convolutions_keep_all_bits_of_float32(tmp_path):
    package = ow.convert(Pictures().eval(), tmp_path / "out", engine=CUDA, **ASKED)
    feeds = {"pixel_values": PIXELS["pixel_values"].numpy()}
    with torch.inference_mode():
        exact = Pictures().eval().double()(PIXELS["pixel_values"].double()).numpy()

    (answered,) = package.session(engine=CUDA).run(feeds).values()

    assert np.abs(answered - exact).max() < 2e-6, "with TF32 it would be some 1e-4"


NEAREST = """<ir_version: 8, opset_import: ["" : 18]>
picked (float[batch, 4] x) => (float[n] y) { y, i, j, k = Unique (x) }"""


def test_what_the_gpu_has_no_kernel_for_is_an_error_unless_it_is_allowed(tmp_path):
    onnx.save(onnx.parser.parse_model(NEAREST), tmp_path / "model.onnx")
    x = np.array([[1, 1, 3, 2]], np.float32)

    with pytest.raises(EngineError, match=r"1 Unique would run elsewhere\. Allow that with --allow-fallback"):
        backends.engine(CUDA).prepare(tmp_path / "model.onnx", Options(1))

    session = backends.engine(CUDA).prepare(tmp_path / "model.onnx", Options(1, allows_fallback=True))
    np.testing.assert_array_equal(session.run({"x": x})["y"], [1, 2, 3])


def test_a_package_answers_on_the_gpu_within_its_range(tmp_path):
    package = ow.convert(Pictures().eval(), tmp_path / "out", engine=CUDA, **ASKED)
    session = package.session(engine=CUDA)
    placed = PIXELS["pixel_values"].cuda()

    answered = session.run_on_device({"pixel_values": placed})
    (output,) = answered.values()

    with torch.inference_mode():
        expected = Pictures().eval()(PIXELS["pixel_values"])
    torch.testing.assert_close(torch.as_tensor(output, device="cuda").cpu(), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ow.OutOfRangeError, match="proven for 1 to 4"):
        session.run_on_device({"pixel_values": torch.zeros(5, 3, 32, 32, device="cuda")})


def test_an_optimized_graph_is_proven_there(tmp_path):
    module, example, dims = architectures.ORDINARY["bert"]()

    package = ow.convert(
        module, tmp_path / "out", example_inputs=example, dims=dims, engine=CUDA, proof="quick", optimize=True
    )

    assert set(package.manifest.optimizations) == {CUDA}
    assert all(one.proof.verdict == "proven" for one in package.manifest.variants.values())


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_what_is_lowered_to_float16_is_fused_there(name, tmp_path):
    module, example, dims = architectures.ORDINARY[name]()
    options = {"example_inputs": example, "dims": dims, "engine": CUDA, "proof": "quick"}

    package = ow.quantize(module, tmp_path / "out", precision="fp16", max_accuracy_loss=0.05, optimize=True, **options)

    record = package.manifest.quantizations[CUDA].rewriting
    fused = [plan for plan in record.plans if "attention" in plan.plan or "grouped" in plan.plan]
    assert fused
    assert all(plan.outcome != "refused" for plan in fused), [plan.message for plan in fused]
    assert package.manifest.variants["fp16"].proof.verdict == "proven"


@pytest.mark.parametrize("route", ["trace", "dynamo"])
def test_a_module_on_the_gpu_is_converted_from_a_copy(route, tmp_path):
    module = Pictures().eval().cuda()
    asked = {**ASKED, "example_inputs": {"pixel_values": PIXELS["pixel_values"].cuda()}}

    package = ow.convert(module, tmp_path / "out", engine="onnxruntime", route=route, **asked)

    assert package.proof.verdict == "proven"
    assert next(module.parameters()).device.type == "cuda", "the caller's own stays where it was"


def test_a_module_on_the_gpu_is_written_in_one_call(tmp_path):
    module = Pictures().eval().cuda()

    proof = ow.convert_to_onnx(module, tmp_path / "model.onnx", {"pixel_values": PIXELS["pixel_values"].cuda()})

    assert proof.verdict == "proven"
