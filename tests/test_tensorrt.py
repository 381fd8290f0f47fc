"""The verbs `check` and `build`, with the real parser and builder of TensorRT for RTX, which need no GPU."""

import json
import os
import shutil

import numpy as np
import onnx
import pytest
from cases.functions import FunctionSession
from typer.testing import CliRunner

import onnxwright as ow
from onnxwright import backends
from onnxwright.artifact import Package
from onnxwright.cli import app
from onnxwright.engine import ENGINE, MANIFEST, Engine
from onnxwright.errors import (
    BuildError,
    EngineError,
    OutOfRangeError,
    OutputError,
    ProfileError,
    SourceError,
    UsageError,
)
from onnxwright.files import digest
from onnxwright.nvidia.asking import CrashError, ask
from onnxwright.nvidia.orders import Order
from onnxwright.stages.build import BuildRequest, build
from onnxwright.stages.check import check
from onnxwright.stages.parsing import misreading_of
from onnxwright.stages.prove_engine import built_engine, engine_session, keep_proof
from onnxwright.stages.prove_package import prove_session, read_evidence

RTX = "tensorrt-rtx"
HEAD = '<ir_version: 8, opset_import: ["" : {opset}, "mine" : 1]>'
DENSE = """dense (float[batch, sequence, 4] x) => (float[batch, sequence, 4] y)
    <float[4, 4] w = {1, -2, 3, 4, 5, 6, -7, 8, 9, 1, 2, -3, 4, 5, 6, 7}> { h = MatMul (x, w) y = Relu (h) }"""
REFUSED = """two (float[n, 4] x, bool[n] c) => (float[k, 4] y, int64[2, m] z) {
    [first] z = NonZero (x) [second] y = Compress <axis = 0> (x, c) }"""
CUSTOM = "custom (float[n, 4] x) => (float[n, 4] y) { [strange] y = mine.Strange (x) }"
RANGES = {"batch": (1, 2, 4), "sequence": (1, 16, 32)}


@pytest.fixture
def graph(tmp_path):
    def write(text, opset=18, where=None):
        file = tmp_path / "model.onnx"
        model = onnx.parser.parse_model(HEAD.format(opset=opset) + text)
        for node in model.graph.node if where else ():
            node.metadata_props.add(key="onnxwright.where", value=where)
        onnx.save(model, file)
        return file

    return write


def built(file, folder, **options):
    return build(BuildRequest(file, RTX, folder / "engine", **{"ranges": RANGES, "is_rebuilt": False, **options}))


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout


def test_the_library_is_installed_where_this_runs():
    assert backends.builders()[RTX].buildable() is None, "`make test` installs it"


def test_every_node_that_the_parser_refuses_is_told_with_its_line(graph):
    report = check(graph(REFUSED, where="model.py:7"), RTX)

    refused = [one for one in report.findings if one.code == "node-refused"]
    assert report.parser == "refused"
    assert [one.where for one in refused] == ["model.py:7", "model.py:7"]
    assert "'first' (NonZero)" in refused[0].message
    assert "Compress" in refused[1].message


def test_a_graph_that_is_taken_has_no_findings(graph):
    report = check(graph(DENSE), RTX, is_built=True)

    assert (report.parser, report.builder, report.findings) == ("taken", "taken", ())


@pytest.mark.parametrize(("inputs", "code"), [("q, k, v", "graph-refused"), ("q, q, q", "engine-crashed")])
def test_a_graph_that_parses_may_not_build(inputs, code, graph):
    shape = "float[2, 2, 4, 8]"
    text = f"attend ({shape} q, {shape} k, {shape} v) => ({shape} y) {{ y = Attention ({inputs}) }}"

    report = check(graph(text, opset=23), RTX, is_built=True)

    assert (report.parser, report.builder) == ("taken", "refused")
    assert [one.code for one in report.findings] == [code, "opset-untried"]


def test_an_operator_of_nobody_is_refused_by_our_own_look_and_by_the_parser(graph):
    codes = [one.code for one in check(graph(CUSTOM), RTX).findings]

    assert codes == ["node-refused", "foreign-operator"]


def test_a_range_for_a_dim_that_the_graph_lacks_is_refused_though_the_library_ignores_it(graph):
    report = check(graph(DENSE), RTX, {"sequences": (1, 2, 3)})

    assert report.is_refused
    assert "it has batch, sequence" in report.findings[0].message


