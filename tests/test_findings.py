"""Every finding has a module that raises it, at the right line, and a twin without the trap that doesn't."""

import pytest
from cases import architectures, findings, thorough
from cases.findings import PAIRS

import onnxwright as ow
from onnxwright.findings import KINDS


def found(pair, make, folder):
    """What a conversion finds, whether it ends well or not."""
    # One attempt: what repairs make of it is another test.
    asked = {"measure": False, "engine": pair.engine, "proof": "quick", "route": pair.route, "repair_seconds": 0.0}
    try:
        package = ow.convert(make(), folder / "out", example_inputs=findings.example(pair), dims=pair.dims, **asked)
    except ow.ProofError as refusal:
        return refusal.findings
    return package.manifest.findings


@pytest.mark.parametrize("code", PAIRS)
def test_a_trap_is_found_at_its_line_in_its_module(code, tmp_path):
    pair = PAIRS[code]

    (finding, *_) = [one for one in found(pair, pair.trap, tmp_path) if one.code == code]

    if pair.names_line:
        assert finding.where.endswith(f"cases/findings.py:{findings.line_of(pair.trap)}")
        assert finding.module == pair.module
        assert any(line.startswith(">") for line in finding.excerpt)


SLOW = {"fast-path-differs", "dtype-narrowed", "axes-merged", "guard-dropped", "unwatched"}


@pytest.mark.parametrize("code", thorough.marked(PAIRS, SLOW))
def test_the_twin_without_the_trap_is_not_accused(code, tmp_path):
    pair = PAIRS[code]

    assert code not in {one.code for one in found(pair, pair.twin, tmp_path)}


# Said of sources, checkpoints, ranges and engines; the tests of loading and proving raise these.
ELSEWHERE = {
    *("vacuous-output", "outputs-differ", "values-differ", "engine-not-proven", "scattered-failures"),
    *("range-narrowed", "reference-refuses-size", "not-tried", "ill-conditioned", "ties", "values-held"),
    *("steep-values", "toss-ups", "bfloat16-widened"),
    *("branch-not-taken", "branch-left-out", "invalid-graph", "unused-weights", "unread-weights"),
    *("skipped-output", "evidence-skipped"),
    # Said of graphs and engines that are built: tests/test_tensorrt.py and tests/unit/test_linting.py.
    *("node-refused", "graph-refused", "engine-crashed", "engine-not-executed", "profile-unfit"),
    *("opset-untried", "foreign-operator", "foreign-type", "quantization-unfit", "operator-misread"),
    # Said of samples and of a lower precision: tests/unit/test_corpus.py, test_losses.py, test_scoring.py,
    # tests/test_quantize.py.
    "samples-left-out",
    *("built-in-samples", "drawn-samples", "few-samples", "samples-cut", "foreign-samples", "constant-output"),
    "precision-kept",
    # Said of what comes quantized: tests/test_fake_quantization.py and tests/unit/test_quantized_checkpoints.py.
    *("observers-off", "quantized-kernels", "weights-dequantized"),
}


def test_every_code_has_its_pair_or_stands_in_another_test():
    assert PAIRS.keys() | ELSEWHERE == KINDS.keys()


# True of some, and no alarm: a row masked throughout may give NaN, and a busy machine leaves large sizes untried.
HARMLESS = {"non-finite-output", "not-tried"}


def assert_no_alarm(name, folder, proof):
    module, example, dims = architectures.ORDINARY[name]()

    package = ow.convert(
        module, folder / "out", example_inputs=example, dims=dims, engine="onnxruntime", measure=False, proof=proof
    )

    assert package.proof.verdict == "proven"
    assert {one.code for one in package.manifest.findings} <= HARMLESS


FIRST = {"bert"}
"""One of each kind; the others are asked for by `make test-thorough`."""


@pytest.mark.parametrize(
    "name",
    thorough.marked(architectures.ORDINARY, set(architectures.ORDINARY) - FIRST),
)
def test_ordinary_architectures_raise_no_false_alarm(name, tmp_path):
    assert_no_alarm(name, tmp_path, "quick")
