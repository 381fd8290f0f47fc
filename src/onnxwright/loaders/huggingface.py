"""A Hugging Face model folder, or the id of one on the hub."""

from __future__ import annotations

import contextlib
import inspect
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from onnxwright.errors import SourceError, accepted
from onnxwright.loaders import checkpoint
from onnxwright.loaders import module as modules
from onnxwright.loaders.pooling import SentenceEmbedder, body_of, is_sentence_embedder, stages_of
from onnxwright.loaders.quantized import Unpacked, unpack
from onnxwright.loaders.texts import text_rows
from onnxwright.loaders.weights import check_weights
from onnxwright.pytorch.modules import evaluation
from onnxwright.samples import Mask, Meaning, Sampler, Segments, Tensors, TextRows, Tokens
from onnxwright.settings import read_settings
from onnxwright.signature import Signature, TensorSpec
from onnxwright.source import Source
from onnxwright.tasks import INPUT_DIMS, Task, task, tasks
from onnxwright.tasks.embedding import SENTENCE_EMBEDDING
from onnxwright.text import built_in

_DOWNLOADED: Final = ("*.json", "*.txt", "*.model", "*.safetensors", "*.jinja", "*.py", "LICENSE*")
_EXAMPLE_SIZES: Final = {"batch": 2, "sequence": 13}
_LONGEST: Final = 512
_SEGMENTS: Final = 2


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
    chosen = _choose(wanted.task, config, folder)
    checkpoint.check_files(body)
    unpacked = unpack(body, read_settings(body / "config.json"))
    with _quiet():
        model, report = _load_model(body, config, chosen, unpacked, is_code_trusted=wanted.is_code_trusted)
    tokenizer = _load_tokenizer(body, is_code_trusted=wanted.is_code_trusted)
    wrapped = SentenceEmbedder(model, stages_of(folder)) if SENTENCE_EMBEDDING in chosen.outputs() else model
    declared = _declare(model, config, chosen, tokenizer)
    is_explicit = wanted.task != "auto" or is_sentence_embedder(folder)
    is_head_left_out = is_explicit and type(model).__name__ not in (config.architectures or [])
    with evaluation(wrapped):
        check_weights(wrapped)
        findings = checkpoint.check(report, wrapped, declared, model=model, is_head_left_out=is_head_left_out)
        loaded = modules.settle(wrapped, declared, ranges, name=name)
    return replace(
        loaded,
        sampler=replace(loaded.sampler, text=_text_rows(tokenizer, wanted.texts)),
        task=chosen.name,
        task_options=chosen.options(config.to_dict(), folder),
        folder=body,
        findings=(*loaded.findings, *findings, *((unpacked.finding,) if unpacked is not None else ())),
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
            folder = Path(snapshot_download(hub_id, allow_patterns=[*_DOWNLOADED, *checkpoint.PICKLED]))
    except Exception as problem:  # the hub client raises many types, for names, networks and rights
        raise SourceError(
            f"source '{hub_id}': no such file or folder, and no model could be fetched by that hub id "
            f"({_first_lines(problem, 1)}). "
            "Check the name and the network, or give a folder, path/to/file.py:factory, or a .onnx file."
        ) from problem
    return folder


def _read_config(folder: Path, *, is_code_trusted: bool) -> Any:
    from transformers import CONFIG_MAPPING, AutoConfig

    file = folder / "config.json"
    if not file.is_file():
        what = "has no config.json" if any(folder.iterdir()) else "is empty"
        raise SourceError(
            f"folder '{folder}' {what}; expected a Hugging Face model folder with config.json and weights."
        )
    settings = read_settings(file)
    if "auto_map" in settings and settings.get("model_type") not in CONFIG_MAPPING and not is_code_trusted:
        raise SourceError(
            f"'{folder}' needs Python code of its own (auto_map). Read it, then pass --trust-remote-code."
        )
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=is_code_trusted)
    except Exception as problem:  # configs are validated by code of each architecture
        raise SourceError(f"'{file}' can't be read by transformers: {_first_lines(problem)}") from problem
    config.use_cache = False
    config.return_dict = True
    return config


def _choose(name: str, config: Any, folder: Path) -> Task:
    if name != "auto":
        return task(name)
    if is_sentence_embedder(folder):
        return task("embedding")
    architectures = config.architectures or []
    for found in tasks().values():
        if architectures and found.fits(architectures[0], config.to_dict()):
            return found
    raise SourceError(
        f"'{folder}': no task is known for the architecture '{', '.join(architectures) or 'none given'}'; "
        f"pass --task with {accepted('', tasks())}."
    )


