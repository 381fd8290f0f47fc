"""A Hugging Face model folder, or the id of one on the hub."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from onnxwright.errors import CheckpointError, OnnxwrightError, SourceError, accepted
from onnxwright.findings import Finding
from onnxwright.loaders import module as modules
from onnxwright.loaders.pooling import SentenceEmbedder, stages_of
from onnxwright.modules import TensorFunction, evaluation
from onnxwright.samples import Mask, Meaning, Sampler, Segments, TextRows, Tokens
from onnxwright.signature import Signature, TensorSpec
from onnxwright.source import Source
from onnxwright.tasks import INPUT_DIMS, Task, task, tasks

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "pytorch_model.bin.index.json")
_DOWNLOADED = ("*.json", "*.txt", "*.model", "*.safetensors", "*.jinja", "*.py", "LICENSE*", "*/config.json")
_EXAMPLE_SIZES = {"batch": 2, "sequence": 13}


@dataclass(frozen=True)
class Wanted:
    """What a user says of a checkpoint: its task, texts to sample beside random tokens, and whether to run its code."""

    task: str = "auto"
    texts: Sequence[str] = ()
    is_code_trusted: bool = False


def load(folder: Path, ranges: Mapping[str, tuple[int, int, int]], wanted: Wanted, *, name: str) -> Source:
    """Loads a checkpoint whole, in float32, for a task that is found from its config.

    Raises:
        SourceError: when the folder isn't a model, a file in it is damaged, or it needs code of its own.
        CheckpointError: when weights are missing or left over.
    """
    body = folder / body_of(folder)
    config = _read_config(body, is_code_trusted=wanted.is_code_trusted)
    checkpoint = _choose(wanted, config, folder, body)
    _check_weight_files(body)
    with _quiet():
        model, report = _load_model(checkpoint, config, is_code_trusted=wanted.is_code_trusted)
    tokenizer = _load_tokenizer(body, is_code_trusted=wanted.is_code_trusted)
    chosen = checkpoint.task
    wrapped = SentenceEmbedder(model, stages_of(folder)) if chosen.name == EMBEDDING else model
    declared = _declare(model, config, chosen, tokenizer)
    with evaluation(wrapped):
        _check_shapes(report, body)
        findings = (*_check_missing(report, model, wrapped, declared), *_check_extra(report, model, checkpoint))
        loaded = modules.settle(wrapped, declared, ranges, name=name)
    return replace(
        loaded,
        sampler=replace(loaded.sampler, text=_text_rows(tokenizer, wanted.texts)),
        task=chosen.name,
        task_options=chosen.options(config.to_dict(), folder),
        folder=body,
        findings=(*loaded.findings, *findings),
        details={"architecture": type(model).__name__, "task": chosen.name},
    )


def download(hub_id: str) -> Path:
    """Fetches a model from the hub, or finds it in the cache; pickled weights only where there are no others.

    Raises:
        SourceError: when there is no such model, or no way to it.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=list(_DOWNLOADED)))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(hub_id, allow_patterns=[*_DOWNLOADED, *_PICKLED]))
    except Exception as problem:  # the hub client raises many types, for names, networks and rights
        raise SourceError(
            f"source '{hub_id}': no such file or folder, and not to be had as a hub id ({_first_lines(problem, 1)}). "
            "Check the name and the network, or give a folder, path/to/file.py:factory, or a .onnx file."
        ) from problem
    return folder


def _read_config(folder: Path, *, is_code_trusted: bool) -> Any:
    from transformers import AutoConfig

    file = folder / "config.json"
    if not file.is_file():
        what = "is empty" if not any(folder.iterdir()) else "has no config.json"
        raise SourceError(
            f"folder '{folder}' {what}; expected a Hugging Face model folder with config.json and weights."
        )
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise SourceError(f"'{file}' is not valid JSON: {problem}") from problem
    if "auto_map" in plain and not is_code_trusted:
        raise SourceError(
            f"'{folder}' needs Python code of its own (auto_map). Read it, then pass --trust-remote-code."
        )
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=is_code_trusted)
    except Exception as problem:  # configs are validated by code of each architecture
        raise SourceError(f"'{file}' can't be read by transformers: {problem}") from problem


