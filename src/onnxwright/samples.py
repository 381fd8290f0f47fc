"""Inputs of any size that respect what each input means: token ids, masks, token types, plain numbers, real text."""

# ruff: noqa: ARG002 - every meaning draws with the same arguments

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from onnxwright.counting import Lengths, Offsets
from onnxwright.dtypes import is_float, to_numpy
from onnxwright.signature import Signature

Array = np.ndarray[Any, np.dtype[Any]]
Tensors = Mapping[str, Array]


class Values(msgspec.Struct, frozen=True, omit_defaults=True):
    """A regime of values: how numbers are scaled, and on which side rows are padded."""

    name: str
    scale: float = 1.0
    padding: str | None = None
    is_text: bool = False
    is_whole: bool = False
    is_constant: bool = False
    is_sparse: bool = False
    is_repeated: bool = False
    numbers: tuple[float, ...] = ()
    """Numbers that stand here and there among typical ones."""
    is_by_row: bool = False
    """Whether they fill whole rows, and the last of several samples."""

    @property
    def is_extreme(self) -> bool:
        """Whether rounding can drown what a model computes from such values: they are there to show branches."""
        return abs(self.scale) != 1.0 or self.is_constant or self.is_sparse

    @property
    def is_alike(self) -> bool:
        """Whether rows, or all that is in one, are alike: what a model takes from one another is rounding then."""
        return self.is_repeated or self.is_by_row

    @property
    def is_usual(self) -> bool:
        """Whether a model is used with such values: spread as in the example, or text, padded on one side or not."""
        is_odd = self.is_extreme or self.scale != 1.0 or self.is_whole or self.is_repeated or bool(self.numbers)
        return not is_odd and self.padding in {None, "right", "left"}


TYPICAL: Final = Values("typical")
PADDED_RIGHT: Final = Values("padded right", padding="right")
PADDED_LEFT: Final = Values("padded left", padding="left")
FLIPPED: Final = Values("sign-flipped", scale=-1.0)
SMALL: Final = Values("small", scale=0.01)
LARGE: Final = Values("large", scale=100.0)
ZERO: Final = Values("zero", scale=0.0)
HUGE: Final = Values("huge", scale=1e4)
WHOLE: Final = Values("whole and half numbers", is_whole=True, padding="holes")
CONSTANT: Final = Values("constant", is_constant=True)
EMPTY: Final = Values("masked throughout", padding="empty")
LONE_EMPTY: Final = Values("one row masked throughout", padding="one empty")
SPARSE: Final = Values("one-hot", is_sparse=True)
REPEATED: Final = Values("repeated rows", is_repeated=True, padding="right")
TEXT: Final = Values("text", padding="right", is_text=True)

FULL: Final = Values("true throughout", padding="full")
LONE_FULL: Final = Values("one row true throughout", padding="one full")
FLAG_REGIMES: Final = (FULL, LONE_FULL)
"""More regimes, of a source that takes flags, of which nobody knows whether true stands for content or for padding."""

REGIMES: Final = (
    *(TYPICAL, PADDED_RIGHT, FLIPPED, PADDED_LEFT, LARGE, ZERO, WHOLE, SMALL, CONSTANT, HUGE, EMPTY),
    *(LONE_EMPTY, SPARSE, REPEATED),
)
"""The regimes that every source can be sampled in."""


class Floats(msgspec.Struct, frozen=True, tag="floats", tag_field="kind"):
    """Numbers spread as in an example: normal, or uniform where the example has no negative number."""

    dtype: str
    mean: float = 0.0
    deviation: float = 1.0
    is_positive: bool = False

    def draw(self, shape: tuple[int, ...], values: Values, rng: np.random.Generator, sizes: Mapping[str, int]) -> Array:
        """Returns values of that shape."""
        if self.is_positive:
            drawn = rng.uniform(0.0, 2.0 * max(self.mean, 1e-3), shape)
        else:
            drawn = rng.normal(self.mean, self.deviation, shape)
        if values.is_whole:
            drawn = np.round(4.0 * drawn) / 2.0
        if values.is_constant:
            drawn = np.full(shape, np.asarray(drawn).flat[0] if np.size(drawn) else 0.0)
        if values.is_sparse:
            drawn = np.where(_one_in_each_row(shape, rng), drawn, 0.0)
        drawn = np.asarray(drawn * values.scale).astype(to_numpy(self.dtype))
        if not values.numbers:
            return drawn
        # Half of what stands beside them are numbers as people write them, at which rounding turns.
        drawn = np.where(rng.random(shape) < _ROUNDED, np.round(drawn, 1), drawn).astype(drawn.dtype)
        return _among(drawn, values.numbers, rng, is_by_row=values.is_by_row)


