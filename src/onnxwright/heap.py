"""What Python's garbage collector searches: what libraries and a model hold is not searched again and again."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

_is_at_rest = False


@contextlib.contextmanager
def at_rest() -> Iterator[None]:
    """Has the collector leave alone meanwhile what is there already: a third of a second for each of its searches.

    What is garbage by then is collected first. Within another of its kind, or where a program has frozen objects
    itself, it does nothing.
    """
    global _is_at_rest  # noqa: PLW0603 - as the collector is the process's
    if _is_at_rest or gc.get_freeze_count():
        yield
        return
    gc.collect()
    gc.freeze()
    _is_at_rest = True
    try:
        yield
    finally:
        gc.unfreeze()
        _is_at_rest = False


def objects() -> list[Any]:
    """Returns all objects that the collector knows, those at rest among them, and those that a program has frozen."""
    if not gc.get_freeze_count():
        return gc.get_objects()
    is_collecting = gc.isenabled()
    gc.disable()
    gc.unfreeze()
    try:
        return gc.get_objects()
    finally:
        gc.freeze()
        if is_collecting:
            gc.enable()
