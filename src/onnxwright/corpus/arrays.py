"""Samples as arrays: an `.npz` file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxwright.backends import Array, Tensors
from onnxwright.corpus.stock import Sample, Stock, counted, rows_at_once
from onnxwright.dtypes import is_float
from onnxwright.errors import UsageError
from onnxwright.findings import Finding
from onnxwright.losses import check_count
from onnxwright.records import read_arrays
from onnxwright.signature import TensorSpec
from onnxwright.source import Source


def of_arrays(source: Source, file: Path, labels: Sequence[Any] | None) -> Stock:
    """Takes an `.npz` apart along axis 0.

    Raises:
        UsageError: for arrays that aren't those of the model, hold NaN or infinity, or are shorter than its range.
    """
    inputs = source.signature.inputs
    names = counted(inputs)
    if not names:
        raise UsageError(f"samples '{file}': input '{inputs[0].name}' ({inputs[0]}) has no axis 0 to count samples by.")
    arrays, findings = _fitting(source, file, read_arrays(file))
    counts = {name: len(arrays[name]) for name in names}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} in '{name}'" for name, count in counts.items())
        raise UsageError(f"samples '{file}': expected as many samples in each array, got {told}.")
    count = counts[names[0]]
    if not count:
        raise UsageError(f"samples '{file}': no sample in it; expected one at each place of axis 0.")
    if labels is not None:
        check_count(labels, count)
    samples = [
        Sample(
            ({name: array[at : at + 1] if name in counts else array for name, array in arrays.items()},),
            None if labels is None else labels[at],
        )
        for at in range(count)
    ]
    return Stock(samples, f"{count} samples of '{file.name}'", rows_at_once(source), findings)


def _fitting(source: Source, file: Path, arrays: Tensors) -> tuple[Tensors, tuple[Finding, ...]]:
    """Checks the arrays, and cuts them to the range of each dim but that of axis 0."""
    names = source.signature.input_names
    if arrays.keys() != set(names):
        raise UsageError(f"samples '{file}': expected the arrays {', '.join(names)}, got {', '.join(arrays)}.")
    fitting, findings = {}, {}
    for spec in source.signature.inputs:
        array = arrays[spec.name]
        _check_array(file, spec, array)
        for axis, dim in enumerate(spec.shape[1:], start=1):
            if not isinstance(dim, str):
                continue
            least, _, most = source.profile[dim]
            size = array.shape[axis]
            if size < least:
                raise UsageError(f"samples '{file}': dim '{dim}' is {size}, less than {least}. Widen its range.")
            if size > most:
                findings[dim] = Finding("samples-cut", f"Dim '{dim}' of the samples is {size}, and was cut to {most}.")
                array = np.take(array, range(most), axis)
        fitting[spec.name] = array
    return fitting, tuple(findings.values())


def _check_array(file: Path, spec: TensorSpec, array: Array) -> None:
    if array.ndim != len(spec.shape):
        raise UsageError(
            f"samples '{file}', array '{spec.name}': expected {spec}, got {list(array.shape)}. Reshape it."
        )
    if not is_float(array.dtype.name):
        return
    broken = np.argwhere(~np.isfinite(array))
    if len(broken):
        row = f", row {broken[0][0]}" if array.ndim else ""
        raise UsageError(f"samples '{file}', array '{spec.name}'{row}: holds NaN or infinity. Leave that sample out.")
