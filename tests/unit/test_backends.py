import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx.printer
import onnxruntime as runtime
import pytest

from onnxwright.backends import Options, engine, engines, onnxruntime
from onnxwright.backends.onnxruntime import OnnxRuntimeSession
from onnxwright.errors import EngineError
from onnxwright.tolerance import SAME_PRECISION, distance

HEADER = '<ir_version: 8, opset_import: ["" : 17]>'
DENSE = """dense (float[batch, 4] x) => (float[batch, 4] y, float total)
    <float[4, 4] w = {1, -2, 3, 4, 5, 6, -7, 8, 9, 1, 2, -3, 4, 5, 6, 7}>
    { h = MatMul(x, w)  y = Relu(h)  total = ReduceSum<keepdims = 0>(y) }"""
W = np.array([1, -2, 3, 4, 5, 6, -7, 8, 9, 1, 2, -3, 4, 5, 6, 7], dtype=np.float32).reshape(4, 4)
TYPES = """types (bool flag, int64[n] ids, int32[n] small, double[n] wide, float16[n] half)
    => (bool flipped, int64[n] more, int32[n] less, double[n] deep, float16[n] low)
    { flipped = Not(flag)  more = Add(ids, ids)  less = Neg(small)  deep = Neg(wide)  low = Neg(half) }"""

every_engine = pytest.mark.parametrize("name", sorted(engines()))
every_execution = pytest.mark.parametrize(
    ("name", "precision"), [(name, precision) for name, found in engines().items() for precision in found.precisions]
)


@pytest.fixture
def graph(tmp_path):
    def write(text):
        file = tmp_path / "model.onnx"
        onnx.save(onnx.parser.parse_model(f"{HEADER} {text}"), file)
        return file

    return write


def prepare(name, file, precision="float32"):
    if name.startswith(("tensorrt", "onnxruntime-")) and engines()[name].available():
        pytest.skip(f"{name}: {engines()[name].available()}")
    try:
        return engine(name).prepare(file, Options(threads=1, precision=precision))
    except EngineError as refusal:
        if "no instructions" in str(refusal):
            pytest.skip(str(refusal))
        raise


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@every_execution
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_answers_what_the_graph_says_at_any_size_of_a_named_dim(graph, name, precision, batch):
    x = values(batch, 4)
    expected = np.maximum(x @ W, 0)

    answer = prepare(name, graph(DENSE), precision).run({"x": x})

    most = SAME_PRECISION.limit(0.0) if precision == "float32" else 2e-2
    assert list(answer) == ["y", "total"]
    assert distance(expected, answer["y"]) < most
    assert answer["total"].shape == ()
    assert distance(np.array(expected.sum()), answer["total"]) < most


@every_engine
def test_keeps_every_element_type(graph, name):
    feeds = {
        "flag": np.array(True),
        "ids": np.array([3, -5]),
        "small": np.array([2**31 - 1, 7], dtype=np.int32),
        "wide": np.array([0.5, -2.0]),
        "half": np.array([0.5, -2.0], dtype=np.float16),
    }

    answer = prepare(name, graph(TYPES)).run(feeds)

    expected = {
        "flipped": np.array(False),
        "more": np.array([6, -10]),
        "less": np.array([-(2**31) + 1, -7], dtype=np.int32),
        "deep": np.array([-0.5, 2.0]),
        "low": np.array([-0.5, 2.0], dtype=np.float16),
    }
    assert {key: value.dtype for key, value in answer.items()} == {key: value.dtype for key, value in expected.items()}
    for key, value in expected.items():
        assert np.array_equal(answer[key], value), key


@every_engine
def test_pairs_outputs_by_name_where_the_engine_merges_tensors(graph, name):
    text = (
        "twins (float[n] x) => (float[n] b, float[n] x2, float[n] a) { a = Neg(x)  b = Identity(a)  x2 = Identity(x) }"
    )
    x = values(3)

    answer = prepare(name, graph(text)).run({"x": x})

    assert list(answer) == ["b", "x2", "a"]
    assert np.array_equal(answer["a"], -x)
    assert np.array_equal(answer["b"], -x)
    assert np.array_equal(answer["x2"], x)


