"""The pooling, dense and normalization modules with which sentence-transformers turns token states into one vector."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from onnxwright.errors import CheckpointError, SourceError, accepted
from onnxwright.loaders.checkpoint import refusal_of_pickle
from onnxwright.settings import read_json, read_settings
from onnxwright.tasks import MASK
from onnxwright.tasks.embedding import HIDDEN_STATES, SENTENCE_EMBEDDING

_LISTING: Final = "modules.json"
_BODY: Final = "Transformer"
_Layer = TypeVar("_Layer", bound=nn.Module)


class SentenceEmbedder(nn.Module):
    """A text encoder followed by the modules that make one vector of its token states."""

    def __init__(self, encoder: nn.Module, stages: list[nn.Module]):
        super().__init__()
        self.encoder = encoder
        self.stages = nn.ModuleList(stages)

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Answers the token states and the sentence's vector; every token counts where the encoder takes no mask."""
        states = self.encoder(**inputs)[0]
        mask = inputs[MASK] if MASK in inputs else torch.ones(states.shape[:2], dtype=torch.int64, device=states.device)
        vector = states
        for stage in self.stages:
            vector = stage(vector, mask) if isinstance(stage, Pooling) else stage(vector)
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


def is_sentence_embedder(folder: Path) -> bool:
    """Whether a folder was saved by sentence-transformers."""
    return (folder / _LISTING).is_file()


def body_of(folder: Path) -> str:
    """Returns where in a folder the encoder itself lies: older ones keep it in a folder of its own."""
    bodies = [entry["path"] for entry in _entries(folder) if _kind(entry) == _BODY]
    return bodies[0] if bodies else ""


def stages_of(folder: Path) -> list[nn.Module]:
    """Reads `modules.json`; without one, sentence-transformers' own default: the mean of the tokens.

    Raises:
        SourceError: for a module that can't be put into the graph.
        CheckpointError: when the weights of a module don't fit it.
    """
    if not is_sentence_embedder(folder):
        return [Pooling(("mean",))]
    stages = []
    for entry in _entries(folder):
        kind = _kind(entry)
        if kind == _BODY:
            continue
        if kind not in _READERS:
            raise SourceError(f"{_LISTING}: module '{entry['type']}' is unknown; expected {accepted(kind, _READERS)}.")
        stages.append(_READERS[kind](folder / entry["path"]))
    if not stages or not isinstance(stages[0], Pooling):
        raise SourceError(f"{_LISTING}: expected a Pooling module next to the Transformer.")
    return stages


def _entries(folder: Path) -> list[dict[str, str]]:
    entries = read_json(folder / _LISTING)
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(
        isinstance(one, dict) and {"type", "path"} <= one.keys() for one in entries
    ):
        raise SourceError(f"'{folder / _LISTING}': expected a list of modules, each with a type and a path.")
    for entry in entries:
        if not (folder / entry["path"]).resolve().is_relative_to(folder.resolve()):
            raise SourceError(f"'{folder / _LISTING}': path '{entry['path']}' leads out of the folder.")
    return entries


def _kind(entry: Mapping[str, str]) -> str:
    return entry["type"].rpartition(".")[2]


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


def _first(states: Tensor, _: Tensor) -> Tensor:
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
_DEFAULT_MODE = "mean"
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
    modes = _named_modes(config.get("pooling_mode")) or [
        mode for flag, mode in _FLAGS.items() if config.get(flag, mode == _DEFAULT_MODE)
    ]
    unknown = [mode for mode in modes if mode not in _MODES]
    if unknown or not modes:
        raise SourceError(
            f"'{folder.name}/config.json': pooling mode {', '.join(unknown) or 'missing'}; "
            f"expected {accepted('', _MODES)}."
        )
    prompts = read_settings(folder.parent / "config_sentence_transformers.json")
    if not config.get("include_prompt", True) and prompts.get("default_prompt_name"):
        raise SourceError(
            f"'{folder.name}/config.json': leaves the prompt out of the vector, which no graph can: it doesn't know "
            "where the prompt ends. Take default_prompt_name out of config_sentence_transformers.json."
        )
    return Pooling(tuple(mode for mode in _MODES if mode in modes))


def _named_modes(named: Any) -> list[str]:
    listed = named.split("+") if isinstance(named, str) else named or []
    return [str(mode).lower().removesuffix("_tokens") for mode in listed]


def _read_normalize(_: Path) -> nn.Module:
    return Normalize()


def _read_dropout(_: Path) -> nn.Module:
    return nn.Identity()


def _read_layer_norm(folder: Path) -> nn.Module:
    return _filled(nn.LayerNorm(_config(folder)["dimension"]), folder, "norm.")


def _read_dense(folder: Path) -> nn.Module:
    config = _config(folder)
    places = {config.get(key, SENTENCE_EMBEDDING) for key in ("module_input_name", "module_output_name")}
    if places != {SENTENCE_EMBEDDING}:
        raise SourceError(
            f"'{folder.name}/config.json': works on {', '.join(sorted(places))}; expected the vector only."
        )
    kind = config.get("activation_function", "torch.nn.modules.linear.Identity").rpartition(".")[2]
    if kind != nn.Identity.__name__ and kind not in nn.modules.activation.__all__:
        raise SourceError(
            f"'{folder.name}/config.json': activation '{kind}' is unknown; expected an activation of torch.nn."
        )
    linear = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    return Dense(_filled(linear, folder, "linear."), getattr(nn, kind)())


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        raise SourceError(f"'{folder.name}/config.json' is missing, but {_LISTING} names it.")
    return read_settings(file)


def _filled(layer: _Layer, folder: Path, prefix: str) -> _Layer:
    expected = {f"{prefix}{name}": list(weight.shape) for name, weight in layer.state_dict().items()}
    weights = _weights(folder)
    found = {name: list(weight.shape) for name, weight in weights.items()}
    if found != expected:
        raise CheckpointError(f"'{folder.name}': expected weights {_shapes(expected)}, got {_shapes(found)}.")
    layer.load_state_dict({name.removeprefix(prefix): weight.float() for name, weight in weights.items()})
    return layer


def _shapes(weights: Mapping[str, list[int]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in sorted(weights.items())) or "none"


def _weights(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    whole, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    try:
        if whole.is_file():
            return load_file(whole)
        if pickled.is_file():
            loaded: dict[str, Tensor] = torch.load(pickled, weights_only=True, map_location="cpu")
            return loaded
    except pickle.UnpicklingError as problem:
        raise refusal_of_pickle(problem, folder) from problem
    except (SafetensorError, RuntimeError, EOFError, OSError) as problem:
        raise SourceError(f"the weights in '{folder}' can't be read: {problem}") from problem
    raise SourceError(f"'{folder.name}': no weights; expected model.safetensors or pytorch_model.bin.")


_READERS: dict[str, Callable[[Path], nn.Module]] = {
    "Pooling": _read_pooling,
    "Normalize": _read_normalize,
    "Dense": _read_dense,
    "Dropout": _read_dropout,
    "LayerNorm": _read_layer_norm,
}
