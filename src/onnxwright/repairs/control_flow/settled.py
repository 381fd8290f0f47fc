"""Questions about sizes that have one answer over the whole profile: Python takes that side, and no operator decides.

What `torch.export` assumes by it is told of the graph, as all that it assumes, and held against the profile.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import SymBool

    from onnxwright.source import Source

_MOST_POINTS: Final = 160
"""Sizes at which a question is asked: all of a dim of 1 to 128."""
_spans: list[Mapping[int, range]] = []


@contextlib.contextmanager
def over_profile(source: Source) -> Iterator[None]:
    """Has questions be asked over the profile of a source while entered.

    A size is known by what it is in the sample, so that nothing is settled where two dims have the same one.
    """
    sizes = source.traced
    is_telling = len(set(sizes.values())) == len(sizes)
    spans = {sizes[dim]: range(span.least, span.most + 1) for dim, span in source.profile.items() if dim in sizes}
    _spans.append(spans if is_telling else {})
    try:
        yield
    finally:
        _spans.pop()


def is_settled(question: SymBool) -> bool:
    """Whether a question about sizes has the same answer at all that are tried of the profile as in the sample."""
    expression: Any = question.node.expr
    hints = question.node.shape_env.backed_var_to_val
    symbols = sorted(expression.free_symbols, key=str)
    spans = _spans[-1] if _spans else {}
    ranges = [spans.get(int(hints[symbol])) for symbol in symbols if symbol in hints]
    if len(ranges) < len(symbols):
        return False
    tried = [_thinned(one, len(symbols)) for one in ranges if one is not None]
    if len(tried) < len(symbols):
        return False
    answers = {_answer(expression, dict(zip(symbols, sizes, strict=True))) for sizes in itertools.product(*tried)}
    return len(answers) == 1 and None not in answers


def _thinned(span: range, count: int) -> list[int]:
    """Sizes of one dim out of several: the ends, and as many between as there is time for."""
    most = max(2, int(_MOST_POINTS ** (1 / count)))
    step = max(1, -(-len(span) // most))
    return sorted({*span[::step], *span[:2], span[-1]})


def _answer(expression: Any, sizes: Mapping[Any, int]) -> bool | None:
    found = expression.xreplace(sizes)
    return bool(found) if getattr(found, "is_Boolean", False) and not found.free_symbols else None
