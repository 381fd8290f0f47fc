"""What a proof of the largest sizes takes of memory, found without taking it.

The module runs on fake tensors, which have shapes and no numbers; the bytes of all that is alive at once are added up.
Where it can't run on fakes (numpy, a branch on a value), the inputs and the declared outputs are what is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from onnxwright.dtypes import to_numpy
from onnxwright.errors import ProfileError
from onnxwright.signature import Signature, TensorSpec
from onnxwright.source import Source
from onnxwright.words import in_bytes, in_sizes

_WIDER: Final = 2
"""The twin computes in types twice as wide."""


class Needs(NamedTuple):
    """The bytes that a proof needs beside what is loaded already."""

    call: int
    """What is alive at once in one call of the reference, without its weights."""
    weights: int
    candidates: int

    @property
    def total(self) -> int:
        """The call of the reference, or the wider one of its twin, and each candidate with weights of its own."""
        return _WIDER * self.call + self.candidates * (self.call + self.weights)


def needs(source: Source, sizes: Mapping[str, int], *, candidates: int) -> Needs:
    """Returns what a proof needs at the given sizes."""
    if source.module is None:
        assert source.graph is not None
        return Needs(_boundary_bytes(source.signature, sizes), source.graph.stat().st_size, candidates)
    weights = sum(weight.nbytes for weight in source.module.parameters())
    call = peak_of_call(source, sizes)
    return Needs(_boundary_bytes(source.signature, sizes) if call is None else call, weights, candidates)


def check(source: Source, *, candidates: int, available: int | None) -> None:
    """Refuses a profile whose most doesn't fit into the memory that is there, before anything is computed.

    Raises:
        ProfileError: with what is needed, what is there, and a range that fits.
    """
    if available is None or not source.profile:
        return
    most = source.profile.most
    needed = needs(source, most, candidates=candidates)
    if needed.total <= available:
        return
    raise ProfileError(
        f"profile: a proof at its most ({in_sizes(most)}) needs about {in_bytes(needed.total)} of memory, and "
        f"{in_bytes(available)} are free. {_remedy(source, needed, available)}"
    )


def peak_of_call(source: Source, sizes: Mapping[str, int]) -> int | None:
    """Returns the bytes alive at once while a module answers, weights left out; None where fakes can't tell."""
    import torch
    from torch._functorch import config
    from torch._subclasses.fake_tensor import FakeTensorMode

    from onnxwright.dtypes import to_torch
    from onnxwright.pytorch.live import LiveBytes
    from onnxwright.pytorch.modules import Pristine, TensorFunction, evaluation
    from onnxwright.watching.walking import unlogged

    assert source.module is not None
    signature = source.signature
    function = TensorFunction(source.module, signature.input_names, signature.output_names or None)
    pristine, live = Pristine(source.module), LiveBytes(source.module)
    # Else the address of a fake tensor is zero, and code that reads there ends the process.
    with config.patch(fake_tensor_allow_unsafe_data_ptr_access=False):
        fakes = FakeTensorMode(allow_non_fake_inputs=True)
    try:
        with evaluation(source.module), torch.no_grad(), unlogged(), fakes, live:
            inputs = [torch.empty(spec.resolve(sizes), dtype=to_torch(spec.dtype)) for spec in signature.inputs]
            function(*inputs)
    except (Exception, SystemExit):  # noqa: BLE001 - a user's forward may raise anything on tensors without numbers
        return None
    finally:
        pristine.restore()
    return live.peak


def _boundary_bytes(signature: Signature, sizes: Mapping[str, int]) -> int:
    """The bytes of all inputs and outputs; a dim that no input has is taken for one."""
    known = {**dict.fromkeys(_named(signature.outputs), 1), **sizes}
    tensors = (*signature.inputs, *signature.outputs)
    return sum(int(np.prod(spec.resolve(known), dtype=np.int64)) * to_numpy(spec.dtype).itemsize for spec in tensors)


def _named(specs: tuple[TensorSpec, ...]) -> list[str]:
    return [dim for spec in specs for dim in spec.shape if isinstance(dim, str)]


def _remedy(source: Source, needed: Needs, available: int) -> str:
    """Names the option that makes it fit: the batch, or else the dim with the greatest most, as small as it must be."""
    profile = source.profile
    dim = "batch" if "batch" in profile else max(profile, key=lambda one: profile[one].most)
    left = available - needed.candidates * needed.weights
    share = left / (needed.total - needed.candidates * needed.weights)
    least, usual, most = profile[dim]
    fits = int(most * share)
    if fits < max(least, 1):
        return "Free memory, or convert on a larger machine."
    span = (least, min(usual, fits), fits)
    given = " ".join(map(str, span)) if dim in ("batch", "sequence") else f"{dim}={':'.join(map(str, span))}"
    return f"Ask for less, as with --{dim if dim in ('batch', 'sequence') else 'dim'} {given}."
