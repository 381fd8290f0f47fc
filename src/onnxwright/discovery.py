"""Finds the plug-ins of a package: each module in it offers one, under the name that the package agreed on."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import Any


@functools.cache
def offered(package: str, attribute: str) -> dict[str, Any]:
    """Returns what each module of `package` offers under `attribute`, by its `name`, in order of module name."""
    folder = importlib.import_module(package)
    found = {}
    for module in pkgutil.iter_modules(folder.__path__):
        offer = getattr(importlib.import_module(f"{package}.{module.name}"), attribute, None)
        if offer is not None:
            found[offer.name] = offer
    return found
