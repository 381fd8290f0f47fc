"""What rewriting adds to a lower precision on ONNX Runtime: `quantize --optimize`, as a user would call it.

What is kept was measured beside the graph as exported, and each plan beside the graph as the recipe made it *and that
graph once more*. Random weights say nothing of accuracy, so that any loss is allowed.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from onnxwright import environment
from onnxwright.artifact import Package
from onnxwright.graph.saving import save_model
from onnxwright.stages.measure import gains_in_words
from optimize import MODELS, exported
from record import ONNXWRIGHT, check_ended, keep

ENGINE: Final = "onnxruntime"
RANGE: Final = ("--batch", "1", "8", "8", "--sequence", "1", "128", "128")


def measured(name: str, precision: str, folder: Path) -> dict[str, Any]:
    """Exports, lowers and rewrites a model; returns what the manifest says of it."""
    graph, out = folder / "given.onnx", folder / "out"
    save_model(exported(MODELS[name], "trace", "sdpa"), graph)
    command = [ONNXWRIGHT, "quantize", str(graph), "-o", str(out), "--precision", precision, "--optimize"]
    options = [*RANGE, "--max-accuracy-loss", "1", "--engine", ENGINE, "--proof", "quick"]
    done = subprocess.run([*command, *options], check=False, capture_output=True, text=True)
    check_ended(f"{name}: quantize", done.returncode, done.stderr)
    record = Package.open(out).manifest.quantizations[ENGINE]
    assert record.rewriting is not None, "it was asked for"
    kept = next(one for one in record.candidates if one.outcome == "kept")
    print(f"{name} in {kept.name}: {gains_in_words(kept.latencies)}, beside the graph as exported")
    for plan in record.rewriting.plans:
        print(f"  {plan.plan:70} {plan.nodes:5} nodes {plan.outcome:16} {gains_in_words(plan.latencies)}")
    return {"kept": msgspec.to_builtins(kept.latencies), "plans": msgspec.to_builtins(record.rewriting.plans)}


def main() -> None:
    """Measures, prints, and keeps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="MiniLM-L6,bert-base", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--precision", default="int8-dynamic")
    given = parser.parse_args()
    machine = {"threads": environment.cores(), "instructions": environment.instructions()}
    for name in given.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            found = measured(name, given.precision, Path(folder))
        keep(f"rewritten_{name}", {**machine, "model": name, "precision": given.precision, **found})


if __name__ == "__main__":
    main()
