"""The proof at `normal` catches what is planted in the graph of an encoder of several layers."""

import itertools
import time

import numpy as np
import onnx_ir as ir
import pytest
import torch
from cases import architectures

from onnxwright.backends import Options, engine
from onnxwright.proof.prove import BUDGETS, Plan, prove
from onnxwright.reference import reference_of
from onnxwright.stages.export import export
from onnxwright.stages.load import load

RANGES = {"batch": (1, 4, 6), "sequence": (1, 16, 48)}


@pytest.fixture(scope="module")
def source():
    module, example, dims = architectures.ORDINARY["bert"]()
    with torch.no_grad():  # weights as wide as trained ones, else attention is flat and hardly anything shows
        for weight in module.parameters():
            weight.mul_(8.0 if weight.dim() > 1 else 1.0)
    return load(module, example_inputs=example, dims=dims, ranges=RANGES)


@pytest.fixture(scope="module")
def reference(source):
    return reference_of(source, threads=2)


@pytest.fixture(scope="module")
def exported(source, tmp_path_factory):
    file = tmp_path_factory.mktemp("graph") / "model.onnx"
    ir.save(export(source).model, file)
    return file


def proven(source, reference, model, folder):
    ir.save(model, folder / "model.onnx")
    session = engine("onnxruntime").prepare(folder / "model.onnx", Options(2))
    plan = Plan(source.profile, source.traced, seconds=BUDGETS["normal"], clock=time.process_time)
    return prove(reference, {"it": session}, source.sampler, plan)["it"]


def matrices(model):
    """The weights of the second layer, in the order in which they are used."""
    names = (str(node.inputs[1].name) for node in model.graph if node.op_type == "MatMul" and "layer.1" in node.name)
    return [model.graph.initializers[name] for name in names if name in model.graph.initializers]


def change(value, edit):
    array = edit(value.const_value.numpy().copy())
    value.const_value = ir.tensor(np.ascontiguousarray(array), name=value.name)


def wrong_constant(model):
    constant = next(
        node for node in model.graph if node.op_type == "Constant" and _is_between(node.attributes["value"].as_tensor())
    )
    array = constant.attributes["value"].as_tensor().numpy()
    constant.attributes["value"] = ir.AttrTensor("value", ir.tensor(array * np.float32(1.01)))


def _is_between(tensor):
    array = tensor.numpy()
    return array.dtype == np.float32 and array.size == 1 and 0.1 < abs(float(array.reshape(-1)[0])) < 10.0


def swapped_outputs(model):
    first, second = model.graph.outputs[:2]
    first.name, second.name = f"{second.name}_", first.name
    first.name = first.name.removesuffix("_")


def transposed_weight(model):
    square = next(value for value in matrices(model) if value.shape[0] == value.shape[1])
    change(square, np.transpose)


def flipped_sign(model):
    def flip(weight):
        weight[np.unravel_index(np.abs(weight).argmax(), weight.shape)] *= -1
        return weight

    change(matrices(model)[-1], flip)


def dropped_mask(model):
    mask = next(value for value in model.graph.inputs if value.name == "attention_mask")
    ids = next(value for value in model.graph.inputs if value.name == "input_ids")
    ones = [ir.node("Sub", [ids, ids]), ir.node("Constant", [], attributes={"value": ir.tensor(np.int64(1))})]
    ones.append(ir.node("Add", [ones[0].outputs[0], ones[1].outputs[0]]))
    users = [(use.node, use.idx) for use in mask.uses()]
    model.graph.insert_before(model.graph[0], ones)
    for node, place in users:
        node.replace_input_with(place, ones[2].outputs[0])


def slice_off_by_one(model):
    """The first token of each row is pooled; the next one would do nearly as well."""
    gathers = [node for node in model.graph if node.op_type == "Gather" and "pooler" in node.name]
    index = gathers[0].inputs[1].producer()
    index.attributes["value"] = ir.AttrTensor("value", ir.tensor(np.int64(-1)))


def wrong_row_at_one_size(model):
    """Adds a little to the second row of 37 tokens."""
    output = model.graph.outputs[0]
    made = []

    def node(operator, *inputs, **attributes):
        made.append(ir.node(operator, list(inputs), attributes=attributes))
        return made[-1].outputs[0]

    def constant(array):
        return node("Constant", value=ir.tensor(array))

    sizes = node("Shape", model.graph.inputs[0])
    length = node("Gather", sizes, constant(np.int64(1)))
    is_size = node("Cast", node("Equal", length, constant(np.int64(37))), to=ir.DataType.FLOAT.value)
    rows = node("Range", constant(np.int64(0)), node("Gather", sizes, constant(np.int64(0))), constant(np.int64(1)))
    is_row = node("Cast", node("Equal", rows, constant(np.int64(1))), to=ir.DataType.FLOAT.value)
    added = node("Mul", node("Mul", is_row, is_size), constant(np.float32(0.01)))
    shaped = node("Unsqueeze", added, constant(np.array([1, 2])))
    spoiled = node("Add", output, shaped)
    for one in made:
        model.graph.append(one)
    spoiled.name, output.name, spoiled.dtype, spoiled.shape = output.name, "right", output.dtype, output.shape
    model.graph.outputs[0] = spoiled


LONG = [
    pytest.param(one, marks=pytest.mark.thorough, id=one.__name__)
    for one in (wrong_constant, dropped_mask, transposed_weight, slice_off_by_one)  # tests/test_prove.py has their like
]
MUTATIONS = [swapped_outputs, flipped_sign, *LONG]


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_catches(mutate, source, reference, exported, tmp_path):
    model = ir.load(exported)
    mutate(model)

    proof = proven(source, reference, model, tmp_path)

    # One token attends to itself, and is first and last, whatever else is wrong.
    assert proof.verdict == "failed" or proof.range["sequence"] == (1, 1)
    assert any(found.code == "outputs-differ" for found in proof.findings)


def test_leaves_out_the_one_size_at_which_one_row_is_wrong(source, reference, exported, tmp_path):
    model = ir.load(exported)
    wrong_row_at_one_size(model)

    proof = proven(source, reference, model, tmp_path)

    assert proof.verdict == "partial"
    low, high = proof.range["sequence"]
    assert not low <= 37 <= high


def test_passes_the_graph_as_it_is(source, reference, exported, tmp_path):
    proof = proven(source, reference, ir.load(exported), tmp_path)

    assert proof.verdict == "proven"
    assert len(proof.sizes) > len(set(itertools.chain(*(range(low, most) for low, _, most in RANGES.values()))))
