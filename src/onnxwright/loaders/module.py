"""An `nn.Module` with example inputs."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import torch
from torch import nn

from onnxwright import dtypes
from onnxwright.backends import Array
from onnxwright.counting import counting
from onnxwright.environment import cores
from onnxwright.errors import ForwardError, SourceError
from onnxwright.findings import Finding
from onnxwright.loaders.bfloat16 import in_float32
from onnxwright.loaders.declaring import Dims, arrays, called, checked, guess_dims
from onnxwright.loaders.probe import Probe
from onnxwright.loaders.quantizing import check_quantization
from onnxwright.loaders.weights import check_weights
from onnxwright.profile import Profile
from onnxwright.pytorch.devices import on_device
from onnxwright.pytorch.holding import holding
from onnxwright.pytorch.modules import Pristine, TensorFunction, evaluation, skipped_outputs
from onnxwright.pytorch.session import PyTorchSession, to_tensor
from onnxwright.pytorch.uncompiled import as_module
from onnxwright.samples import Held, Meaning, Sampler, Tensors, meaning_of
from onnxwright.signature import Dim, Signature, TensorSpec
from onnxwright.source import Source

DEFAULT_RANGES: Mapping[str, tuple[int, int, int]] = {"batch": (1, 8, 32), "sequence": (1, 128, 512)}
_PROBES = (3, 13, 5, 17, 7, 19, 11, 23)


@dataclass(frozen=True)
class Declared:
    """What the caller says of a module: its inputs by example, and what is known beyond the example."""

    inputs: tuple[TensorSpec, ...]
    example: Tensors
    meanings: Mapping[str, Meaning]
    outputs: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)


def load(
    module: nn.Module,
    example_inputs: Any,
    dims: Dims | None = None,
    ranges: Mapping[str, tuple[int, int, int]] | None = None,
    *,
    name: str | None = None,
) -> Source:
    """Makes a source of a module and example inputs: a mapping of input name to tensor, or tensors by position.

    A module on a GPU is copied from there. Without `dims`, axis 0 of all inputs is `batch` where they agree on its size
    and the module takes another one; inputs that Hugging Face text models share have their usual dims.

    Raises:
        SignatureError: when the example doesn't fit `forward` or `dims`.
        CheckpointError: when its weights hold NaN, or no values yet; or scales that nothing was observed for.
        ForwardError: when the module raises on the example.
    """
    module = as_module(module)
    if not isinstance(module, nn.Module):
        raise SourceError(f"source: expected an nn.Module, got {type(module).__name__}.")
    name = name or type(module).__name__
    check_weights(module)
    module, tensors = called(module, example_inputs)
    example = arrays(tensors)
    module, example, widened = in_float32(on_device(module, "cpu"), example)
    named = checked(dims, example) if dims is not None else guess_dims(example)
    inputs = tuple(
        TensorSpec(
            key, array.dtype.name, tuple(named.get(key, {}).get(axis, size) for axis, size in enumerate(array.shape))
        )
        for key, array in example.items()
    )
    meanings = {key: meaning_of(array, name=key) for key, array in example.items()} | counting(inputs, example)
    declared = Declared(inputs, example, meanings)
    findings = check_quantization(module)
    with evaluation(module):
        if dims is None:
            declared = _without_refused_batch(module, declared)
        loaded = settle(module, declared, ranges or {}, name=name)
    return replace(loaded, findings=(*widened, *findings, *loaded.findings))


def settle(module: nn.Module, declared: Declared, ranges: Mapping[str, tuple[int, int, int]], **about: Any) -> Source:
    """Runs the module at a few sizes to learn its outputs and default ranges, and returns the source.

    Raises:
        ProfileError: for a range of a dim that the model doesn't have.
        ForwardError: when the module raises at the example's own sizes.
    """
    example_sizes = Signature(declared.inputs, ()).bind(declared.example)
    default = Profile({dim: _default_range(dim, size, declared.limits) for dim, size in example_sizes.items()})
    wanted = default.replace(ranges)
    answer, findings = _first_answer(module, declared)
    held = _held(module, declared, answer)
    if held:
        module, declared = holding(module, {name: declared.example[name] for name in held}), _with_held(declared, held)
        findings += tuple(Finding("values-held", f"Input '{name}' is held at the example's values.") for name in held)
    probe = _probe(module, declared, answer)
    shapes = [_shapes(answer)]
    sizes = [example_sizes]
    for tried in _probe_sizes(example_sizes, wanted):
        answered = probe.try_sizes(tried)
        if answered is not None:
            sizes.append(tried)
            shapes.append(_shapes(answered))
    signature = Signature(declared.inputs, tuple(_output_specs(sizes, shapes)))
    profile = probe.accepted(wanted, sizes[-1], given=ranges)
    findings += tuple(_narrowings(probe, wanted, profile, sizes[-1]))
    sampler = Sampler(signature, declared.meanings, given=(declared.example,))
    return Source(
        sampler=sampler,
        profile=profile,
        traced=sizes[-1],
        module=module,
        findings=findings,
        is_whole=not declared.outputs,
        **about,
    )


def _held(module: nn.Module, declared: Declared, answer: Tensors) -> Sequence[str]:
    """Names the inputs without which the module refuses values drawn at the example's own sizes: as few as will do.

    These are whole numbers of fixed sizes, which describe other inputs (the grid of an image).
    """
    sizes = Signature(declared.inputs, ()).bind(declared.example)

    def is_taken(held: Sequence[str]) -> bool:
        return _probe(module, _with_held(declared, held), answer).try_sizes(sizes) is not None

    if is_taken(()):
        return ()
    candidates = [
        spec.name
        for spec in declared.inputs
        if not dtypes.is_float(spec.dtype) and all(isinstance(dim, int) for dim in spec.shape)
    ]
    choices = [*((name,) for name in candidates), tuple(candidates)]
    return next(filter(is_taken, choices), ())


def _session(module: nn.Module, declared: Declared) -> PyTorchSession:
    outputs = tuple(TensorSpec(name, "", ()) for name in declared.outputs)
    return PyTorchSession(module, Signature(declared.inputs, outputs), threads=cores())


def _probe(module: nn.Module, declared: Declared, first: Tensors | None = None) -> Probe:
    """Asks a module, and takes for a refusal what isn't of the kind of its `first` answer."""
    outputs = tuple(TensorSpec(name, array.dtype.name, array.shape) for name, array in (first or {}).items())
    signature = Signature(declared.inputs, outputs)
    session = PyTorchSession(module, signature, threads=cores(), is_whole=not declared.outputs)

    def run(feeds: Tensors) -> dict[str, Array]:
        try:
            answered = session.run(feeds)
        finally:
            session.restore()
        signature.check_answer(answered)
        return answered

    return Probe(run, Sampler(Signature(declared.inputs, ()), declared.meanings))


