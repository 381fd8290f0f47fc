"""What part of its time ONNX Runtime spends in products, most of which rewriting leaves as they are.

Those of attention alone are taken together. By Amdahl's law a rewrite that made all else take no time at all would be
that much faster and no more: `1 / share`. The graph is the one as exported, after what ONNX Runtime rewrites by itself;
times are those of its own profiler.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime

from onnxwright import environment
from onnxwright.backends import Tensors
from onnxwright.graph.saving import save_model
from optimize import MODELS, drawn, exported
from record import keep

PRODUCTS = ("MatMul", "Gemm", "Conv")
"""How the operators begin or end that are products, fused ones among them."""
WARM = 3


def times(graph: Path, feeds: Tensors, runs: int) -> dict[str, float]:
    """Returns the median time of each operator in one run, in milliseconds."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = environment.cores(), 3
    options.enable_profiling, options.profile_file_prefix = True, str(graph.with_suffix(""))
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    given = {one.name: feeds[one.name] for one in session.get_inputs()}
    for _ in range(WARM + runs):
        session.run(None, given)
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    per_run: list[Counter[str]] = [Counter()]
    for event in events:
        if event.get("name") == "model_run":
            per_run.append(Counter())
        elif event.get("name", "").endswith("_kernel_time"):
            per_run[-1][event["args"]["op_name"]] += event["dur"]
    counted = [one for one in per_run if one][WARM:]
    return {name: median(one[name] for one in counted) / 1000 for name in {name for one in counted for name in one}}


def share(found: Mapping[str, float]) -> float:
    """Returns which part of all times is that of products."""
    products = sum(time for name, time in found.items() if name.startswith(PRODUCTS) or name.endswith(PRODUCTS))
    return products / sum(found.values())


def main() -> None:
    """Measures, prints, and keeps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="bert-base,distilbert-base,vit-base,modernbert-base,gpt2")
    parser.add_argument("--shapes", default="1x16,1x128,8x128")
    parser.add_argument("--runs", type=int, default=15)
    given = parser.parse_args()
    shapes = [tuple(int(size) for size in shape.split("x")) for shape in given.shapes.split(",")]
    found: dict[str, dict[str, Any]] = {}
    for name in given.models.split(","):
        model = MODELS[name]
        with tempfile.TemporaryDirectory() as folder:
            graph = Path(folder) / "raw.onnx"
            save_model(exported(model, "trace", "sdpa"), graph)
            for batch, sequence in shapes:
                spent = times(graph, drawn(model, batch, sequence), given.runs)
                part = share(spent)
                others = sorted(spent.items(), key=lambda one: -one[1])[:5]
                told = ", ".join(f"{kind} {time / sum(spent.values()):.0%}" for kind, time in others)
                print(
                    f"{name} {batch}x{sequence}: {part:.1%} in products, at most {1 / part:.2f}x ({told})", flush=True
                )
                found.setdefault(name, {})[f"{batch}x{sequence}"] = {"share": part, "times_ms": spent}
    keep("product_share", {"threads": environment.cores(), "models": found})


if __name__ == "__main__":
    main()
