"""An `nn.Module` with example inputs."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from onnxwright import dtypes
from onnxwright.backends import Array
from onnxwright.environment import cores
from onnxwright.errors import CheckpointError, ForwardError, SignatureError, SourceError, accepted
from onnxwright.findings import Finding
from onnxwright.loaders.probe import Probe
from onnxwright.loaders.quantizing import check_quantization
from onnxwright.profile import Profile
from onnxwright.pytorch.holding import holding
from onnxwright.pytorch.modules import Pristine, TensorFunction, evaluation, skipped_outputs
from onnxwright.pytorch.session import PyTorchSession, to_array, to_tensor
from onnxwright.pytorch.uncompiled import as_written
from onnxwright.samples import Held, Meaning, Sampler, Tensors, meaning_of
from onnxwright.signature import Dim, Signature, TensorSpec
from onnxwright.source import Source
from onnxwright.tasks import INPUT_DIMS

Dims = Mapping[str, Mapping[int, str]]

DEFAULT_RANGES: Mapping[str, tuple[int, int, int]] = {"batch": (1, 8, 32), "sequence": (1, 128, 512)}
_PROBES = (3, 13, 5, 17, 7, 19, 11, 23)
_DIM_NAME = re.compile(r"[A-Za-z_]\w*")


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

    Without `dims`, axis 0 of all inputs is `batch` where they agree on its size and the module takes another one;
    inputs that Hugging Face text models share have their usual dims.

    Raises:
        SignatureError: when the example doesn't fit `forward` or `dims`.
        CheckpointError: when its weights hold NaN, or no values yet; or scales that nothing was observed for.
        ForwardError: when the module raises on the example.
    """
    if not isinstance(module, nn.Module):
        raise SourceError(f"source: expected an nn.Module, got {type(module).__name__}.")
    module = as_written(module)
    example = _arrays(by_name(module, example_inputs))
    check_weights(module)
    named = _checked(dims, example) if dims is not None else guess_dims(example)
    inputs = tuple(
        TensorSpec(
            key, array.dtype.name, tuple(named.get(key, {}).get(axis, size) for axis, size in enumerate(array.shape))
        )
        for key, array in example.items()
    )
    declared = Declared(inputs, example, {key: meaning_of(array, name=key) for key, array in example.items()})
    findings = check_quantization(module)
    with evaluation(module):
        if dims is None:
            declared = _without_refused_batch(module, declared)
        loaded = settle(module, declared, ranges or {}, name=name or type(module).__name__)
    return replace(loaded, findings=(*findings, *loaded.findings))


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


def by_name(module: nn.Module, example_inputs: Any) -> dict[str, Tensor]:
    """Names example inputs after the parameters of `forward`.

    Raises:
        SignatureError: when an input isn't a tensor or doesn't fit `forward`.
    """
    parameters = _parameters(module)
    if isinstance(example_inputs, (Tensor, np.ndarray)):
        example_inputs = (example_inputs,)
    if isinstance(example_inputs, Mapping):
        named = dict(example_inputs)
    elif isinstance(example_inputs, Sequence):
        positional = [name for name, parameter in parameters.items() if parameter.kind in _POSITIONAL]
        if len(example_inputs) > len(positional):
            raise SignatureError(f"example inputs: {len(example_inputs)} tensors for forward({', '.join(positional)}).")
        named = dict(zip(positional, example_inputs, strict=False))
    else:
        raise SignatureError(
            f"example inputs: expected a dict of name to tensor, got {type(example_inputs).__name__}. "
            "Pass for example {'x': torch.zeros(2, 16)}."
        )
    named = {name: value for name, value in named.items() if value is not None}
    _check_against_forward(named, parameters)
    return named


def guess_dims(example: Tensors) -> dict[str, dict[int, str]]:
    """Names the dims that nobody named: the usual ones of text inputs, else `batch` for a shared axis 0."""
    known = {
        name: dict(enumerate(INPUT_DIMS[name]))
        for name, array in example.items()
        if name in INPUT_DIMS and array.ndim == len(INPUT_DIMS[name])
    }
    leading = {array.shape[0] for array in example.values() if array.ndim}
    if len(leading) != 1:
        return known
    return {name: known.get(name, {0: "batch"}) for name, array in example.items() if array.ndim}


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


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


def _parameters(module: nn.Module) -> dict[str, inspect.Parameter]:
    parameters = _declared_parameters(module)
    kinds = {parameter.kind for parameter in parameters.values()}
    if kinds == {inspect.Parameter.VAR_POSITIONAL}:
        raise SignatureError(
            f"{type(module).__name__}: forward(*{', *'.join(parameters)}) names no input. "
            "Wrap the module in one whose forward has a named parameter for each tensor."
        )
    unnamed = [name for name, one in parameters.items() if one.kind is one.POSITIONAL_ONLY]
    if unnamed:
        raise SignatureError(f"forward takes '{unnamed[0]}' by position only; inputs go by name. Remove the '/'.")
    return parameters


