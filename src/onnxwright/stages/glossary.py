"""The verb `explain`: what a finding or a repair is."""

from __future__ import annotations

from onnxwright import findings
from onnxwright.errors import UsageError, accepted
from onnxwright.stages import migration


def explained(word: str) -> str:
    """Returns the page of a finding, by its code, of a repair, by its name, or of what replaces TensorRT 10's flags.

    Raises:
        UsageError: when there is none of that name.
    """
    if word in findings.KINDS:
        return findings.section(word)
    if word == migration.WORD:
        return migration.page()
    from onnxwright.repairs import repairs, section

    if word in repairs():
        return section(word)
    raise UsageError(f"'{word}' is no finding and no repair; expected {accepted(word, [*findings.KINDS, *repairs()])}.")
