"""Scales of products chosen by what the products then answer: for each activation, those with the least error.

Where a few channels of an activation are far larger than the others, one scale for all leaves the others few steps.
Dividing each channel by a number of its own, and multiplying the weights by it, moves the difference into the weights,
whose columns have scales of their own. The number is `peak ** alpha / weight_peak ** (1 - alpha)`: SmoothQuant (Xiao
and others, 2023, https://arxiv.org/abs/2211.10438, equation 4), here with the `alpha` that is best for each activation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from onnxwright.graph.precision.activations import Activation, Extent
from onnxwright.graph.precision.products import Product
from onnxwright.graph.precision.scales import Scale, quantized, restored

Array = np.ndarray[Any, np.dtype[Any]]

ALPHAS: Final = (0.35, 0.5, 0.65, 0.75, 0.85)
SHARES: Final = (0.9, 0.75)
"""Parts of the range that are tried in its place: what lies outside saturates, and the rest has finer steps."""
_LEAST: Final = 1e-5
_NEGLIGIBLE_GAIN: Final = 0.97
"""An error has to be smaller than that part of another's to be worth a node, or saturation."""

Span = tuple[float, float]
Calibrator = Callable[[Array], Span]
"""Which range the rows of an activation are given."""


@dataclass(frozen=True)
class Setting:
    """How one activation is quantized: its scale, and what each channel is divided by before, if anything."""

    scale: Scale
    balance: Array | None = None
    """float32[channels]"""


@dataclass(frozen=True)
class WeightsAlone:
    """An activation that stays as it is, beside weights that are rounded."""


def settings(
    wanted: Sequence[Product],
    seen: Mapping[str, Activation],
    *,
    is_symmetric: bool,
    alphas: Sequence[float] = (),
    calibrator: Calibrator | None = None,
) -> dict[str, Setting]:
    """Returns a setting for what goes into each product, by the name of the value.

    `alphas` are tried for balances. Without a calibrator, the range is that of the samples or a part of it, whichever
    errs least.
    """
    groups: dict[str, list[Product]] = {}
    for one in wanted:
        groups.setdefault(str(one.activation.name), []).append(one)
    return {name: _setting(_Group(seen[name], own, is_symmetric, calibrator), alphas) for name, own in groups.items()}


@dataclass(frozen=True)
class _Group:
    """An activation, and the products that it goes into."""

    seen: Activation
    products: Sequence[Product]
    is_symmetric: bool
    calibrator: Calibrator | None

    @property
    def are_matrices(self) -> bool:
        return all(one.node.op_type != "Conv" for one in self.products)

    def setting(self, alpha: float | None, share: float, extent: Extent) -> Setting:
        """The setting for an alpha, and a part of the range, of what reaches so far."""
        balance = None if alpha is None else self.balance(alpha, extent)
        if self.calibrator is not None:
            least, most = self.calibrator(self.seen.rows if balance is None else self.seen.rows / balance)
        elif balance is None:
            least, most = extent.least, extent.most
        else:
            most = float((extent.peaks / balance).max())
            least = max(-most, extent.least / float(balance.min()))
        return Setting(Scale.of(share * least, share * most, is_symmetric=self.is_symmetric), balance)

    def error(self, setting: Setting, answers: Sequence[Array]) -> float:
        """The squared error of all products on the rows."""
        rows = self.seen.rows if setting.balance is None else self.seen.rows / setting.balance
        rounded = setting.scale.rounded(rows)
        if not self.are_matrices:
            return float(np.square(rounded - rows).sum())
        weights = (rounded_weight(one, setting.balance) for one in self.products)
        return sum(
            float(np.square(rounded @ weight - answer).sum()) for weight, answer in zip(weights, answers, strict=True)
        )

    def answers(self) -> list[Array]:
        return [self.seen.rows @ matrix(one) for one in self.products] if self.are_matrices else []

    def balance(self, alpha: float, extent: Extent) -> Array:
        """What each channel is divided by."""
        peaks = np.maximum(extent.peaks, _LEAST)
        found = peaks**alpha / np.maximum(self.columns, _LEAST) ** (1 - alpha)
        # Only ratios count: around 1, neither the activation nor the weights leave the range of floats.
        return np.asarray(found / np.exp(np.log(found).mean()), np.float32)

    @functools.cached_property
    def columns(self) -> Array:
        """The largest weight of each channel."""
        return np.asarray(np.max([np.abs(matrix(one)).max(axis=1) for one in self.products], axis=0))


def _setting(group: _Group, alphas: Sequence[float]) -> Setting:
    """The setting that errs least on rows by which it wasn't made, made anew of all that was seen."""
    answers, part = group.answers(), group.seen.part

    def error(alpha: float | None, share: float) -> float:
        return group.error(group.setting(alpha, share, part), answers)

    alpha, share, least = None, 1.0, error(None, 1.0)
    for other in alphas if group.are_matrices else ():
        tried = error(other, 1.0)
        if tried < _NEGLIGIBLE_GAIN * least:
            alpha, least = other, tried
    for other in SHARES if group.calibrator is None else ():
        tried = error(alpha, other)
        if tried < _NEGLIGIBLE_GAIN * least:
            share, least = other, tried
    return group.setting(alpha, share, group.seen.extent)


def matrix(one: Product) -> Array:
    """Returns the weights of a matrix product as float32[in, out]."""
    tensor = one.weight.const_value
    assert tensor is not None, "products have weights of their own"
    array = np.asarray(tensor.numpy(), np.float32)
    return array if one.outer == 1 else array.T


def rounded_weight(one: Product, balance: Array | None) -> Array:
    """Returns the weights of a matrix product as they come back from int8, as float32[in, out]."""
    weight = matrix(one) if balance is None else matrix(one) * balance[:, None]
    whole, scale = quantized(weight, 1)
    return restored(whole, scale, 1)
