"""Which architectures convert: a tiny random model of every config class that transformers maps to a model.

Nothing is picked by hand and no architecture is named: `tiny` makes models and inputs. A model that PyTorch itself
can't build or run from that is left out, and told; `--build-only` tells no more than this, and is quick. Each
conversion runs in a process of its own, for `--seconds` at the most; a row says its route and repairs, what was proven
of the profile, and how long it took. `--sample N` takes so many, drawn by `--seed`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from record import keep
from tiny import made


def names() -> list[str]:
    """Returns the model types that transformers maps to a base model."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return sorted(MODEL_MAPPING_NAMES)


def one(name: str) -> dict[str, Any]:
    """Converts one architecture and returns its row."""
    import onnxwright as ow

    try:
        model, inputs, dims, profile = made(name)
    except ValueError as refusal:
        return {"name": name, "outcome": "not runnable", "reason": str(refusal)[:200]}
    begun = time.perf_counter()
    options: dict[str, Any] = {"measure": False, "proof": "quick", "engine": "onnxruntime", "repair_seconds": 90.0}
    with tempfile.TemporaryDirectory() as folder:
        try:
            package = ow.convert(
                model,
                Path(folder) / "out",
                example_inputs=inputs,
                dims=dims,
                profile=profile,
                **options,
            )
        except ow.OnnxwrightError as refusal:
            return {"name": name, "outcome": "refused", "seconds": time.perf_counter() - begun, "reason": str(refusal)}
        last = max(package.manifest.attempts, key=lambda attempt: attempt.verdict == "proven")
        return {
            "name": name,
            "outcome": package.proof.verdict,
            "approach": last.approach,
            "attempts": [[attempt.approach, attempt.verdict] for attempt in package.manifest.attempts],
            "range": package.proof.range,
            "seconds": time.perf_counter() - begun,
        }


def build(names_of_them: list[str], seconds: float) -> list[dict[str, Any]]:
    """Prints of each type whether it can be built and run, each in a process that has torch from the start."""
    import torch
    import transformers.modeling_utils

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    context = multiprocessing.get_context("fork")
    rows = []
    for name in names_of_them:
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=tell, args=(name, there))
        child.start()
        there.close()
        reason = "out of time"
        if here.poll(seconds):
            try:
                reason = here.recv()
            except EOFError:
                reason = "crashed"
        child.kill()
        child.join()
        rows.append({"name": name, "outcome": "not runnable" if reason else "runnable", "reason": reason})
        print(f"{name:28} {rows[-1]['outcome']:12} {' '.join(reason.split())[:160]}", flush=True)
    return rows


def tell(name: str, there: Connection) -> None:
    """Sends why a type can't be built and run; nothing when it can."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        made(name)
    except ValueError as refusal:
        there.send(str(refusal))
    else:
        there.send("")


def row(name: str, seconds: float) -> dict[str, Any]:
    """Runs one architecture in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--one", name], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return {"name": name, "outcome": "out of time"}
    if done.returncode:
        return {"name": name, "outcome": "crashed", "reason": done.stderr[-500:]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Prints a row for each architecture and a summary, and keeps both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help="convert this type here, and print its row")
    parser.add_argument("--build-only", action="store_true", help="tell which can be built and run; convert none")
    parser.add_argument("--sample", type=int, help="so many types, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="for each type; 300, or 30 to build only")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one)))
        return
    known = names()
    chosen = sorted(random.Random(given.seed).sample(known, given.sample)) if given.sample else known
    if given.build_only:
        counts = Counter(one["outcome"] for one in build(chosen, given.seconds or 30.0))
        print(f"{counts['runnable']} of {len(chosen)} can be built and run")
        return
    rows = []
    for name in chosen:
        rows.append(row(name, given.seconds or 300.0))
        told = rows[-1].get("approach") or " ".join(str(rows[-1].get("reason", "")).split())[:160]
        print(f"{name:28} {rows[-1]['outcome']:12} {rows[-1].get('seconds', 0.0):5.0f} s  {told}", flush=True)
    counts = Counter(one["outcome"] for one in rows)
    runnable = len(rows) - counts["not runnable"]
    print(f"{counts['proven']} of {runnable} that PyTorch runs are proven on the whole profile; {dict(counts)}")
    keep("coverage", {"sample": given.sample, "seed": given.seed, "of": len(known), "rows": rows, "counts": counts})


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
