"""Ten ordinary architectures, tiny and with random weights. A case is `module, example_inputs, dims`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor, nn

Case = tuple[nn.Module, dict[str, Tensor], dict[str, dict[int, str]]]

_WIDTH: dict[str, int] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 37,
    "vocab_size": 90,
    "max_position_embeddings": 600,
}
_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", _WIDTH),
    "roberta": ("Roberta", {**_WIDTH, "pad_token_id": 1}),
    "distilbert": (
        "DistilBert",
        {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 37, "vocab_size": 90, "max_position_embeddings": 600},
    ),
    "mpnet": ("MPNet", {**_WIDTH, "pad_token_id": 1}),
    "deberta-v2": (
        "DebertaV2",
        {**_WIDTH, "relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"]},
    ),
    "modernbert": (
        "ModernBert",
        {**_WIDTH, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "cls_token_id": 2, "sep_token_id": 1},
    ),
    "electra": ("Electra", {**_WIDTH, "embedding_size": 16}),
    "albert": ("Albert", {**_WIDTH, "embedding_size": 16}),
    "llama": ("Llama", {**_WIDTH, "num_key_value_heads": 1, "use_cache": False}),
    "gpt2": (
        "GPT2",
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 90, "n_positions": 600, "use_cache": False},
    ),
}
_MASKED = {"input_ids": {0: "batch", 1: "sequence"}, "attention_mask": {0: "batch", 1: "sequence"}}


def _case(kind: str, settings: dict[str, Any]) -> Case:
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**settings)
    module = getattr(transformers, f"{kind}Model")(config)
    ids = torch.randint(3, 90, (2, 16))
    ids[0, 0], ids[1, -1] = 0, 89
    return module, {"input_ids": ids, "attention_mask": torch.ones(2, 16, dtype=torch.int64)}, _MASKED


def _maker(kind: str, settings: dict[str, Any]) -> Callable[[], Case]:
    return lambda: _case(kind, settings)


ORDINARY: dict[str, Callable[[], Case]] = {name: _maker(*kind) for name, kind in _KINDS.items()}
