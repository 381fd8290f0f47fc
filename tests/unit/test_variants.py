"""Which variant and engine a package uses unless told otherwise."""

import pytest

from onnxwright.manifest import Default, EngineProof, Latency, Measurement, Proof, Tolerance, Variant
from onnxwright.stages.variants import Runner, fastest, runners_at


def proof(most, verdict="proven"):
    tolerance = Tolerance("same-precision", {}, {}, "")
    return Proof(verdict, {"batch": (1, most)}, 9, None, tolerance, "reference", "candidate")


def variant(**engines):
    shown = {name: EngineProof(executed=True, proof=one) for name, one in engines.items()}
    return Variant("onnx/model.onnx", "float32", "", next(iter(engines.values())), engines=shown)


def measured(speedup):
    latency = Latency({"batch": 8}, 6, 1.0, 1.0, 1.0, speedup, (speedup, speedup))
    return Measurement("it", "baseline", {}, (latency,))


WHOLE, PART = proof(32), proof(4, "partial")


@pytest.mark.parametrize(
    ("lowered", "speedup", "preferred", "expected"),
    [
        ({"onnxruntime": WHOLE}, 2.0, (), ("int8", "onnxruntime")),
        ({"onnxruntime": WHOLE}, 0.5, (), ("fp32", "onnxruntime")),
        ({"onnxruntime": WHOLE}, 0.5, ("int8",), ("int8", "onnxruntime")),
        # What was asked for is not used where less of the range was shown than for the graph as exported.
        ({"openvino": PART}, 2.0, ("int8",), ("fp32", "onnxruntime")),
    ],
)
def test_the_fastest_of_what_was_asked_for_is_used_where_it_was_shown_as_widely(lowered, speedup, preferred, expected):
    variants = {"fp32": variant(onnxruntime=WHOLE, openvino=PART), "int8": variant(**lowered)}
    found = {Runner("fp32", "onnxruntime"): measured(1.0)}
    found |= {Runner("int8", engine): measured(speedup) for engine in lowered}

    assert fastest(variants, found, preferred) == Default(*expected)


def test_without_a_measurement_the_graph_as_exported_is_used_unless_another_was_asked_for():
    variants = {"fp32": variant(onnxruntime=WHOLE), "int8": variant(onnxruntime=WHOLE)}

    assert fastest(variants, {}).variant == "fp32"
    assert fastest(variants, {}, {"int8"}).variant == "int8"


def test_engines_are_measured_where_they_were_shown_right_alone():
    variants = {"fp32": variant(onnxruntime=WHOLE, openvino=PART)}

    def engines(*sizes):
        return {one.engine for one in runners_at(variants, [{"batch": size} for size in sizes])}

    assert engines(1, 4) == {"onnxruntime", "openvino"}
    assert engines(1, 8) == {"onnxruntime"}
