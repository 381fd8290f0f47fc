"""Modules that pretend to quantize become QDQ, with the module's own scales, zero points and axes, to the last step."""

import functools

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from cases import quantizing as q
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch.ao import quantization as tq

import onnxwright as ow
from onnxwright.backends import Options
from onnxwright.backends.onnxruntime import OnnxRuntimeSession
from onnxwright.errors import CheckpointError, RouteError
from onnxwright.files import AS_WRITTEN
from onnxwright.graph.saving import save_model
from onnxwright.loaders.module import load
from onnxwright.proof.prove import BUDGETS, Plan, prove
from onnxwright.pytorch.modules import evaluation
from onnxwright.pytorch.session import PyTorchSession
from onnxwright.reference import reference_of
from onnxwright.stages.export import export
from onnxwright.stages.stepping import Stepping

pytestmark = pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated", "ignore:torch.quantize_per")
OPSET = 20
"""The first of which ONNX's reference implementation has both operators, and both exporters write."""


def example(module):
    torch.manual_seed(2)
    if isinstance(module, q.Tied):
        return {"ids": torch.randint(0, 20, (3, 5))}
    is_picture = isinstance(module, q.Upwards) or hasattr(module, "first")
    return {"x": torch.randn((3, 3, 6, 6) if is_picture else (3, q.WIDTH))}


def exported(module, file, *, route="trace", opset=OPSET):
    inputs = example(module)
    source = load(module, inputs, {name: {0: "batch"} for name in inputs}, ranges={"batch": (1, 4, 8)})
    save_model(export(source, route_name=route, opset=opset).model, file)
    return source, onnx.load(file)


