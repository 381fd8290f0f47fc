"""Graphs are rewritten for an engine, and only what is shown right is kept; what was tried is in the manifest."""

import dataclasses
import json
import re
import shutil

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from cases.graphs import turned_round
from msgspec.structs import replace
from onnxscript.rewriter import RewriteRuleClassBase
from typer.testing import CliRunner

import onnxwright as ow
from onnxwright.artifact import write_manifest
from onnxwright.cli import app
from onnxwright.files import data_file
from onnxwright.graph import optimizing
from onnxwright.graph.optimizing import Plan
from onnxwright.graph.passes import Pass
from onnxwright.graph.rules import Rule, rules
from onnxwright.manifest import Default, Latency
from onnxwright.rewrites import Trace
from onnxwright.stages.inspect import inspect
from onnxwright.stages.trials import Candidate, Trials, is_worth_it, told_speed

CLUTTERED = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[batch, 4] x) => (float[batch, 4] y, float[batch] total) <float[4, 4] w = {0.1, -0.2, 0.3, 0.4, 0.5, -0.6, 0.7,
0.8, -0.9, 1.0, 1.1, -1.2, 1.3, 1.4, -1.5, 1.6}> {
    a = Identity (x)
    b = Transpose <perm = [1, 0]> (a)
    c = Transpose <perm = [1, 0]> (b)
    d = MatMul (c, w)
    e = MatMul (a, w)
    y = Add (d, e)
    axis = Constant <value = int64[1] {1}> ()
    total = ReduceSum <keepdims = 0> (y, axis)
}
"""
QUICK = {"measure": False, "proof": "quick", "engine": "onnxruntime"}
X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.fixture
def cluttered(tmp_path):
    file = tmp_path / "given.onnx"
    onnx.save(onnx.parser.parse_model(CLUTTERED), file)
    return file


def test_a_graph_is_made_simpler_and_proven_against_what_it_was(cluttered, tmp_path):
    package = ow.optimize(cluttered, tmp_path / "out", **QUICK)

    made = package.manifest.variants["optimized"]
    record = package.manifest.optimizations["onnxruntime"]
    assert made.proof.verdict == "proven"
    assert made.proof.range == {"batch": (1, 32)}
    assert record.variant == "optimized"
    assert record.trace.before["Transpose"] == 2
    assert "Transpose" not in record.trace.after
    assert record.trace.after["MatMul"] == 1
    expected = package.session(variant="fp32").run({"x": X})
    answered = package.session(variant="optimized").run({"x": X})
    assert expected.keys() == answered.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(answered[name], array, rtol=1e-5, atol=1e-5)


def test_weights_lie_beside_a_graph_from_some_size_on_unless_one_file_is_asked_for(cluttered, tmp_path, monkeypatch):
    monkeypatch.setattr("onnxwright.stages.request.LARGEST_FILE", 0)

    apart = ow.optimize(cluttered, tmp_path / "apart", **QUICK)
    whole = ow.optimize(cluttered, tmp_path / "whole", single_file=True, **QUICK)

    assert data_file(apart.file("fp32")).is_file()
    assert not list(whole.folder.rglob("*.data"))
    for variant in ("fp32", "optimized"):
        answered = [one.session(variant=variant).run({"x": X})["y"] for one in (apart, whole)]
        np.testing.assert_array_equal(*answered)


def test_more_weights_than_one_file_holds_are_refused(cluttered, tmp_path, monkeypatch):
    monkeypatch.setattr("onnxwright.stages.convert.MOST_IN_ONE_FILE", 64)

    with pytest.raises(ow.UsageError, match="--single-file: one file holds 0 MiB of weights at most, got 0 MiB"):
        ow.optimize(cluttered, tmp_path / "out", single_file=True, **QUICK)

    assert not (tmp_path / "out").exists()


def test_what_is_not_measured_is_only_made_simpler_and_says_so(cluttered, tmp_path):
    record = ow.optimize(cluttered, tmp_path / "out", **QUICK).manifest.optimizations["onnxruntime"]

    assert not record.is_measured
    assert "nothing was measured" in record.told
    assert next(one.outcome for one in record.plans) == "kept"
    assert all(one.latencies == () for one in record.plans)


def test_what_was_rewritten_and_what_declined_is_told_for_people(cluttered, tmp_path):
    package = ow.optimize(cluttered, tmp_path / "out", **QUICK)

    told = inspect(package.folder).text
    page = (package.folder / "README.md").read_text(encoding="utf-8")

    assert re.search(r"optimized +onnxruntime +'simplified' is kept, 8 nodes became \d", told)
    assert "rewrote" in told
    assert "## What was rewritten" in page


def test_what_is_measured_is_told_with_its_gain_whatever_is_kept(cluttered, tmp_path):
    package = ow.optimize(cluttered, tmp_path / "out", **{**QUICK, "measure": True})

    record = package.manifest.optimizations["onnxruntime"]
    kept = [one for one in record.plans if one.outcome == "kept"]
    assert record.is_measured
    assert all(one.latencies for one in record.plans)
    assert all([same.sizes for same in one.control] == [here.sizes for here in one.latencies] for one in record.plans)
    assert bool(kept) == (record.variant is not None) == ("optimized" in package.manifest.variants)
    assert all(is_worth_it(one.latencies, one.control) for one in kept)
    assert re.search(r"control +onnxruntime +as it was +against itself: ", inspect(package.folder).text)


def latency(speedup, low, high):
    return Latency({"batch": 1}, 9, 1.0, 1.0, 1.0, speedup, (low, high))


SAME = (1.0, 0.99, 1.01)
BIASED = (1.04, 1.03, 1.05)


def measured(speedups, control=SAME):
    plan = Plan("some", ())
    latencies = tuple(latency(*one) for one in speedups)
    return Candidate(
        plan,
        ir.Model(ir.Graph([], [], nodes=[]), ir_version=8),
        Trace(),
        latencies,
        (latency(*control),) * len(latencies),
    )


@pytest.mark.parametrize(
    ("speedups", "control", "is_kept"),
    [
        ([(1.5, 1.4, 1.6), (1.0, 0.9, 1.1)], SAME, True),
        ([(1.5, 1.4, 1.6), (0.9, 0.8, 0.95)], SAME, False),
        ([(1.3, 0.9, 1.6), (1.2, 0.9, 1.4)], SAME, False),
        ([(1.01, 1.005, 1.02), (1.0, 0.9, 1.1)], SAME, False),
        ([(1.045, 1.04, 1.049)], SAME, True),
        ([(1.045, 1.04, 1.049)], BIASED, False),
        ([(1.07, 1.06, 1.08)], BIASED, True),
        ([(1.5, 1.4, 1.6), (0.95, 0.94, 0.96)], (0.95, 0.93, 0.97), True),
        ([], SAME, False),
    ],
)
def test_a_plan_is_kept_only_where_it_is_faster_than_the_same_graph_again_and_slower_nowhere(
    speedups, control, is_kept
):
    assert measured(speedups, control).is_worth_it is is_kept


@pytest.mark.parametrize(
    ("speedups", "control", "told"),
    [
        ([(1.5, 1.4, 1.6), (1.0, 0.9, 1.1)], SAME, "not the fastest"),
        ([(1.5, 1.4, 1.6), (0.9, 0.8, 0.95)], SAME, "slower"),
        ([(0.98, 0.97, 0.985)], SAME, "slower"),
        ([(0.98, 0.97, 0.985)], (0.98, 0.97, 0.99), "no faster"),
        ([(1.3, 0.9, 1.6)], SAME, "no faster"),
    ],
)
def test_a_plan_that_is_not_kept_is_called_what_it_was_measured_to_be(speedups, control, told):
    one = measured(speedups, control)
    assert told_speed(one.latencies, one.control) == told


def test_measurements_of_other_sizes_than_the_control_are_a_bug():
    with pytest.raises(ValueError, match="zip"):
        is_worth_it([latency(1.5, 1.4, 1.6)], [])


def with_rule(monkeypatch, rule):
    simple = optimizing._SIMPLE
    monkeypatch.setattr(optimizing, "_SIMPLE", (*simple[:2], rule.name, *simple[2:]))
    monkeypatch.setattr(optimizing, "rules", lambda: {**rules(), rule.name: rule})


def test_a_rule_that_is_wrong_is_rolled_back_alone(cluttered, tmp_path, monkeypatch):
    with_rule(monkeypatch, Rule("wrong", "simplify", "Makes differences of sums.", change=turned_round))

    package = ow.optimize(cluttered, tmp_path / "out", **QUICK)

    record = package.manifest.optimizations["onnxruntime"]
    told = {one.plan: (one.outcome, one.rolled_back) for one in record.plans}
    assert told["simplified without wrong"] == ("kept", ("wrong",))
    assert told["simplified"] == ("not shown right", ("wrong",))
    assert "Transpose" not in record.trace.after
    assert record.trace.after["Add"] == 1
    assert package.manifest.variants["optimized"].proof.verdict == "proven"
    assert re.search(
        r"plan +onnxruntime +simplified .*not shown right +rolled back: wrong; Wrong at", inspect(package.folder).text
    )


def called_otherwise(rule, before, after):
    """A rule that is right where both operators do the same."""

    def change(graph, log):
        found = [node for node in graph.graph if node.op_type == before]
        for node in found:
            log.hit(rule, node)
            node.op_type = after
        return len(found)

    return Rule(rule, "simplify", f"Writes {after} for {before}.", change=change)


def test_what_is_left_of_a_wrong_plan_competes_with_the_others(cluttered, tmp_path, monkeypatch):
    added = {
        "wrong": Rule("wrong", "simplify", "Makes differences of sums.", change=turned_round),
        "summed": called_otherwise("summed", "Add", "Sum"),
        "products": called_otherwise("products", "MatMul", "Gemm"),
    }
    monkeypatch.setattr(optimizing, "rules", lambda: {**rules(), **added})
    parts = {**optimizing._PARTS, "norms": ("wrong", "summed"), "apart": ("wrong", "products")}
    monkeypatch.setattr(optimizing, "_PARTS", parts)
    gains = {"simplified+norms": 3, "simplified+apart": 2, "simplified": 1.5, "simplified+norms without wrong": 1.2}

    def measure(_, candidates):
        speeds = [latency(*3 * [gains[one.plan.name]]) for one in candidates]
        return [
            dataclasses.replace(one, latencies=(speed,), control=(latency(*SAME),))
            for one, speed in zip(candidates, speeds, strict=True)
        ]

    monkeypatch.setattr(Trials, "measured", measure)

    package = ow.optimize(cluttered, tmp_path / "out", **{**QUICK, "measure": True})

    told = {one.plan: (one.outcome, one.message) for one in package.manifest.optimizations["onnxruntime"].plans}
    assert told["simplified"] == ("kept", "")
    assert told["simplified+norms"][0] == "not shown right"
    assert told["simplified+apart"] == ("not shown right", "It is wrong where 'simplified+norms' is.")
    assert told["simplified+norms without wrong"] == ("not the fastest", "")


ROWS = """<ir_version: 9, opset_import: ["" : 18]>
    g (int64[n, 8] ids) => (float[n, 1] y) <int64 seven = {7}, int64[1] last = {1}> {
        e = Equal (ids, seven) f = Cast <to = 1> (e) z = Sub (f, f)
        m = ReduceMin (f, last) s = ReduceSum (z, last) y = Add (m, s) }"""


def test_a_rule_that_is_wrong_only_where_a_whole_row_is_what_is_compared_is_rolled_back(tmp_path, monkeypatch):
    def without_whole_rows(graph, log):
        (least,) = [node for node in graph.graph if node.op_type == "ReduceMin"]
        (zeros,) = [value for node in graph.graph if node.op_type == "Sub" for value in node.outputs]
        log.hit("wrong", least)
        least.replace_input_with(0, zeros)
        return 1

    onnx.save(onnx.parser.parse_model(ROWS), tmp_path / "rows.onnx")
    with_rule(monkeypatch, Rule("wrong", "simplify", "Takes no row to be full.", change=without_whole_rows))

    package = ow.optimize(tmp_path / "rows.onnx", tmp_path / "out", measure=False, proof="quick", engine="onnxruntime")

    assert ("wrong",) in [one.rolled_back for one in package.manifest.optimizations["onnxruntime"].plans]


BOUNDED = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[batch, 4] x) => (float[batch, 4] y)
<float[4] low = {-1e38, -1e38, -1e38, -1e38}, float[4] zero = {0, 0, 0, 0}> {
    a = Max (x, low)
    b = Tanh (a)
    c = Max (b, zero)
    d = Exp (c)
    y = Max (d, zero)
}
"""


