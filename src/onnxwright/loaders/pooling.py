"""The pooling, dense and normalization modules with which sentence-transformers turns token states into one vector."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onnxwright.errors import CheckpointError, SourceError, accepted
from onnxwright.tasks.embedding import HIDDEN_STATES, SENTENCE_EMBEDDING


class SentenceEmbedder(nn.Module):
    """A text encoder followed by the modules that make one vector of its token states."""

    def __init__(self, encoder: nn.Module, stages: list[nn.Module]):
        super().__init__()
        self.encoder = encoder
        self.stages = nn.ModuleList(stages)

    def forward(self, attention_mask: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        """Answers the token states and the sentence's vector."""
        states = self.encoder(attention_mask=attention_mask, **inputs)[0]
        vector = states
        for stage in self.stages:
            vector = stage(vector, attention_mask) if isinstance(stage, Pooling) else stage(vector)
        return {HIDDEN_STATES: states, SENTENCE_EMBEDDING: vector}


class Pooling(nn.Module):
    """Token states `[batch, sequence, hidden]` and a mask to one vector a row, by one or several modes side by side."""

    def __init__(self, modes: tuple[str, ...]):
        super().__init__()
        self.modes = modes

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pools; padded positions never count."""
        return torch.cat([_MODES[mode](states, mask) for mode in self.modes], dim=1)


class Normalize(nn.Module):
    """Scales each vector to length one."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Normalizes the last axis."""
        return nn.functional.normalize(vectors, p=2.0, dim=1)


class Dense(nn.Module):
    """A linear layer with an activation."""

    def __init__(self, linear: nn.Linear, activation: nn.Module):
        super().__init__()
        self.linear = linear
        self.activation = activation

    def forward(self, vectors: Tensor) -> Tensor:
        """Projects each vector."""
        out: Tensor = self.activation(self.linear(vectors))
        return out


def stages_of(folder: Path) -> list[nn.Module]:
    """Reads `modules.json`; without one, sentence-transformers' own default: the mean of the tokens.

    Raises:
        SourceError: for a module that can't be put into the graph.
    """
    listing = folder / "modules.json"
    if not listing.is_file():
        return [Pooling(("mean",))]
    stages = []
    for entry in json.loads(listing.read_text(encoding="utf-8")):
        kind = entry["type"].rpartition(".")[2]
        if kind != "Transformer":
            if kind not in _READERS:
                raise SourceError(
                    f"modules.json: module '{entry['type']}' is unknown; expected {accepted(kind, _READERS)}."
                )
            stages.append(_READERS[kind](folder / entry["path"]))
    if not any(isinstance(stage, Pooling) for stage in stages):
        raise SourceError("modules.json: no Pooling module; expected one that makes a vector of the token states.")
    return stages


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    return _sum(states, mask) / _count(mask, states)


def _mean_sqrt(states: Tensor, mask: Tensor) -> Tensor:
    return _sum(states, mask) / torch.sqrt(_count(mask, states))


def _weighted_mean(states: Tensor, mask: Tensor) -> Tensor:
    positions = torch.cumsum(torch.ones_like(mask), dim=1).to(states.dtype)
    weights = (mask.to(states.dtype) * positions).unsqueeze(-1)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def _max(states: Tensor, mask: Tensor) -> Tensor:
    return states.masked_fill(mask.unsqueeze(-1) == 0, -1e9).amax(1)


def _first(states: Tensor, mask: Tensor) -> Tensor:
    return states[:, 0]


def _last(states: Tensor, mask: Tensor) -> Tensor:
    positions = torch.cumsum(torch.ones_like(mask), dim=1) * mask
    index = positions.argmax(1)[:, None, None].expand(-1, 1, states.shape[2])
    return states.gather(1, index).squeeze(1)


def _sum(states: Tensor, mask: Tensor) -> Tensor:
    return (states * mask.unsqueeze(-1).to(states.dtype)).sum(1)


def _count(mask: Tensor, states: Tensor) -> Tensor:
    return mask.to(states.dtype).sum(1, keepdim=True).clamp(min=1e-9)


_MODES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _first,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len": _mean_sqrt,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def _read_pooling(folder: Path) -> nn.Module:
    config = _config(folder)
    named = config.get("pooling_mode")
    modes = tuple(mode for flag, mode in _FLAGS.items() if config.get(flag))
    if named:
        modes = tuple(named.split("+")) if isinstance(named, str) else tuple(named)
    unknown = [mode for mode in modes if mode not in _MODES]
    if unknown or not modes:
        raise SourceError(
            f"'{folder.name}/config.json': pooling mode {unknown or 'missing'}; expected {accepted('', _MODES)}."
        )
    return Pooling(modes)


def _read_normalize(folder: Path) -> nn.Module:
    return Normalize()


def _read_dense(folder: Path) -> nn.Module:
    config = _config(folder)
    linear = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    kind = config.get("activation_function", "torch.nn.modules.linear.Identity").rpartition(".")[2]
    if not hasattr(nn, kind):
        raise SourceError(f"'{folder.name}/config.json': activation '{kind}' is unknown; expected a class of torch.nn.")
    weights = {name.removeprefix("linear."): value for name, value in _weights(folder).items()}
    if weights.keys() != linear.state_dict().keys():
        raise CheckpointError(
            f"'{folder.name}': expected weights {', '.join(linear.state_dict())}, got {', '.join(weights)}."
        )
    linear.load_state_dict(weights)
    return Dense(linear, getattr(nn, kind)())


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        raise SourceError(f"'{folder.name}/config.json' is missing, but modules.json names it.")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _weights(folder: Path) -> dict[str, Tensor]:
    if (folder / "model.safetensors").is_file():
        from safetensors.torch import load_file

        return load_file(folder / "model.safetensors")
    if (folder / "pytorch_model.bin").is_file():
        loaded: dict[str, Tensor] = torch.load(folder / "pytorch_model.bin", weights_only=True, map_location="cpu")
        return loaded
    raise SourceError(f"'{folder.name}': no weights; expected model.safetensors or pytorch_model.bin.")


_READERS: dict[str, Callable[[Path], nn.Module]] = {
    "Pooling": _read_pooling,
    "Normalize": _read_normalize,
    "Dense": _read_dense,
}
