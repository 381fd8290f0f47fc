"""Writes a `BatchNormalization` by the statistics of the batch itself (`training_mode`) as means and a root.

`nn.BatchNorm2d(…, track_running_stats=False)` is exported as such. An answer depends on what else is in its batch.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxwright.graph.defining import define_by, whole_numbers
from onnxwright.graph.fitting import Fit

_RUNNING = """
    m = Constant <value = float {{{MOMENTUM}}}> () part = CastLike (m, mean) rest = Sub (one, part)
    flat_mean = Squeeze (mean, axes) old_mean = Mul (known_mean, part) new_mean = Mul (flat_mean, rest)
    running_mean = Add (old_mean, new_mean)
    flat_variance = Squeeze (variance, axes) old_variance = Mul (known_variance, part)
    new_variance = Mul (flat_variance, rest) running_variance = Add (old_variance, new_variance)
"""


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "BatchNormalization", _text)


def _text(node: ir.Node) -> str:
    value, given = node.inputs[0], node.attributes
    if not given.get_int("training_mode", 0) or value is None or value.shape is None:
        return ""
    axes = [axis for axis in range(len(value.shape)) if axis != 1]
    column = [axis - 1 for axis in axes if axis > 1]
    outputs = ["y", "running_mean", "running_variance"][: len(node.outputs)]
    running = _RUNNING.format(MOMENTUM=given.get_float("momentum", 0.9)) if len(outputs) > 1 else ""
    shaped = " ".join(
        f"{name}_column = Unsqueeze ({name}, later)" if column else f"{name}_column = Identity ({name})"
        for name in ("scale", "bias")
    )
    return f"""(x, scale, bias, known_mean, known_variance) => ({", ".join(outputs)}) {{
        axes = {whole_numbers(axes)} later = {whole_numbers(column)}
        float_one = Constant <value = float {{1}}> () one = CastLike (float_one, x)
        e = Constant <value = float {{{given.get_float("epsilon", 1e-5)}}}> () epsilon = CastLike (e, x)
        mean = ReduceMean <keepdims = 1> (x, axes) apart = Sub (x, mean) square = Mul (apart, apart)
        variance = ReduceMean <keepdims = 1> (square, axes) raised = Add (variance, epsilon) deviation = Sqrt (raised)
        normal = Div (apart, deviation) {shaped} scaled = Mul (normal, scale_column) y = Add (scaled, bias_column)
        {running}
    }}"""


FIT = Fit(
    name="batch_statistics",
    summary="Writes a `BatchNormalization` by the statistics of the batch itself as means and a root.",
    change=_rewrite,
    operators=frozenset({"BatchNormalization"}),
)