class Unbounded(RewriteRuleClassBase):
    """Leaves a bound out, wherever it is."""

    def pattern(self, op, x, bound):
        return op.Max(x, bound)

    def rewrite(self, op, x, bound):
        return op.Identity(x)


def test_what_a_rule_rewrites_at_one_node_is_rolled_back_alone(tmp_path, monkeypatch):
    file = tmp_path / "bounded.onnx"
    onnx.save(onnx.parser.parse_model(BOUNDED), file)
    with_rule(monkeypatch, Rule("unbounded", "simplify", "Leaves bounds out.", patterns=lambda _: [Unbounded.rule()]))

    package = ow.optimize(file, tmp_path / "out", **QUICK)

    record = package.manifest.optimizations["onnxruntime"]
    told = {one.plan: (one.outcome, one.rolled_back) for one in record.plans}
    assert told["simplified without unbounded at c"] == ("kept", ("unbounded at c",))
    assert told["simplified"] == ("not shown right", ("unbounded at c",))
    assert record.trace.after == {"Exp": 1, "Max": 1, "Tanh": 1}


def test_where_it_is_wrong_without_any_rule_the_graph_as_exported_stays(cluttered, tmp_path, monkeypatch):
    monkeypatch.setattr(
        optimizing, "SIMPLIFYING", (*optimizing.SIMPLIFYING, Pass("wrong", "Is no rule.", turned_round))
    )

    package = ow.optimize(cluttered, tmp_path / "out", **QUICK)

    record = package.manifest.optimizations["onnxruntime"]
    assert record.variant is None
    assert {(one.outcome, one.rolled_back) for one in record.plans if one.message} == {("not shown right", ())}


