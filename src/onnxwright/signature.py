"""What goes in and out of a model: ordered, named, typed tensors with named dims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from onnxwright.errors import ForwardError, SignatureError

Dim = int | str
"""A size that is fixed, or the name of one that may vary."""


class TensorSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """One named tensor: its element type, and for each axis a fixed size or a dim's name.

    An input that is held has `values`, in row-major order, and takes no others.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...]
    values: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"

    def resolve(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Returns the shape at given sizes of the named dims."""
        return tuple(dim if isinstance(dim, int) else sizes[dim] for dim in self.shape)


class Signature(msgspec.Struct, frozen=True):
    """The tensors in and out of a model, in order: the only place where their names are written."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def dims(self) -> tuple[str, ...]:
        """The named dims of the inputs, in order of appearance."""
        return tuple(dict.fromkeys(dim for spec in self.inputs for dim in spec.shape if isinstance(dim, str)))

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(spec.name for spec in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(spec.name for spec in self.outputs)

    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """Returns `{tensor: {axis: dim}}` for every named dim, as exporters want it."""
        return {spec.name: axes for spec in (*self.inputs, *self.outputs) if (axes := dict(_named_axes(spec)))}

    def bind(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, int]:
        """Checks feeds against the inputs and returns the size of each named dim.

        Raises:
            SignatureError: for a missing or extra input, a wrong element type, rank or fixed size,
                or one dim that is fed with two sizes.
        """
        return self._bound(feeds, is_array_due=True)

    def bind_tensors(self, feeds: Mapping[str, Any]) -> dict[str, int]:
        """Does the same with tensors of any kind that tell their type and shape, wherever they lie.

        Raises:
            SignatureError: as `bind`, and for another tensor than an array where values are held.
        """
        return self._bound(feeds, is_array_due=False)

    def _bound(self, feeds: Mapping[str, Any], *, is_array_due: bool) -> dict[str, int]:
        if feeds.keys() != set(self.input_names):
            raise SignatureError(_wrong_names(feeds, self.input_names))
        sizes: dict[str, int] = {}
        for spec in self.inputs:
            tensor = feeds[spec.name]
            if (is_array_due or spec.values is not None) and not isinstance(tensor, np.ndarray):
                raise SignatureError(_not_an_array(spec, tensor))
            found = _described(spec, tensor)
            if found.dtype != spec.dtype or len(found.shape) != len(spec.shape):
                raise SignatureError(_wrong_tensor(spec, found))
            for dim, size in zip(spec.shape, found.shape, strict=True):
                if (isinstance(dim, int) and size != dim) or sizes.setdefault(str(dim), size) != size:
                    raise SignatureError(_wrong_size(spec, found, dim, sizes))
            if spec.values is not None and tuple(tensor.ravel().tolist()) != spec.values:
                raise SignatureError(_wrong_values(spec, tensor))
        return {dim: sizes[dim] for dim in self.dims}

    def check_answer(self, answered: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Holds what a model answers to the element types and the numbers of axes of the outputs.

        Raises:
            ForwardError: when an output has others at these sizes than were declared.
        """
        for spec in self.outputs:
            array = answered[spec.name]
            if array.dtype.name != spec.dtype or array.ndim != len(spec.shape):
                raise ForwardError(
                    f"output '{spec.name}': expected {spec} as for the example, got "
                    f"{array.dtype.name}{list(array.shape)} at these sizes. Return the same type and axes at all sizes."
                )


def _named_axes(spec: TensorSpec) -> Iterator[tuple[int, str]]:
    return ((axis, dim) for axis, dim in enumerate(spec.shape) if isinstance(dim, str))


def _wrong_names(feeds: Mapping[str, Any], expected: tuple[str, ...]) -> str:
    missing = [name for name in expected if name not in feeds]
    extra = [name for name in feeds if name not in expected]
    parts = [f"missing {', '.join(map(repr, missing))}"] if missing else []
    parts += [f"unexpected {', '.join(map(repr, extra))}"] if extra else []
    return f"inputs: expected {', '.join(expected)}; {'; '.join(parts)}. Feed each input once, by its name."


def _not_an_array(spec: TensorSpec, value: Any) -> str:
    return f"input '{spec.name}': expected {spec}, got {type(value).__name__}. Make it one with `numpy.asarray`."


class _Given(NamedTuple):
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


def _described(spec: TensorSpec, tensor: Any) -> _Given:
    """What a tensor says of itself; numpy and PyTorch have the same names of types."""
    if not hasattr(tensor, "dtype") or not hasattr(tensor, "shape"):
        raise SignatureError(_not_an_array(spec, tensor))
    return _Given(str(tensor.dtype).removeprefix("torch."), tuple(map(int, tensor.shape)))


def _wrong_tensor(spec: TensorSpec, found: _Given) -> str:
    remedy = "Reshape it." if found.dtype == spec.dtype else f"Cast it with `.astype('{spec.dtype}')`."
    return f"input '{spec.name}': expected {spec}, got {found}. {remedy}"


def _wrong_values(spec: TensorSpec, array: np.ndarray[Any, Any]) -> str:
    held, got = (
        f"{str(list(values[:8]))[:-1]}{', …' if len(values) > 8 else ''}]"
        for values in (spec.values or (), array.ravel().tolist())
    )
    return f"input '{spec.name}': is held at {held}, got {got}. Feed these values, or convert the model for those."


def _wrong_size(spec: TensorSpec, found: _Given, dim: Dim, sizes: Mapping[str, int]) -> str:
    expected = f"dim '{dim}' is {sizes[dim]} elsewhere" if isinstance(dim, str) else "that axis is fixed"
    return f"input '{spec.name}': expected {spec}, got {found}; {expected}. Reshape it."
