"""What a normal proof costs beside a bare dynamo export of the same model, in time and in memory.

Claimed: the proof takes at most twice the time of the bare export, and at most a quarter of the weights in memory above
the two loaded models and what the largest calls of each take by themselves. Every measurement is a process of its own,
in rounds that run each once in a random order; the export counts from start to exit, the proof
without and (`process`) with loading the model.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from convert_cost import HERE, run, write_bert_base
from onnxwright.stages.measure import LEAST_RUNS
from record import alone, check_ended, in_rounds, keep, minilm, ratios, spread

TIME_LIMIT = 2.0
MEMORY_LIMIT = 0.25
FIVE = 5


def write_graph(folder: str, file: str) -> None:
    """Traces a model folder, as `convert` does first."""
    import onnx_ir

    from onnxwright.stages.export import export
    from onnxwright.stages.load import load

    onnx_ir.save(export(load(folder)).model, file)


def weights_bytes(folder: Path) -> int:
    """Returns the size of a model folder's weights."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def say(*words: object) -> dict[str, Any]:
    """Runs `bare_proof.py` in a process of its own and returns what it says.

    Raises:
        SystemExit: when it fails, with the end of what it said.
    """
    begun = time.perf_counter()
    command = [sys.executable, str(HERE / "bare_proof.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    check_ended(" ".join(command), done.returncode, done.stderr)
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**said, "process": time.perf_counter() - begun}


def measure(model: Path, graph: Path, rounds: int, draw: random.Random) -> dict[str, list[Any]]:
    """Runs export and proof once a round, and at the end calls alone at the largest sizes that a proof tried."""
    taken: dict[str, list[Any]] = {"export": [], "proof": [], "calls": []}
    bare = [sys.executable, str(HERE / "bare_export.py"), str(model), str(graph.parent / "d.onnx"), "dynamo"]
    for name in in_rounds(("export", "proof"), rounds, draw):
        taken[name].append(run(bare).seconds if name == "export" else say(model, graph, 1))
    for which in ("pytorch", "candidate"):
        sizes = [f"{one['batch']},{one['sequence']}" for one in widest(taken["proof"])["largest"]]
        taken["calls"].append(say(model, graph, which, *sizes)["call_bytes"])
    return taken


def widest(proofs: list[Any]) -> Any:
    """Returns the proof that tried the largest size: on a busy machine, some get further than others."""
    return max(proofs, key=lambda proof: proof["largest"][-1]["batch"] * proof["largest"][-1]["sequence"])


def report(name: str, taken: dict[str, list[Any]], weights: int) -> dict[str, object]:
    """Prints and returns what was measured of one model."""
    proofs, exports = taken["proof"], taken["export"]
    slower = ratios([proof["seconds"] for proof in proofs], exports)
    whole = ratios([proof["process"] for proof in proofs], exports)
    alike = [proof for proof in proofs if proof["largest"] == widest(proofs)["largest"]]
    extra = max((proof["proof_bytes"] - sum(taken["calls"])) / weights for proof in alike)
    rate = spread([proof["points"] / proof["seconds"] for proof in proofs])
    shares = {part: spread([one["spent"][part] / one["seconds"] for one in proofs]) for part in proofs[0]["spent"]}
    print(f"{name}: proof {slower}× the bare dynamo export (with loading {whole}×), limit {TIME_LIMIT}×")
    print(f"  {rate} points a second; " + ", ".join(f"{part} {share.median:.0%}" for part, share in shares.items()))
    print(f"  memory above the calls themselves: {extra:.1%} of the weights, limit {MEMORY_LIMIT:.0%}")
    print(f"  {proofs[0]['verdict']} over {proofs[0]['range']}, {[proof['points'] for proof in proofs]} points")
    summary = {"time_ratio": slower, "process_ratio": whole, "points_per_second": rate}
    return {
        "model": name,
        "extra_memory": extra,
        **{key: value._asdict() for key, value in summary.items()},
        "shares": {part: share._asdict() for part, share in shares.items()},
        "call_bytes": taken["calls"],
        "proofs": proofs,
        "exports": exports,
    }


def reuse(model: Path, graph: Path) -> dict[str, object]:
    """Prints and returns how often the reference is called for one candidate and for five."""
    calls = {}
    for count in (1, FIVE):
        said = say(model, graph, count)
        calls[count] = said["calls"]["pytorch"] / said["points"]
        print(f"{count} candidate(s): {calls[count]:.2f} calls of PyTorch for each point of one candidate")
    return {"calls_per_point": calls}


def main() -> None:
    """Measures MiniLM and a model of BERT's base size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=LEAST_RUNS, help=f"at least {LEAST_RUNS}")
    rounds = max(LEAST_RUNS, parser.parse_args().rounds)
    draw, rows = random.Random(0), []
    with tempfile.TemporaryDirectory() as folder:
        base, graph = Path(folder) / "bert-base", Path(folder) / "model.onnx"
        alone(write_graph, str(minilm()), str(graph))
        rows.append(report("MiniLM-L6", measure(minilm(), graph, rounds, draw), weights_bytes(minilm())))
        shared = reuse(minilm(), graph)
        alone(write_bert_base, base, minilm())
        alone(write_graph, str(base), str(graph))
        rows.append(report("bert-base (random)", measure(base, graph, rounds, draw), weights_bytes(base)))
    limits = {"time_limit": TIME_LIMIT, "memory_limit": MEMORY_LIMIT}
    keep("proof_cost", {"rounds": rounds, **limits, "rows": rows, "reuse": shared})


if __name__ == "__main__":
    main()
