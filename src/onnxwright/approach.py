"""One way to a graph: a route, an opset, and the repairs on top of it, as a value that can be written and replayed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from onnxwright.errors import UsageError

_ROUTE: Final = re.compile(r"(?P<route>[a-z]+)@(?P<opset>\d+)")
_EXAMPLE: Final = "trace@18; piecewise=sequence > 8"


class Fix(NamedTuple):
    """A repair by its name, and what it is applied to."""

    repair: str
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.repair}={self.argument}" if self.argument else self.repair


@dataclass(frozen=True)
class Approach:
    """A route, an opset, and repairs, in the order in which they were found: `trace@18; piecewise=sequence > 8`."""

    route: str
    opset: int
    fixes: tuple[Fix, ...] = ()

    def __str__(self) -> str:
        return "; ".join([f"{self.route}@{self.opset}", *map(str, self.fixes)])

    def mended(self, fix: Fix) -> Approach:
        """Returns it with one more repair."""
        return replace(self, fixes=(*self.fixes, fix))

    def has(self, repair: str) -> bool:
        """Whether a repair of that name is part of it."""
        return any(fix.repair == repair for fix in self.fixes)


def parse(text: str) -> Approach:
    """Reads what `str` of an approach wrote.

    Raises:
        UsageError: when it isn't that.
    """
    route, *fixes = (part.strip() for part in text.split(";"))
    found = _ROUTE.fullmatch(route)
    if found is None:
        raise UsageError(f"attempt '{text}': expected one as a package's journal writes it, such as '{_EXAMPLE}'.")
    return Approach(found["route"], int(found["opset"]), tuple(Fix(*fix.split("=", 1)) for fix in fixes if fix))