def _declared_parameters(module: nn.Module) -> dict[str, inspect.Parameter]:
    """The parameters of `forward`; a module that was traced or compiled has them in a schema."""
    if not isinstance(module, torch.jit.ScriptModule):
        return dict(inspect.signature(module.forward).parameters)
    forward: Any = module.forward
    _, *arguments = forward.schema.arguments
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return {
        one.name: inspect.Parameter(
            one.name, kind, default=one.default_value if one.has_default_value() else inspect.Parameter.empty
        )
        for one in arguments
    }


def _check_against_forward(named: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> None:
    for name, value in named.items():
        _check_tensor(name, value)
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in named:
        if name not in parameters and not takes_any:
            raise SignatureError(
                f"example input '{name}': forward has no such argument; expected {accepted(name, parameters)}."
            )
    for name, parameter in parameters.items():
        is_needed = parameter.default is parameter.empty and parameter.kind in (*_POSITIONAL, parameter.KEYWORD_ONLY)
        if is_needed and name not in named:
            raise SignatureError(
                f"example inputs: forward needs '{name}', got {', '.join(named) or 'nothing'}. Add it."
            )
    if not named:
        raise SignatureError("example inputs: expected at least one tensor, got none.")


def _check_tensor(name: object, value: object) -> None:
    if not isinstance(name, str):
        raise SignatureError(f"example input {name!r}: expected the name of an argument of forward as its key.")
    if not isinstance(value, (Tensor, np.ndarray)):
        raise SignatureError(
            f"example input '{name}': expected a tensor, got {type(value).__name__}. "
            "Wrap a number with torch.tensor(...), or fix it with a module that calls this one."
        )
    dtype = dtypes.from_torch(value.dtype) if isinstance(value, Tensor) else value.dtype.name
    if not dtypes.is_known(dtype) or (isinstance(value, Tensor) and value.layout != torch.strided):
        kind = f"{value.layout} {dtype}" if isinstance(value, Tensor) else dtype
        raise SignatureError(
            f"example input '{name}': expected a dense tensor of numbers or bools, got {kind}. Convert it."
        )
    if 0 in value.shape:
        raise SignatureError(
            f"example input '{name}': has no elements (shape {list(value.shape)}). Give an example of a usual size."
        )


def _arrays(tensors: Mapping[str, Tensor | Array]) -> dict[str, Array]:
    return {name: to_array(value) if isinstance(value, Tensor) else np.array(value) for name, value in tensors.items()}


def _checked(dims: Dims, example: Tensors) -> dict[str, dict[int, str]]:
    if not isinstance(dims, Mapping):
        raise SignatureError(f"dims: expected {{input: {{axis: name}}}}, got {type(dims).__name__}.")
    named: dict[str, dict[int, str]] = {}
    sizes: dict[str, tuple[int, str]] = {}
    for name, axes in dims.items():
        if name not in example:
            raise SignatureError(f"dims: '{name}' is not an input; expected {accepted(str(name), example)}.")
        named[name] = _named_axes(name, axes, example[name].ndim)
        for axis, dim in named[name].items():
            size = example[name].shape[axis]
            other_size, other = sizes.setdefault(dim, (size, name))
            if other_size != size:
                raise SignatureError(
                    f"dim '{dim}': is {other_size} in '{other}' and {size} in '{name}'. "
                    "Give the two axes names of their own, or examples of one size."
                )
    return named


def _named_axes(name: str, axes: Any, count: int) -> dict[int, str]:
    if not isinstance(axes, Mapping):
        raise SignatureError(f"dims of '{name}': expected {{axis: name}}, got {axes!r}.")
    named: dict[int, str] = {}
    for axis, dim in axes.items():
        if not isinstance(axis, int) or not -count <= axis < count:
            raise SignatureError(f"dims of '{name}': there is no axis {axis!r}; the input has {count} axes.")
        if not isinstance(dim, str) or not _DIM_NAME.fullmatch(dim):
            raise SignatureError(
                f"dims of '{name}': axis {axis} can't be called {dim!r}; expected letters, digits and underscores."
            )
        if named.setdefault(axis % count, dim) != dim:
            raise SignatureError(f"dims of '{name}': axis {axis} is called both '{named[axis % count]}' and '{dim}'.")
    return named


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


def check_weights(module: nn.Module) -> None:
    """Refuses weights that hold NaN, or no numbers at all.

    Raises:
        CheckpointError: naming them.
    """
    weights = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    empty = [name for name, weight in weights.items() if weight.is_meta or is_lazy(weight)]
    if empty:
        raise CheckpointError(f"weights: no values in {listed(empty)}. Load or initialize them first.")
    broken = [name for name, weight in weights.items() if weight.is_floating_point() and torch.isnan(weight).any()]
    if broken:
        raise CheckpointError(f"weights: NaN in {listed(broken)}. The checkpoint is damaged, or training has diverged.")


def listed(names: Sequence[str]) -> str:
    """Returns the first names, and how many more there are."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


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
