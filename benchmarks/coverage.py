"""Which architectures convert: a tiny random model of every config class that transformers maps to a model.

Nothing is picked by hand and no architecture is named: `tiny` makes models and inputs. A model that PyTorch itself
can't build or run from that is left out, and told; `--build-only` tells no more than this, and is quick. Each
conversion runs in a process of its own, for `--seconds` at the most; a row says its route and repairs, what was proven
of the profile, and how long it took. `--sample N` takes so many, drawn by `--seed`. `--compare` exports each by
PyTorch's own exporters too, and compares what they wrote with PyTorch at the ends of the profile, on one input each:
less than a proof.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import itertools
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from record import keep
from tiny import made

RAW = ("trace", "dynamo")


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
    options: dict[str, Any] = {"measure": False, "proof": "quick", "engine": "onnxruntime", "repair_seconds": 150.0}
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


def raw(name: str, *, dynamo: bool) -> dict[str, Any]:
    """Exports one architecture by PyTorch alone, and says whether the file is right at the ends of the profile."""
    import numpy as np
    import onnxruntime
    import torch

    model, inputs, dims, profile = made(name)
    model.eval()
    flat = flattened(model, list(inputs))
    axes = [dict.fromkeys(dims.get(key, {}), torch.export.Dim.DYNAMIC) for key in inputs]
    how: dict[str, Any] = {"dynamic_shapes": (tuple(axes),)} if dynamo else {"dynamic_axes": dims}
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            flat, tuple(inputs.values()), str(file), dynamo=dynamo, input_names=list(inputs), opset_version=18, **how
        )
        seconds = time.perf_counter() - begun
        session = onnxruntime.InferenceSession(file)
    taken = {one.name for one in session.get_inputs()}
    for corner in itertools.product(*({least, usual, most} for least, usual, most in profile.values())):
        feeds = resized(inputs, dims, dict(zip(profile, corner, strict=True)))
        with torch.no_grad():
            expected = flat(*feeds.values())
        answered = session.run(None, {key: value.numpy() for key, value in feeds.items() if key in taken})
        for one, other in zip(expected, answered, strict=False):
            if one.shape != other.shape or not np.allclose(one.numpy(), other, rtol=1e-3, atol=1e-3, equal_nan=True):
                return {"right": False, "seconds": seconds}
    return {"right": True, "seconds": seconds}


def flattened(model: Any, names: list[str]) -> Any:
    """Returns a module of positional inputs that answers the tensors of a model's answer."""
    import torch

    def leaves(value: Any) -> Iterator[Any]:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple, dict)):
            for part in value.values() if isinstance(value, dict) else value:
                yield from leaves(part)

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(leaves(self.model(**dict(zip(names, tensors, strict=True)))))

    return Flat().eval()


def resized(inputs: dict[str, Any], dims: dict[str, dict[int, str]], sizes: dict[str, int]) -> dict[str, Any]:
    """Returns inputs repeated or cut to sizes."""
    import torch

    found = {}
    for key, tensor in inputs.items():
        for axis, dim in dims.get(key, {}).items():
            tensor = tensor.index_select(axis, torch.arange(sizes[dim]) % tensor.shape[axis])  # noqa: PLW2901
        found[key] = tensor
    return found


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


def row(name: str, how: str, seconds: float) -> dict[str, Any]:
    """Runs one architecture in a process of its own, by onnxwright or by one of PyTorch's exporters."""
    command = [sys.executable, __file__, "--one", name, "--how", how]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"name": name, "outcome": "out of time"}
    if done.returncode:
        return {"name": name, "outcome": "crashed", "reason": done.stderr[-500:]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def rows_of(name: str, seconds: float, *, is_compared: bool) -> dict[str, Any]:
    """Returns the row of one architecture, with PyTorch's exporters beside where asked."""
    found = row(name, "onnxwright", seconds)
    if is_compared and found["outcome"] != "not runnable":
        found["raw"] = {how: row(name, how, seconds) for how in RAW}
    told = found.get("approach") or " ".join(str(found.get("reason", "")).split())[:160]
    beside = " ".join(f"{how} {one.get('right', False)!s:5}" for how, one in found.get("raw", {}).items())
    print(f"{name:28} {found['outcome']:12} {found.get('seconds', 0.0):5.0f} s  {beside}  {told}", flush=True)
    return found


def main() -> None:
    """Prints a row for each architecture and a summary, and keeps both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help="convert this type here, and print its row")
    parser.add_argument("--how", choices=("onnxwright", *RAW), default="onnxwright", help="for --one: by what")
    parser.add_argument("--compare", action="store_true", help="export by PyTorch's exporters alone beside")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("--build-only", action="store_true", help="tell which can be built and run; convert none")
    parser.add_argument("--sample", type=int, help="so many types, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="for each type; 300, or 30 to build only")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one) if given.how == "onnxwright" else raw(given.one, dynamo=given.how == "dynamo")))
        return
    known = names()
    chosen = sorted(random.Random(given.seed).sample(known, given.sample)) if given.sample else known
    if given.build_only:
        counts = Counter(one["outcome"] for one in build(chosen, given.seconds or 30.0))
        print(f"{counts['runnable']} of {len(chosen)} can be built and run")
        return
    with concurrent.futures.ThreadPoolExecutor(given.workers) as pool:
        work = functools.partial(rows_of, seconds=given.seconds or 300.0, is_compared=given.compare)
        rows = list(pool.map(work, chosen))
    counts = Counter(one["outcome"] for one in rows)
    runnable = len(rows) - counts["not runnable"]
    print(f"{counts['proven']} of {runnable} that PyTorch runs are proven on the whole profile; {dict(counts)}")
    compared = [one["raw"] for one in rows if "raw" in one]
    for how in RAW if compared else ():
        print(
            f"{how} alone: {sum(one[how].get('right', False) for one in compared)} of {len(compared)} right at the ends"
        )
    keep("coverage", {"sample": given.sample, "seed": given.seed, "of": len(known), "rows": rows, "counts": counts})


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
