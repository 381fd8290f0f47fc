"""Ordinary architectures in int8: a transform is tested as a runtime, whatever a search would make of it."""

import pytest
from cases import thorough
from cases.architectures import ORDINARY

from onnxwright.backends import Options
from onnxwright.backends.onnxruntime import OnnxRuntimeSession
from onnxwright.graph.precision.products import products
from onnxwright.graph.saving import save_model
from onnxwright.recipes import Material, recipes
from onnxwright.samples import PADDED_RIGHT, TYPICAL
from onnxwright.stages.export import export
from onnxwright.stages.load import load
from onnxwright.tolerance import overall_distance

NAMES = ("bert", "albert", "gpt2", "llama")
RECIPES = ("int8-static", "int8-asymmetric", "int8-dynamic", "int8-blocks")
LIMIT = 0.25
"""Of tiny layers with random weights: far from what a trained model loses, and far from what a wrong graph does."""


@pytest.mark.parametrize("name", thorough.marked(NAMES, {"albert"}))
def test_int8_answers_nearly_as_the_graph(name, tmp_path):
    def in_runtime(model, *, is_optimized=True):
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx"
        save_model(model, file)
        return OnnxRuntimeSession(file, Options(1), is_optimized=is_optimized)

    module, example, dims = ORDINARY[name]()
    source = load(module, example_inputs=example, dims=dims)
    graph = export(source, route_name="trace").model
    small = {dim: min(sizes.most, 5) for dim, sizes in source.profile.items()}
    feeds = [source.sampler.draw(source.traced, values, seed=1) for values in (TYPICAL, PADDED_RIGHT)]
    feeds += [source.sampler.draw(small, TYPICAL, seed=seed) for seed in range(6)]
    reference = in_runtime(graph, is_optimized=False)
    material = Material(graph, in_runtime, feeds[1:])

    assert products(graph)
    for recipe in RECIPES:
        made = recipes()[recipe]
        session = in_runtime(made.make(material, {}).model)
        for one in feeds:
            expected, answered = reference.run(one), session.run(one)
            assert answered.keys() == expected.keys()
            errors = {output: overall_distance(array, answered[output]) for output, array in expected.items()}
            assert 0 < max(errors.values()) < LIMIT, (recipe, errors)