def _load_model(
    folder: Path, config: Any, chosen: Task, unpacked: Unpacked | None, *, is_code_trusted: bool
) -> tuple[nn.Module, dict[str, Any]]:
    auto = _auto_class(config, chosen)
    given: dict[str, Any] = {"pretrained_model_name_or_path": folder}
    if unpacked is not None:
        del config.quantization_config
        given = {"pretrained_model_name_or_path": None, "state_dict": unpacked.weights}
    try:
        made = auto if unpacked is None else _class_of(auto, config, is_code_trusted=is_code_trusted)
        model, report = made.from_pretrained(
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            weights_only=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=is_code_trusted,
            local_files_only=True,
            **given,
        )
    except pickle.UnpicklingError as problem:
        raise checkpoint.refusal_of_pickle(problem, folder) from problem
    except Exception as problem:  # from unknown architectures to missing files, each with a type of its own
        raise SourceError(f"'{folder}' can't be loaded by {auto.__name__}: {_first_lines(problem)}") from problem
    if unpacked is not None:
        unpacked.check_layers(model)
    return model, report


def _class_of(auto: Any, config: Any, *, is_code_trusted: bool) -> Any:
    """The class that an auto class makes; only it takes weights from memory."""
    with torch.device("meta"):
        return type(auto.from_config(config, trust_remote_code=is_code_trusted))


def _auto_class(config: Any, chosen: Task) -> Any:
    import transformers

    # Of an encoder-decoder, `AutoModel` is the whole; a text's vector is what its encoder makes of it.
    is_encoding = SENTENCE_EMBEDDING in chosen.outputs()
    if is_encoding and type(config) in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING:
        return transformers.AutoModelForTextEncoding
    return getattr(transformers, chosen.auto_class)


def _load_tokenizer(folder: Path, *, is_code_trusted: bool) -> Any | None:
    from transformers import AutoTokenizer

    if not any(folder.glob("tokenizer*")) and not any(folder.glob("vocab*")) and not any(folder.glob("*.model")):
        return None
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=is_code_trusted, local_files_only=True)
    except Exception as problem:  # tokenizers of every kind
        raise SourceError(f"the tokenizer in '{folder}' can't be loaded: {_first_lines(problem)}") from problem


def _declare(model: nn.Module, config: Any, chosen: Task, tokenizer: Any | None) -> modules.Declared:
    meanings = _meanings(model, config, tokenizer)
    inputs = tuple(TensorSpec(name, "int64", INPUT_DIMS[name]) for name in meanings)
    drawn = Sampler(Signature(inputs, ()), meanings).draw(_EXAMPLE_SIZES)
    return modules.Declared(inputs, drawn, meanings, chosen.outputs(), {"sequence": _longest(config)})


def _meanings(model: nn.Module, config: Any, tokenizer: Any | None) -> dict[str, Meaning]:
    parameters = inspect.signature(model.forward).parameters
    text = config.get_text_config()
    vocabulary = getattr(text, "vocab_size", None)
    if "input_ids" not in parameters or not vocabulary:
        raise SourceError(
            f"{type(model).__name__} takes {', '.join(parameters)}: not a text model that takes token ids. "
            "Give it with example inputs, as path/to/file.py:factory."
        )
    known: dict[str, Meaning] = {
        "input_ids": Tokens("int64", vocabulary, getattr(text, "pad_token_id", None) or 0),
        "attention_mask": Mask("int64"),
    }
    types = _token_types(text, tokenizer)
    if types > 1:
        known["token_type_ids"] = Segments("int64", types)
    return {name: meaning for name, meaning in known.items() if name in parameters}


def _token_types(text: Any, tokenizer: Any | None) -> int:
    declared: int | None = getattr(text, "type_vocab_size", None)
    if tokenizer is None:
        return declared or 0
    is_wanted = "token_type_ids" in tokenizer.model_input_names
    return (_SEGMENTS if declared is None else declared) if is_wanted else 0


def _longest(config: Any) -> int:
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return min(_LONGEST, limit) if isinstance(limit, int) and limit > 0 else _LONGEST


def _text_rows(tokenizer: Any | None, texts: Sequence[str]) -> TextRows | None:
    if tokenizer is None or tokenizer.pad_token is None:
        return None

    def encode(texts: list[str], length: int) -> Tensors:
        return dict(tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="np"))

    return text_rows(texts or built_in(), tokenizer.num_special_tokens_to_add(pair=False), encode)


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


def _first_lines(problem: Exception, count: int = 3) -> str:
    return " ".join(str(problem).strip().splitlines()[:count]) or type(problem).__name__