def test_plans_for_which_there_is_no_memory_are_told(cluttered, tmp_path, monkeypatch):
    monkeypatch.setattr("onnxwright.stages.trials._COPIES", 1 << 60)

    package = ow.optimize(cluttered, tmp_path / "out", **QUICK)

    record = package.manifest.optimizations["onnxruntime"]
    assert "the graph as exported stays" in record.told
    assert {(one.outcome, one.message) for one in record.plans} == {
        ("not measured", "no memory for one more copy of the weights")
    }


def test_a_package_that_was_optimized_can_be_moved(cluttered, tmp_path):
    ow.optimize(cluttered, tmp_path / "out", **QUICK)
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")

    answered = ow.open(tmp_path / "elsewhere").session(variant="optimized").run({"x": X})

    assert answered["y"].shape == (3, 4)


def test_each_engine_gets_a_variant_that_was_proven_with_it(cluttered, tmp_path):
    made = ow.optimize(cluttered, tmp_path / "out", measure=False, proof="quick", engine=["onnxruntime", "openvino"])
    optimized = replace(made.manifest.variants["optimized"], engines={})
    only = {name: proof for name, proof in made.manifest.variants["optimized"].engines.items() if name == "onnxruntime"}
    variants = {"fp32": made.manifest.variants["fp32"], "optimized": replace(optimized, engines=only)}
    write_manifest(made.folder, replace(made.manifest, variants=variants, default=Default("optimized", "onnxruntime")))

    package = ow.open(made.folder)
    proofs = ow.prove(made.folder)

    assert package.engines() == ["onnxruntime", "openvino"]
    assert {name: proof.verdict for name, proof in proofs.items()} == {"onnxruntime": "proven", "openvino": "proven"}
    assert package.session().ran.sha256 == package.manifest.variants["optimized"].sha256
    assert package.session(engine="openvino").ran.sha256 == package.manifest.variants["fp32"].sha256
    with pytest.raises(ow.EngineError, match="engine 'openvino': not proven for this package"):
        package.session(engine="openvino", variant="optimized")