def test_check_exits_with_1_when_refused_and_with_2_when_nobody_could_be_asked(graph):
    taken, refused = (
        run("check", graph(DENSE), "--target", RTX),
        run("check", graph(REFUSED), "--target", RTX, "--json"),
    )

    assert taken[0] == 0
    assert refused[0] == 1
    assert json.loads(refused[1])["parser"] == "refused"
    if backends.builders()["tensorrt"].buildable():
        code, text = run("check", graph(DENSE), "--target", "tensorrt")
        assert code == 2
        assert "not asked: " in text


def test_an_engine_that_is_not_built_is_a_usage_error(graph):
    file = graph(DENSE)

    with pytest.raises(UsageError, match="expected one of tensorrt, tensorrt-rtx"):
        check(file, "onnxruntime")
    with pytest.raises(EngineError, match="is not built ahead of time"):
        build(BuildRequest(file, "openvino", file.with_name("out")))


def test_an_engine_says_what_it_is_and_that_nothing_has_run_it(graph, tmp_path):
    file = graph(DENSE)

    found = built(file, tmp_path, is_rebuilt=True, targets=("SM89",)).manifest

    assert (found.executed, found.proof) == (False, None)
    assert found.not_executed
    assert found.rebuilt == "identical"
    assert found.settings.targets == ("sm89",)
    assert found.profile == ({"batch": (1, 2, 4), "sequence": (1, 16, 32)},)
    assert [(one.name, one.dtype, one.shape) for one in found.inputs] == [("x", "float", (-1, -1, 4))]
    assert found.precision == {"float32": 16}
    assert found.bytes == (tmp_path / "engine" / ENGINE).stat().st_size
    assert "Engine generation completed" in (tmp_path / "engine" / "build.log").read_text()


def test_an_engine_that_was_altered_is_not_opened(graph, tmp_path):
    engine = built(graph(DENSE), tmp_path)
    engine.file.write_bytes(engine.file.read_bytes()[:-1] + b"?")

    with pytest.raises(UsageError, match="altered"):
        Engine.open(engine.folder)


def test_buckets_become_profiles(graph, tmp_path):
    found = built(graph(DENSE), tmp_path, buckets=(8, 16)).manifest

    assert [one["sequence"] for one in found.profile] == [(1, 8, 8), (9, 16, 16), (17, 32, 32)]
    assert len(found.settings.profiles) == 3


def test_lengths_become_buckets_of_equal_shares(graph, tmp_path):
    lengths = tmp_path / "lengths.txt"
    lengths.write_text("\n".join(map(str, [*range(1, 7), *[12] * 6, *range(20, 26)])))

    found = built(graph(DENSE), tmp_path, lengths=lengths).manifest

    assert [one["sequence"] for one in found.profile] == [(1, 6, 6), (7, 12, 12), (13, 25, 25), (26, 32, 32)]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"targets": ("sm90",)}, EngineError, "'sm90' is none that this library builds for; expected one of sm"),
        ({"ranges": {"width": (1, 2, 3)}}, ProfileError, "no such dim; it has batch, sequence"),
        ({"ranges": {"batch": (4, 2, 8)}}, ProfileError, "0 <= MIN <= OPT <= MAX"),
        ({"buckets": (40,)}, ProfileError, "rising sizes from 1 to 32"),
        ({"workspace_mib": 0}, UsageError, "at least 1 MiB"),
        ({"seconds": 0.01}, BuildError, "takes longer than"),
    ],
)
def test_what_can_not_be_built_is_told_and_nothing_is_written(options, error, words, graph, tmp_path):
    with pytest.raises(error, match=words):
        built(graph(DENSE), tmp_path, **options)

    assert sorted(one.name for one in tmp_path.iterdir()) == ["model.onnx"]


def test_a_graph_that_is_refused_leaves_nothing(graph, tmp_path):
    bits = "bits (int32[n] x) => (int32[n] y) { [and] y = BitwiseAnd (x, x) }"

    with pytest.raises(BuildError, match=r"refuses node 'and' \(BitwiseAnd\)"):
        built(graph(bits), tmp_path, ranges={})

    assert not (tmp_path / "engine").exists()


