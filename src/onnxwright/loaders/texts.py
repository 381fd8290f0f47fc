"""Real text as inputs of any size: lines strung together, and cut or filled up to a length."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from onnxwright.samples import Tensors, TextRows

Encode = Callable[[list[str], int], Tensors]
"""Encodes texts, each to so many tokens, padding and special tokens included."""


def text_rows(lines: Sequence[str], specials: int, encode: Encode) -> TextRows:
    """Returns what makes rows of lines; none of no more tokens than the special ones that a tokenizer adds."""

    def rows(count: int, length: int, rng: np.random.Generator) -> Tensors:
        if length <= specials:
            return {}
        texts = [" ".join(rng.choice(lines, size=rng.integers(1, 2 + length // 8))) for _ in range(count)]
        return encode(texts, length)

    return rows
