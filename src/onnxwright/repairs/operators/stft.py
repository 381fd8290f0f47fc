"""`stft` as windows of the signal times cosines and sines: exporters have none for complex answers.

The steps are those of PyTorch's `aten/src/ATen/native/SpectralOps.cpp`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from onnxwright.repairs.operators import Twin
from onnxwright.repairs.operators.fft import transformed
from onnxwright.repairs.operators.pairs import as_pair
from onnxwright.repairs.operators.rfft import half
from onnxwright.repairs.operators.unfold import windows


def _stft(
    input: Tensor,  # noqa: A002 - torch's name
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
) -> Any:
    signal = input[None] if input.dim() == 1 else input
    if center:
        signal = functional.pad(signal[:, None], (n_fft // 2, n_fft // 2), pad_mode)[:, 0]
    weights = spread(window, n_fft, win_length or n_fft, signal)
    frames = windows(signal, 1, n_fft, hop_length or n_fft // 4) * weights
    norm = "ortho" if normalized else None
    spectrum = transformed(as_pair(frames), -1, norm) if onesided is False else half(frames, -1, norm)
    spectrum = spectrum.transpose(1, 2)
    spectrum = spectrum[0] if input.dim() == 1 else spectrum
    return spectrum if return_complex else torch.stack([spectrum.real, spectrum.imag], -1)


def spread(window: Tensor | None, size: int, length: int, like: Tensor) -> Tensor:
    """Returns a window in the middle of so many places."""
    window = torch.ones(length, dtype=like.dtype, device=like.device) if window is None else window
    left = (size - length) // 2
    return functional.pad(window, (left, size - length - left)) if size > length else window


def _is_real(input: Any, n_fft: object, *_: object, **__: object) -> bool:  # noqa: A002 - torch's name
    return isinstance(input, Tensor) and input.is_floating_point() and type(n_fft) is int


TWIN = Twin("stft", ("torch.stft",), _stft, _is_real)
