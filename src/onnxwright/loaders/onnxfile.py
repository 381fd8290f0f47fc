"""An `.onnx` file: the graph itself is the reference."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import structs

from onnxwright import dtypes
from onnxwright.counting import counting
from onnxwright.environment import cores
from onnxwright.errors import ForwardError, SourceError
from onnxwright.files import is_inside, places
from onnxwright.given import GivenSession
from onnxwright.loaders.probe import Probe
from onnxwright.profile import Profile
from onnxwright.samples import Bools, Floats, Integers, Mask, Meaning, Sampler
from onnxwright.signature import Dim, Signature, TensorSpec
from onnxwright.source import Source

if TYPE_CHECKING:
    import onnx
    import onnx_ir

_DEFAULT_RANGE = (1, 8, 32)
_UNBOUNDED = 2
_TRIED = (31, 7, 3)
"""The largest whole numbers that are tried for an input of which nothing is known."""
_WHOLE = {"uint8": (0, 255), "int8": (-128, 127)}
"""Types of which all numbers are drawn."""
_PASS_THROUGH = {"Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Clip"}


def load(file: Path, ranges: Mapping[str, tuple[int, int, int]]) -> Source:
    """Reads the signature of an ONNX file; dims without a name get one from their tensor and axis.

    Raises:
        SourceError: when the file is not a valid ONNX model, or its external data is missing or outside its folder.
        ForwardError: when the graph can't be run, or refuses every size that is tried.
    """
    model = read(file)
    signature = signature_of(model)
    default = default_profile(signature)
    wanted = default.replace(ranges)
    meanings = {str(value.name): _meaning(value) for value in model.graph.inputs if value.name in signature.input_names}
    sampler = Sampler(signature, {**meanings, **counting(signature.inputs)})
    session = GivenSession(file, threads=cores())
    probe = Probe(session.run, sampler)
    traced = next((sizes for sizes in _starts(wanted) if probe.try_sizes(sizes) is not None), None)
    if traced is None:
        session.run(sampler.draw(wanted.least))
        raise AssertionError("these sizes were refused a moment ago")
    sampler = _widened(sampler, session, traced)
    profile = Probe(session.run, sampler).accepted(wanted, traced, given=ranges)
    spans = {name: (one.least, one.most) for name, one in sampler.meanings.items() if isinstance(one, Integers)}
    details = {"opset": model.opset_imports.get("", 0), **({"whole numbers": spans} if spans else {})}
    return Source(name=file.name, sampler=sampler, profile=profile, traced=traced, graph=file, details=details)


def signature_of(model: onnx_ir.Model) -> Signature:
    """Returns the signature of a graph; dims without a name get one from their tensor and axis.

    Raises:
        SourceError: when a tensor's type or shape isn't declared.
    """
    if not model.graph.outputs:
        raise SourceError("the graph has no outputs, so there is nothing to compute.")
    inputs = tuple(_spec(value) for value in model.graph.inputs if value.name not in model.graph.initializers)
    return Signature(inputs, tuple(_spec(value) for value in model.graph.outputs))


def default_profile(signature: Signature) -> Profile:
    """Returns the ranges that dims have unless told."""
    return Profile({dim: _default_range(dim) for dim in signature.dims})


def element_types(file: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the element types of the inputs and of the outputs of an ONNX file, by name.

    Raises:
        SourceError: when the file is not a valid ONNX model, or its external data is missing or outside its folder.
    """
    graph = read(file).graph
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    return _types(inputs), _types(graph.outputs)


def _types(values: Sequence[onnx_ir.Value]) -> dict[str, str]:
    return {value.name or "": dtypes.from_onnx(int(value.dtype or 0)) for value in values}


def _starts(profile: Profile) -> Iterator[dict[str, int]]:
    """Yields sizes to start from: small, distinct and larger than one where that is allowed, the usual, the least."""
    yield {dim: max(sizes.least, min(sizes.usual, 3 + place)) for place, (dim, sizes) in enumerate(profile.items())}
    yield profile.usual
    yield profile.least


def read(file: Path) -> onnx_ir.Model:
    """Reads an ONNX file, whose external data must lie in its folder.

    Raises:
        SourceError: when it is not a valid ONNX model, or its external data is missing or outside its folder.
    """
    import onnx

    from onnxwright.graph.reading import read_model, read_structure

    if not file.is_file():
        raise SourceError(f"'{file}': expected an .onnx file, {'got a folder' if file.is_dir() else 'no such file'}.")
    try:
        for place in sorted(places(file)):
            _check_place(file, place)
        structure = read_structure(file)
        onnx.checker.check_model(structure)
        _refuse_sparse(file, structure)
        model = read_model(file)
        _check_lengths(file, model)
    except SourceError:
        raise
    except Exception as problem:  # the parsers raise types of their own
        raise SourceError(f"'{file}' is not a valid ONNX model: {problem}. Export it again.") from problem
    return model


