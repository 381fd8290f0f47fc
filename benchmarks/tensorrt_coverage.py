"""Which models become an engine of TensorRT for RTX: tiny ones of transformers' config classes, and the parity suite.

Each is converted for `tensorrt-rtx`, in a process of its own: the loop mends what the parser or the builder refuses,
proves the graph in ONNX Runtime, and builds an engine of it. A row says whether one was built, with which repairs, or
why not; beside it, whether one is built of what PyTorch's exporter writes alone. Nothing is executed: there is no GPU.
A model that PyTorch can't run from what `tiny` makes is left out, and told.

`--bert-base` parses and builds one model of the size of BERT-base instead, and tells how long that takes and how much
memory.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import coverage
from record import keep
from tiny import made

ENGINE: Final = "tensorrt-rtx"
CASES: Final = "case:"
"""How a name of the parity suite begins."""


def cases() -> dict[str, Any]:
    """Returns the makers of the ordinary architectures and of the small modules of the parity suite, by name."""
    suites = [importlib.import_module(f"cases.{name}") for name in ("architectures", "traps")]
    return {f"{CASES}{name}": make for name, make in {**suites[0].ORDINARY, **suites[1].PROVEN}.items()}


def model_of(name: str) -> tuple[Any, dict[str, Any], dict[str, dict[int, str]], dict[str, tuple[int, int, int]]]:
    """Returns a model, its inputs, their dims and the profile.

    Raises:
        ValueError: when PyTorch can't run one of that name.
    """
    if not name.startswith(CASES):
        return made(name)
    model, inputs, dims = cases()[name]()
    named = {dim for axes in dims.values() for dim in axes.values()}
    return model, inputs, dims, {dim: (1, 2, 3) if dim == "batch" else (1, 16, 40) for dim in sorted(named)}


def converted(name: str, *, repair_seconds: float) -> dict[str, Any]:
    """Converts a model for the engine, and returns its row."""
    import onnxwright as ow

    try:
        model, inputs, dims, profile = model_of(name)
    except ValueError as refusal:
        return {"name": name, "outcome": "not runnable", "reason": str(refusal)[:200]}
    options: dict[str, Any] = {"measure": False, "proof": "quick", "engine": ENGINE, "repair_seconds": repair_seconds}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "out"
        try:
            package = ow.convert(model, place, example_inputs=inputs, dims=dims, profile=profile, **options)
        except ow.OnnxwrightError as refusal:
            told = "random" if coverage.outcome_of(refusal) == "random" else "not exported"
            return {"name": name, "outcome": told, "reason": str(refusal)[:400]}
        shown = package.manifest.variants["fp32"]
        is_built = (place / "engines" / ENGINE / "model.engine").is_file()
        repairs = next(
            (one.repairs for one in package.manifest.attempts[::-1] if one.verdict == package.proof.verdict), ()
        )
    mended = [one for one in repairs if one.startswith(("fitted", "versions", "expanded"))]
    return {
        "name": name,
        "outcome": ("repaired" if mended else "built") if is_built else "refused",
        "proof": package.proof.verdict,
        "repairs": repairs,
        "executed": shown.engines[ENGINE].executed,
        "reason": "" if is_built else shown.engines[ENGINE].message[:600],
    }


def raw(name: str) -> dict[str, Any]:
    """Exports a model by PyTorch alone, and says whether an engine is built of that."""
    import torch

    model, inputs, dims, profile = model_of(name)
    flat = coverage.flattened(model.eval(), list(inputs))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        how: dict[str, Any] = {"dynamic_axes": dims, "input_names": list(inputs), "opset_version": 18}
        torch.onnx.export(flat, tuple(inputs.values()), str(file), dynamo=False, **how)
        return answered(file, profile)


def answered(file: Path, ranges: Mapping[str, tuple[int, int, int]]) -> dict[str, Any]:
    """Parses and builds a file for ranges of its dims, and says what came of it."""
    from onnxwright.graph.reading import read_model
    from onnxwright.loaders.onnxfile import default_profile, signature_of
    from onnxwright.nvidia.backend import refusal
    from onnxwright.nvidia.orders import Settings
    from onnxwright.nvidia.profiles import shaped
    from onnxwright.stages.parsing import answer_of

    signature = signature_of(read_model(file))
    profile = default_profile(signature).replace({dim: one for dim, one in ranges.items() if dim in signature.dims})
    settings = Settings(profiles=(shaped(signature, profile),) if signature.dims else ())
    answer = answer_of(ENGINE, file, settings, file.with_suffix(".engine"))
    return {
        "parsed": answer.is_parsed,
        "built": answer.is_built,
        "reason": "" if answer.is_built else refusal(ENGINE, answer)[:400],
        "parse_seconds": answer.parse_seconds,
        "build_seconds": answer.build_seconds,
        "processor_seconds": answer.processor_seconds,
        "peak_bytes": answer.peak_bytes,
    }


def bert_base() -> dict[str, Any]:
    """Parses and builds a model of the size of BERT-base with random weights."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    model = BertModel(BertConfig()).eval()
    ids = torch.ones(2, 16, dtype=torch.int64)
    dims = {name: {0: "batch", 1: "sequence"} for name in ("input_ids", "attention_mask")}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        flat = coverage.flattened(model, list(dims))
        how: dict[str, Any] = {"dynamic_axes": dims, "input_names": list(dims), "opset_version": 18}
        torch.onnx.export(flat, (ids, ids), str(file), dynamo=False, **how)
        return answered(file, {"batch": (1, 8, 32), "sequence": (1, 128, 512)})


