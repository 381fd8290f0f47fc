"""Reads the JSON files that lie in a Hugging Face model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onnxwright.errors import SourceError


def read_settings(file: Path) -> dict[str, Any]:
    """Returns the table in a JSON file; an empty one where there is no such file.

    Raises:
        SourceError: when the file is not JSON, or holds no table.
    """
    settings = read_json(file)
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise SourceError(f"'{file}': expected a JSON object, got {type(settings).__name__}. Save the model again.")
    return settings


def read_json(file: Path) -> Any:
    """Returns what a JSON file holds, or None where there is no such file.

    Raises:
        SourceError: when the file is not JSON.
    """
    if not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as reason:
        raise SourceError(f"'{file}' is not JSON: {reason}. Save the model again.") from reason
