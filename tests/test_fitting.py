"""What TensorRT's real parser or builder refuses, and builds after a rewrite that leaves the answers as they were."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from cases.graphs import answers

import onnxwright as ow
from onnxwright.approach import Approach
from onnxwright.graph.fitting import apply_fits, fits
from onnxwright.graph.reading import read_model
from onnxwright.graph.saving import save_model
from onnxwright.loaders.onnxfile import default_profile, signature_of
from onnxwright.nvidia.backend import refusal
from onnxwright.nvidia.orders import Settings
from onnxwright.nvidia.profiles import shaped
from onnxwright.repairs import Seen, repairs
from onnxwright.stages.parsing import answer_of
from onnxwright.tolerance import distance

RTX = "tensorrt-rtx"
HEAD = '<ir_version: 8, opset_import: ["" : 18, "com.microsoft" : 1]>'
DYNAMIC = """g (float[n, 4] x) => (float[n, 2] y) <uint8[4, 2] w = {3, 200, 17, 90, 128, 255, 0, 64}, uint8 z = {119}> {
    q, s, a = DynamicQuantizeLinear (x) p = MatMulInteger (q, w, a, z) f = Cast <to = 1> (p) y = Mul (f, s) }"""
UNSIGNED = """g (float[n, 4] x) => (float[n, 4] y) <float s = {0.02}, uint8 z = {0}> {
    q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) y = Neg (d) }"""
SHIFTED = UNSIGNED.replace("uint8 z = {0}", "int8 z = {3}")
CONVOLVED = """g (float[n, 1, 6, 6] x) => (float[n, 1, 4, 4] y) <uint8[1, 1, 3, 3] w = {1, 2, 3, 4, 200, 6, 7, 8, 9}> {
    q, s, a = DynamicQuantizeLinear (x) p = ConvInteger <strides = [1, 1]> (q, w, a) f = Cast <to = 1> (p)
    y = Mul (f, s) }"""
BITS = """g (int64[n] x) => (int64[n] y) <int64[1] m = {7}> {
    a = BitwiseNot (x) b = BitwiseAnd (x, m) y = Mul (a, b) }"""
MEANS = """g (float[n, 4] x) => (float[n, 4] y) <float[4] s = {1, 2, 3, 4}> {
    y, mean, deviation = LayerNormalization <axis = -1> (x, s) }"""
WRITTEN = """g (float[n, m] x) => (float[n, m] y) <float o = {0}, float t = {7.5}, int64[1] one = {0}> {
    c = Less (x, o) i = NonZero (c) j = Transpose <perm = [1, 0]> (i) k = Shape <end = 1> (j) u = Expand (t, k)
    y = ScatterND (x, j, u) }"""
AXES = """g (float[n, 4] x) => (float[n, 1] y) <float one = {1}, int64[1] shape = {1}> {
    c = Cast <to = 7> (one) a = Reshape (c, shape) y = ReduceMax (x, a) }"""
FUSED = """g (float[n, 4] x, float[n, 4] r) => (float[n, 3] y) <float[4] g = {1, 2, 3, 4}, float[4] b = {0, 1, 0, 1},
    float[3, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}, float[4] v = {0.5, 0.25, 1, 2}> {
    h = com.microsoft.SkipLayerNormalization <epsilon = 0.00001> (x, r, g, b) k = com.microsoft.BiasGelu (h, v)
    l = com.microsoft.FastGelu (k) q = com.microsoft.QuickGelu (l)
    y = com.microsoft.FusedMatMul <transB = 1, alpha = 0.5> (q, w) }"""
SUMS = """g (float[n, 4] x, float[m, 4] u, int64[m] i) => (float[n, 4] y) <int64[1] l = {1}> {
    k = Shape (u) c = Unsqueeze (i, l) w = Expand (c, k)
    y = ScatterElements <axis = 0, reduction = "add"> (x, w, u) }"""
PAIRS = """g (float[n, 4] x, float[m, 4] u, int64[m] i) => (float[n, 4] y) <int64[1] l = {1}> {
    c = Unsqueeze (i, l) y = ScatterND <reduction = "add"> (x, c, u) }"""
# A mixture of two experts, as `index_add_` of the rows that a mask chooses.
EXPERTS = """g (float[n, 4] x) => (float[n, 4] y)
    <float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7}, float o = {0}, int64 z = {0}, int64[1] l = {1},
    int64[1] f = {0}> {
    k = Relu (x) c = Less (x, o) i = NonZero (c) r = Gather <axis = 0> (i, z) v = Gather <axis = 0> (k, r)
    p = MatMul (v, w) s = Shape (p) t = Unsqueeze (r, l) e = Expand (t, s)
    y = ScatterElements <axis = 0, reduction = "add"> (x, e, p) }"""
TRAINING = """g (float[n, 4] x) => (float[n, 4] y) <float mode = {0}, float r = {0.5}> {
    m = Cast <to = 9> (mode) d = Dropout (x, r, m) y = Neg (d) }"""
LISTED = """g (float[n, 4] x) => (float[n, 1] y) <int64[2] a = {0, 1}, int64[1] s = {1}> {
    p = NonZero (a) h = Reshape (p, s) y = ReduceSum (x, h) }"""
CHOSEN = "g (float[n, 4] x) => (float[n, 2] y) <bool[4] c = {1, 0, 0, 1}> { y = Compress <axis = 1> (x, c) }"
LOOP = """g (float[n, m] x) => (float[n, 1] y)
    <int64[1] l = {1}, int64 z = {1}, bool c = {1}, int64[1] f = {0}, float o = {0.5}> {
    a = Shape <start = 1> (x) t = Squeeze (a, f) s = ReduceSum <keepdims = 1> (x, l) b = Mul (s, o)
    y = Loop (t, c, b) <body = each (int64 i, bool k, float[n, 1] h) => (bool d, float[n, 1] r) {
        j = Add (i, z) p = Unsqueeze (i, f) q = Unsqueeze (j, f) v = Slice (x, p, q, l, l)
        w = Add (h, v) r = Tanh (w) d = Identity (c) }> }"""
EITHER = """g (int64[n] x, int64[n] i) => (int64[n] y) {
    a = BitwiseOr (x, i) b = BitwiseXor (x, i) c = BitwiseAnd (x, i)
    d = Mul (a, b) e = Sub (d, c) y = Neg (e) }"""
NARROW = EITHER.replace("int64", "int32")
WAVES = "g (float[n, 6, 2] x) => (float[n, 6, 2] y) { y = DFT <axis = 1> (x) }"
HALF = "g (float[n, m, 1] x) => (float[n, k, 2] y) { y = DFT <axis = 1, onesided = 1> (x) }"
BACK = "g (float[n, 6, 2] x) => (float[n, 8, 2] y) <int64 l = {8}> { y = DFT <axis = 1, inverse = 1> (x, l) }"
ROOTED = "g (float[n, 3, 3] x) => (float[n] y) { y = Det (x) }"
QUANTIZED = """g (float[n, 4] x) => (float[n, 2] y)
    <float s = {0.0625}, float t = {0.5}, float u = {0.25}, int8 z = {0}, int8[4, 2] w = {1, -2, 3, 4, -5, 6, 7, 8}> {
    q = QuantizeLinear (x, s, z) p = QLinearMatMul (q, s, z, w, t, z, u, z) y = DequantizeLinear (p, u, z) }"""
LISTS = """g (float[n, 6] x) => (float[n, 6] y) <int64[3] s = {1, 2, 3}, int64 one = {1}, int64 last = {-1}> {
    p = SplitToSequence <axis = 1> (x, s) a = SequenceAt (p, one) b = SequenceAt (p, last) c = SequenceErase (p)
    d = Neg (b) e = SequenceInsert (c, d) f = ConcatFromSequence <axis = 1> (e) y = Exp (f) }"""
STACKED = """g (float[n, 3] x) => (float[n, 2, 3] y) { a = Neg (x) l = SequenceConstruct (x, a)
    y = ConcatFromSequence <axis = 1, new_axis = 1> (l) }"""
POOLED = """g (float[n, 2, 6, 6] x) => (float[n, 2, 3, 3] y) {
    y = LpPool <kernel_shape = [2, 2], strides = [2, 2], p = 3> (x) }"""
FOLDED = """g (float[n, 8, 12] x) => (float[n, 2, 6, 5] y) <int64[2] i = {6, 5}, int64[2] b = {2, 2}> {
    y = Col2Im <strides = [2, 1], pads = [1, 0, 0, 0], dilations = [1, 1]> (x, i, b) }"""
DIAGONAL = """g (float[n, m] x) => (float[n, m] y) { a = EyeLike <k = -1> (x) y = Add (a, x) }"""
GAPS = """g (float[n, 2, 9, 8] x) => (float[n, 2, 4, 3] y) {
    y = POOL <kernel_shape = [2, 3], dilations = [2, 2], strides = [2, 2], PADS> (x) }"""
GREATEST = GAPS.replace("POOL", "MaxPool").replace("PADS", "pads = [1, 0, 0, 1]")
MEAN = GAPS.replace("POOL", "AveragePool").replace("PADS", "pads = [1, 1, 0, 0], count_include_pad = 1")
UNPADDED = MEAN.replace(", count_include_pad = 1", "")
UNFOLDED = """g (float[n, 1, 3, 3] x) => (float[n, 1, 6, 8] y) <float[1, 1, 2, 2] w = {1, -2, 3, 0.5}> {
    y = ConvTranspose <dilations = [1, 3], strides = [2, 2]> (x, w) }"""
VECTOR = "g (float[2] v, float[3, 2, 1] x) => (float[3, 1] y) { y = MatMul (v, x) }"
ANY = """g (float[n, 4] x) => (float[n] y) <float o = {0.5}, int64[1] a = {1}> {
    b = Greater (x, o) c = ReduceMax <keepdims = 0> (b, a) d = Cast <to = 1> (c) e = ReduceSum <keepdims = 0> (x, a)
    y = Mul (d, e) }"""
SMOOTH = """g (float[n, 2, 8, 6] x) => (float[n, 2, 5, 9] y) <int64[2] s = {5, 9}> {
    y = Resize <mode = "cubic", antialias = 1, axes = [2, 3], cubic_coeff_a = -0.5> (x, , , s) }"""
SCALED = """g (float[n, 2, 8, 6] x) => (float[n, 2, 8, 9] y) <float[2] s = {1.01, 1.5}> {
    y = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel_symmetric", axes = [2, 3]> (x, , s) }"""
ALONG = """g (float[n, 3, m] x, int64[n, 3, k] i, float[n, 3, k] u) => (float[n, 3, m] y) {
    y = ScatterElements <axis = 2, reduction = "add"> (x, i, u) }"""
COUNTS = """g (int64[n] x, int64[m] i, int64[m] u) => (int64[n] y) {
    y = ScatterElements <axis = 0, reduction = "add"> (x, i, u) }"""
TABLES = """g (float[n, 6, 3] x, int64[m, 2] i, float[m, 3] u) => (float[n, 6, 3] y) {
    y = ScatterND <reduction = "REDUCTION"> (x, i, u) }"""
BYTES = """g (float[n, 4] x) => (float[n, 4] y) <float t = {100}, uint8[1] o = {3}> {
    a = Mul (x, t) i = Cast <to = 7> (a) b = Cast <to = TYPE> (i) c = Cast <to = 1> (b) y = Sqrt (c) }"""
SHORT = BYTES.replace("TYPE", "5").replace("Sqrt", "Neg")
ADDED = """g (float[n, 4] x) => (float[n, 4] y) <float t = {9}, uint8[1] o = {3}> {
    a = Abs (x) b = Mul (a, t) c = Cast <to = 2> (b) d = Add (c, o) y = Cast <to = 1> (d) }"""
AXIS_SIZES = """g (float[n, 2, 8, 6] x) => (float[n, 2, 5, 9] y) <int64[2] s = {5, 9}> {
    y = Resize <mode = "linear", axes = [2, 3]> (x, , , s) }"""
MASK = """g (float[n, 2, 4, 4] x) => (float[n, 2, 8, 8] y) <float o = {0.25}, float[4] s = {1, 1, 2, 2}> {
    a = Greater (x, o) b = Cast <to = 6> (a)
    r = Resize <nearest_mode = "floor", coordinate_transformation_mode = "asymmetric"> (b, , s)
    c = Cast <to = 1> (r) d = Resize <mode = "linear"> (x, , s) y = Mul (c, d) }"""
CHOICE = """g (float[n, 4] x) => (float[4] y) <float o = {0}, int64[1] a = {1}, int64[1] f = {0}> {
    s = ReduceSum <keepdims = 0> (x, a) c = Greater (s, o) i = NonZero (c) j = Transpose <perm = [1, 0]> (i)
    r = GatherND (x, j) e = Exp (r) y = ReduceSum <keepdims = 0> (e, f) }"""
PICKED = "g (float[n, 4] x, bool[4] c) => (float[n, k] y) { y = Compress <axis = -1> (x, c) }"
DISTINCT = """g (float[n, 3] x) => (float[k, 3] y, int64[k] i, int64[n] v, int64[k] c) {
    r = Round (x) y, i, v, c = Unique <axis = 0, sorted = 1> (r) }"""
NUMBERED = "g (int64[8] x) => (int64[8] y) { v, i, y = Unique <sorted = 0> (x) }"
BOXES = """g (float[2, n, 4] x, float[2, 3, n] u) => (int64[k, 3] y)
    <int64[1] m = {3}, float[1] o = {0.2}, float[1] t = {-0.5}> { y = NonMaxSuppression (x, u, m, o, t) }"""
ALIGNED = """g (float[2, 3, 9, 7] x, float[5, 4] u) => (float[5, 3, 2, 4] y) <int64[5] b = {0, 1, 1, 0, 1}> {
    y = RoiAlign <output_height = 2, output_width = 4, sampling_ratio = 0> (x, u, b) }"""
DEFORMED = """g (float[n, 2, 5, 6] x, float[n, 24, 2, 3] u, float[n, 12, 2, 3] m) => (float[n, 4, 2, 3] y)
    <float[4, 1, 2, 3] w = {1, 2, -3, 4, 5, 6, 1, 2, 3, -4, 5, 6, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3},
    float[4] b = {1, 2, 3, 4}> {
    y = DeformConv <kernel_shape = [2, 3], group = 2, offset_group = 2, strides = [2, 2], pads = [0, 1, 0, 0],
        dilations = [2, 1]> (x, w, u, b, m) }"""
SPREAD = """g (float[n, 1, 2, 2] x) => (float[n, 1, 4, 4] y) <int64[1, 1, 2, 2] p = {1, 6, 8, 15}> {
    s = Shape (x) i = Expand (p, s) z = Reshape (i, s)
    y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (x, z) }"""
TOLD = """g (float[n, 2, 5, 6] x) => (float[n, 2, 3, 5] y, int64[n, 2, 3, 5] i) {
    y, i = MaxPool <kernel_shape = [3, 2], strides = [2, 1], pads = [1, 0, 1, 1], dilations = [1, 2]> (x) }"""
COUPLED = """g (float[s, n, 1] x) => (float[s, 2, n, 1] y) <float[2, 4, 1] w = {1, -2, 0.5, 0.25, 1, 2, 3, -1},
    float[2, 4, 1] r = {0.5, 1, -1, 0.25, 1, 2, -3, 1},
    float[2, 8] b = {1, -2, 0.5, 0.25, 1, 2, 3, -1, 1, 0, 1, 0, 2, 1, 0, 1}, float[2, 3] p = {1, -1, 0.5, 2, 1, -2}> {
    y = LSTM <hidden_size = 1, input_forget = 1, direction = "bidirectional", clip = 2.0> (x, w, r, b, , , , p) }"""
KEPT = """g (float[n, 2, 8, 6] x) => (float[n, 2, 7, 5] y) <int64[2] s = {7, 8}> {
    y = Resize <mode = "linear", keep_aspect_ratio_policy = "not_larger", axes = [2, 3]> (x, , , s) }"""
CUT = """g (float[n, 2, 8, 6] x) => (float[n, 2, 5, 9] y) <int64[2] s = {5, 9}, float[4] r = {0.1, -0.2, 1.3, 0.8}> {
    y = Resize <mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize", axes = [2, 3],
        extrapolation_value = 7.5> (x, r, , s) }"""
PIXELS = """g (uint8[n, 2, 4] x) => (uint8[n, 4, 2] y) <uint8[1] o = {250}> {
    a = Add (x, o) y = Transpose <perm = [0, 2, 1]> (a) }"""
SAMPLED = (
    """g (int16[n, 4] x) => (int16[n, 4] y) <int16[1] o = {30000}> { a = Add (x, o) b = Mul (a, x) y = Identity (b) }"""
)
WIDE = """g (double[n, 4] x) => (float[n, 4] y) <double o = {0.1}> {
    a = Constant <value = double {2.5}> () b = Mul (x, a) c = Add (b, o) d = Exp (c) y = Cast <to = 1> (d) }"""
OWN = """g (float[n, 2, 4] x) => (float[n, 2, 4] y)
    <float[2] s = {1, 2}, float[2] b = {3, -2}, float[2] m = {1, 2}, float[2] v = {1, 2}> {
    y, p, q = BatchNormalization <training_mode = 1, epsilon = 0.01> (x, s, b, m, v) }"""
FIXTURES = {
    "statistics of a batch": (OWN, "batch_statistics"),
    "bytes that go in and come out": (PIXELS, "wide_numbers"),
    "short numbers that go in and come out": (SAMPLED, "wide_numbers"),
    "doubles": (WIDE, "single_numbers"),
    "rows that a mask chooses": (CHOICE, "true_places"),
    "columns that a mask chooses": (PICKED, "true_places"),
    "rows that are unlike": (DISTINCT, "unique_rows"),
    "numbers of what is unlike": (NUMBERED, "unique_rows"),
    "the best of boxes that overlap": (BOXES, "chosen_boxes"),
    "means of boxes": (ALIGNED, "sampled_boxes"),
    "a kernel whose places are moved": (DEFORMED, "deformed_kernels"),
    "a pooling that is undone": (SPREAD, "put_back"),
    "a pooling that tells its places": (TOLD, "windowed_places"),
    "gates that are coupled": (COUPLED, "coupled_gates"),
    "a picture that keeps its shape": (KEPT, "resized"),
    "a picture that is cut": (CUT, "resized"),
    "bytes": (BYTES.replace("TYPE", "2"), "wide_numbers"),
    "short numbers": (SHORT, "wide_numbers"),
    "bytes that are added": (ADDED, "wide_numbers"),
    "sizes of two axes": (AXIS_SIZES, "whole_sizes"),
    "a mask that is enlarged": (MASK, "resized_numbers"),
    "numbers that are added along an axis": (ALONG, "scatter_sums"),
    "numbers that are multiplied along an axis": (ALONG.replace('"add"', '"mul"'), "scatter_sums"),
    "whole numbers that are added": (COUNTS, "scatter_sums"),
    "rows of tables that are added": (TABLES.replace("REDUCTION", "add"), "scatter_sums"),
    "rows of tables of which the greatest is taken": (TABLES.replace("REDUCTION", "max"), "scatter_sums"),
    "a greatest in windows with gaps": (GREATEST, "pooled_slices"),
    "a mean in windows with gaps": (MEAN, "pooled_slices"),
    "a mean in windows with gaps, without padding": (UNPADDED, "pooled_slices"),
    "a transposed convolution with gaps": (UNFOLDED, "dilated_kernels"),
    "a vector and matrices": (VECTOR, "vector_products"),
    "any of truths": (ANY, "truths"),
    "a picture that is smoothed": (SMOOTH, "resized"),
    "a picture that is scaled": (SCALED, "resized"),
    "an identity of unknown size": (DIAGONAL, "identity_matrices"),
    "a pooling by norms": (POOLED, "norm_pools"),
    "blocks that are folded": (FOLDED, "folded_blocks"),
    "bits of two numbers": (EITHER, "bits"),
    "bits of two narrow numbers": (NARROW, "bits"),
    "a transform of complex numbers": (WAVES, "fourier"),
    "a transform of real numbers": (HALF, "fourier"),
    "a transform back, of a length": (BACK, "fourier"),
    "a determinant": (ROOTED, "determinants"),
    "operators on quantized numbers": (QUANTIZED, "quantized_operators"),
    "a list of parts": (LISTS, "known_sequences"),
    "a list that is stacked": (STACKED, "known_sequences"),
    "a loop over the elements of an axis": (LOOP, "loop_steps"),
    "axes that are computed": (AXES, "folded"),
    "a mode that is computed": (TRAINING, "folded"),
    "places of a constant": (LISTED, "folded"),
    "a choice by a constant": (CHOSEN, "chosen_rows"),
    "rows that are added": (SUMS, "scatter_sums"),
    "rows of which the greatest is taken": (SUMS.replace('"add"', '"max"'), "scatter_sums"),
    "numbers of which the least is taken": (
        """g (float[n] x, float[m] u, int64[m] i) => (float[n] y) {
            y = ScatterElements <axis = 0, reduction = "min"> (x, i, u) }""",
        "scatter_sums",
    ),
    "rows that are added by their numbers": (PAIRS, "scatter_sums"),
    "quantized dynamically": (DYNAMIC, "float_quantization"),
    "unsigned": (UNSIGNED, "float_quantization"),
    "with a zero point": (SHIFTED, "float_quantization"),
    "a quantized convolution": (CONVOLVED, "float_quantization"),
    "bits": (BITS, "bits"),
    "outputs that nothing takes": (MEANS, "one_output"),
    "a masked write": (WRITTEN, "masked_writes"),
    "fused for another engine": (FUSED, "runtime_operators"),
}


LATER = {ANY: 20, MEAN: 19, UNPADDED: 19, SCALED: 19, KEPT: 19, CUT: 19, DEFORMED: 20}
"""Those that are of a later opset."""


def parsed(text):
    head = HEAD.replace("18", str(LATER.get(text, 18)))
    return ir.from_proto(onnx.parser.parse_model(f"{head} {text}"))


def refused(model, folder):
    """Returns why no engine is built of a graph; nothing where one is."""
    file = folder / "model.onnx"
    save_model(model, file)
    signature = signature_of(read_model(file))
    profiles = (shaped(signature, default_profile(signature)),) if signature.dims else ()
    answer = answer_of(RTX, file, Settings(profiles=profiles), folder / "model.engine")
    return "" if answer.is_built else refusal(RTX, answer)


def drawn(model, seed=0):
    numbers = np.random.default_rng(seed)
    sizes = {value.name: [dim if isinstance(dim, int) else 5 for dim in value.shape] for value in model.graph.inputs}
    return {
        value.name: numbers.standard_normal(sizes[value.name]).astype(value.dtype.numpy())
        if value.dtype in {ir.DataType.FLOAT, ir.DataType.DOUBLE}
        else numbers.integers(*((0, 5) if value.name == "i" else (-9, 99)), sizes[value.name]).astype(
            value.dtype.numpy()
        )
        for value in model.graph.inputs
    }


def error(before, after, feeds):
    expected, found = answers(before, feeds), answers(after, feeds)
    return max(distance(expected[name], found[name]) for name in expected)


def spoilt(array):
    """Returns other numbers in the place of these."""
    if array.dtype.kind == "f":
        return 1.5 * array + array**2
    return ~array if array.dtype == bool else (array + 1) % 5


@pytest.mark.parametrize(("text", "name"), FIXTURES.values(), ids=FIXTURES)
def test_what_is_refused_is_rewritten_and_built(text, name, tmp_path):
    before, after = parsed(text), parsed(text)

    told = refused(before, tmp_path)
    assert told.startswith(RTX)
    seen = Seen(source=None, approach=Approach("given", 18), message=told, refusals=(told,))
    (proposed,) = repairs()["fitted"].proposals(seen)
    assert name in proposed.split(", ")
    assert apply_fits(after, [name]) > 0
    assert refused(after, tmp_path) == ""
    feeds = drawn(before)
    assert error(before, after, feeds) < 1e-5
    assert error(before, after, {**feeds, "x": 2 * feeds["x"]}) < 1e-5
    wrong = {key: spoilt(one) for key, one in feeds.items()}
    assert distance(answers(before, feeds)["y"], answers(after, wrong)["y"]) > 1e-5, "another answer would be seen"


NEAR: dict[str, tuple[str, str]] = {
    "statistics that are known": (
        OWN.replace("training_mode = 1", "training_mode = 0").replace("y, p, q", "y"),
        "batch_statistics",
    ),
    "doubles that are rounded at once": (
        "g (double[n] x) => (double[n] y) { a = Cast <to = 1> (x) b = Exp (a) y = Cast <to = 11> (b) }",
        "single_numbers",
    ),
    "quantized bytes": (UNSIGNED, "wide_numbers"),
    "numbers of a usual type": (BYTES.replace("TYPE", "6"), "wide_numbers"),
    "scales of two axes": (SCALED, "whole_sizes"),
    "floats that are enlarged": (AXIS_SIZES, "resized_numbers"),
    "windows without gaps": (GREATEST.replace("dilations = [2, 2]", "dilations = [1, 1]"), "pooled_slices"),
    "windows that are cut off": (MEAN.replace("count_include_pad", "ceil_mode"), "pooled_slices"),
    "a transposed convolution without gaps": (UNFOLDED.replace("[1, 3]", "[1, 1]"), "dilated_kernels"),
    "a transposed convolution by an input": (
        UNFOLDED.replace("x)", "x, float[1, 1, 2, 2] w)").replace("<float[1, 1, 2, 2] w = {1, -2, 3, 0.5}>", ""),
        "dilated_kernels",
    ),
    "a vector and a matrix": (VECTOR.replace("[3, 2, 1]", "[2, 3]").replace("[3, 1]", "[3]"), "vector_products"),
    "the greatest of numbers": (ANY.replace("ReduceMax <keepdims = 0> (b", "ReduceMax <keepdims = 0> (x"), "truths"),
    "a picture that is resized as usual": (SMOOTH.replace("antialias = 1, ", ""), "resized"),
    "a picture by scales that go in": (
        SMOOTH.replace("x)", "x, float[2] s)").replace("<int64[2] s = {5, 9}>", "").replace("(x, , , s)", "(x, , s)"),
        "resized",
    ),
    "a picture of unknown size": (SMOOTH.replace("8, 6]", "h, w]"), "resized"),
    "a picture of unknown size that keeps its shape": (KEPT.replace("8, 6]", "h, w]"), "resized"),
    "a picture that keeps its shape within sizes that go in": (
        KEPT.replace("6] x)", "6] x, int64[2] s)").replace("<int64[2] s = {7, 8}>", ""),
        "resized",
    ),
    "a picture that is cut by an input": (
        CUT.replace("6] x)", "6] x, float[4] r)").replace(", float[4] r = {0.1, -0.2, 1.3, 0.8}", ""),
        "resized",
    ),
    "places of a single number": ("g (float x) => (int64[r, k] y) { y = NonZero (x) }", "true_places"),
    "a choice by a constant mask": (CHOSEN, "true_places"),
    "the greatest of samples": (ALIGNED.replace("sampling_ratio = 0", 'mode = "max"'), "sampled_boxes"),
    "a kernel of unknown size": (
        DEFORMED.replace("5, 6] x,", "5, 6] x, float[4, 1, h, w] w,").replace(
            "float[4, 1, 2, 3] w = {1, 2, -3, 4, 5, 6, 1, 2, 3, -4, 5, 6, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3},\n", ""
        ),
        "deformed_kernels",
    ),
    "a pooling that is undone into another shape": (
        SPREAD.replace("8, 15}>", "8, 15}, int64[4] o = {1, 1, 5, 5}>").replace("(x, z)", "(x, z, o)"),
        "put_back",
    ),
    "a pooling that tells nothing": (
        TOLD.replace(", int64[n, 2, 3, 5] i)", ")").replace("y, i", "y"),
        "windowed_places",
    ),
    "a pooling that tells columns first": (TOLD.replace("<kernel", "<storage_order = 1, kernel"), "windowed_places"),
    "gates of their own": (COUPLED.replace("input_forget = 1", "input_forget = 0"), "coupled_gates"),
    "coupled gates by another function": (
        COUPLED.replace("clip", 'activations = ["HardSigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Tanh"], clip'),
        "coupled_gates",
    ),
    "words that are unlike": ("g (string[n] x) => (string[k] y) { y = Unique (x) }", "unique_rows"),
    "recurrent layers with the sequence first": (
        "g (float[s, n, 3] x, float[1, 2, 3] w, float[1, 2, 2] r) => (float[s, d, n, 2] y) { y = RNN (x, w, r) }",
        "read_as_written",
    ),
    "a pooling with windows that are cut off": (POOLED.replace("p = 3", "ceil_mode = 1"), "norm_pools"),
    "blocks for an image of unknown size": (
        "g (float[n, 8, 12] x, int64[2] i, int64[2] b) => (float[n, c, h, w] y) { y = Col2Im (x, i, b) }",
        "folded_blocks",
    ),
    "a transform back of one side": (HALF.replace("onesided", "inverse = 1, onesided"), "fourier"),
    "a transform of what may be complex": (WAVES.replace("6, 2] x", "6, c] x"), "fourier"),
    "a determinant of many rows": (ROOTED.replace("3, 3", "5, 5"), "determinants"),
    "quantized numbers with channels at the end": (
        """g (int8[n, 4, 4, 3] x, float s, int8 z) => (int8[n, 1, 1, 3] y) {
            y = com.microsoft.QLinearGlobalAveragePool <channels_last = 1> (x, s, z, s, z) }""",
        "quantized_operators",
    ),
    "a part by a computed number": (
        """g (float[n, 6] x, int64 i) => (float[n, 1] y) {
            p = SplitToSequence <axis = 1> (x) y = SequenceAt (p, i) }""",
        "known_sequences",
    ),
    "signed and symmetric": (UNSIGNED.replace("uint8 z", "int8 z"), "float_quantization"),
    "bits of what int64 doesn't hold": (
        "g (uint64[n] x, uint64[n] i) => (uint64[n] y) { y = BitwiseXor (x, i) }",
        "bits",
    ),
    "a mean that is an output": (
        MEANS.replace("float[n, 4] y)", "float[n, 4] y, float[n, 1] mean)").replace(", deviation", ""),
        "one_output",
    ),
    "numbers of which none is like another": (
        """g (float[n, m] x, float[k] u) => (float[n, m] y) <float o = {0}> {
            c = Less (x, o) i = NonZero (c) j = Transpose <perm = [1, 0]> (i) y = ScatterND (x, j, u) }""",
        "masked_writes",
    ),
    "numbers for a part of the rows": (ALONG.replace("n, 3, k", "l, 3, k"), "scatter_sums"),
    "whole numbers of which the greatest is taken": (COUNTS.replace('"add"', '"max"'), "scatter_sums"),
    "a loop over pairs of elements": (LOOP.replace("int64 z = {1}", "int64 z = {2}"), "loop_steps"),
    "a choice by an input": (
        CHOSEN.replace("x)", "x, bool[4] c)").replace("<bool[4] c = {1, 0, 0, 1}>", ""),
        "chosen_rows",
    ),
    "a product in batches": (
        """g (float[2, 3, 4] x, float[2, 4, 3] r) => (float[3, 2, 3] y) {
            y = com.microsoft.FusedMatMul <transBatchA = 1, transBatchB = 1> (x, r) }""",
        "runtime_operators",
    ),
}


@pytest.mark.parametrize(("text", "name"), NEAR.values(), ids=NEAR)
def test_what_is_nearly_so_is_left_alone(text, name):
    assert apply_fits(parsed(text), [name]) == 0


VARIANTS: dict[str, tuple[str, str, int]] = {
    "statistics that are told": (
        OWN.replace("2, 4] y)", "2, 4] y, float[2] p, float[2] q)").replace("epsilon", "momentum = 0.75, epsilon"),
        "batch_statistics",
        18,
    ),
    "statistics of columns": (OWN.replace("n, 2, 4", "n, 2"), "batch_statistics", 18),
    "places in three axes": (
        "g (float[n, 2, 3] x) => (int64[3, k] y) <float o = {0}> { c = Less (x, o) y = NonZero (c) }",
        "true_places",
        18,
    ),
    "a choice of elements": ("g (float[n, 4] x, bool[7] c) => (float[k] y) { y = Compress (x, c) }", "true_places", 18),
    "rows that are unlike, as they come": (DISTINCT.replace("sorted = 1", "sorted = 0"), "unique_rows", 18),
    "elements that are unlike": (
        """g (float[n, 3] x) => (float[k] y, int64[k] i, int64[m] v, int64[k] c) {
            r = Round (x) y, i, v, c = Unique (r) }""",
        "unique_rows",
        18,
    ),
    "columns that are unlike": (
        "g (int64[2, 3, 40] x) => (int64[2, 3, k] y) <int64 t = {3}> { r = Mod (x, t) y = Unique <axis = -1> (r) }",
        "unique_rows",
        18,
    ),
    "boxes by their centers": (
        BOXES.replace("Suppression (", "Suppression <center_point_box = 1> ("),
        "chosen_boxes",
        18,
    ),
    "boxes without limits": (BOXES.replace("m, o, t)", "m)"), "chosen_boxes", 18),
    "boxes of which none may be chosen": (BOXES.replace("m = {3}", "m = {0}"), "chosen_boxes", 18),
    "as many samples for each box": (ALIGNED.replace("sampling_ratio = 0", "sampling_ratio = 3"), "sampled_boxes", 18),
    "boxes between pixels": (
        ALIGNED.replace(
            "sampling", 'spatial_scale = 0.5, coordinate_transformation_mode = "output_half_pixel", sampling'
        ),
        "sampled_boxes",
        18,
    ),
    "boxes of an earlier opset": (ALIGNED, "sampled_boxes", 13),
    "moved places of an earlier opset": (DEFORMED.replace(", b, m)", ")"), "deformed_kernels", 19),
    "places along one axis": (
        "g (float[n, 2, 5] x) => (float[n, 2, 4] y, int64[n, 2, 4] i) { y, i = MaxPool <kernel_shape = [2]> (x) }",
        "windowed_places",
        18,
    ),
    "a picture that is not smaller": (
        KEPT.replace("not_larger", "not_smaller").replace("linear", "cubic").replace("7, 5] y", "11, 8] y"),
        "resized",
        19,
    ),
    "a picture that is cut by scales": (
        CUT.replace("int64[2] s = {5, 9}", "float[2] s = {0.625, 1.5}").replace("r, , s)", "r, s)"),
        "resized",
        19,
    ),
}


@pytest.mark.parametrize(("text", "name", "opset"), VARIANTS.values(), ids=VARIANTS)
def test_variants_answer_as_before(text, name, opset):
    before, after = (
        ir.from_proto(onnx.parser.parse_model(f"{HEAD.replace('18', str(opset))} {text}")) for _ in range(2)
    )

    assert repairs()["fitted"].mend(after, name) > 0
    for seed in range(3):
        assert error(before, after, drawn(before, seed)) < 1e-5
    assert error(before, after, {key: np.zeros_like(one) for key, one in drawn(before).items()}) < 1e-5


def test_constants_are_computed_beforehand():
    model, own = parsed(AXES), parsed(AXES)

    assert apply_fits(model, ["folded"]) > 0
    assert [node.op_type for node in model.graph] == ["ReduceMax"]
    assert error(own, model, drawn(own)) == 0


def test_more_elements_than_the_builder_sorts_are_counted(tmp_path):
    text = """g (float[4000] x) => (float[9] y, int64[9] i) <int64[1] k = {9}> { y, i = TopK <largest = 0> (x, k) }"""
    before, after = parsed(text.replace("[9]", "[3999]").replace("{9}", "{3999}")), parsed(text)

    assert "K exceeds the maximum" in refused(before, tmp_path)
    assert apply_fits(after, ["counted_ranks"]) == 1
    x = np.random.default_rng(0).integers(0, 50, 4000).astype(np.float32)
    expected, found = answers(parsed(text), {"x": x}), answers(after, {"x": x})
    assert np.array_equal(expected["y"], found["y"])
    assert np.array_equal(expected["i"], found["i"]), "of equal ones the first"


def test_a_mixture_of_experts_is_computed_for_every_row(tmp_path):
    before, after = parsed(EXPERTS), parsed(EXPERTS)

    told = refused(before, tmp_path)
    assert "(NonZero)" in told
    assert apply_fits(after, ["dense_places"]) == 1
    feeds = drawn(before)
    assert error(before, after, feeds) < 1e-5
    assert "reduction" in refused(after, tmp_path)
    assert apply_fits(after, ["scatter_sums"]) == 1
    assert refused(after, tmp_path) == ""
    assert error(before, after, feeds) < 1e-5
    assert error(before, after, {"x": np.abs(feeds["x"])}) < 1e-5, "a mask of which nothing is true"


def test_rows_that_are_put_back_in_their_places_are_computed_for_all(tmp_path):
    text = EXPERTS.replace(', reduction = "add"', "").replace(
        "c = Less (x, o)", "a = ReduceSum <keepdims = 0> (x, l) c = Less (a, o)"
    )
    before, after = parsed(text), parsed(text)

    assert apply_fits(after, ["dense_places"]) == 1
    assert refused(after, tmp_path) == ""
    feeds = drawn(before)
    assert error(before, after, feeds) < 1e-5
    assert error(before, after, {"x": -np.abs(feeds["x"])}) < 1e-5


BATCHED = {
    "RNN": """g (float[2, 5, 3] x, float[2, 1, 2] h) => (float[2, 5, 1, 2] y, float[2, 1, 2] last)
        <float[1, 2, 3] w = {1, -2, 0.5, 0.25, 1, -1}, float[1, 2, 2] r = {0.5, 1, -1, 0.25}> {
        y, last = RNN <hidden_size = 2, layout = 1> (x, w, r, , , h) }""",
    "LSTM": """g (float[2, 5, 1] x, float[2, 1, 1] h) => (float[2, 5, 1, 1] y, float[2, 1, 1] last, float[2, 1, 1] c)
        <float[1, 4, 1] w = {1, -2, 0.5, 0.25}, float[1, 4, 1] r = {0.5, 1, -1, 0.25}> {
        y, last, c = LSTM <hidden_size = 1, layout = 1> (x, w, r, , , h) }""",
    "GRU": """g (float[2, 5, 1] x) => (float[2, 5, 1, 1] y)
        <float[1, 3, 1] w = {1, -2, 0.5}, float[1, 3, 1] r = {0.5, 1, -1}> {
        y = GRU <hidden_size = 1, layout = 1> (x, w, r) }""",
}


@pytest.mark.parametrize("operator", BATCHED)
def test_recurrent_layers_with_the_batch_first_are_misread_unless_they_are_turned(operator, tmp_path):
    before, after = parsed(BATCHED[operator]), parsed(BATCHED[operator])

    assert "layout 1 isn't looked at" in refused(before, tmp_path)
    assert apply_fits(after, ["read_as_written"]) == 1
    assert refused(after, tmp_path) == ""
    feeds, found = drawn(before), answers(after, drawn(before))  # ONNX Runtime has no layout 1, and ONNX no LSTM for it
    plain = parsed(BATCHED[operator].replace("layout = 1", "layout = 0"))
    for value in (*plain.graph.inputs, *plain.graph.outputs):
        value.shape = None
    turned = answers(plain, {name: one.swapaxes(0, 1) for name, one in feeds.items()})
    expected = {name: one.transpose(2, 0, 1, 3) if name == "y" else one.swapaxes(0, 1) for name, one in turned.items()}
    assert max(distance(expected[name], found[name]) for name in expected) == 0


@pytest.mark.parametrize(("operator", "given"), [("Trilu", "upper = 0"), ("Selu", "alpha = 1.5, gamma = 2.0")])
def test_defaults_that_the_parser_has_otherwise_are_written(operator, given, tmp_path):
    text = f"g (float[n, 4] x) => (float[n, 4] y) {{ y = {operator} (x) }}"
    before, after = parsed(text), parsed(text)

    assert "would be taken for another" in refused(before, tmp_path)
    assert apply_fits(after, ["read_as_written"]) == 1
    assert refused(after, tmp_path) == ""
    assert error(before, after, drawn(before)) == 0
    assert apply_fits(parsed(text.replace(operator, f"{operator} <{given}>")), ["read_as_written"]) == 0


@pytest.mark.parametrize("kind", ["uint8", "uint32"])
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_bits_that_are_shifted_fall_off_the_end(direction, kind):
    text = f'g ({kind}[n] x, {kind}[n] i) => ({kind}[n] y) {{ y = BitShift <direction = "{direction}"> (x, i) }}'
    before, after = parsed(text), parsed(text)
    x = np.random.default_rng(0).integers(0, np.iinfo(kind).max, 64, dtype=kind, endpoint=True)

    assert apply_fits(after, ["bits", "wide_numbers"]) > 1
    assert error(before, after, {"x": x, "i": (np.arange(64) % 8).astype(kind)}) == 0


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8"])
@pytest.mark.parametrize("operator", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_bits_of_any_numbers_are_right(operator, kind):
    before, after = (parsed(f"g ({kind}[n] x, {kind}[n] i) => ({kind}[k] y) {{ y = {operator} (x, i) }}") for _ in "ab")
    ends, dtype = np.iinfo(kind), np.dtype(kind)
    numbers = np.random.default_rng(0).integers(ends.min, ends.max, (2, 500), dtype=dtype, endpoint=True)
    every = -1 if ends.min else ends.max
    corners = np.array([[ends.min, every, 0, 1, ends.max, ends.min], [ends.min, ends.min, every, every, ends.max, 0]])
    x, i = np.concatenate([numbers, numbers[:, :9] * 0 + numbers[:1, :9], corners.astype(dtype)], axis=1)

    assert apply_fits(after, ["bits"]) == 1
    assert error(before, after, {"x": x, "i": i}) == 0


def test_any_of_nothing_is_false_and_all_of_it_true():
    for operator, expected in (("ReduceMax", False), ("ReduceMin", True)):
        text = f"g (bool[n, m] x) => (bool[n] y) <int64[1] a = {{1}}> {{ y = {operator} <keepdims = 0> (x, a) }}"
        model = ir.from_proto(onnx.parser.parse_model(f"{HEAD.replace('18', '20')} {text}"))
        assert apply_fits(model, ["truths"]) == 1
        assert answers(model, {"x": np.zeros((2, 0), bool)})["y"].tolist() == [expected] * 2


def test_places_that_are_an_answer_can_not_be_computed_for_all():
    text = EXPERTS.replace("(float[n, 4] y)\n", "(float[n, 4] y, int64[2, m] i)\n", 1)

    assert apply_fits(parsed(text), ["dense_places"]) == 0


def test_the_attention_of_a_later_opset_is_written_as_an_earlier_one_has_it(tmp_path):
    shape = "float[n, 2, 4, 8]"
    text = f"g ({shape} q, {shape} k, {shape} v) => ({shape} y) {{ y = Attention (q, k, v) }}"
    before, after = (ir.from_proto(onnx.parser.parse_model(HEAD.replace("18", "23") + text)) for _ in range(2))

    told = refused(before, tmp_path)
    seen = Seen(source=None, approach=Approach("given", 23), message=told, refusals=(told,))
    assert list(repairs()["versions"].proposals(seen)) == ["opset 20"]
    assert repairs()["versions"].mend(after, "opset 20") > 0
    assert refused(after, tmp_path) == ""
    feeds = drawn(before)
    assert error(before, after, feeds) < 1e-5
    assert list(repairs()["versions"].proposals(replace(seen, approach=Approach("given", 20)))) == []


def test_every_fit_answers_something_and_stands_in_a_test():
    named = {name for _, name in FIXTURES.values()} | {"counted_ranks", "dense_places", "read_as_written"}

    assert named == set(fits())
    assert all(one.operators or one.words for one in fits().values())


def test_a_fit_that_is_unknown_is_a_usage_error():
    with pytest.raises(ow.UsageError, match="bits"):
        apply_fits(parsed(BITS), ["bytes"])


def test_convert_mends_a_graph_until_it_builds(tmp_path):
    file = tmp_path / "dynamic.onnx"
    onnx.save(onnx.parser.parse_model(f"{HEAD} {DYNAMIC}"), file)

    package = ow.convert(file, tmp_path / "out", engine=RTX, measure=False, proof="quick")

    first, second = package.manifest.attempts
    assert "DynamicQuantizeLinear" in first.message
    assert second.repairs == ("fitted=float_quantization",)
    assert package.proof.verdict == "proven"
    assert (package.folder / "engines" / RTX / "model.engine").is_file()
