"""Which architectures convert: a tiny random model of every config class that transformers maps to a model.

Nothing is picked by hand and no architecture is named: configs are shrunk by what their numbers are called, inputs come
from what `forward` takes. A model that PyTorch itself can't build or run from that is left out, and told. Each
conversion runs in a process of its own, for `--seconds` at the most; a row says its route and repairs, what was proven
of the profile, and how long it took. `--sample N` takes so many, drawn by `--seed`.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from record import keep

TEXT = {"batch": (1, 2, 8), "sequence": (1, 16, 128)}
IMAGES = {"batch": (1, 2, 4)}
SMALL = (
    (r"(num_.*layers|n_layers?|.*_layers|num_.*blocks|.*depth)$", 2),
    (r"(num_.*heads|n_heads?|.*_heads|.*attention_heads)$", 2),
    (r".*(experts_per_tok|top_?k).*", 2),
    (r"(num_.*experts|n_routed_experts|num_local_experts)$", 4),
    (r".*token_id$", 3),
    (r"head_dim$", 16),
    (r".*(intermediate|ffn|d_ff|inner|hidden_dim).*", 48),
    (r"(.*hidden_size|d_model|.*dim|n_embd|.*width|.*embed_size|.*embedding_size)$", 32),
    (r".*vocab_size$", 99),
    (r".*(max_position|n_positions|max_seq|max_length|n_ctx).*", 160),
    (r"image_size$", 32),
    (r".*patch_size$", 8),
)
GENTLE = tuple(rule for rule in SMALL if re.match(r".*(layers|vocab|position|token)", rule[0]))
LARGEST = 60_000_000
IDS = ("input_ids", "decoder_input_ids")


def names() -> list[str]:
    """Returns the model types that transformers maps to a base model."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return sorted(MODEL_MAPPING_NAMES)


def shrink(config: Any, rules: Any, depth: int = 0) -> None:
    """Makes the numbers of a config small by what they are called; those of the configs in it too."""
    for key, value in list(vars(config).items()):
        if hasattr(value, "to_dict") and depth < 3:
            shrink(value, rules, depth + 1)
        if type(value) is not int or value <= 0:
            continue
        small = next((size for pattern, size in rules if re.fullmatch(pattern, key)), value)
        try:
            setattr(config, key, min(value, small))
        except (AttributeError, NotImplementedError, ValueError):
            continue
    for key in ("use_cache", "return_dict"):
        if hasattr(config, key):
            setattr(config, key, key == "return_dict")


def made(name: str) -> Any:
    """Returns a tiny random model of a type, and example inputs that it answers.

    Raises:
        ValueError: when none can be built and run.
    """
    problems = []
    for rules in (SMALL, GENTLE):
        try:
            return built(name, rules)
        except Exception as refusal:  # noqa: BLE001 - a config that doesn't fit raises anything
            problems.append(f"{type(refusal).__name__}: {refusal}")
    raise ValueError(problems[0])


def built(name: str, rules: Any) -> Any:
    """Returns a model with a config that was shrunk by rules, and inputs that it has answered.

    Raises:
        Exception: whatever a config that doesn't fit makes the model raise.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(name)
    shrink(config, rules)
    torch.manual_seed(0)
    with torch.device("meta"):
        size = sum(weight.numel() for weight in AutoModel.from_config(config).parameters())
    if size > LARGEST:
        raise ValueError(f"has {size} weights however it is shrunk")
    model = AutoModel.from_config(config).eval()
    inputs = example(model, config)
    with torch.no_grad():
        model(**inputs)
    return model, inputs


def example(model: Any, config: Any) -> dict[str, Any]:
    """Returns inputs by the names that `forward` takes."""
    import inspect

    import torch

    taken = inspect.signature(model.forward).parameters
    main = getattr(model, "main_input_name", "input_ids")
    draw = torch.Generator().manual_seed(0)
    inputs: dict[str, Any] = {}
    if main == "pixel_values":
        size = getattr(config, "image_size", 32)
        sides = size if isinstance(size, (list, tuple)) else (size, size)
        inputs[main] = torch.randn(2, getattr(config, "num_channels", 3), *sides, generator=draw)
        return inputs
    if main != "input_ids":
        raise ValueError(f"takes {main}")
    text = config if getattr(config, "vocab_size", None) else config.get_text_config()
    vocabulary: int = text.vocab_size
    for key in IDS:
        if key in taken and (key == main or getattr(config, "is_encoder_decoder", False)):
            inputs[key] = torch.randint(5, vocabulary, (2, 16), generator=draw)
    if "attention_mask" in taken:
        inputs["attention_mask"] = torch.ones(2, 16, dtype=torch.int64)
    return inputs


def one(name: str) -> dict[str, Any]:
    """Converts one architecture and returns its row."""
    import onnxwright as ow

    try:
        model, inputs = made(name)
    except ValueError as refusal:
        return {"name": name, "outcome": "not runnable", "reason": str(refusal)[:200]}
    is_text = "input_ids" in inputs
    axes = {0: "batch", 1: "sequence"} if is_text else {0: "batch"}
    begun = time.perf_counter()
    options: dict[str, Any] = {"measure": False, "proof": "quick", "engine": "onnxruntime", "repair_seconds": 90.0}
    with tempfile.TemporaryDirectory() as folder:
        try:
            package = ow.convert(
                model,
                Path(folder) / "out",
                example_inputs=inputs,
                dims=dict.fromkeys(inputs, axes),
                profile=TEXT if is_text else IMAGES,
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
    parser.add_argument("--sample", type=int, help="so many types, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300.0, help="for each type")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one)))
        return
    known = names()
    chosen = sorted(random.Random(given.seed).sample(known, given.sample)) if given.sample else known
    rows = []
    for name in chosen:
        rows.append(row(name, given.seconds))
        told = rows[-1].get("approach") or " ".join(str(rows[-1].get("reason", "")).split())[:160]
        print(f"{name:28} {rows[-1]['outcome']:12} {rows[-1].get('seconds', 0.0):5.0f} s  {told}", flush=True)
    counts = Counter(one["outcome"] for one in rows)
    runnable = len(rows) - counts["not runnable"]
    print(f"{counts['proven']} of {runnable} that PyTorch runs are proven on the whole profile; {dict(counts)}")
    keep("coverage", {"sample": given.sample, "seed": given.seed, "of": len(known), "rows": rows, "counts": counts})


if __name__ == "__main__":
    main()