@every_execution
def test_an_answer_does_not_change_with_the_next_run(graph, name, precision):
    session = prepare(name, graph(DENSE), precision)
    first = session.run({"x": values(2, 4, seed=1)})
    kept = {key: value.copy() for key, value in first.items()}

    second = session.run({"x": values(2, 4, seed=2)})
    second["y"][:] = 7

    assert not np.array_equal(kept["y"], second["y"])
    for key, value in kept.items():
        assert np.array_equal(first[key], value)


@every_engine
def test_takes_read_only_strided_and_empty_feeds_and_leaves_them_alone(graph, name):
    session = prepare(name, graph("neg (float[n] x) => (float[n] y) { y = Neg(x) }"))
    frozen = values(6)
    frozen.flags.writeable = False

    for x in (frozen, frozen[::2], frozen[:0]):
        before = x.copy()
        assert np.array_equal(session.run({"x": x})["y"], -before)
        assert np.array_equal(x, before)


@every_engine
def test_refuses_feeds_that_do_not_fit(graph, name):
    session = prepare(name, graph(DENSE))
    x = values(2, 4)

    for feeds in ({}, {"x": x, "z": x}, {"x": x.astype(np.float64)}, {"x": x[:, :2]}, {"x": x[0]}):
        with pytest.raises(EngineError, match=r"expected|refuses"):
            session.run(feeds)


@every_engine
@pytest.mark.parametrize("content", [b"", b"not a model at all" * 40], ids=["empty", "garbage"])
def test_refuses_a_file_that_is_not_a_model(tmp_path, name, content):
    file = tmp_path / "broken.onnx"
    file.write_bytes(content)

    with pytest.raises(EngineError, match=r"broken\.onnx"):
        prepare(name, file)


@every_engine
def test_refuses_a_file_that_is_cut_short(graph, name):
    file = graph(DENSE)
    file.write_bytes(file.read_bytes()[:120])

    with pytest.raises(EngineError, match=r"model\.onnx"):
        prepare(name, file)


@every_engine
def test_refuses_a_missing_file(tmp_path, name):
    with pytest.raises(EngineError, match=r"absent\.onnx"):
        prepare(name, tmp_path / "absent.onnx")


@every_engine
def test_refuses_an_operator_it_does_not_know(graph, name):
    with pytest.raises(EngineError, match="Frobnicate"):
        prepare(name, graph("odd (float[n] x) => (float[n] y) { y = Frobnicate(x) }"))


@every_engine
def test_names_the_precisions_it_has(graph, name):
    with pytest.raises(EngineError, match=r"no precision 'float3'; expected one of .*float32"):
        prepare(name, graph(DENSE), "float3")


@every_engine
def test_says_what_ran(graph, name):
    ran = prepare(name, graph(DENSE)).ran

    assert (ran.backend, ran.precision, ran.threads) == (name, "float32", 1)
    assert "CPU" in ran.provider
    assert len(ran.sha256) == 64


def test_onnx_runtime_calls_a_half_precision_file_half_precision(graph):
    text = "half (float16[2] x) => (float16[2] y) <float16[2] w = {1, 2}> { y = Mul(x, w) }"

    assert prepare("onnxruntime", graph(text)).ran.precision == "float16"


def test_onnx_runtime_says_in_what_it_computes_half_precision(graph):
    product = onnx.load_from_string(onnxruntime._PRODUCT)
    same = "g (float16[2, 2] x) => (float16[2, 2] y) { y = MatMul (x, x) }"
    assert onnx.printer.to_text(product.graph).split() == onnx.printer.to_text(onnx.parser.parse_graph(same)).split()
    ran = prepare("onnxruntime", graph(same)).ran

    assert ran.types == ("float16" if onnxruntime._multiplies_in_float16() else "float16 computed in float32")
    assert prepare("onnxruntime", graph(DENSE)).ran.types == "float32"


