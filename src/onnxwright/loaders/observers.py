"""Whether modules that pretend to quantize know their scales, and which would move them with each call."""

from __future__ import annotations

from torch import nn

from onnxwright.errors import CheckpointError
from onnxwright.findings import Finding
from onnxwright.pytorch.fake_quantization import observing, unobserved

_MOST_TOLD = 3


def check_observers(module: nn.Module) -> tuple[Finding, ...]:
    """Says which observers are turned off for the conversion.

    Raises:
        CheckpointError: where one has never seen a number, so that it has no scale to convert.
    """
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
        f"{_named(paths)} would move the scale with each call, in evaluation mode too; converted with the scales as they "
        "are. `module.apply(torch.ao.quantization.disable_observer)` says the same in PyTorch."
    )
    return (Finding("observers-off", message),)


def _named(paths: list[str]) -> str:
    named = ", ".join(f"'{path}'" for path in paths[:_MOST_TOLD])
    return f"{named} and {len(paths) - _MOST_TOLD} more" if len(paths) > _MOST_TOLD else named