def test_only_the_outputs_that_are_named_stay(cluttered, tmp_path):
    package = ow.optimize(cluttered, tmp_path / "out", outputs=["total"], **QUICK)

    assert package.signature.output_names == ("total",)
    assert package.session(variant="fp32").run({"x": X}).keys() == {"total"}


def test_an_output_that_is_not_there_is_a_usage_error(cluttered, tmp_path):
    with pytest.raises(ow.UsageError, match="output 'sum' is unknown; expected one of total, y"):
        ow.optimize(cluttered, tmp_path / "out", outputs=["sum"], **QUICK)
    assert not (tmp_path / "out").exists()


def test_outputs_of_a_module_are_not_named(tmp_path):
    with pytest.raises(ow.UsageError, match=r"outputs: can be chosen for an \.onnx file only"):
        ow.optimize("model.py:make", tmp_path / "out", outputs=["y"], **QUICK)


def test_the_command_line_optimizes_and_tells_in_json(cluttered, tmp_path):
    options = ["--no-measure", "--proof", "quick", "--engine", "onnxruntime", "--json"]
    done = CliRunner().invoke(app, ["optimize", str(cluttered), "-o", str(tmp_path / "out"), *options])

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["optimizations"]["onnxruntime"]["variant"] == "optimized"


@pytest.mark.parametrize(("said", "variants"), [([], {"fp32"}), (["--optimize"], {"fp32", "optimized"})])
def test_convert_optimizes_where_it_is_asked_to(said, variants, cluttered, tmp_path):
    options = ["--no-measure", "--proof", "quick", "--engine", "onnxruntime", "--json"]
    done = CliRunner().invoke(app, ["convert", str(cluttered), "-o", str(tmp_path / "out"), *options, *said])

    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)["variants"]) == variants


