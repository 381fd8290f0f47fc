"""Folders of tests, for another user too."""

from __future__ import annotations

from pathlib import Path


def open_to_all(folder: Path) -> None:
    """Lets anyone pass through the folders above one of pytest's own."""
    for parent in folder.parents:
        parent.chmod(0o755)
        if parent.name.startswith("pytest-of-"):
            return