def test_a_graph_of_mixed_types_is_refused(graph):
    mixed = "mixed (float[4] x, float16[4] h) => (float[4] y) { y = Add (x, h) }"

    report = check(graph(mixed), RTX)

    assert report.parser == "refused"
    assert "Float and Half" in report.findings[0].message


def test_an_engine_of_a_file_needs_a_place(graph):
    with pytest.raises(UsageError, match="expected -o DIR"):
        build(BuildRequest(graph(DENSE), RTX))


def test_broken_external_data_is_told_before_anything_is_built(tmp_path):
    model = onnx.parser.parse_model(HEAD.format(opset=18) + DENSE)
    (weight,) = model.graph.initializer
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight), "w"))
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="w.data", size_threshold=0)
    (tmp_path / "w.data").write_bytes(b"short")

    with pytest.raises(SourceError, match=r"expected up to byte 64 of 'w\.data', which has 5"):
        check(tmp_path / "model.onnx", RTX)
    with pytest.raises(SourceError, match="expected up to byte 64"):
        built(tmp_path / "model.onnx", tmp_path)
    assert not (tmp_path / "engine").exists()


def test_a_range_beyond_a_table_of_positions_is_refused_though_the_library_builds_it(graph, tmp_path):
    table = """table (float[batch, sequence] x) => (float[batch, sequence] y)
        <float[4] t = {1, 2, 3, 4}, int64 z = {0}, int64 one = {1}> {
        s = Shape <start = 1> (x) n = Squeeze (s) p = Range (z, n, one) e = Gather (t, p) y = Add (x, e) }"""
    file = graph(table)

    with pytest.raises(ProfileError, match=r"dim 'sequence': the graph itself refuses size 5: .*out of data bounds"):
        built(file, tmp_path, ranges={"sequence": (1, 2, 5)})
    assert not (tmp_path / "engine").exists()
    beyond, within = (check(file, RTX, {"sequence": (1, 2, most)}, is_built=True) for most in (5, 4))
    assert (beyond.builder, [one.code for one in beyond.findings]) == ("taken", ["profile-unfit"])
    assert (within.builder, within.findings) == ("taken", ())


def test_a_target_without_a_kernel_is_told_with_the_option(graph, tmp_path):
    with pytest.raises(BuildError, match=r"\(SM75\).*Leave out --target sm75, or build a variant in a lower precision"):
        built(graph(DENSE), tmp_path, targets=("sm75",))
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize(
    ("inputs", "ranges"), [("float[n, 4] x, int64[2] s", {"n": (1, 2, 4)}), ("float[2, 4] x, int64[2] s", {})]
)
def test_an_input_whose_values_are_sizes_is_told(inputs, ranges, graph, tmp_path):
    with pytest.raises(BuildError, match=r"values of an input are sizes there.*make it a constant"):
        built(graph(f"g ({inputs}) => (float[a, b] y) {{ y = Reshape (x, s) }}"), tmp_path, ranges=ranges)


def test_a_type_that_the_library_lacks_is_told_with_the_input(graph, tmp_path):
    with pytest.raises(BuildError, match="'x' is of type UINT64, which it lacks"):
        built(graph("g (uint64[n] x) => (float[n] y) { y = Cast <to = 1> (x) }"), tmp_path, ranges={})
    short = graph("g (int16[n] x) => (float[n] y) { a = Cast <to = 1> (x) y = Exp (a) }")
    assert check(short, RTX).findings == (), "it goes in as another"


def test_a_file_that_is_no_graph_is_a_usage_error(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"nothing of the kind")

    with pytest.raises(SourceError, match="not a valid ONNX model"):
        check(tmp_path / "model.onnx", RTX)
    with pytest.raises(SourceError, match="no such file"):
        check(tmp_path / "other.onnx", RTX)


def test_two_graphs_that_crash_a_parser_are_both_told(graph):
    roi = """align (float[2, 3, 8, 8] x, float[4, 4] r, int64[4] b) => (float[4, 3, 2, 2] y) {
        y = RoiAlign <output_height = 2, output_width = 2> (x, r, b) }"""

    reports = [check(graph(roi), RTX) for _ in range(2)]

    assert [one.parser for one in reports] == ["refused", "refused"]
    assert [one.findings[0].code for one in reports] == ["node-refused", "node-refused"]


