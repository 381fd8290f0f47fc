"""Whether modules that pretend to quantize know their scales, which move them with each call, and which do quantize."""

from __future__ import annotations

from torch import nn

from onnxwright.errors import CheckpointError
from onnxwright.findings import Finding
from onnxwright.pytorch.fake_quantization import observing, unobserved

_MOST_TOLD = 3
_QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")


def check_quantization(module: nn.Module) -> tuple[Finding, ...]:
    """Says which observers are turned off for the conversion, and which layers no graph computes as they do.

    Raises:
        CheckpointError: where one has never seen a number, so that it has no scale to convert.
    """
    return (*_observers(module), *_kernels(module))


def _kernels(module: nn.Module) -> tuple[Finding, ...]:
    paths = [path for path, part in module.named_modules() if type(part).__module__.startswith(_QUANTIZED)]
    if not paths:
        return ()
    message = (
        f"{_named(paths)} computes by PyTorch's kernels for whole numbers, whose rounding no engine shares. Hand over "
        "the module as it was before `torch.ao.quantization.convert`, or before `quantize_dynamic`."
    )
    return (Finding("quantized-kernels", message),)


def _observers(module: nn.Module) -> tuple[Finding, ...]:
    paths = [path for path, _ in observing(module)]
    fresh = [path for path in unobserved(module) if path in paths]
    if fresh:
        raise CheckpointError(
            f"fake quantization: {_named(fresh)} never observed a number; expected a scale of each. Call the module "
            "on some data first, or load the weights that it was trained to, scales included."
        )
    if not paths:
        return ()
    message = (
        f"{_named(paths)} would move the scale with each call, in evaluation mode too; converted with the scales as "
        "they are. `module.apply(torch.ao.quantization.disable_observer)` says the same in PyTorch."
    )
    return (Finding("observers-off", message),)


def _named(paths: list[str]) -> str:
    named = ", ".join(f"'{path}'" for path in paths[:_MOST_TOLD])
    return f"{named} and {len(paths) - _MOST_TOLD} more" if len(paths) > _MOST_TOLD else named
