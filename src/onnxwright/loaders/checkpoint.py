"""Whether the weights of a checkpoint are those of the model: all of them, of the right shapes, and no others."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from onnxwright.errors import CheckpointError, SourceError
from onnxwright.findings import Finding
from onnxwright.loaders.module import Declared
from onnxwright.loaders.weights import listed
from onnxwright.pytorch.modules import TensorFunction
from onnxwright.pytorch.session import to_tensor

PICKLED: Final = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
_WEIGHTS: Final = ("*.safetensors", "*.safetensors.index.json", *PICKLED)


def check_files(folder: Path) -> None:
    """Refuses a folder without weights, and files of weights whose table of contents is damaged.

    Raises:
        SourceError: naming the file.
    """
    from safetensors import SafetensorError, safe_open

    if not any(file for pattern in _WEIGHTS for file in folder.glob(pattern)):
        raise SourceError(f"folder '{folder}' has no weights; expected model.safetensors or pytorch_model.bin.")
    for file in folder.glob("*.safetensors"):
        try:
            with safe_open(file, framework="np") as opened:
                opened.keys()
        except (SafetensorError, OSError) as problem:
            raise SourceError(f"'{file}' is damaged: {problem}. Fetch it again.") from problem


def refusal_of_pickle(problem: pickle.UnpicklingError, folder: Path) -> SourceError:
    """Tells what torch refuses to read; its own words advise to run the code."""
    named = re.search(r"GLOBAL (\S+)", str(problem))
    what = f"they hold '{named[1]}', code that would run when they are read" if named else "they are damaged"
    return SourceError(
        f"the pickled weights in '{folder}' are not plain tensors: {what}. "
        "Fetch them again, or have whoever made them save them as safetensors."
    )


def check(
    report: Mapping[str, Any], wrapped: nn.Module, declared: Declared, *, model: nn.Module, is_head_left_out: bool
) -> tuple[Finding, ...]:
    """Holds what transformers reports of loading a model against what the outputs need.

    `model` is the part of `wrapped` that the checkpoint fills. With `is_head_left_out`, weights of parts that
    `model` doesn't have are left out too.

    Raises:
        CheckpointError: when weights that an output depends on are missing or of another shape, or some are left over.
    """
    _check_shapes(report["mismatched_keys"])
    missing, extra = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    used = _reaching(missing, model, wrapped, declared)
    if used:
        raise CheckpointError(
            f"checkpoint: no weights for {listed(used)}; the layers would be random. "
            "Choose the task that it was trained for with --task, or fetch the whole checkpoint."
        )
    if extra and not (is_head_left_out and _are_of_other_parts(extra, model)):
        raise CheckpointError(
            f"checkpoint: {type(model).__name__} has no place for {listed(extra)}. "
            "Choose the task that it was trained for with --task (embedding takes the body of a model with a head)."
        )
    findings = []
    if missing:
        told = f"The checkpoint has no {listed(missing)}; no output depends on them."
        findings.append(Finding("unused-weights", told))
    if extra:
        findings.append(Finding("unread-weights", f"Left out, being of another head: {listed(extra)}."))
    return tuple(findings)


def _check_shapes(mismatched: Iterable[Sequence[Any]]) -> None:
    told = sorted(f"{name} {list(got)} instead of {list(expected)}" for name, got, expected in mismatched)
    if told:
        raise CheckpointError(
            f"checkpoint: weights of another shape than config.json says: {listed(told)}. "
            "Fetch the config.json that belongs to these weights."
        )


def _reaching(names: Sequence[str], model: nn.Module, wrapped: nn.Module, declared: Declared) -> list[str]:
    """Returns those of the named weights that an output depends on; all of them where the model can't be run."""
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    asked = {name: weights[name] for name in names if name in weights and weights[name].is_floating_point()}
    if not asked:
        return []
    before = {name: weight.requires_grad for name, weight in asked.items()}
    for weight in asked.values():
        weight.requires_grad_()
    try:
        outputs = [out for out in _answer(wrapped, declared) if out.requires_grad]
        if not outputs:
            return []
        total = torch.stack([out.float().sum() for out in outputs]).sum()
        reached: Sequence[torch.Tensor | None] = torch.autograd.grad(total, list(asked.values()), allow_unused=True)
    except Exception:  # noqa: BLE001 - a model's forward may raise anything
        return list(asked)
    finally:
        for name, weight in asked.items():
            weight.requires_grad_(before[name])
    return [name for name, gradient in zip(asked, reached, strict=True) if gradient is not None]


def _answer(wrapped: nn.Module, declared: Declared) -> tuple[torch.Tensor, ...]:
    function = TensorFunction(wrapped, tuple(declared.example), declared.outputs)
    answered: tuple[torch.Tensor, ...] = function(*map(to_tensor, declared.example.values()))
    return answered


def _are_of_other_parts(names: Iterable[str], model: nn.Module) -> bool:
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    parts = dict(model.named_children())
    return not any(name.removeprefix(prefix).partition(".")[0] in parts for name in names)
