"""A package that `convert` wrote: its graph as exported is the reference, and what it is for is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from onnxwright.artifact import Package
from onnxwright.loaders import onnxfile
from onnxwright.source import Source

GRAPH: Final = "fp32"
"""The variant that every package has: the graph as exported."""


def load(folder: Path, ranges: Mapping[str, tuple[int, int, int]]) -> Source:
    """Reads the graph of a package, with the range that was proven unless others are given.

    Raises:
        SourceError: when the package isn't whole.
        ForwardError: when the graph can't be run.
    """
    package = Package.open(folder)
    proven = package.profile.within(package.manifest.variants[GRAPH].proof.range)
    known = {dim: (sizes.least, sizes.usual, sizes.most) for dim, sizes in proven.items()}
    loaded = onnxfile.load(package.file(GRAPH), {**known, **ranges})
    return replace(
        loaded,
        name=folder.resolve().name,
        task=package.task,
        task_options=dict(package.manifest.task_options),
        folder=folder,
    )
