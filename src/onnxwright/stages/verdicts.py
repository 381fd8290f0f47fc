"""What `prove` ends with: a proof for each engine, and how much of what was asked for each one shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from onnxwright.errors import UsageError
from onnxwright.manifest import Proof
from onnxwright.proof.box import Box

ALL: Final = 100.0
"""Percent of the sizes that must be shown unless a user says less."""


@dataclass(frozen=True)
class Verdicts:
    """Proofs by engine, of one candidate over the sizes that were `asked` for in each."""

    subject: str
    asked: Mapping[str, Box]
    proofs: Mapping[str, Proof]

    def share(self, engine: str) -> float:
        """Returns how many percent of the sizes asked for were shown in an engine."""
        proof, asked = self.proofs[engine], self.asked[engine]
        if proof.verdict == "failed":
            return 0.0
        shown = {dim: _common(proof.range[dim], ends) for dim, ends in asked.items()}
        return ALL * math.prod(shown.values()) / math.prod(_common(ends, ends) for ends in asked.values())

    def under(self, percent: float) -> list[str]:
        """Names the engines in which the candidate failed, or less than this share was shown."""
        return [name for name, proof in self.proofs.items() if proof.verdict == "failed" or self.share(name) < percent]


def check_percent(percent: float) -> None:
    """Refuses what is no share of a whole.

    Raises:
        UsageError: naming what would be accepted.
    """
    if not 0.0 <= percent <= ALL:
        raise UsageError(f"--fail-under {percent:g}: expected a percentage from 0 to 100.")


def in_percent(share: float) -> str:
    """Says a share in words, rounded down so that less than all never reads as all."""
    return f"{math.floor(10 * share) / 10:g} %"


def _common(one: tuple[int, int], other: tuple[int, int]) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]) + 1)
