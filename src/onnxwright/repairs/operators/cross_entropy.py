"""`cross_entropy` with `label_smoothing`, which one exporter refuses and another leaves out: by its documentation.

Of its loss, `1 - label_smoothing` is that of the labels, the rest the mean over all classes (Szegedy et al.,
"Rethinking the Inception Architecture for Computer Vision", 2016).
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from onnxwright.repairs.operators import Twin


def _smoothed(
    input: Tensor,  # noqa: A002 - torch's name
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    classes = 0 if input.dim() == 1 else 1
    count = input.shape[classes]
    plain = functools.partial(functional.cross_entropy, input, weight=weight, reduction=reduction)
    if target.is_floating_point():
        return plain(target * (1 - label_smoothing) + label_smoothing / count)
    scores = torch.log_softmax(input, classes)
    if weight is not None:
        scores = scores * weight.reshape([-1 if axis == classes else 1 for axis in range(input.dim())])
    is_counted = target != ignore_index
    smooth = torch.where(is_counted, -scores.sum(classes), 0.0)
    if reduction == "mean":
        weights = torch.ones_like(smooth) if weight is None else weight[torch.where(is_counted, target, 0).long()]
        smooth = smooth.sum() / torch.where(is_counted, weights, 0.0).sum()
    elif reduction == "sum":
        smooth = smooth.sum()
    return (1 - label_smoothing) * plain(target, ignore_index=ignore_index) + smooth * (label_smoothing / count)


def _is_smoothed(*args: Any, **kwargs: Any) -> bool:
    given = inspect.signature(_smoothed).bind(*args, **kwargs)
    given.apply_defaults()
    said = given.arguments
    return said["label_smoothing"] > 0 and said["size_average"] is None and said["reduce"] is None


TWIN = Twin("cross_entropy", ("torch.nn.functional.cross_entropy",), _smoothed, _is_smoothed, is_taken=True)