def _check_place(file: Path, place: str) -> None:
    """Refuses external data that doesn't lie in the folder of its graph, by the name that the graph has for it."""
    told, folder = f"'{file}': external data '{place}'", file.parent.resolve()
    data = (folder / place).resolve()
    if not is_inside(place) or not data.is_relative_to(folder):
        raise SourceError(f"{told} lies outside its folder. Put the file itself there, under a relative name.")
    if not data.is_file():
        raise SourceError(f"{told} is missing beside it. Copy it there.")
    if data.stat().st_nlink > 1:
        raise SourceError(f"{told} is a hard link, which may lead anywhere. Put a copy of the file there.")


def _refuse_sparse(file: Path, structure: onnx.ModelProto) -> None:
    names = [one.values.name for one in structure.graph.sparse_initializer]
    names += [node.output[0] for node in structure.graph.node for one in node.attribute if one.name == "sparse_value"]
    if names:
        raise SourceError(f"'{file}': '{names[0]}' is a sparse tensor, which isn't supported. Hold it densely.")


def _check_lengths(file: Path, model: onnx_ir.Model) -> None:
    import onnx_ir

    for name, value in model.graph.initializers.items():
        weight = value.const_value
        if isinstance(weight, onnx_ir.ExternalTensor):
            end, size = (weight.offset or 0) + weight.nbytes, Path(weight.path).stat().st_size
            if end > size:
                raise SourceError(
                    f"'{file}': weight '{name}': expected up to byte {end} of '{Path(weight.path).name}', which has "
                    f"{size}. Copy it again."
                )


def _spec(value: onnx_ir.Value) -> TensorSpec:
    import onnx_ir

    name = value.name or ""
    if value.type is not None and not isinstance(value.type, onnx_ir.TensorType):
        kind = type(value.type).__name__.removesuffix("Type").lower()
        raise SourceError(f"'{name}' is declared as a {kind}; expected dense tensors as inputs and outputs.")
    if value.dtype is None or value.shape is None:
        raise SourceError(f"tensor '{name}': the graph doesn't declare its type and shape; expected both.")
    if value.dtype == onnx_ir.DataType.STRING:
        raise SourceError(f"tensor '{name}' holds strings; expected numbers or bools. Cut the graph behind them.")
    return TensorSpec(name, dtypes.from_onnx(int(value.dtype)), tuple(_dims(name, value.shape)))


def _dims(name: str, shape: Any) -> Iterator[Dim]:
    for axis, dim in enumerate(shape):
        if isinstance(dim, int) and dim < 0:
            raise SourceError(f"tensor '{name}': axis {axis} is declared to be {dim} long. Give it a name instead.")
        yield dim if isinstance(dim, int) else (dim.value or f"{name}_{axis}")


def _default_range(dim: str) -> tuple[int, int, int]:
    return (1, 128, 512) if "seq" in dim else _DEFAULT_RANGE


def _meaning(value: onnx_ir.Value) -> Meaning:
    dtype = dtypes.from_onnx(int(value.dtype or 0))
    if dtype == "bool":
        return Bools()
    if dtypes.is_float(dtype):
        return Floats(dtype)
    if "mask" in (value.name or ""):
        return Mask(dtype)
    if dtype in _WHOLE:
        return Integers(dtype, *_WHOLE[dtype])
    return Integers(dtype, 0, (_rows_indexed_by(value) or _UNBOUNDED) - 1)


def _widened(sampler: Sampler, session: GivenSession, sizes: Mapping[str, int]) -> Sampler:
    """Has inputs of whole numbers of which nothing is known hold larger ones, as far as the graph takes them."""
    for name, meaning in sampler.meanings.items():
        if isinstance(meaning, Integers) and (meaning.least, meaning.most) == (0, _UNBOUNDED - 1):
            feeds = sampler.draw(sizes)
            for most in _TRIED:
                with contextlib.suppress(ForwardError):
                    session.run({**feeds, name: np.full_like(feeds[name], most)})
                    wider = structs.replace(meaning, most=most)
                    sampler = replace(sampler, meanings={**sampler.meanings, name: wider})
                    break
    return sampler


def _rows_indexed_by(value: onnx_ir.Value) -> int | None:
    """Returns how many rows the smallest table has that this value indexes, following plain reshapes."""
    found = []
    for node, index in value.uses():
        if node.op_type in _PASS_THROUGH and index == 0:
            found.append(_rows_indexed_by(node.outputs[0]))
        table = node.inputs[0] if node.op_type == "Gather" and index == 1 else None
        if table is not None and table.shape is not None:
            axis = node.attributes.get_int("axis", 0)
            rows = table.shape[axis]
            found.append(rows if isinstance(rows, int) else None)
    return min((rows for rows in found if rows), default=None)
