"""Checkpoints whose weights come quantized: unpacked into the numbers that their format defines, or refused.

Formats that quantize weights alone are read: GPTQ, AWQ, compressed-tensors and the int8 of bitsandbytes. A weight is
whole numbers `q`, and for a group of them a scale and a zero point; it stands for `scale * (q - zero)`, which float32
holds to the last digit where the scale has 11 bits, as float16 has. The layers compute with that in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from onnxwright.errors import CheckpointError, SourceError
from onnxwright.findings import Finding

_WORD: Final = 32
_WEIGHTS: Final = (".weight", ".qweight", ".weight_packed")
_STORED: Final = {"I8", "U8", "I32", "F8_E4M3", "F8_E5M2"}
"""The types of safetensors in which a weight is no plain number."""
_AWQ_ORDER: Final = (0, 4, 1, 5, 2, 6, 3, 7)
"""Where in a word of AWQ the columns lie, one after the other."""
_BITS: Final = (2, 4, 8)
_SAVE_PLAIN: Final = (
    "Load it with the library that made it, dequantize it there (`model.dequantize()`, where it has that), save it as "
    "float weights, and convert that folder."
)

Settings = Mapping[str, Any]
Parts = Mapping[str, Tensor]
"""The tensors of one layer, by the last part of their names."""


@dataclass(frozen=True)
class Unpacked:
    """The weights of a checkpoint in float, by name, and the layers that came quantized."""

    weights: dict[str, Tensor]
    layers: tuple[str, ...]
    told: str

    @property
    def finding(self) -> Finding:
        """Says what was done."""
        message = (
            f"{len(self.layers)} layers come quantized ({self.told}); they are computed in float32, with the numbers "
            "for which the stored ones stand."
        )
        return Finding("weights-dequantized", message)

    def check_layers(self, model: nn.Module) -> None:
        """Refuses layers other than `Linear`: they may hold their weights the other way round.

        Raises:
            SourceError: naming the layer.
        """
        prefix = f"{getattr(model, 'base_model_prefix', '')}."
        parts = dict(model.named_modules())
        for layer in self.layers:
            found = next(
                (parts[one] for one in (layer, layer.removeprefix(prefix), prefix + layer) if one in parts), None
            )
            if type(found) is not nn.Linear:
                kind = "no layer of the model" if found is None else f"a {type(found).__name__}"
                raise SourceError(
                    f"'{layer}' comes quantized ({self.told}) and is {kind}; expected a Linear. {_SAVE_PLAIN}"
                )


def unpack(folder: Path, settings: Settings) -> Unpacked | None:
    """Reads the weights of a checkpoint that comes quantized; None for one that doesn't.

    `settings` are those of config.json.

    Raises:
        SourceError: for a format that isn't read.
        CheckpointError: for tensors that don't fit together.
    """
    asked = settings.get("quantization_config")
    names = _names(folder)
    stored = next((name for name, kind in names.items() if _is_stored(name, kind)), None)
    if asked is None and stored is None:
        return None
    if asked is None:
        raise SourceError(
            f"'{folder}': '{stored}' is stored as {names[str(stored)]}, as quantized weights are, and config.json has "
            f"no quantization_config that says how; expected one, or float weights. {_SAVE_PLAIN}"
        )
    method = str(asked.get("quant_method", "bitsandbytes" if asked.get("load_in_8bit") else "unknown"))
    if method not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise SourceError(
            f"'{folder}' is quantized with {method} ('{stored or 'config.json'}'), which isn't read; of quantized "
            f"weights, {known} are. {_SAVE_PLAIN}"
        )
    layout, told = _FORMATS[method](folder, asked)
    return _unpacked(folder, layout, told)


@dataclass(frozen=True)
class _Layout:
    """How a format keeps a layer: the part that marks one, all that it has, and how they become its weight."""

    mark: str
    parts: tuple[str, ...]
    weight: Callable[[str, Parts], Tensor]


def _unpacked(folder: Path, layout: _Layout, told: str) -> Unpacked:
    weights: dict[str, Tensor] = {}
    layers: dict[str, dict[str, Tensor]] = {}
    marked = {name.removesuffix(f".{layout.mark}") for name in _names(folder) if name.endswith(f".{layout.mark}")}
    for name, tensor in _tensors(folder):
        layer, _, part = name.rpartition(".")
        if layer not in marked or part not in layout.parts:
            weights[name] = tensor.float() if tensor.is_floating_point() else tensor
            continue
        layers.setdefault(layer, {})[part] = tensor
        if len(layers[layer]) == len(layout.parts):
            weights[f"{layer}.weight"] = layout.weight(layer, layers.pop(layer))
    for layer in [one for one, parts in layers.items() if parts]:
        weights[f"{layer}.weight"] = layout.weight(layer, layers[layer])
    if not marked:
        raise CheckpointError(f"'{folder}': config.json says {told}, and no tensor ends in '.{layout.mark}'.")
    return Unpacked(weights, tuple(sorted(marked)), told)


def _gptq(folder: Path, asked: Settings) -> tuple[_Layout, str]:
    bits = _bits(folder, "gptq", asked, _BITS)
    is_shifted = asked.get("checkpoint_format", "gptq") != "gptq_v2"

    def weight(layer: str, parts: Parts) -> Tensor:
        stored, scales, zeros = _needed(layer, parts, "qweight", "scales", "qzeros")
        steps = _fields(stored.T, bits).T
        offsets = _fields(zeros, bits)
        if is_shifted and bool((offsets == 2**bits - 1).any()):
            raise CheckpointError(
                f"'{layer}.qzeros' holds {2**bits - 1}, one less than a zero point, in {bits} bits; programs disagree "
                "on whether that is zero. Save the checkpoint as gptq_v2, or with symmetric weights."
            )
        size = int(asked.get("group_size", -1))
        group = steps.shape[0] if size <= 0 else size
        ordered = parts.get("g_idx", torch.empty(0))
        groups = ordered.long() if ordered.numel() else torch.arange(steps.shape[0]) // group
        _fit(layer, steps, groups, scales, offsets)
        made: Tensor = (steps - offsets[groups] - int(is_shifted)) * scales.float()[groups]
        return made.T.contiguous()

    parts = ("qweight", "qzeros", "scales", "g_idx")
    return _Layout("qweight", parts, weight), f"gptq, {bits} bits"


def _awq(folder: Path, asked: Settings) -> tuple[_Layout, str]:
    bits = _bits(folder, "awq", asked, (4,))
    version = str(asked.get("version", "gemm")).lower()
    if version != "gemm":
        raise SourceError(f"'{folder}' is quantized with awq in the layout '{version}'; expected 'gemm'. {_SAVE_PLAIN}")

    def weight(layer: str, parts: Parts) -> Tensor:
        stored, scales, zeros = _needed(layer, parts, "qweight", "scales", "qzeros")
        steps, offsets = (_fields(one, bits, _AWQ_ORDER) for one in (stored, zeros))
        size = int(asked.get("group_size", -1))
        groups = torch.arange(steps.shape[0]) // (steps.shape[0] if size <= 0 else size)
        _fit(layer, steps, groups, scales, offsets)
        made: Tensor = (steps - offsets[groups]) * scales.float()[groups]
        return made.T.contiguous()

    return _Layout("qweight", ("qweight", "qzeros", "scales"), weight), f"awq, {bits} bits"


def _bitsandbytes(folder: Path, asked: Settings) -> tuple[_Layout, str]:
    if not asked.get("load_in_8bit"):
        raise SourceError(
            f"'{folder}' is quantized with bitsandbytes in 4 bits, which isn't read; 8 bits are. {_SAVE_PLAIN}"
        )

    def weight(layer: str, parts: Parts) -> Tensor:
        stored, greatest = _needed(layer, parts, "weight", "SCB")
        is_tiled = bool(parts.get("weight_format", torch.zeros(())).any())
        if stored.dtype != torch.int8 or greatest.shape != stored.shape[:1] or is_tiled:
            raise CheckpointError(
                f"'{layer}.weight' is {_told(stored)} beside an SCB of {_told(greatest)}; expected int8, row by row."
            )
        return stored.float() * (greatest.float() / 127)[:, None]

    return _Layout("SCB", ("weight", "SCB", "weight_format"), weight), "bitsandbytes, 8 bits"


def _compressed(folder: Path, asked: Settings) -> tuple[_Layout, str]:
    kept, groups = asked.get("format"), list((asked.get("config_groups") or {}).values())
    schemes = [one.get("weights") or {} for one in groups]
    told = f"'{folder}' is quantized with compressed-tensors"
    if any(one.get("input_activations") or one.get("output_activations") for one in groups):
        raise SourceError(f"{told}, activations included, which isn't read; weights alone are. {_SAVE_PLAIN}")
    if any(one.get("type", "int") != "int" or not one.get("symmetric", True) for one in schemes) or not schemes:
        raise SourceError(f"{told} in another type than symmetric whole numbers, which isn't read. {_SAVE_PLAIN}")
    if kept not in _COMPRESSED or len({one.get("num_bits") for one in schemes}) > 1:
        raise SourceError(
            f"{told} in the format '{kept}'; expected {', '.join(_COMPRESSED)}, of one width. {_SAVE_PLAIN}"
        )
    bits = int(schemes[0].get("num_bits", 8))
    if kept == "pack-quantized" and bits not in _BITS:
        raise SourceError(f"{told} in {bits} bits; expected {_listed(_BITS)}. {_SAVE_PLAIN}")

    def weight(layer: str, parts: Parts) -> Tensor:
        if kept == "pack-quantized":
            stored, scale, shape = _needed(layer, parts, "weight_packed", "weight_scale", "weight_shape")
            steps = _fields(stored, bits)[:, : int(shape[1])] - 2 ** (bits - 1)
        else:
            steps, scale = _needed(layer, parts, "weight", "weight_scale")
        rows, columns = steps.shape
        scale = scale.float().reshape(1, 1) if scale.numel() == 1 else scale.float()
        is_fitting = scale.dim() == 2 and scale.shape[0] in (1, rows) and columns % scale.shape[1] == 0
        if not is_fitting or "weight_g_idx" in parts:
            raise CheckpointError(
                f"'{layer}.weight_scale' is {_told(scale)}, which doesn't fit a weight of {_told(steps)}."
            )
        made: Tensor = steps * scale.repeat_interleave(columns // scale.shape[1], 1)
        return made

    mark, parts = _COMPRESSED[kept]
    return _Layout(mark, parts, weight), f"compressed-tensors, {bits} bits"


_COMPRESSED: Final = {
    "pack-quantized": ("weight_packed", ("weight_packed", "weight_scale", "weight_shape", "weight_g_idx")),
    "int-quantized": ("weight_scale", ("weight", "weight_scale")),
    "naive-quantized": ("weight_scale", ("weight", "weight_scale")),
}
_FORMATS: Final[dict[str, Callable[[Path, Settings], tuple[_Layout, str]]]] = {
    "gptq": _gptq,
    "awq": _awq,
    "compressed-tensors": _compressed,
    "bitsandbytes": _bitsandbytes,
}


def _fields(words: Tensor, bits: int, order: tuple[int, ...] | None = None) -> Tensor:
    """The unsigned numbers of so many bits in the words of a row, the least significant first, or in another order."""
    count = _WORD // bits
    shifts = torch.arange(count, dtype=torch.int32) if order is None else torch.tensor(order, dtype=torch.int32)
    found: Tensor = (words.to(torch.int32)[..., None] >> (shifts * bits)) & (2**bits - 1)
    return found.reshape(*words.shape[:-1], -1)


def _fit(layer: str, steps: Tensor, groups: Tensor, scales: Tensor, offsets: Tensor) -> None:
    is_fitting = scales.shape == offsets.shape and scales.shape[1] == steps.shape[1] and len(groups) == len(steps)
    if not is_fitting or int(groups.max()) >= len(scales) or int(groups.min()) < 0:
        raise CheckpointError(
            f"'{layer}': scales of {_told(scales)} and zero points of {_told(offsets)} don't fit a weight of "
            f"{_told(steps)} in {int(groups.max()) + 1} groups. Fetch the config.json that belongs to these weights."
        )


def _needed(layer: str, parts: Parts, *names: str) -> list[Tensor]:
    missing = [name for name in names if name not in parts]
    if missing:
        raise CheckpointError(f"'{layer}' comes quantized, and has no '{missing[0]}'. Fetch the whole checkpoint.")
    return [parts[name] for name in names]


def _bits(folder: Path, method: str, asked: Settings, known: tuple[int, ...]) -> int:
    bits = asked.get("bits", asked.get("w_bit"))
    if bits not in known:
        raise SourceError(
            f"'{folder}' is quantized with {method} in {bits} bits; expected {_listed(known)}. {_SAVE_PLAIN}"
        )
    return int(bits)


def _listed(numbers: tuple[int, ...]) -> str:
    return " or ".join(map(str, numbers))


def _told(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _is_stored(name: str, kind: str) -> bool:
    return name.endswith(_WEIGHTS) and kind in _STORED


def _names(folder: Path) -> dict[str, str]:
    """The names of all tensors, with the types in which they are stored."""
    from safetensors import safe_open

    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            found |= {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118 - no mapping
    return found


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                yield name, opened.get_tensor(name)