def differing(tmp_path, cluttered, change):
    model = onnx.load(cluttered)
    change(model.graph)
    other = tmp_path / "other.onnx"
    onnx.save(model, other)
    return CliRunner().invoke(app, ["diff", str(cluttered), str(other)])


def scaled(graph):
    (weight,) = graph.initializer
    numbers = onnx.numpy_helper.to_array(weight).copy()
    numbers[1, 2] += 0.25
    weight.CopyFrom(onnx.numpy_helper.from_array(numbers, weight.name))


def test_graphs_that_are_the_same_do_not_differ(cluttered, tmp_path):
    done = differing(tmp_path, cluttered, lambda graph: None)

    assert done.exit_code == 0
    assert "the graphs are the same" in done.stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (scaled, ["weight", "w", "other numbers by up to 0.25"]),
        (lambda graph: setattr(graph.node[5], "op_type", "Mul"), ["operator", "Mul", "none → 1"]),
        (lambda graph: setattr(graph.output[0], "name", "d"), ["output", "y", "→ none"]),
    ],
)
def test_what_two_graphs_differ_in_is_told(change, words, cluttered, tmp_path):
    done = differing(tmp_path, cluttered, change)

    assert done.exit_code == 0, done.output
    assert all(word in done.stdout for word in words), done.stdout
    assert "the graphs are the same" not in done.stdout


HEAD = '<ir_version: 9, opset_import: ["" : 18, "own" : 1]>'
TWO = "two (float[n, 4] x, float[n, 4] z) => (float[n, 4] y, float[n, 4] u)"
OWN = """<domain: "own", opset_import: ["" : 18]> F (a) => (b) { b = %s (a) }"""
ADDED = "y = Elu (x) c = Constant <value = float {%s}> () u = Add (z, c)"
BRANCHES = """c = Constant <value = bool {1}> () y = If (c) <
    then_branch = a () => (float[n, 4] p) { p = %s (x) }, else_branch = b () => (float[n, 4] q) { q = Identity (x) }
    > u = Neg (z)"""