def answers(source, file, feeds):
    """What PyTorch says, ONNX Runtime node by node, and ONNX's reference implementation."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (wanted,) = PyTorchSession(source.module, source.signature, threads=1).run(feeds).values()
    (by_node,) = onnxruntime.InferenceSession(file, options).run(None, feeds)
    (by_definition,) = ReferenceEvaluator(onnx.load(file)).run(None, feeds)
    return wanted, by_node, by_definition


def pairs(model):
    """Scale, zero point and axis of each `QuantizeLinear`, in order."""
    held = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    axes = [next((one.i for one in node.attribute if one.name == "axis"), None) for node in nodes]
    return [(held[node.input[1]], held[node.input[2]], axis) for node, axis in zip(nodes, axes, strict=True)]


OTHERS = ("learned", "u8 s8", "7 bits")
MODULES = {
    **{f"eager, {name}": lambda one=one: q.eager(one) for name, one in q.CONFIGS.items() if name not in OTHERS},
    "eager, learned": lambda: q.learned(q.CONFIGS["learned"]),
    "fx": lambda: q.traced(q.CONFIGS["u8 s8"]),
    "convolutions": lambda: q.convolving(q.CONFIGS["7 bits"]),
    "called": q.Called,
    "called, along axis 1": lambda: q.Called(axis=1),
    "called, in 4 bits": lambda: q.Called(-8, 7),
    "called, in 7 bits, with zero points": lambda: q.Called(0, 127, zero=64),
    "groups": q.Grouped,
    "transposed": q.Upwards,
    "tied": q.Tied,
}


FOLLOWED = ("eager, 4 bits", "eager, learned", "called, in 7 bits, with zero points", "groups")


class TestRoundTrip:
    @pytest.mark.parametrize(
        ("name", "route"), [*((name, "trace") for name in MODULES), *((name, "dynamo") for name in FOLLOWED)]
    )
    def test_is_exact(self, name, route, tmp_path):
        file = tmp_path / "model.onnx"
        source, model = exported(MODULES[name](), file, route=route)

        wanted, *answered = answers(source, file, source.sampler.draw({"batch": 7}, seed=1))

        onnx.checker.check_model(model, full_check=True)
        assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in model.graph.node}
        for one in answered:
            np.testing.assert_allclose(one, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())

    def test_would_show_a_single_step(self, tmp_path):
        file = tmp_path / "model.onnx"
        source, model = exported(q.eager(q.CONFIGS["u8 s8"]), file)
        *_, last = (node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear")
        (scale,) = [one for one in model.graph.initializer if one.name == last]
        scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(1.004), scale.name))
        onnx.save(model, file)

        wanted, by_node, _ = answers(source, file, source.sampler.draw({"batch": 7}, seed=1))

        assert np.abs(by_node - wanted).max() > 1e-3 * np.abs(wanted).max()

    @pytest.mark.parametrize("route", ["trace", "dynamo"])
    def test_keeps_scales_zero_points_and_axes(self, route, tmp_path):
        module = q.eager(q.CONFIGS["s8 with a zero point"])

        _, model = exported(module, tmp_path / "model.onnx", route=route)

        parts = [part for part in module.modules() if isinstance(part, tq.FakeQuantize)]
        wanted = [(part.scale.numpy(), part.zero_point.numpy(), part.ch_axis) for part in parts]
        found = pairs(model)
        assert len(found) == len(wanted)
        for scale, zero, axis in wanted:
            is_there = [
                np.array_equal(one.reshape(-1), scale)
                and np.array_equal(other.reshape(-1), zero)
                and (place == axis if len(scale) > 1 else one.ndim == 0)
                and other.dtype == np.int8
                for one, other, place in found
            ]
            assert sum(is_there) == 1

    def test_weights_on_the_grid_need_no_clip(self, tmp_path):
        _, model = exported(q.Grouped(), tmp_path / "model.onnx")

        assert "Clip" not in {node.op_type for node in model.graph.node}

    @pytest.mark.parametrize(
        "module", [q.Called(-32768, 32767), q.Called(-10, 245)], ids=["16 bits", "a range of neither type"]
    )
    def test_what_eight_bits_do_not_hold_is_written_out(self, module, tmp_path):
        file = tmp_path / "model.onnx"
        source, model = exported(module, file)

        wanted, *answered = answers(source, file, source.sampler.draw({"batch": 7}, seed=1))

        assert "QuantizeLinear" not in {node.op_type for node in model.graph.node}
        for one in answered:
            np.testing.assert_allclose(one, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())

    def test_zero_points_between_steps_are_added_before_the_rounding(self, tmp_path):
        class Between(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("scale", torch.full((q.WIDTH,), 0.1))
                self.register_buffer("zero", torch.linspace(1.1, 6.3, q.WIDTH))

            def forward(self, x):
                return torch.fake_quantize_per_channel_affine(x, self.scale, self.zero, 1, 0, 15)

        file = tmp_path / "model.onnx"
        source, _ = exported(Between(), file)

        wanted, *answered = answers(source, file, source.sampler.draw({"batch": 7}, seed=1))

        for one in answered:
            np.testing.assert_allclose(one, wanted, rtol=0, atol=1e-6)

    def test_a_weight_may_be_put_on_two_grids(self, tmp_path):
        class Twice(q.Called):
            def forward(self, x):
                once = torch.fake_quantize_per_channel_affine(self.line.weight, self.scale, self.zero, 0, -128, 127)
                return x @ torch.fake_quantize_per_tensor_affine(once, 0.07, 1, -8, 7).T

        file = tmp_path / "model.onnx"
        source, _ = exported(Twice(), file, opset=18)

        wanted = PyTorchSession(source.module, source.signature, threads=1).run(
            feeds := source.sampler.draw({"batch": 7})
        )
        (answered,) = onnxruntime.InferenceSession(file).run(None, feeds)
        np.testing.assert_allclose(answered, *wanted.values(), rtol=0, atol=1e-5)

    def test_a_weight_may_be_put_on_a_grid_for_each_use(self, tmp_path):
        class Both(q.Called):
            def forward(self, x):
                ways = [(self.scale, -128, 127), (self.scale * 16, -8, 7), (self.scale, -128, 127)]
                made = [
                    torch.fake_quantize_per_channel_affine(self.line.weight, scale, self.zero, 0, *ends)
                    for scale, *ends in ways
                ]
                return torch.cat([x @ weight.T for weight in made], 1)

        file = tmp_path / "model.onnx"
        source, model = exported(Both(), file)

        wanted, *answered = answers(source, file, source.sampler.draw({"batch": 7}, seed=1))

        for one in answered:
            np.testing.assert_allclose(one, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())
        assert sum("on_grid" in one.name for one in model.graph.initializer) == 2

    def test_channels_ask_for_opset_13(self, tmp_path):
        with pytest.raises(RouteError, match="support for this operator was added in version 13"):
            exported(q.Called(), tmp_path / "model.onnx", opset=12)


class TestObservers:
    def test_are_off_while_converted_by_an_engine_that_leaves_biases_alone(self, tmp_path):
        module = q.eager(q.CONFIGS["4 bits"], is_settled=False)
        before = {name: buffer.clone() for name, buffer in module.named_buffers()}

        package = ow.convert(
            module,
            tmp_path / "out",
            example_inputs=example(module),
            dims={"x": {0: "batch"}},
            profile={"batch": (1, 2, 4)},
            engine="onnxruntime",
            proof="quick",
            measure=False,
        )

        assert package.proof.verdict == "proven"
        assert [one.repairs for one in package.manifest.attempts] == [(), ("as-written=onnxruntime",)]
        assert "quantized operators as written" in package.session().ran.provider
        (finding,) = [one for one in package.manifest.findings if one.code == "observers-off"]
        assert "'quant.activation_post_process'" in finding.message
        assert all(torch.equal(before[name], buffer) for name, buffer in module.named_buffers())
        assert all(bool(one.observer_enabled[0]) for one in module.modules() if isinstance(one, tq.FakeQuantize))

    def test_that_saw_nothing_are_refused(self):
        module = q.drawn(q.Residual()).train()
        module.qconfig = q.CONFIGS["u8 s8"]

        with pytest.raises(CheckpointError, match="never observed a number; expected a scale of each"):
            load(tq.prepare_qat(module).eval(), example(module))

    def test_are_not_told_where_they_are_off(self):
        source = load(q.eager(q.CONFIGS["u8 s8"]), {"x": torch.randn(3, q.WIDTH)})

        assert "observers-off" not in {one.code for one in source.findings}

    def test_are_on_again_after_an_error(self):
        module = q.eager(q.CONFIGS["u8 s8"], is_settled=False)

        with pytest.raises(RuntimeError, match="shapes"), evaluation(module):
            module(torch.randn(3, q.WIDTH + 1))

        assert all(bool(one.observer_enabled[0]) for one in module.modules() if isinstance(one, tq.FakeQuantize))

    def test_of_compiled_modules_are_left_alone(self):
        compiled = torch.jit.script(torch.nn.Linear(q.WIDTH, 2))

        source = load(torch.nn.Sequential(compiled), {"input": torch.randn(3, q.WIDTH)})

        assert [spec.shape for spec in source.signature.outputs] == [("batch", 2)]

    def test_fake_quantization_that_is_off_leaves_nothing(self, tmp_path):
        module = q.eager(q.CONFIGS["u8 s8"]).apply(tq.disable_fake_quant)

        _, model = exported(module, tmp_path / "model.onnx")

        assert "QuantizeLinear" not in {node.op_type for node in model.graph.node}


class TestTorchao:
    """Run where torchao is installed: `pip install torchao`; the constraints leave it out."""

    def test_a_prepared_program_keeps_its_scales(self, tmp_path):
        pytest.importorskip("torchao", reason="torchao is not installed")
        from torchao.quantization.pt2e import allow_exported_model_train_eval, move_exported_model_to_eval
        from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        program = torch.export.export(
            q.drawn(q.Plain()), (torch.randn(4, q.WIDTH),), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
        config = x86.get_default_x86_inductor_quantization_config(is_qat=True)
        module = prepare_qat_pt2e(program.module(), x86.X86InductorQuantizer().set_global(config))
        torch.manual_seed(5)
        for _ in range(4):
            module(torch.randn(4, q.WIDTH))
        move_exported_model_to_eval(module)
        allow_exported_model_train_eval(module)
        file = tmp_path / "model.onnx"

        source, model = exported(module, file)

        wanted, *answered = answers(source, file, source.sampler.draw({"batch": 7}, seed=1))
        for one in answered:
            np.testing.assert_allclose(one, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())
        scales = [part.scale.numpy() for name, part in module.named_children() if name.startswith("activation_post")]
        assert all(any(np.array_equal(one.reshape(-1), scale) for one, *_ in pairs(model)) for scale in scales)


def proven(module, folder, edit=lambda _: None):
    """What the proof says of a module's graph as it is written, or with an edit."""
    example = {"x": torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2))}
    source = load(module, example, {"x": {0: "batch"}}, ranges={"batch": (1, 2, 4)})
    model = export(source).model
    model.metadata_props[AS_WRITTEN] = "onnxruntime"
    edit(model)
    save_model(model, folder / "model.onnx")
    prepare = functools.partial(OnnxRuntimeSession, options=Options(1))
    session = Stepping(prepare(folder / "model.onnx"), folder / "model.onnx", prepare, folder)
    plan = Plan(source.profile, source.traced, BUDGETS["quick"])
    return prove(reference_of(source, threads=1), {"it": session}, source.sampler, plan)["it"]