def _with_held(declared: Declared, names: Collection[str]) -> Declared:
    """What is declared, with inputs held at the values of the example."""
    values = {name: tuple(declared.example[name].ravel().tolist()) for name in names}
    inputs = tuple(msgspec.structs.replace(spec, values=values.get(spec.name)) for spec in declared.inputs)
    held = {name: Held(declared.example[name].dtype.name, values[name]) for name in names}
    return replace(declared, inputs=inputs, meanings={**declared.meanings, **held})


def _first_answer(module: nn.Module, declared: Declared) -> tuple[dict[str, Array], tuple[Finding, ...]]:
    session = _session(module, declared)
    try:
        answered = session.run(declared.example)
    except ForwardError as problem:
        raise ForwardError(
            f"the module can't be run on its example inputs: {str(problem).rstrip('.')}. "
            "Mend forward, or the example inputs."
        ) from problem
    session.restore()
    return answered, () if declared.outputs else _skipped(module, declared)


def _narrowings(probe: Probe, wanted: Profile, profile: Profile, sizes: Mapping[str, int]) -> Iterator[Finding]:
    """Says of each default range that the module doesn't take as a whole where it ends, and why."""
    for dim, (least, _, most) in profile.items():
        for end, beyond, asked in ((least, least - 1, wanted[dim].least), (most, most + 1, wanted[dim].most)):
            if end != asked:
                why = probe.refusal({**sizes, dim: beyond}) or "together with usual sizes of the other dims"
                told = f"Dim '{dim}': the default range ends at {end} and not at {asked}, since the module refuses"
                yield Finding("reference-refuses-size", f"{told} {beyond}: {why}")


