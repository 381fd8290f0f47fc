"""`istft` as products with cosines and sines, whose overlapping parts are added up: exporters have none.

The steps are those of PyTorch's `aten/src/ATen/native/SpectralOps.cpp`; a signal that is asked for has to be covered.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.irfft import is_pair, whole
from onnxwright.repairs.operators.pairs import Pair
from onnxwright.repairs.operators.stft import spread


def _istft(
    input: Pair,  # noqa: A002 - torch's name
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: Any = None,
) -> Tensor:
    spectrum = input[None] if input.dim() == 2 else input
    weights = spread(window, n_fft, win_length or n_fft, spectrum.real)[:, None]
    frames = whole(spectrum, n_fft, 1, "ortho" if normalized else None) * weights
    shape = torch.eye(n_fft, dtype=frames.dtype, device=frames.device)[:, None]
    added, covered = (
        functional.conv_transpose1d(one, shape, stride=hop_length or n_fft // 4)[:, 0]
        for one in (frames, torch.ones_like(frames) * weights**2)
    )
    begin = n_fft // 2 if center else 0
    end = begin + length if length is not None else added.shape[1] - begin
    signal = (added / covered)[:, begin:end]
    return signal[0] if input.dim() == 2 else signal


def _is_half(input: Any, n_fft: object, *args: object, onesided: bool | None = None, **_: object) -> bool:  # noqa: A002
    return is_pair(input) and type(n_fft) is int and onesided is not False


TWIN = Twin("istft", ("torch.istft",), _istft, _is_half, counts=lambda *_, **__: True)
