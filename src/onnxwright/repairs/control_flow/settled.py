"""Questions about sizes that have one answer over the whole profile: Python takes that side, and no operator decides.

What `torch.export` assumes by it is told of the graph, as all that it assumes, and held against the profile.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import SymBool, SymInt

    from onnxwright.source import Source

_MOST_POINTS: Final = 160
"""Sizes at which a question is asked: all of a dim of 1 to 128."""
_parts: list[_Part] = []


@dataclasses.dataclass(frozen=True)
class _Part:
    """The sizes of a source over which questions are asked."""

    source: Source
    dims: Mapping[int, str]
    """The dim of each size of the sample; none where two dims have the same one."""

    def span(self, size: int) -> range | None:
        """All sizes of the dim that has this one in the sample."""
        dim = self.dims.get(size)
        sizes = self.source.profile[dim] if dim is not None else None
        return range(sizes.least, sizes.most + 1) if sizes is not None else None

    def holds(self, sizes: Mapping[int, int]) -> bool:
        """Whether sizes, by those in the sample, are exported here, and not in another piece."""
        named = {self.dims[before]: size for before, size in sizes.items()}
        return self.source.is_within({**self.source.traced, **named})


@contextlib.contextmanager
def over_profile(source: Source) -> Iterator[None]:
    """Has questions be asked over the profile of a source while entered.

    A size is known by what it is in the sample, so that nothing is settled where two dims have the same one.
    """
    sizes = source.traced
    is_telling = len(set(sizes.values())) == len(sizes)
    _parts.append(_Part(source, {sizes[dim]: dim for dim in source.profile if dim in sizes} if is_telling else {}))
    try:
        yield
    finally:
        _parts.pop()


def is_settled(question: SymBool) -> bool:
    """Whether a question about sizes has the same answer at all that are tried of the profile as in the sample."""
    expression: Any = question.node.expr
    hints = question.node.shape_env.backed_var_to_val
    symbols = sorted(expression.free_symbols, key=str)
    if not _parts or any(symbol not in hints for symbol in symbols):
        return False
    part, sampled = _parts[-1], [int(hints[symbol]) for symbol in symbols]
    tried = [_thinned(span, len(symbols)) for span in map(part.span, sampled) if span is not None]
    if len(tried) < len(symbols):
        return False
    found = (sizes for sizes in itertools.product(*tried) if part.holds(dict(zip(sampled, sizes, strict=True))))
    answers = {_answer(expression, dict(zip(symbols, sizes, strict=True))) for sizes in found}
    return len(answers) == 1 and None not in answers


def values_of(size: SymInt) -> range | None:
    """Between which numbers what is computed of one dim's size lies, over the profile; None where that isn't known."""
    expression: Any = size.node.expr
    hints = size.node.shape_env.backed_var_to_val
    symbols = list(expression.free_symbols)
    if not _parts or len(symbols) != 1 or symbols[0] not in hints:
        return None
    span = _parts[-1].span(int(hints[symbols[0]]))
    found = [int(expression.xreplace({symbols[0]: one})) for one in span or ()]
    return range(min(found), max(found) + 1) if found else None


def _thinned(span: range, count: int) -> list[int]:
    """Sizes of one dim out of several: the ends, and as many between as there is time for."""
    most = max(2, int(_MOST_POINTS ** (1 / count)))
    step = max(1, -(-len(span) // most))
    return sorted({*span[::step], *span[:2], span[-1]})


def _answer(expression: Any, sizes: Mapping[Any, int]) -> bool | None:
    found = expression.xreplace(sizes)
    return bool(found) if getattr(found, "is_Boolean", False) and not found.free_symbols else None
