"""Weights that are no numbers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from onnxwright.errors import CheckpointError
from onnxwright.pytorch.modules import dense_parts


def check_weights(module: nn.Module) -> None:
    """Refuses weights that hold NaN, or no numbers at all.

    Raises:
        CheckpointError: naming them.
    """
    weights = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    empty = [name for name, weight in weights.items() if weight.is_meta or is_lazy(weight)]
    if empty:
        raise CheckpointError(f"weights: no values in {listed(empty)}. Load or initialize them first.")
    broken = [name for name, weight in weights.items() if _has_nan(weight)]
    if broken:
        raise CheckpointError(f"weights: NaN in {listed(broken)}. The checkpoint is damaged, or training has diverged.")


def _has_nan(weight: Tensor) -> bool:
    return any(bool(part.isnan().any()) for part in dense_parts(weight.detach()) if part.is_floating_point())


def listed(names: Sequence[str]) -> str:
    """Returns the first names, and how many more there are."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
