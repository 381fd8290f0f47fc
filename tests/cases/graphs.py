"""Small graphs as ONNX text, what they answer, and what a rule makes of them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import onnxruntime

from onnxwright.graph.following import SIZES
from onnxwright.graph.passes import guarded
from onnxwright.graph.rules import rule
from onnxwright.graph.targets import target
from onnxwright.tolerance import RUN_TO_RUN, SAME_PRECISION, distance

LIMIT = SAME_PRECISION.limit(RUN_TO_RUN)


def model(text, *, opset=18, weights=()):
    """Parses a graph; inputs that are called like `weights` become initializers with drawn numbers."""
    head = f'<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>'
    parsed = ir.from_proto(onnx.parser.parse_model(f"{head} {text}"))
    draw = np.random.default_rng(7)
    for value in [value for value in parsed.graph.inputs if value.name in weights]:
        parsed.graph.inputs.remove(value)
        numbers = draw.standard_normal(value.shape.numpy()).astype(np.float32)
        value.const_value = ir.tensor(numbers, name=value.name)
        parsed.graph.register_initializer(value)
    return parsed


def draw(graph, seed=0, **sizes):
    """Draws inputs of a graph whose named dims have these sizes; whole numbers are 0 or 1."""
    numbers = np.random.default_rng(seed)
    drawn = {}
    for value in graph.graph.inputs:
        shape = [dim if isinstance(dim, int) else sizes.get(dim.value, 3) for dim in value.shape]
        if value.dtype == ir.DataType.FLOAT:
            drawn[value.name] = numbers.standard_normal(shape).astype(np.float32)
        else:
            drawn[value.name] = numbers.integers(0, 2, shape).astype(value.dtype.numpy())
    return drawn


def answers(graph, inputs):
    """Returns what ONNX Runtime answers, by output name, without rewriting the graph itself."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(ir.to_proto(graph).SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def strictly(graph, inputs):
    """What the ONNX reference answers, which rounds after each node; ONNX Runtime computes chains in float32."""
    evaluator = onnx.reference.ReferenceEvaluator(ir.to_proto(graph))
    with np.errstate(all="ignore"):
        return dict(zip([value.name for value in graph.graph.outputs], evaluator.run(None, inputs), strict=True))


def error(before, after, inputs):
    """Returns the largest distance of any output of two graphs."""
    expected, given = answers(before, inputs), answers(after, inputs)
    assert expected.keys() == given.keys()
    return max(distance(expected[name], given[name]) for name in expected)


def rewritten(graph, *names, engine="onnxruntime"):
    """Applies rules by name until nothing changes, and returns the graph and the trace."""
    made = [rule(name).for_target(target(engine), graph.opset_imports) for name in names]
    assert None not in made, "the engine takes what the rules write"
    return guarded(graph, [SIZES, *made], rounds=3)


def kinds(graph):
    """Returns the operators of a graph, in order."""
    return [node.op_type for node in graph.graph]


def turned_round(graph, log):
    """A rewrite that is wrong: of a sum it makes a difference."""
    sums = [node for node in graph.graph if node.op_type == "Add"]
    for node in sums:
        log.hit("wrong", node)
        node.op_type = "Sub"
    return len(sums)
