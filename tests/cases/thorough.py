"""Which cases of a test are left out unless `make test-thorough` asks for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def marked(names: Iterable[str], left_out: Collection[str]) -> list[Any]:
    """Returns parameters for `pytest.mark.parametrize`; a name that isn't there is a mistake."""
    known = list(names)
    assert set(left_out) <= set(known), set(left_out) - set(known)
    return [pytest.param(name, marks=pytest.mark.thorough) if name in left_out else name for name in known]