class Integers(msgspec.Struct, frozen=True, tag="integers", tag_field="kind"):
    """Whole numbers from `least` to `most`, both included."""

    dtype: str
    least: int
    most: int

    def draw(self, shape: tuple[int, ...], values: Values, rng: np.random.Generator, sizes: Mapping[str, int]) -> Array:
        """Returns values of that shape; small and zero regimes keep to the least."""
        most = self.least if values.scale == 0.0 else self.most
        if values.is_constant:
            return np.full(shape, rng.integers(self.least, self.most, endpoint=True)).astype(to_numpy(self.dtype))
        drawn = np.asarray(rng.integers(self.least, most, shape, endpoint=True)).astype(to_numpy(self.dtype))
        whole = tuple(number for number in values.numbers if number == round(number) and abs(number) < _MOST_WHOLE)
        return _among(drawn, whole, rng, is_by_row=values.is_by_row) if whole else drawn


class Bools(msgspec.Struct, frozen=True, tag="bools", tag_field="kind", omit_defaults=True):
    """True or false, as likely; where rows are padded, true before a place in each row or after it."""

    dtype: str = "bool"

    def draw(self, shape: tuple[int, ...], values: Values, rng: np.random.Generator, sizes: Mapping[str, int]) -> Array:
        """Returns values of that shape; the zero regime is all false."""
        flags = np.asarray(rng.random(shape) < (0.0 if values.scale == 0.0 else 0.5))
        if values.padding in _WHOLE_ROWS and shape:
            which, is_true = _WHOLE_ROWS[values.padding]
            flags.reshape(-1, shape[-1])[which] = is_true
        elif values.padding in ("right", "left") and shape:
            ends = rng.integers(0, shape[-1], (*shape[:-1], 1), endpoint=True)
            flags = (np.arange(shape[-1]) < ends) == (values.padding == "right")
        return flags.astype(to_numpy(self.dtype))


class Mask(msgspec.Struct, frozen=True, tag="mask", tag_field="kind"):
    """Ones where a row has content, zeros where it is padded or, in one regime, here and there."""

    dtype: str

    def draw(self, shape: tuple[int, ...], values: Values, rng: np.random.Generator, sizes: Mapping[str, int]) -> Array:
        """Returns a mask whose last axis is the sequence; each row keeps at least one position."""
        mask = np.ones(shape, dtype=to_numpy(self.dtype))
        if values.padding is None or not shape or shape[-1] < 2:
            return mask
        rows = mask.reshape(-1, shape[-1])
        if values.padding == "empty":
            rows[:] = 0
            return mask
        if values.padding == "one empty":
            rows[-1] = 0
            return mask
        if values.padding == "holes":
            rows[:, 1:] = rng.random((len(rows), shape[-1] - 1)) < 0.5
            return mask
        for row, length in zip(rows, rng.integers(1, shape[-1], len(rows), endpoint=True), strict=True):
            row[slice(length, None) if values.padding == "right" else slice(0, shape[-1] - length)] = 0
        if len(rows) > 1:
            rows[0] = 1
        return mask