def test_what_is_computed_in_doubles_is_not_built(graph, tmp_path):
    doubles = "wide (double[n, 4] x) => (double[n, 4] y) { [relu] y = Relu (x) }"
    inside = (
        """wide (float[n, 4] x) => (float[n, 4] y) { a = Cast <to = 11> (x) [exp] b = Exp (a) y = Cast <to = 1> (b) }"""
    )

    with pytest.raises(BuildError, match=r"'relu' \(Relu\): what it computes in float64 would be computed in float32"):
        built(graph(doubles), tmp_path, ranges={})
    with pytest.raises(BuildError, match=r"'exp' \(Exp\): what it computes in float64 would be"):
        built(graph(inside), tmp_path, ranges={})


def test_types_that_the_library_lacks_are_declared_where_only_a_cast_takes_or_gives_them(graph, tmp_path):
    text = """narrow (int16[n, 4] x, double[n, 4] z) => (double[n, 4] y, uint16[n, 4] w) {
        a = Cast <to = 1> (x) b = Cast <to = 1> (z) c = Mul (a, b) y = Cast <to = 11> (c)
        d = Cast <to = 6> (x) w = Cast <to = 4> (d) }"""

    found = built(graph(text), tmp_path, ranges={}).manifest

    assert [(one.name, one.dtype, one.declared) for one in found.inputs] == [
        ("x", "int32", "int16"),
        ("z", "float", "float64"),
    ]
    assert [(one.name, one.dtype, one.declared) for one in found.outputs] == [
        ("y", "float", "float64"),
        ("w", "int32", "uint16"),
    ]
    assert found.onnx_sha256 == digest(tmp_path / "model.onnx"), "the graph that was shown, with its own types"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("g (double[n] x) => (int64[n] y) { y = Cast <to = 7> (x) }", "what it computes in float64"),
        ("g (int16[n] x) => (int16[n] y) { y = Neg (x) }", "refuses"),
        ("g (float[n] x) => (int16[n] y) { y = Cast <to = 5> (x) }", "refuses"),
    ],
)
def test_types_that_more_than_a_cast_takes_or_gives_are_not_changed(text, words, graph, tmp_path):
    with pytest.raises(BuildError, match=words):
        built(graph(text), tmp_path, ranges={})


def test_what_would_be_taken_for_something_else_is_not_built(graph, tmp_path):
    unsigned = """u (float[n, 4] x) => (float[n, 4] y) <float s = {0.5}, uint8 z = {0}> {
        q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }"""

    with pytest.raises(BuildError, match="unsigned ones, which are taken for signed"):
        built(graph(unsigned), tmp_path, ranges={})


def test_a_builder_that_runs_out_of_memory_is_told(tmp_path, monkeypatch):
    text = "large (float[n, 4096] x) => (float[n, 4096] y) { y = MatMul (x, w) }"
    model = onnx.parser.parse_model(HEAD.format(opset=18) + text)
    numbers = np.random.default_rng(0).standard_normal((4096, 4096)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(numbers, "w"))
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "site").mkdir()
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))\n"
    (tmp_path / "site" / "sitecustomize.py").write_text(limit)
    paths = [str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))

    with pytest.raises(BuildError, match=r"OutOfMemory|bad_alloc"):
        built(tmp_path / "model.onnx", tmp_path, ranges={"n": (1, 2, 4)})
    assert not (tmp_path / "engine").exists()


def test_an_engine_is_replaced_only_when_forced(graph, tmp_path):
    first = built(graph(DENSE), tmp_path)

    with pytest.raises(OutputError, match="exists already"):
        built(graph(DENSE), tmp_path)
    assert built(graph(DENSE), tmp_path, is_forced=True).manifest.sha256 == first.manifest.sha256
    (tmp_path / "engine" / MANIFEST).unlink()
    with pytest.raises(OutputError, match="replaces engines"):
        built(graph(DENSE), tmp_path, is_forced=True)


