"""PyTorch with what it rounds rounded otherwise, so that what is decided by rounding alone turns out otherwise, too.

The mean of equal numbers is each of them, but for the last digits, which depend on the order of the sum; whether one
is greater than the mean is a toss-up. Two right computations of one module answer otherwise there, by far more than
these digits. Here a sum, or a function that is no single operation of the processor, answers with an error drawn
within a few roundings, which is Monte Carlo arithmetic (D. S. Parker, "Monte Carlo Arithmetic", UCLA CSD-970002,
1997). Inputs and weights, what only moves them, and what IEEE 754 defines to the last bit stay as they are: where
inputs themselves are compared with a number, nothing turns out otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from onnxwright.pytorch.dispatching import OperatorMode

_ROUNDINGS: Final = 8.0
"""By so many times the distance of 1 from the next number an answer is off, at most, relative to its row's greatest."""
_SUMS: Final = (
    *("sum", "mean", "prod", "cumsum", "cumprod", "logsumexp", "logcumsumexp", "var", "var_mean", "std", "std_mean"),
    *("norm", "linalg_vector_norm", "native_layer_norm", "native_group_norm", "native_batch_norm", "_fused_rms_norm"),
    *("_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_softmax", "_log_softmax", "_cdist_forward"),
    *("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "linear", "convolution", "_convolution"),
    *("mkldnn_convolution", "mkldnn_linear", "mkldnn_rnn_layer", "_scaled_dot_product_flash_attention_for_cpu"),
    *("avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_embedding_bag", "index_add"),
    *("scatter_add", "scatter_reduce", "grid_sampler_2d", "grid_sampler_3d", "_fft_r2c", "_fft_c2r", "_fft_c2c"),
    *("upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d"),
)
_FUNCTIONS: Final = (
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "atan2"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sigmoid", "log_sigmoid_forward", "softplus", "gelu", "silu"),
    *("mish", "elu", "erf", "erfc", "erfinv", "pow", "rsqrt", "hypot", "lgamma", "digamma"),
)
_WHOLE: Final = {"aten::sum", "aten::mean", "aten::prod"}
"""Of these, one number alone is what it is."""
_INEXACT: Final = {f"aten::{name}{form}" for name in (*_SUMS, *_FUNCTIONS) for form in ("", "_")}
_STEPPING: Final = {
    f"aten::{name}{form}"
    for name in ("floor", "ceil", "round", "trunc", "frac", "sign", "heaviside", "remainder", "fmod", "floor_divide")
    for form in ("", "_")
}


class Jittered(OperatorMode):
    """Rounds otherwise while it is entered; `is_deciding` where something is decided by numbers that have fractions."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.is_deciding = False
        self._draw = torch.Generator().manual_seed(seed)

    def _operator(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        answer = func(*args, **kwargs)
        name = func._schema.name
        found = [one for one in tree_leaves(answer) if isinstance(one, Tensor)]
        if name in _INEXACT:
            is_exact = name in _WHOLE and found[0].numel() == args[0].numel()
            for one in () if is_exact else found:
                self._jitter(one)
        elif not self.is_deciding:
            is_given = any(isinstance(one, Tensor) and _has_fractions(one) for one in tree_leaves(args))
            is_step = name in _STEPPING or not all(map(_has_fractions, found))
            self.is_deciding = is_given and is_step
        return answer

    def _jitter(self, answer: Tensor) -> None:
        if not answer.numel() or not _has_fractions(answer):
            return
        numbers = torch.view_as_real(answer) if answer.is_complex() else answer
        greatest = numbers.abs()
        if numbers.dim():
            greatest = greatest.where(greatest.isfinite(), 0.0).amax(-1, keepdim=True)
        off = torch.rand(numbers.shape, generator=self._draw, dtype=torch.float64) * 2.0 - 1.0
        step = _ROUNDINGS * torch.finfo(numbers.dtype).eps
        numbers.add_((off.to(numbers.device) * step * greatest).to(numbers.dtype))


def _has_fractions(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()
