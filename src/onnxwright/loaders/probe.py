"""Runs a model at chosen sizes to learn which ones it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onnxwright.backends import Array, Tensors
from onnxwright.errors import ForwardError
from onnxwright.profile import Profile
from onnxwright.samples import Sampler

Run = Callable[[Tensors], dict[str, Array]]

_FEW_ROWS = 2


class Probe:
    """A model that is asked whether it takes some sizes; `run` raises ForwardError where it doesn't."""

    def __init__(self, run: Run, sampler: Sampler):
        self._run = run
        self._sampler = sampler

    def try_sizes(self, sizes: Mapping[str, int]) -> dict[str, Array] | None:
        """Answers at these sizes, or None where the model refuses them."""
        try:
            return self._run(self._sampler.draw(sizes))
        except ForwardError:
            return None

    def refusal(self, sizes: Mapping[str, int]) -> str | None:
        """Says why the model refuses these sizes, or None where it answers."""
        try:
            self._run(self._sampler.draw(sizes))
        except ForwardError as problem:
            return str(problem)
        return None

    def accepted(self, profile: Profile, sizes: Mapping[str, int], *, given: Mapping[str, object]) -> Profile:
        """Shrinks every range to what the model takes, starting from sizes that it does take; not those `given`."""
        return profile.replace({dim: self._accepted_range(dim, profile, sizes) for dim in profile if dim not in given})

    def _accepted_range(self, dim: str, profile: Profile, sizes: Mapping[str, int]) -> tuple[int, int, int]:
        known, wanted = sizes[dim], profile[dim]
        others = self._few_rows(dim, sizes)
        least = self._edge(dim, min(known, wanted.least), known, others)
        most = self._edge(dim, max(known, wanted.most), known, others)
        return least, min(max(wanted.usual, least), most), most

    def _few_rows(self, dim: str, sizes: Mapping[str, int]) -> Mapping[str, int]:
        few = {other: min(size, _FEW_ROWS) if other == "batch" else size for other, size in sizes.items()}
        few[dim] = sizes[dim]
        return few if few != sizes and self.try_sizes(few) is not None else sizes

    def _edge(self, dim: str, bad: int, good: int, sizes: Mapping[str, int]) -> int:
        if bad == good or self.try_sizes({**sizes, dim: bad}) is not None:
            return bad
        while abs(bad - good) > 1:
            middle = (bad + good) // 2
            bad, good = (bad, middle) if self.try_sizes({**sizes, dim: middle}) is not None else (middle, good)
        return good