def written(text, file):
    onnx.save(onnx.parser.parse_model(f"{HEAD} {text}"), file)
    return str(file)


@pytest.mark.parametrize(
    ("first", "second", "output"),
    [
        ("y = LeakyRelu <alpha = 0.1> (x) u = Neg (z)", "y = LeakyRelu <alpha = 0.2> (x) u = Neg (z)", "y"),
        ("y = Sub (x, z) u = Neg (z)", "y = Sub (z, x) u = Neg (z)", "y"),
        ("a = Relu (x) y = Neg (a) u = Neg (z)", "a = Neg (x) y = Relu (a) u = Neg (z)", "y"),
        (ADDED % "1.0", ADDED % "2.0", "u"),
        ("y = Relu (x) u = Neg (z)", "u = Relu (x) y = Neg (z)", "u"),
        (BRANCHES % "Abs", BRANCHES % "Neg", "y"),
        ("y = own.F (x) u = Neg (z)", "y = own.F (x) u = Neg (z)", "y"),
    ],
)
def test_graphs_that_compute_something_else_with_the_same_operators_and_weights_differ(first, second, output, tmp_path):
    bodies = {"first": (first, "Abs"), "second": (second, "Ceil")}
    files = [
        written(f"{TWO} {{ {body} }} {OWN % kind}", tmp_path / f"{name}.onnx") for name, (body, kind) in bodies.items()
    ]

    done = CliRunner().invoke(app, ["diff", *files])

    assert done.exit_code == 0, done.output
    assert re.search(rf"output +{output} +is computed otherwise", done.stdout), done.stdout


def test_outputs_in_another_order_are_told(tmp_path):
    text = "two (float[n] x) => (float[n] %s, float[n] %s) { y = Neg (x) z = Abs (x) }"
    files = [written(text % names, tmp_path / f"{names[0]}.onnx") for names in (("y", "z"), ("z", "y"))]

    assert re.search(r"outputs +stand in another order", CliRunner().invoke(app, ["diff", *files]).stdout)


OUTER = """<domain: "own", opset_import: ["" : 18, "own" : 1]> G (a) => (b) { b = own.F (a) }"""
RANDOM = {
    "by itself": "r = RandomNormalLike (x) y = Add (x, r)",
    "in a branch": "c = Constant <value = bool {1}> () y = If (c) <then_branch = a () => (float[n, 4] p) "
    "{ r = RandomUniformLike (x) p = Add (x, r) }, else_branch = b () => (float[n, 4] q) { q = Identity (x) }>",
    "in a function": "y = own.F (x)",
    "in a function of a function": "y = own.G (x)",
}


@pytest.mark.parametrize("how", RANDOM)
def test_a_graph_that_draws_random_numbers_is_refused(how, tmp_path):
    text = f"g (float[n, 4] x) => (float[n, 4] y) {{ {RANDOM[how]} }} {OWN % 'Bernoulli'} {OUTER}"
    file = written(text, tmp_path / "random.onnx")

    with pytest.raises(ow.ProofError, match="draws random numbers") as refusal:
        ow.optimize(file, tmp_path / "out", measure=False)

    assert [found.code for found in refusal.value.findings] == ["random-numbers"]


def test_random_numbers_on_which_no_answer_depends_are_let_be(tmp_path):
    text = "g (float[n, 4] x) => (float[n, 4] y) { r = RandomNormalLike (x) y = Abs (x) }"
    file = written(text, tmp_path / "idle.onnx")

    assert ow.optimize(file, tmp_path / "out", measure=False, engine="onnxruntime").proof.verdict == "proven"


def test_a_file_that_is_not_there_can_not_be_compared(cluttered, tmp_path):
    done = CliRunner().invoke(app, ["diff", str(cluttered), str(tmp_path / "none.onnx")])

    assert isinstance(done.exception, ow.SourceError)
