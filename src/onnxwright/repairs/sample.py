"""Exports from another sample: `torch.export` takes a size for fixed that happens to be 1 (one chunk, one window).

What the code computes from the sizes of the sample (`-(-length // 32)` chunks) may be 1 or 0 there by chance, which is
kept. From a sample of sizes at which the graph is wrong it is not.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Final

from onnxwright.errors import UsageError, accepted
from onnxwright.repairs import Exporter, Repair, Seen
from onnxwright.routes import Exported
from onnxwright.source import Source
from onnxwright.words import in_sizes

_SIZE: Final = re.compile(r"(\w+) (\d+)")


class Sample(Repair):
    """Chooses the sample among sizes that fail."""

    name = "sample"
    summary = "exports from a sample of other sizes, at which nothing is 1 by chance"
    rank = 3.0
    depth = 0
    route = "dynamo"

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Yields sizes in the middle of those that fail."""
        others = (self.name, "piecewise")  # each piece has a sample of its own
        if seen.proof is None or seen.approach.route != self.route or any(map(seen.approach.has, others)):
            return
        failed = {tuple(failure.sizes.items()) for failure in seen.proof.failures}
        usable = sorted(
            (dict(sizes) for sizes in failed if _is_telling(dict(sizes))), key=lambda one: sum(one.values())
        )
        if usable:
            yield in_sizes(usable[len(usable) // 2])

    def around(self, export: Exporter, argument: str) -> Exporter:
        """Returns an export from a sample of these sizes.

        Raises:
            UsageError: for a dim that the model doesn't have.
        """
        sizes = {dim: int(size) for dim, size in _SIZE.findall(argument)}

        def elsewhere(source: Source) -> Exported:
            for dim in sizes:
                if dim not in source.traced:
                    raise UsageError(
                        f"repair 'sample': there is no dim '{dim}'; expected {accepted(dim, source.traced)}."
                    )
            return export(dataclasses.replace(source, traced={**source.traced, **sizes}))

        return elsewhere


def _is_telling(sizes: dict[str, int]) -> bool:
    """Whether there are sizes, distinct and larger than one, so that none is taken for another or for fixed."""
    return min(sizes.values(), default=0) > 1 and len(set(sizes.values())) == len(sizes)


REPAIR = Sample()