def test_a_product_in_half_precision_is_computed_as_it_is_said(graph, tmp_path):
    """By what ONNX Runtime writes of a run: the types that its product was given."""
    settings = runtime.SessionOptions()
    settings.enable_profiling, settings.profile_file_prefix = True, str(tmp_path / "run")
    session = runtime.InferenceSession(onnxruntime._PRODUCT, settings, providers=["CPUExecutionProvider"])
    session.run(None, {"x": np.eye(2, dtype=np.float16)})
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))

    given = [one["args"]["input_type_shape"] for one in events if one.get("args", {}).get("op_name") == "MatMul"]
    kinds = {kind for entry in given for one in entry for kind in one}
    assert kinds == {"float16" if onnxruntime._multiplies_in_float16() else "float"}


def test_onnx_runtime_names_the_boundary_type_of_a_graph_without_weights(graph):
    assert prepare("onnxruntime", graph("neg (double[n] x) => (double[n] y) { y = Neg(x) }")).ran.precision == "float64"
    assert prepare("onnxruntime", graph("neg (int64[n] x) => (int64[n] y) { y = Neg(x) }")).ran.precision == "int64"


def test_onnx_runtime_without_optimizations_says_so(graph):
    session = OnnxRuntimeSession(graph(DENSE), Options(threads=1), is_optimized=False)
    x = values(3, 4)

    assert "optimizations off" in session.ran.provider
    assert distance(np.maximum(x @ W, 0), session.run({"x": x})["y"]) < SAME_PRECISION.limit(0.0)


def test_openvino_claims_bfloat16_only_where_nodes_run_in_it(graph):
    pytest.importorskip("openvino")

    assert prepare("openvino", graph(DENSE), "bfloat16").ran.precision == "bfloat16"
    integers = graph("add (int64[n] x) => (int64[n] y) { y = Add(x, x) }")
    assert prepare("openvino", integers, "bfloat16").ran.precision == "int64"


def test_openvino_calls_a_double_graph_what_it_executes(graph):
    pytest.importorskip("openvino")

    assert prepare("openvino", graph("exp (double[n] x) => (double[n] y) { y = Exp(x) }")).ran.precision == "float32"


def test_openvino_refuses_numbers_that_it_would_cut(graph):
    pytest.importorskip("openvino")
    session = prepare("openvino", graph("add (int64[n] ids) => (int64[n] y) { y = Add(ids, ids) }"))

    with pytest.raises(EngineError, match="'ids' holds numbers beyond int32"):
        session.run({"ids": np.array([1, 2**31])})


def test_an_unknown_engine_is_answered_with_the_known_ones():
    with pytest.raises(EngineError, match=r"engine 'tensorflow' is unknown; expected one of .*onnxruntime"):
        engine("tensorflow")


@pytest.mark.parametrize(("name", "remedy"), [("onnxruntime", "onnxruntime"), ("openvino", r"onnxwright\[openvino\]")])
def test_a_missing_engine_names_what_to_install(monkeypatch, name, remedy):
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})

    with pytest.raises(EngineError, match=rf"'{name}' is not available: .*pip install \"{remedy}\""):
        engine(name)


@every_execution
def test_sizes_may_change_from_call_to_call(graph, name, precision):
    session = prepare(name, graph(DENSE), precision)

    for call, batch in enumerate((2, 5, 2, 1, 5)):
        x = values(batch, 4, seed=call)
        assert distance(np.maximum(x @ W, 0), session.run({"x": x})["y"]) < 2e-2


@every_engine
def test_calls_from_several_threads_do_not_mix(graph, name):
    session = prepare(name, graph("neg (float[n] x) => (float[n] y) { y = Neg(x) }"))

    def answers(seed):
        feeds = [values(1 + (seed + call) % 3, seed=100 * seed + call) for call in range(50)]
        return all(np.array_equal(session.run({"x": x})["y"], -x) for x in feeds)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(answers, range(4)))