def stretch(model):
    """Makes the last scale greater by a part of it."""
    last = [node for node in model.graph if node.op_type == "DequantizeLinear"][-1].inputs[1]
    last.const_value = ir.tensor(np.float32(last.const_value.numpy() * 1.0005), name=last.name)


def shift(model):
    """Moves what is averaged by a tenth of a step, which is more than lies between two means."""
    (mean,) = (node for node in model.graph if node.op_type == "ReduceMean")
    step = mean.inputs[0].producer().inputs[1].const_value.numpy()
    part = ir.Value(name="part", const_value=ir.tensor(np.float32(0.1 * step), name="part"))
    model.graph.register_initializer(part)
    moved = ir.node("Add", [mean.inputs[0], part])
    model.graph.insert_before(mean, moved)
    mean.replace_input_with(0, moved.outputs[0])


class TestToTheStep:
    """Means of whole steps often lie between two: a graph that puts them on the other one is right."""

    @pytest.mark.parametrize("seed", [0, 1, 2, 3])
    def test_a_module_that_averages_is_proven(self, seed, tmp_path):
        proof = proven(q.pooled(seed), tmp_path)

        assert proof.verdict == "proven"
        assert proof.worst.error <= proof.worst.limit

    def test_and_converted(self, tmp_path):
        example = {"x": torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2))}
        options = {"profile": {"batch": (1, 2, 4)}, "engine": "onnxruntime", "proof": "quick", "measure": False}

        package = ow.convert(q.pooled(0), tmp_path / "out", example_inputs=example, dims={"x": {0: "batch"}}, **options)

        assert package.proof.verdict == "proven"

    def test_and_written_by_the_classic_helper(self, tmp_path):
        proof = ow.convert_to_onnx(q.pooled(3), tmp_path / "model.onnx", {"x": torch.randn(3, 3, 4, 4)})

        assert proof.verdict == "proven"

    def test_and_what_is_rewritten_of_it_too(self, tmp_path):
        example = {"x": torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2))}
        options = {"profile": {"batch": (1, 2, 4)}, "engine": "onnxruntime", "proof": "quick", "measure": False}

        package = ow.convert(
            q.pooled(0), tmp_path / "out", example_inputs=example, dims={"x": {0: "batch"}}, optimize=True, **options
        )

        assert package.manifest.optimizations["onnxruntime"].plans[0].outcome in {"kept", "not measured"}

    @pytest.mark.parametrize("edit", [pytest.param(stretch, marks=pytest.mark.thorough), shift])
    def test_what_is_otherwise_by_a_part_of_a_step_is_not(self, edit, tmp_path):
        assert proven(q.pooled(0), tmp_path, edit).verdict == "failed"


class TestKernels:
    def test_of_whole_numbers_are_told_with_what_to_do(self):
        with evaluation(module := q.eager(q.CONFIGS["u8 s8"])):
            whole = tq.convert(module)

        source = load(whole, {"x": torch.randn(3, q.WIDTH)})

        (finding,) = [one for one in source.findings if one.code == "quantized-kernels"]
        assert "'quant'" in finding.message
        assert "before `torch.ao.quantization.convert`" in finding.message


def test_the_classic_helper_takes_all_ranges(tmp_path):
    module = q.eager(q.CONFIGS["symmetric s8 in 255 steps, as TensorRT has it"])

    proof = ow.convert_to_onnx(module, tmp_path / "model.onnx", {"x": torch.randn(3, q.WIDTH)})

    assert proof.verdict == "proven"
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == 13
