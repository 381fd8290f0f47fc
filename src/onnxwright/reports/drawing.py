"""Writes figures: the same figure is the same file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from onnxwright.errors import MissingExtraError, UsageError
from onnxwright.staging import staged_file

_METADATA: Final[Mapping[str, Mapping[str, str | None]]] = {".svg": {"Date": None}, ".png": {"Software": None}}


def check_suffix(file: Path) -> None:
    """Refuses a file that is no picture.

    Raises:
        UsageError: naming the suffixes that are.
    """
    if file.suffix.lower() not in _METADATA:
        raise UsageError(f"picture '{file}': expected a name that ends in one of {', '.join(_METADATA)}.")


def save_figure(figure: Callable[[], Any], file: Path, *, is_forced: bool) -> None:
    """Draws a figure of matplotlib into an `.svg` or `.png` file.

    Raises:
        UsageError: for another suffix.
        OutputError: when the file exists (unless `is_forced`), or its folder doesn't.
        MissingExtraError: when matplotlib is not installed.
    """
    check_suffix(file)
    suffix = file.suffix.lower()
    with staged_file(file, is_forced=is_forced) as draft, _settled(file):
        figure().savefig(draft, format=suffix[1:], metadata=_METADATA[suffix])


@contextmanager
def _settled(file: Path) -> Iterator[None]:
    """Sets what makes the same figure the same file."""
    try:
        import matplotlib as mpl
    except ImportError as missing:
        raise MissingExtraError(
            f"picture '{file}': drawing needs the package 'matplotlib'. "
            'Install it with `pip install "onnxwright[picture]"`.'
        ) from missing
    with mpl.rc_context({"svg.hashsalt": "onnxwright", "svg.fonttype": "none", "savefig.dpi": 150}):
        yield