def test_a_process_that_dies_is_told_by_its_signal(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with pytest.raises(CrashError, match="signal SIGABRT"):
        ask(Order(RTX, "nothing.onnx"))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    onnx.save(onnx.parser.parse_model(HEAD.format(opset=18) + DENSE), folder / "model.onnx")
    profile = {"batch": (1, 2, 3), "sequence": (1, 4, 8)}
    return ow.convert(folder / "model.onnx", folder / "out", profile=profile, engine=RTX, measure=False, proof="quick")


def held(package, answer):
    """Proves the engine of a package by a session made of a function, as a GPU's would be."""
    engine = built_engine(package, RTX)
    session = engine_session(package, engine, FunctionSession(answer))
    return keep_proof(engine, proof := prove_session(session, read_evidence(package))), proof


def test_an_engine_was_executed_only_when_what_it_answers_was_shown_right(package):
    right = package.session(engine="onnxruntime").run
    wrong, failed = held(package, lambda feeds: {"y": right(feeds)["y"] * 1.01})
    empty, told = held(package, lambda feeds: {"y": np.zeros_like(right(feeds)["y"])})

    assert (failed.verdict, wrong.manifest.executed) == ("failed", False)
    assert (told.verdict, empty.manifest.executed) == ("failed", False)
    assert any("output 'y' is all zero" in one.message for one in told.failures)
    assert not Engine.open(package.folder / "engines" / RTX).manifest.executed
    shown, proof = held(package, right)
    assert (proof.verdict, shown.manifest.executed, shown.manifest.not_executed) == ("proven", True, "")
    again = Engine.open(package.folder / "engines" / RTX).manifest
    assert (again.executed, again.proof) == (True, proof)


def test_an_engine_that_can_not_run_here_is_not_proven_by_another(package):
    reason = backends.engines()[RTX].available()
    if reason is None:
        pytest.skip("there is a GPU, which proves it")

    with pytest.raises(EngineError, match="not available"):
        ow.prove(package.folder, engine=RTX)
    with pytest.raises(EngineError, match="not available"):
        Engine.open(package.folder / "engines" / RTX).session()
    with pytest.raises(EngineError, match=r"not proven for this package|not available"):
        package.session(engine=RTX)


def test_an_engine_of_another_graph_is_not_proven(package, tmp_path):
    shutil.copytree(package.folder, tmp_path / "copy")
    folder = tmp_path / "copy" / "engines" / RTX
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "onnx_sha256": "0" * 64}))

    with pytest.raises(SourceError, match="of another graph"):
        built_engine(Package.open(tmp_path / "copy"), RTX)


def test_an_engine_that_is_not_built_yet_is_told(package, tmp_path):
    shutil.copytree(package.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("engines"))

    with pytest.raises(EngineError, match=r"has none\. Build it: `onnxwright build"):
        ow.prove(tmp_path / "copy", engine=RTX)


def test_what_replaces_the_flags_of_tensorrt_10_is_explained():
    code, text = run("explain", "trt10")

    assert code == 0
    for flag in ("--fp16", "--int8", "IInt8Calibrator", "EXPLICIT_BATCH", "ILayer.precision", "max_workspace_size"):
        assert flag in text


def test_a_package_builds_its_engine_again_for_a_part_of_what_was_proven(package):
    (found,) = (one for one in package.manifest.findings if one.code == "engine-not-executed")
    assert found.message.startswith(f"{RTX}: built with")
    shown = package.manifest.variants["fp32"].engines
    assert (shown[RTX].executed, shown[RTX].proof) == (False, None)
    assert shown["onnxruntime"].executed
    first = Engine.open(package.folder / "engines" / RTX).manifest
    assert first.rebuilt == "identical"
    again = ow.build(package.folder, engine=RTX, force=True)
    assert (again.manifest.sha256, again.manifest.executed) == (first.sha256, False)
    with pytest.raises(OutOfRangeError, match="proven for 1 to 8"):
        ow.build(package.folder, engine=RTX, profile={"sequence": (1, 4, 16)}, force=True)
    assert Engine.open(package.folder / "engines" / RTX).manifest.sha256 == first.sha256


def test_no_engine_is_built_of_a_graph_that_was_altered_since_it_was_proven(package, tmp_path):
    altered = shutil.copytree(package.folder, tmp_path / "altered")
    file = altered / package.manifest.variants["fp32"].file
    file.write_bytes(file.read_bytes() + b"\0")

    with pytest.raises(SourceError, match="was altered"):
        ow.build(altered, engine=RTX, force=True)