def _choose(name: str, config: Any, folder: Path) -> Task:
    if name != "auto":
        return task(name)
    if (folder / "modules.json").is_file():
        return task("embedding")
    architectures = config.architectures or []
    for found in tasks().values():
        if architectures and found.fits(architectures[0], config.to_dict()):
            return found
    raise SourceError(
        f"'{folder}': no task is known for the architecture '{', '.join(architectures) or 'none given'}'; "
        f"pass --task with {accepted('', tasks())}."
    )


def _is_explicit(task_name: str, folder: Path) -> bool:
    return task_name != "auto" or (folder / "modules.json").is_file()


def _check_weight_files(folder: Path) -> None:
    from safetensors import SafetensorError, safe_open

    found = [file for pattern in _WEIGHTS for file in folder.glob(pattern)]
    if not found:
        raise SourceError(f"folder '{folder}' has no weights; expected model.safetensors or pytorch_model.bin.")
    for file in folder.glob("*.safetensors"):
        try:
            with safe_open(file, framework="np") as opened:
                opened.keys()
        except (SafetensorError, OSError) as problem:
            raise SourceError(f"'{file}' is damaged: {problem}. Fetch it again.") from problem


def _load_model(folder: Path, config: Any, chosen: Task, *, is_code_trusted: bool) -> tuple[nn.Module, dict[str, Any]]:
    import transformers

    if hasattr(config, "use_cache"):
        config.use_cache = False
    auto = getattr(transformers, chosen.auto_class)
    try:
        model, report = auto.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            weights_only=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=is_code_trusted,
        )
    except OnnxwrightError:
        raise
    except Exception as problem:  # from damaged pickles to unknown architectures, each with a type of its own
        raise SourceError(f"'{folder}' can't be loaded as {chosen.auto_class}: {_first_lines(problem)}") from problem
    return model, report


def _load_tokenizer(folder: Path, *, is_code_trusted: bool) -> Any | None:
    from transformers import AutoTokenizer

    if not any(folder.glob("tokenizer*")) and not any(folder.glob("vocab*")) and not any(folder.glob("*.model")):
        return None
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=is_code_trusted)
    except Exception as problem:  # tokenizers of every kind
        raise SourceError(f"the tokenizer in '{folder}' can't be loaded: {_first_lines(problem)}") from problem


def _declare(model: nn.Module, config: Any, chosen: Task, tokenizer: Any | None) -> modules.Declared:
    meanings = _meanings(model, config, tokenizer)
    inputs = tuple(TensorSpec(name, "int64", INPUT_DIMS[name]) for name in meanings)
    outputs = chosen.outputs()
    drawn = Sampler(Signature(inputs, ()), meanings).draw(_EXAMPLE_SIZES)
    return modules.Declared(inputs, drawn, meanings, outputs, {"sequence": _longest(config)})


def _meanings(model: nn.Module, config: Any, tokenizer: Any | None) -> dict[str, Meaning]:
    parameters = inspect.signature(model.forward).parameters
    text = config.get_text_config()
    known: dict[str, Meaning] = {
        "input_ids": Tokens("int64", text.vocab_size, getattr(text, "pad_token_id", None) or 0),
        "attention_mask": Mask("int64"),
    }
    types = getattr(text, "type_vocab_size", 0) or 0
    wanted = tokenizer.model_input_names if tokenizer is not None else ("token_type_ids",)
    if types > 1 and "token_type_ids" in wanted:
        known["token_type_ids"] = Segments("int64", types)
    return {name: meaning for name, meaning in known.items() if name in parameters}


