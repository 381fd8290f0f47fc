"""What our sessions add to the bare engine call: claimed to be under 50 µs for the whole stack.

The graph has the boundary of a sentence embedding model and next to no work, so that the call itself is what is
timed. Each round runs the three levels in a random order; the overhead is the difference within a round.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser

from onnxwright import environment
from onnxwright.artifact import PackageSession
from onnxwright.backends import Options, Tensors, engine
from onnxwright.manifest import Proof, Tolerance
from onnxwright.signature import Signature, TensorSpec
from record import in_rounds, keep, seconds, spread

NAMES = ("input_ids", "attention_mask", "token_type_ids")
GRAPH = """<ir_version: 8, opset_import: ["" : 17]> tiny (
    int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask, int64[batch, sequence] token_type_ids
) => (float[batch, sequence] sentence_embedding) {
    a = Add(input_ids, attention_mask)  b = Add(a, token_type_ids)  sentence_embedding = Cast<to = 1>(b)
}"""
SIZES = ((1, 16), (1, 128), (8, 128))
WARM_UP, ROUNDS = 200, 4000
LIMIT_US = 50.0

Call = Callable[[], Any]


def bare_onnxruntime(file: Path, feeds: Tensors) -> Call:
    """Returns a call of the engine with nothing around it."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = environment.cores()
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)


def bare_openvino(file: Path, feeds: Tensors) -> Call:
    """Returns a call of the engine with nothing around it: tensors set before, answers not read."""
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": environment.cores()}
    request = openvino.Core().compile_model(file, "CPU", settings).create_infer_request()
    for name, array in feeds.items():
        request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
    call: Call = request.infer
    return call


BARE = {"onnxruntime": bare_onnxruntime, "openvino": bare_openvino}


def levels(name: str, file: Path, feeds: Tensors) -> dict[str, Call]:
    """Returns the same call through more and more of the stack."""
    session = engine(name).prepare(file, Options(threads=environment.cores()))
    package = PackageSession(session, signature(), proof())
    return {
        "engine": BARE[name](file, feeds),
        "session": lambda: session.run(feeds),
        "package": lambda: package.run(feeds),
    }


def signature() -> Signature:
    """Returns the boundary of the graph."""
    dims = ("batch", "sequence")
    inputs = tuple(TensorSpec(name, "int64", dims) for name in NAMES)
    return Signature(inputs, (TensorSpec("sentence_embedding", "float32", dims),))


def proof() -> Proof:
    """Returns a proof that lets every size of interest through."""
    return Proof(
        verdict="proven",
        range={"batch": (1, 32), "sequence": (1, 512)},
        points=1,
        worst=None,
        tolerance=Tolerance("exact", {}, {}, "benchmark"),
        reference="none",
        candidate="none",
    )


def overheads_us(calls: dict[str, Call], draw: random.Random) -> dict[str, list[float]]:
    """Times the levels against each other, in microseconds."""
    times: dict[str, list[float]] = {level: [] for level in calls}
    for level in in_rounds(calls, WARM_UP, draw):
        calls[level]()
    for level in in_rounds(calls, ROUNDS, draw):
        times[level].append(seconds(calls[level]) * 1e6)
    bare = times["engine"]
    added = {
        level: [one - other for one, other in zip(times[level], bare, strict=True)]
        for level in calls
        if level != "engine"
    }
    return {"engine": bare, **added}


def main() -> None:
    """Measures every engine at every size."""
    draw = random.Random(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tiny.onnx"
        onnx.save(onnx.parser.parse_model(GRAPH), file)
        for name in BARE:
            for sizes in SIZES:
                feeds = {key: np.random.default_rng(0).integers(0, 1000, sizes) for key in NAMES}
                found = {
                    level: spread(values) for level, values in overheads_us(levels(name, file, feeds), draw).items()
                }
                rows.append({"engine": name, "sizes": sizes, **{f"{k}_us": v._asdict() for k, v in found.items()}})
                verdict = "under" if found["package"].high < LIMIT_US else "NOT under"
                print(
                    f"{name} {sizes[0]}×{sizes[1]}: engine alone {found['engine']} µs; our session adds "
                    f"{found['session']} µs, the whole stack {found['package']} µs: {verdict} {LIMIT_US:.0f} µs"
                )
    keep("session_overhead", {"rounds": ROUNDS, "limit_us": LIMIT_US, "rows": rows})


if __name__ == "__main__":
    main()
