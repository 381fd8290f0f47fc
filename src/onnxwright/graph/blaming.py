"""Which of some steps are to blame for what goes wrong when they are all taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def to_blame(
    steps: Sequence[str], fails: Callable[[Sequence[str]], bool], *, most: int | None = None
) -> tuple[str, ...] | None:
    """Returns the steps without which the others don't fail; None where it fails without any of them.

    Where more than `most` are to blame, all are returned: it isn't worth the time to tell them apart.

    Each is found by halving: of the steps before some point all is well, and one more makes it fail. So it is asked
    about once for each time that the number of steps can be halved, and two more times for each that is to blame.
    """
    if fails(()):
        return None
    left = list(steps)
    found: list[str] = []
    while fails(left):
        if len(found) == most:
            return tuple(steps)
        found.append(left.pop(_first_failing(left, fails)))
    return tuple(found)


def _first_failing(steps: Sequence[str], fails: Callable[[Sequence[str]], bool]) -> int:
    """The place of a step up to which all is well, and with which it fails."""
    well, wrong = 0, len(steps)
    while wrong - well > 1:
        middle = (well + wrong) // 2
        if fails(steps[:middle]):
            wrong = middle
        else:
            well = middle
    return well