def _longest(config: Any) -> int:
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return min(512, limit) if isinstance(limit, int) and limit > 0 else 512


def _check_report(
    report: Mapping[str, Any],
    model: nn.Module,
    wrapped: nn.Module,
    declared: modules.Declared,
    folder: Path,
    *,
    is_explicit: bool,
) -> list[Finding]:
    if report["mismatched_keys"]:
        listed = sorted(str(entry[0]) for entry in report["mismatched_keys"])
        raise CheckpointError(
            f"checkpoint '{folder.name}': weights of another shape than the config says: {_listed(listed)}."
        )
    findings = []
    missing = sorted(report["missing_keys"])
    used = _reaching(missing, model, wrapped, declared)
    if used:
        raise CheckpointError(
            f"checkpoint '{folder.name}': no weights for {_listed(used)}; the layers would be random. "
            "Choose the task that it was trained for with --task, or fetch the whole checkpoint."
        )
    if missing:
        findings.append(
            Finding("unused-weights", f"The checkpoint has no {_listed(missing)}; no output depends on them.")
        )
    extra = sorted(report["unexpected_keys"])
    if extra and not (is_explicit and _are_of_a_head(extra, model, folder)):
        raise CheckpointError(
            f"checkpoint '{folder.name}': {type(model).__name__} has no place for {_listed(extra)}. "
            "Choose the task that it was trained for with --task (embedding takes the body of a model with a head)."
        )
    if extra:
        findings.append(Finding("unread-weights", f"Left out, being of another head: {_listed(extra)}."))
    return findings


def _reaching(names: list[str], model: nn.Module, wrapped: nn.Module, declared: modules.Declared) -> list[str]:
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    asked = {name: weights[name] for name in names if name in weights and weights[name].is_floating_point()}
    if not asked:
        return []
    for weight in asked.values():
        weight.requires_grad_(requires_grad=True)
    tensors = [torch.from_numpy(np.array(array)) for array in declared.example.values()]
    function = TensorFunction(wrapped, tuple(declared.example), declared.outputs)
    total = torch.stack(
        [out.float().sum() for out in function(*tensors) if out.requires_grad] or [torch.zeros(())]
    ).sum()
    if not total.requires_grad:
        return []
    reached = torch.autograd.grad(total, list(asked.values()), allow_unused=True)
    return [name for name, gradient in zip(asked, reached, strict=True) if gradient is not None]


def _are_of_a_head(extra: list[str], model: nn.Module, folder: Path) -> bool:
    """Whether the checkpoint is one of a model with a head, all its body is read, and these lie outside the body."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    is_body = getattr(model, "base_model", model) is model
    return is_body and prefix != "." and _has_prefix(prefix, folder) and not any(k.startswith(prefix) for k in extra)


def _has_prefix(prefix: str, folder: Path) -> bool:
    from safetensors import safe_open

    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="np") as opened:
            if any(key.startswith(prefix) for key in opened.keys()):  # noqa: SIM118 - safe_open is no mapping
                return True
    return not any(folder.glob("*.safetensors"))


def _text_rows(tokenizer: Any | None, texts: Sequence[str] | None) -> TextRows | None:
    if tokenizer is None or tokenizer.pad_token is None:
        return None
    lines = texts or (Path(__file__).parents[1] / "corpus.txt").read_text(encoding="utf-8").splitlines()
    specials = tokenizer.num_special_tokens_to_add(pair=False)

    def rows(count: int, length: int, rng: np.random.Generator) -> Mapping[str, Any]:
        if length <= specials:
            return {}
        texts = [" ".join(rng.choice(lines, size=rng.integers(1, 2 + length // 8))) for _ in range(count)]
        encoded = tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="np")
        return dict(encoded)

    return rows


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _first_lines(problem: Exception) -> str:
    return " ".join(str(problem).strip().splitlines()[:3]) or type(problem).__name__
