"""What Python's garbage collector searches: what libraries and a model hold is not searched again and again."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def at_rest() -> Iterator[None]:
    """Has the collector leave alone meanwhile what is there already: a third of a second for each of its searches.

    What is garbage by then is collected first. Within another of its kind, or where a program has frozen objects
    itself, it does nothing.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def objects() -> list[Any]:
    """Returns all objects that the collector knows, those at rest among them."""
    is_frozen = bool(gc.get_freeze_count())
    gc.unfreeze()
    found = gc.get_objects()
    if is_frozen:
        gc.freeze()
    return found
