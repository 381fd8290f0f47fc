"""What a whole `convert` takes of memory beside the module that it converts, what a bare export and rewriting take.

Claimed: `convert` with its proof takes at most 1.2 times the weights beside the loaded module, where the inputs are
small, and to rewrite a graph that lies in a file at most 0.2 times, what is mapped of that file left out. Every way is
a process of its own, in rounds that go each once in a random order. Its memory, and that of all processes that it
starts, is read five times a second: what processes share counts once, what they map of files counts as far as it is in
memory. Counted is what is more than when a way begins, and of all rounds the most.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from record import check_ended, in_rounds, keep

HERE = Path(__file__).parent
LIMITS = {"convert by trace": 1.2, "convert by dynamo": 1.2, "rewrite": 0.2}
ROUNDS = 2
SECONDS_BETWEEN = 0.2
MODEL, HIDDEN, LAYERS = "roberta-large (random)", 1024, 24
STEPS = ("bare trace", "bare dynamo", "convert by trace", "convert by dynamo", "rewrite")


class Held(NamedTuple):
    """Bytes of memory: all of them, and without what is mapped of files."""

    whole: int
    own: int


class Taken(NamedTuple):
    """What a way took, in multiples of the weights."""

    whole: float
    own: float


def held(pid: int) -> Held:
    """Returns what a process and those that it has started hold; pages that they share are divided among them."""
    whole = own = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            sizes = dict(_sizes(Path(f"/proc/{one}/smaps_rollup").read_text(encoding="ascii")))
            whole, own = whole + sizes.get("Pss:", 0), own + sizes.get("Pss_Anon:", 0)
    return Held(whole, own)


def tree(pid: int) -> Iterator[int]:
    """Yields a process and all that it has started."""
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in file.read_text(encoding="ascii").split():
                yield from tree(int(child))


def _sizes(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines()[1:]:
        name, size, *_ = line.split()
        yield name, int(size) * 1024


def measure(step: str, hidden: int, layers: int) -> Taken:
    """Goes one way, and returns the most that it took.

    Raises:
        SystemExit: when it fails, with the end of what it said.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        words = [str(HERE / "bare_memory.py"), str(hidden), str(layers), folder, step]
        with subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            weights = int(process.stdout.readline())
            base = most = held(process.pid)
            process.stdin.write("go\n")
            process.stdin.flush()
            while process.poll() is None:
                now = held(process.pid)
                most = Held(max(most.whole, now.whole), max(most.own, now.own))
                time.sleep(SECONDS_BETWEEN)
        said.seek(0)
        check_ended(step, process.returncode, said.read().decode())
    return Taken((most.whole - base.whole) / weights, (most.own - base.own) / weights)


def report(taken: dict[str, list[Taken]]) -> list[dict[str, object]]:
    """Prints and returns a row for each way."""
    rows: list[dict[str, object]] = []
    for step, many in taken.items():
        most = Taken(max(one.whole for one in many), max(one.own for one in many))
        limit = f", limit {LIMITS[step]}×" if step in LIMITS else ""
        print(f"{MODEL}, {step}: {most.whole:.2f}× the weights, {most.own:.2f}× without what is mapped of files{limit}")
        rows.append({"model": MODEL, "way": step, "most": most._asdict(), "all": [one._asdict() for one in many]})
    return rows


def main() -> None:
    """Compares on a model of the size of RoBERTa large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--ways", nargs="+", choices=STEPS, default=STEPS, help="some of them")
    given = parser.parse_args()
    rounds, draw = given.rounds, random.Random(0)
    taken: dict[str, list[Taken]] = {step: [] for step in given.ways}
    for step in in_rounds(given.ways, rounds, draw):
        taken[step].append(measure(step, HIDDEN, LAYERS))
        print(step, taken[step][-1], flush=True)
    keep("memory", {"rounds": rounds, "limits": LIMITS, "rows": report(taken)})


if __name__ == "__main__":
    main()
