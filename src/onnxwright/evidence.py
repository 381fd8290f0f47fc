"""What travels with a package to prove it again: how its inputs are drawn, and what the reference answered."""

from __future__ import annotations

import hashlib
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from onnxwright import tolerance
from onnxwright.backends import Array, Tensors
from onnxwright.errors import ForwardError, SourceError
from onnxwright.profile import Profile
from onnxwright.proof.bench import GIVEN
from onnxwright.proof.box import contains
from onnxwright.proof.lattice import Sizes, ends, resting, volume
from onnxwright.reference import Reference
from onnxwright.samples import PADDED_LEFT, PADDED_RIGHT, TYPICAL, WHOLE, Meaning, Sampler, Values
from onnxwright.signature import Signature

MOST_ELEMENTS: Final = 4096
"""Of each output at each point, this many elements are kept at most."""
_MOST_ELEMENTS_IN_ALL = 32_768
_LEAST_ELEMENTS = 64
_MOST_STORED_BYTES = 1 << 16
_EXTRA_SECONDS = 5.0
_SEED = 7

_FORMAT = "onnxwright evidence 2"
_RECIPES = "recipes"
_REMEDY = "Convert the model again."


class Recipe(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the inputs of one call come about, and the digest that they then have.

    Inputs that can't be drawn without the source (texts, a user's own) are stored as they are.
    """

    sizes: Sizes
    values: Values
    sha256: str
    seed: int = _SEED
    is_stored: bool = False


class Point(msgspec.Struct, frozen=True):
    """One call, and of each output the shape, some elements, and how far another answer may lie."""

    recipe: Recipe
    stored: Tensors
    shapes: Mapping[str, tuple[int, ...]]
    elements: Tensors
    limits: Mapping[str, float]

    def feeds(self, sampler: Sampler) -> Tensors:
        """Returns the inputs: as they are stored, or drawn once more."""
        recipe = self.recipe
        return self.stored if recipe.is_stored else sampler.draw(recipe.sizes, recipe.values, seed=recipe.seed)

    def is_drawn_alike(self, sampler: Sampler) -> bool:
        """Whether the inputs are those that the reference answered; another numpy may draw other numbers."""
        return digest_of(self.feeds(sampler)) == self.recipe.sha256


@dataclass(frozen=True)
class Kept:
    """The evidence of a package: its points, and the sampler that draws their inputs."""

    sampler: Sampler
    points: Sequence[Point]


@dataclass(frozen=True)
class _Call:
    """Inputs to ask the reference about; without those that are `needed` an end of the range has no evidence."""

    sizes: Sizes
    values: Values
    feeds: Tensors | None = None
    is_needed: bool = False


class _Contents(msgspec.Struct, frozen=True):
    """What the file says beside its arrays."""

    format: str
    meanings: dict[str, Meaning]
    recipes: list[Recipe]


def collect(reference: Reference, sampler: Sampler, ranges: Sequence[Profile], least: Mapping[str, float]) -> Kept:
    """Asks the reference at each end of each dim, and within some seconds for other values, texts and given inputs.

    `ranges` are those of the engines, the one for the other calls first: each is shown by its own ends.
    A limit is the output's own in `least`, or that of the noise at the point, or as far as numbers on the other step of
    a grid move the answer, where that is greater. Calls that the reference refuses are left out.
    """
    calls = [*_calls_at_ends(ranges), *_more_calls(sampler, ranges[0])]
    share = _MOST_ELEMENTS_IN_ALL // max(1, len(calls) * len(sampler.signature.outputs))
    most = min(MOST_ELEMENTS, max(_LEAST_ELEMENTS, share))
    deadline = time.monotonic() + _EXTRA_SECONDS
    points = [
        _point(reference, sampler, call, least, most) for call in calls if call.is_needed or time.monotonic() < deadline
    ]
    return Kept(sampler, [point for point in points if point is not None])


def elements(output: Array, most: int) -> Array:
    """Returns the elements of an output that are kept: all, or one of each of `most` equal stretches.

    Where in its stretch an element lies is a matter of whole numbers alone, the same on every machine.
    """
    flat = output.reshape(-1)
    if flat.size <= most:
        return flat
    stretches = np.arange(most, dtype=np.int64)
    within = stretches * 40_503 % 65_536 * (flat.size // most) // 65_536
    drawn: Array = flat[stretches * flat.size // most + within]
    return drawn


def digest_of(feeds: Tensors) -> str:
    """Returns the sha256 of inputs: names, types, shapes and bytes."""
    sha = hashlib.sha256()
    for name, array in sorted(feeds.items()):
        sha.update(f"{name} {array.dtype.name} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def save(kept: Kept, file: Path) -> None:
    """Writes evidence as a compressed `.npz`, without pickles."""
    contents = _Contents(_FORMAT, dict(kept.sampler.meanings), [point.recipe for point in kept.points])
    arrays: dict[str, Array] = {_RECIPES: np.frombuffer(msgspec.json.encode(contents), dtype=np.uint8)}
    for number, point in enumerate(kept.points):
        for name, array in point.stored.items():
            arrays[f"{number}/feeds/{name}"] = _plain(array)
        for name, array in point.elements.items():
            arrays[f"{number}/elements/{name}"] = _plain(array)
            arrays[f"{number}/shapes/{name}"] = np.array(point.shapes[name], dtype=np.int64)
            arrays[f"{number}/limits/{name}"] = np.array(point.limits[name])
    with file.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def read(file: Path, signature: Signature) -> Kept:
    """Reads evidence back.

    Raises:
        SourceError: when the file is missing or damaged, or was written by another version.
    """
    try:
        with np.load(file, allow_pickle=False) as saved:
            arrays = dict(saved)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        raise SourceError(f"'{file}' is damaged: {problem}. {_REMEDY}") from problem
    contents = _contents(arrays, file)
    dtypes = {spec.name: spec.dtype for spec in (*signature.inputs, *signature.outputs)}
    if contents.meanings.keys() != set(signature.input_names):
        raise SourceError(f"'{file}' is of another model: its inputs are {', '.join(contents.meanings)}. {_REMEDY}")
    try:
        points = [_read_point(recipe, arrays, number, dtypes) for number, recipe in enumerate(contents.recipes)]
    except KeyError as missing:
        raise SourceError(f"'{file}' is damaged: it lacks {missing}. {_REMEDY}") from missing
    return Kept(Sampler(signature, contents.meanings), points)


def _calls_at_ends(ranges: Sequence[Profile]) -> list[_Call]:
    reached = {tuple(sizes.values()): sizes for within in ranges for sizes in ends(within) or [resting(within)]}
    return [_Call(sizes, TYPICAL, is_needed=True) for sizes in sorted(reached.values(), key=volume)]


def _more_calls(sampler: Sampler, within: Profile) -> Iterator[_Call]:
    rest, usual = resting(within), within.usual
    yield from (_Call(rest, values) for values in (PADDED_RIGHT, PADDED_LEFT, WHOLE))
    whole = {dim: (sizes.least, sizes.most) for dim, sizes in within.items()}
    for feeds in sampler.given:
        sizes = sampler.signature.bind(feeds)
        if contains(whole, sizes) and _is_small(feeds):
            yield _Call(sizes, GIVEN, feeds)
    for values in sampler.regimes:
        feeds = sampler.draw(usual, values, seed=_SEED) if values.is_text else {}
        if feeds and _is_small(feeds):
            yield _Call(usual, values, feeds)
    yield _Call(usual, PADDED_RIGHT)


def _is_small(feeds: Tensors) -> bool:
    return sum(array.nbytes for array in feeds.values()) <= _MOST_STORED_BYTES


def _point(reference: Reference, sampler: Sampler, call: _Call, least: Mapping[str, float], most: int) -> Point | None:
    stored = call.feeds or {}
    feeds = stored or sampler.draw(call.sizes, call.values, seed=_SEED)
    try:
        answered = reference.session.run(feeds)
    except ForwardError:
        return None
    noise, swing = reference.noise(feeds, answered), reference.swing(feeds, answered)
    return Point(
        Recipe(dict(call.sizes), call.values, digest_of(feeds), is_stored=bool(stored)),
        stored,
        {name: array.shape for name, array in answered.items()},
        {name: elements(array, most) for name, array in answered.items()},
        {
            name: max(
                least[name],
                min(tolerance.FLOOR_MULTIPLE * noise[name], tolerance.MOST_LIMIT),
                tolerance.SWINGS * swing[name],
            )
            for name in answered
        },
    )


def _contents(arrays: Tensors, file: Path) -> _Contents:
    told = f"'{file}' was written by another version of onnxwright; expected '{_FORMAT}'. {_REMEDY}"
    if _RECIPES not in arrays:
        raise SourceError(told)
    try:
        contents = msgspec.json.decode(arrays[_RECIPES].tobytes(), type=_Contents)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise SourceError(told) from problem
    if contents.format != _FORMAT:
        raise SourceError(told)
    return contents


def _read_point(recipe: Recipe, arrays: Tensors, number: int, dtypes: Mapping[str, str]) -> Point:
    parts = {part: _under(arrays, f"{number}/{part}/") for part in ("feeds", "elements", "shapes", "limits")}
    return Point(
        recipe,
        {name: _typed(array, dtypes[name]) for name, array in parts["feeds"].items()},
        {name: tuple(parts["shapes"][name].tolist()) for name in parts["elements"]},
        {name: _typed(array, dtypes[name]) for name, array in parts["elements"].items()},
        {name: float(parts["limits"][name]) for name in parts["elements"]},
    )


def _under(arrays: Tensors, prefix: str) -> dict[str, Array]:
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def _plain(array: Array) -> Array:
    """Numpy can't save bfloat16 without a pickle: its bits are saved instead."""
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def _typed(array: Array, dtype: str) -> Array:
    if dtype != "bfloat16":
        return array
    import ml_dtypes

    return array.view(ml_dtypes.bfloat16)