def _skipped(module: nn.Module, declared: Declared) -> tuple[Finding, ...]:
    """Calls the module once more, since a session answers tensors only."""
    pristine = Pristine(module)
    function = TensorFunction(module, tuple(declared.example))
    with torch.no_grad():
        skipped = skipped_outputs(function.answer([to_tensor(array) for array in declared.example.values()]))
    pristine.restore()
    told = "is left out, being of type {}; a graph answers tensors only."
    return tuple(Finding("skipped-output", f"Output '{name}' {told.format(kind)}") for name, kind in skipped.items())


def _without_refused_batch(module: nn.Module, declared: Declared) -> Declared:
    sizes = Signature(declared.inputs, ()).bind(declared.example)
    probe = _probe(module, declared)
    if "batch" not in sizes or probe.try_sizes(sizes) is None:
        return declared
    if any(
        probe.try_sizes({**sizes, "batch": other}) is not None for other in (sizes["batch"] + 1, sizes["batch"] * 2)
    ):
        return declared
    fixed = tuple(
        TensorSpec(spec.name, spec.dtype, tuple(sizes["batch"] if dim == "batch" else dim for dim in spec.shape))
        for spec in declared.inputs
    )
    return Declared(fixed, declared.example, declared.meanings, declared.outputs, declared.limits)


def _default_range(dim: str, size: int, limits: Mapping[str, int]) -> tuple[int, int, int]:
    least, usual, most = DEFAULT_RANGES.get(dim, (1, size, 2 * size))
    limit = limits.get(dim, max(most, size))
    return min(least, size), min(usual, limit, max(most, size)), min(max(most, size), limit)


def _probe_sizes(example: Mapping[str, int], profile: Profile) -> Iterator[dict[str, int]]:
    """Sizes that are distinct and larger than one: first far from the example, last as near to it as can be."""
    if not example:
        return
    primes = itertools.cycle(_PROBES)
    yield {dim: _within(next(primes), profile[dim]) for dim in example}
    yield {dim: _within(size + 2 * place + 1, profile[dim]) for place, (dim, size) in enumerate(example.items())}
    for dim, size in example.items():
        yield {**example, dim: _within(size + 1, profile[dim])}
    yield _distinct(example, profile)


def _distinct(example: Mapping[str, int], profile: Profile) -> dict[str, int]:
    chosen: dict[str, int] = {}
    for dim, size in example.items():
        least, usual, most = profile[dim]
        candidates = [one for one in (size, *_PROBES, least + 1, usual) if one > 1 and least <= one <= most]
        chosen[dim] = next((one for one in candidates if one not in chosen.values()), _within(size, profile[dim]))
    return chosen


def _within(size: int, sizes: tuple[int, int, int]) -> int:
    return max(sizes[0], min(size, sizes[2]))


def _shapes(answered: Mapping[str, Array]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (array.dtype.name, array.shape) for name, array in answered.items()}


def _output_specs(
    sizes: Sequence[Mapping[str, int]], shapes: Sequence[Mapping[str, tuple[str, tuple[int, ...]]]]
) -> Iterator[TensorSpec]:
    for name, (dtype, shape) in shapes[0].items():
        seen = [found[name][1] for found in shapes if name in found and len(found[name][1]) == len(shape)]
        axes = (_axis(f"{name}_{axis}", sizes, [s[axis] for s in seen]) for axis in range(len(shape)))
        yield TensorSpec(name, dtype, tuple(axes))


def _axis(fallback: str, sizes: Sequence[Mapping[str, int]], seen: Sequence[int]) -> Dim:
    if len(seen) != len(sizes):
        return fallback
    if len(set(seen)) == 1:
        return seen[0]
    matching = [dim for dim in sizes[0] if [size[dim] for size in sizes] == list(seen)]
    return matching[0] if matching else fallback
