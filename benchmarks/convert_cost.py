"""What a whole `convert`, with its proof, costs beside a bare `torch.onnx.export` of the same model.

Claimed: within 3 times the bare dynamo export. Every command runs in a process of its own, in rounds that run each
command once in a random order; time is from start to exit, memory the peak of the largest process.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from record import ONNXWRIGHT, alone, check_ended, in_rounds, keep, minilm, ratios, spread

HERE = Path(__file__).parent
LIMIT = 3.0
BASELINE = "bare dynamo export"


class Cost(NamedTuple):
    """What one command took."""

    seconds: float
    peak_mib: float


def run(command: list[str]) -> Cost:
    """Runs a command to its end, alone.

    Raises:
        SystemExit: when it fails, with the end of what it said.
    """
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        taken = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        check_ended(" ".join(command), process.returncode, said.read().decode())
    return Cost(taken, usage.ru_maxrss / 1024)


def commands(model: Path, out: Path) -> dict[str, list[str]]:
    """Returns what is compared, by name."""
    bare = [sys.executable, str(HERE / "bare_export.py"), str(model)]
    whole = [ONNXWRIGHT, "convert", str(model), "-o", str(out / "package")]
    return {
        BASELINE: [*bare, str(out / "dynamo.onnx"), "dynamo"],
        "bare trace export": [*bare, str(out / "trace.onnx"), "trace"],
        "convert, proven": [*whole, "--force", "--no-measure"],
    }


def write_bert_base(folder: Path, tokenizer: Path) -> None:
    """Writes a BERT of the base size with seeded random weights, beside the tokenizer of another."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    BertModel(BertConfig(architectures=["BertModel"]), add_pooling_layer=False).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(tokenizer / name, folder / name)


def compare(model: Path, rounds: int, draw: random.Random) -> dict[str, list[Cost]]:
    """Runs every command once a round."""
    with tempfile.TemporaryDirectory() as out:
        compared = commands(model, Path(out))
        costs: dict[str, list[Cost]] = {name: [] for name in compared}
        for name in in_rounds(compared, rounds, draw):
            costs[name].append(run(compared[name]))
    return costs


def report(model: str, costs: dict[str, list[Cost]]) -> list[dict[str, object]]:
    """Prints and returns a row for each command: absolute, and relative to the bare dynamo export."""
    rows: list[dict[str, object]] = []
    base = costs[BASELINE]
    for name, taken in costs.items():
        wall, peak = spread([cost.seconds for cost in taken]), spread([cost.peak_mib for cost in taken])
        slower = ratios([cost.seconds for cost in taken], [cost.seconds for cost in base])
        larger = ratios([cost.peak_mib for cost in taken], [cost.peak_mib for cost in base])
        print(f"{model}, {name}: {wall.median:.1f} s, {slower}× the time; {peak.median:.0f} MiB, {larger}× the memory")
        row = {"seconds": wall, "peak_mib": peak, "time_ratio": slower, "memory_ratio": larger}
        rows.append({"model": model, "command": name, **{key: value._asdict() for key, value in row.items()}})
    return rows


def main() -> None:
    """Compares on MiniLM and on a model of BERT's base size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--only", choices=("MiniLM-L6", "bert-base (random)"), help="one model instead of both")
    given = parser.parse_args()
    rounds = given.rounds
    draw, rows = random.Random(0), []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "bert-base"
        alone(write_bert_base, base, minilm())
        for name, model in (("MiniLM-L6", minilm()), ("bert-base (random)", base)):
            if given.only in (None, name):
                rows += report(name, compare(model, rounds, draw))
    keep("convert_cost", {"rounds": rounds, "limit": LIMIT, "rows": rows})


if __name__ == "__main__":
    main()