class Tokens(msgspec.Struct, frozen=True, tag="tokens", tag_field="kind"):
    """Token ids below `vocabulary`; padded positions hold `padding`."""

    dtype: str
    vocabulary: int
    padding: int = 0

    def draw(self, shape: tuple[int, ...], values: Values, rng: np.random.Generator, sizes: Mapping[str, int]) -> Array:
        """Returns ids anywhere in the vocabulary, its two ends included; the zero regime repeats the first id."""
        most = 0 if values.scale == 0.0 else self.vocabulary - 1
        if values.is_constant:
            return np.full(shape, rng.integers(0, most, endpoint=True)).astype(to_numpy(self.dtype))
        ids = np.asarray(rng.integers(0, most, shape, endpoint=True)).astype(to_numpy(self.dtype))
        if ids.size > 2 and most:
            ids.flat[0], ids.flat[-1] = 0, most
        return ids


class Segments(msgspec.Struct, frozen=True, tag="segments", tag_field="kind"):
    """Token types: each row is split once, the first part 0, the rest the other types."""

    dtype: str
    types: int

    def draw(self, shape: tuple[int, ...], values: Values, rng: np.random.Generator, sizes: Mapping[str, int]) -> Array:
        """Returns token types that never decrease along the last axis."""
        drawn = rng.integers(0, self.types, shape)
        return np.sort(drawn, axis=-1).astype(to_numpy(self.dtype)) if shape else drawn.astype(to_numpy(self.dtype))


class Positions(msgspec.Struct, frozen=True, tag="positions", tag_field="kind"):
    """Positions 0, 1, 2 … along the last axis."""

    dtype: str

    def draw(self, shape: tuple[int, ...], values: Values, rng: np.random.Generator, sizes: Mapping[str, int]) -> Array:
        """Returns ascending positions."""
        return np.broadcast_to(np.arange(shape[-1] if shape else 1, dtype=to_numpy(self.dtype)), shape).copy()


_MOST_WHOLE: Final = 2**31
_WHOLE_ROWS: Final = {
    "empty": (slice(None), False),
    "full": (slice(None), True),
    "one empty": (slice(-1, None), False),
    "one full": (slice(-1, None), True),
}


class Held(msgspec.Struct, frozen=True, tag="held", tag_field="kind"):
    """The same values always."""

    dtype: str
    values: tuple[int, ...]

    def draw(self, shape: tuple[int, ...], values: Values, rng: np.random.Generator, sizes: Mapping[str, int]) -> Array:
        """Returns these values."""
        return np.array(self.values, to_numpy(self.dtype)).reshape(shape)


Meaning = Held | Floats | Integers | Bools | Mask | Tokens | Segments | Positions | Lengths | Offsets
"""What one input means, and so which values it may take; a package carries it, to draw the same inputs again."""

TextRows = Callable[[int, int, np.random.Generator], Tensors]
"""Real text as input tensors: (rows, length, generator) -> tensors by name."""


@dataclass(frozen=True)
class Sampler:
    """Makes inputs of given sizes for one signature, the same for the same seed."""

    signature: Signature
    meanings: Mapping[str, Meaning]
    given: Sequence[Tensors] = field(default=())
    """Inputs that the user gave, each at its own size."""
    text: TextRows | None = None
    numbers: tuple[float, ...] = ()
    """Numbers that something is compared with on the way, and that inputs therefore hold here and there."""
    taking: Sequence[Tensors] = field(default=())
    """Inputs that take branches on values, which a proof tries too."""

    @property
    def regimes(self) -> tuple[Values, ...]:
        """The regimes that this source can be sampled in."""
        text = (TEXT,) if self.text else ()
        flags = FLAG_REGIMES if any(isinstance(meaning, Bools) for meaning in self.meanings.values()) else ()
        compared = Values("compared numbers", numbers=self.numbers)
        rows = Values("rows of compared numbers", numbers=self.numbers, is_by_row=True)
        among = (compared, rows) if self.numbers else ()
        return (TYPICAL, *text, *among, *flags, *REGIMES[1:])

    def draw(self, sizes: Mapping[str, int], values: Values = TYPICAL, *, seed: int = 0) -> dict[str, Array]:
        """Returns one input tensor for each name of the signature, at the given sizes of its named dims."""
        rng = np.random.default_rng([seed, *sizes.values(), *values.name.encode()])
        drawn = {
            spec.name: self.meanings[spec.name].draw(spec.resolve(sizes), values, rng, sizes)
            for spec in self.signature.inputs
        }
        if values.is_text and self.text:
            drawn.update(_fitting(self.text(*_text_shape(self.signature, sizes), rng), drawn))
        drawn = _padded(drawn, self.meanings)
        return {name: _repeated(array) for name, array in drawn.items()} if values.is_repeated else drawn