def told(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Prints what came of all, and beside what the exporter alone came to, and returns it."""
    counts = Counter(one["outcome"] for one in rows)
    exported = counts["built"] + counts["repaired"] + counts["refused"]
    built = counts["built"] + counts["repaired"]
    shown = [one for one in rows if one["outcome"] in {"built", "repaired", "refused"}]
    compared = [one["raw"]["raw"] for one in shown if "raw" in one]
    alone = sum(bool(one.get("built")) for one in compared)
    share = built / max(exported, 1)
    print(f"\n{built} of {exported} that are shown right become an engine ({share:.1%}); {dict(counts)}")
    print(f"of what PyTorch's exporter writes alone, {alone} of {len(compared)} do")
    return {"counts": counts, "built": built, "exported": exported, "raw_built": alone, "raw_of": len(compared)}


def main() -> None:
    """Prints a row for each model and a summary, and keeps both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="model types, or case:NAME; all, unless some are given")
    parser.add_argument("--sample", type=int, help="so many model types, drawn by the seed, beside all cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("--seconds", type=float, default=240.0, help="for each model")
    parser.add_argument("--repair-seconds", type=float, default=90.0, help="how long new attempts are begun")
    parser.add_argument("--bert-base", action="store_true", help="nothing but a model of the size of BERT-base")
    parser.add_argument("--out", default="tensorrt_coverage", help="what the file in results/ is called")
    given = parser.parse_args()
    coverage.load()
    coverage.STEPS["onnxwright"] = functools.partial(converted, repair_seconds=given.repair_seconds)
    coverage.STEPS["raw"] = raw
    types = coverage.names()
    drawn = sorted(random.Random(given.seed).sample(types, given.sample)) if given.sample else types
    if given.bert_base:
        large = bert_base()
        print(
            f"BERT-base: parsed in {large['parse_seconds']} s, built in {large['build_seconds']} s "
            f"({large['processor_seconds']} s of processor time), {large['peak_bytes'] / 1e9:.2f} GB at most"
        )
        keep("tensorrt_bert_base", {"engine": ENGINE, **large})
        return
    plan = coverage.Plan(given.seconds, given.workers)
    rows = coverage.rows_of(given.names or [*cases(), *drawn], ("onnxwright", "raw"), plan)
    found = told(rows)
    keep(
        given.out,
        {"engine": ENGINE, "sample": given.sample, "seed": given.seed, **found, "rows": rows},
    )


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    main()