def test_a_graph_is_refused_by_the_parser_before_it_is_run(graph, tmp_path):
    with pytest.raises(BuildError, match=r"refuses node 'strange' \(Strange\): it is of the domain 'mine'"):
        built(graph(CUSTOM), tmp_path, ranges={})
    mixed = "mixed (float[n, 4] x, float16[n, 4] h) => (float[n, 4] y) { [sum] y = Add (x, h) }"
    with pytest.raises(BuildError, match=r"'sum' \(Add\).*Float and Half") as told:
        built(graph(mixed), tmp_path, ranges={})
    assert "catchCudaError" not in str(told.value), "said wherever there is no driver"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model.onnx"]


def test_lengths_that_are_no_text_are_told(graph, tmp_path):
    lengths = tmp_path / "lengths.bin"
    lengths.write_bytes(bytes(range(128, 256)))

    with pytest.raises(ProfileError, match="is no text"):
        built(graph(DENSE), tmp_path, lengths=lengths)
    assert not (tmp_path / "engine").exists()


def test_a_layer_that_needs_more_than_it_may_use_is_told_with_the_option(graph, tmp_path):
    text = "large (float[n, 64, 64, 64] x) => (float[n, 64, 64, 64] y) { a = Softmax <axis = 1> (x) y = MatMul (a, a) }"

    with pytest.raises(BuildError, match=r"workspace.*may use 1 MiB: give --workspace more, or narrow the profile"):
        built(graph(text), tmp_path, ranges={"n": (1, 16, 64)}, workspace_mib=1)


def test_a_package_keeps_nothing_of_a_build_that_fails(package, tmp_path):
    copy = shutil.copytree(package.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("engines"))
    before = sorted(one.name for one in copy.iterdir())

    with pytest.raises(UsageError, match="variant 'nope': this package has no such variant; expected one of fp32"):
        ow.build(copy, engine=RTX, variant="nope")
    with pytest.raises(EngineError, match="'sm90' is none"):
        ow.build(copy, engine=RTX, targets=["sm90"])
    with pytest.raises(ProfileError, match="MIN <= OPT <= MAX"):
        ow.build(copy, engine=RTX, profile={"sequence": (4, 2, 3)})
    assert sorted(one.name for one in copy.iterdir()) == before


def test_a_graph_that_would_be_misread_is_no_candidate(graph, tmp_path):
    selu = graph("g (float[n, 4] x) => (float[n, 4] y) { [s] y = Selu (x) }")

    report = check(selu, RTX)
    assert (report.parser, report.is_refused) == ("taken", True)
    assert [one.code for one in report.findings] == ["operator-misread"]
    with pytest.raises(BuildError, match=r"'s' \(Selu\): its default alpha of 1.67326 and gamma"):
        built(selu, tmp_path, ranges={})
    assert "Selu" in misreading_of(RTX, selu)
    assert misreading_of("onnxruntime", selu) == ""


def test_convert_writes_what_would_be_misread_otherwise(graph, tmp_path):
    selu = graph("g (float[n, 4] x) => (float[n, 4] y) { y = Selu (x) }")

    made = ow.convert(selu, tmp_path / "out", engine=RTX, measure=False, proof="quick")

    assert made.manifest.attempts[-1].repairs == ("fitted=read_as_written",)
    assert made.proof.verdict == "proven"


def test_convert_builds_what_has_sizes_that_depend_on_values(graph, tmp_path):
    distinct = graph("""g (float[n, 4] x) => (float[k] y, float[4] z)
        <float o = {0}, int64[1] a = {1}, int64[1] f = {0}> { r = Round (x) y = Unique (r)
        s = ReduceSum <keepdims = 0> (x, a) c = Greater (s, o) i = NonZero (c) j = Transpose <perm = [1, 0]> (i)
        h = GatherND (x, j) z = ReduceSum <keepdims = 0> (h, f) }""")

    made = ow.convert(distinct, tmp_path / "out", engine=RTX, measure=False, proof="quick")

    assert made.proof.verdict == "proven"
    repairs = ", ".join(made.manifest.attempts[-1].repairs)
    assert "unique_rows" in repairs
    assert "true_places" in repairs
    found = Engine.open(tmp_path / "out" / "engines" / RTX).manifest
    assert ([one.shape for one in found.outputs], found.executed) == ([(-1,), (4,)], False)