_PLANTED: Final = 0.125
_ROWS: Final = 0.5
_ROUNDED: Final = 0.5


def meaning_of(example: Array, *, name: str) -> Meaning:
    """Reads from an example value what an input may hold: its type, spread and bounds; a mask by its name."""
    dtype = example.dtype.name
    if dtype == "bool":
        return Bools()
    if "mask" in name and (example.size == 0 or set(np.unique(example).tolist()) <= {0, 1}):
        return Mask(dtype)
    if is_float(dtype):
        return _spread(example.astype(np.float64), dtype)
    least, most = (int(example.min()), int(example.max())) if example.size else (0, 1)
    if example.ndim > 1 and (least, most) in {(0, 0), (0, 1), (1, 1)}:
        return Bools(dtype)
    if least == most:
        least, most = (0, 1) if most == 0 else (most - 1, most)
    return Integers(dtype, least, most)


def _one_in_each_row(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if not shape or not shape[-1]:
        return np.ones(shape, bool)
    return np.asarray(rng.integers(0, shape[-1], (*shape[:-1], 1)) == np.arange(shape[-1]))


def _among(drawn: Array, numbers: Sequence[float], rng: np.random.Generator, *, is_by_row: bool) -> Array:
    """Puts numbers, and their neighbours in the element type, in place of one element in eight and of one at least.

    Or the numbers alone in place of half of the rows, and one of them in place of all that is in the last sample.
    """
    if not drawn.size:
        return drawn
    if is_by_row and drawn.ndim:
        chosen = rng.choice(np.asarray(numbers, drawn.dtype), (*drawn.shape[:-1], 1))
        found = np.where(rng.random(chosen.shape) < _ROWS, chosen, drawn).astype(drawn.dtype)
        if drawn.ndim > 1 or len(found) > 1:
            found[-1] = chosen.flat[-1]
        return found
    planted = np.asarray(numbers, drawn.dtype)
    if drawn.dtype.kind == "f":
        planted = np.concatenate([planted, np.nextafter(planted, np.inf), np.nextafter(planted, -np.inf)])
    places = np.asarray(rng.random(drawn.shape) < _PLANTED)
    places.flat[rng.integers(drawn.size)] = True
    return np.asarray(np.where(places, rng.choice(planted, drawn.shape), drawn)).astype(drawn.dtype)


def _repeated(array: Array) -> Array:
    return np.broadcast_to(array[:1], array.shape).copy() if array.ndim and array.shape[0] else array


def _spread(example: Array, dtype: str) -> Floats:
    finite = example[np.isfinite(example)]
    deviation = float(finite.std()) if finite.size else 0.0
    if deviation == 0.0:
        return Floats(dtype)
    return Floats(dtype, float(finite.mean()), deviation, bool(finite.size > 1 and finite.min() >= 0))


def _text_shape(signature: Signature, sizes: Mapping[str, int]) -> tuple[int, int]:
    batch, sequence = next(spec.resolve(sizes) for spec in signature.inputs if len(spec.shape) == 2)
    return batch, sequence


def _fitting(rows: Tensors, drawn: Tensors) -> dict[str, Array]:
    return {name: rows[name].astype(drawn[name].dtype) for name in rows if name in drawn}


def _padded(drawn: dict[str, Array], meanings: Mapping[str, Meaning]) -> dict[str, Array]:
    mask = next((drawn[name] for name, meaning in meanings.items() if isinstance(meaning, Mask)), None)
    for name, meaning in meanings.items():
        if isinstance(meaning, Tokens) and mask is not None and mask.shape == drawn[name].shape:
            drawn[name] = np.where(mask == 0, meaning.padding, drawn[name]).astype(drawn[name].dtype)
    return drawn
