"""What the names of a function stand for that it doesn't set itself: globals and builtins."""

from __future__ import annotations

import ast
import builtins
import logging
import warnings
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from onnxwright.repairs.control_flow.twins import TWINS

_TELLING: Final = (builtins.print, warnings.warn)
"""Functions that only tell the user something, beside the methods of loggers."""


@dataclass(frozen=True)
class Known:
    """The global names that a function knows."""

    found: Mapping[str, Any]
    own: AbstractSet[str]
    """Names that the function sets itself, which hide those."""

    def is_telling(self, call: ast.expr) -> bool:
        """Whether a call only tells the user something: it prints, warns or logs."""
        if not isinstance(call, ast.Call):
            return False
        function = call.func
        if isinstance(function, ast.Name):
            return self._value(function) in _TELLING
        if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Name):
            return False
        owner = self._value(function.value)
        is_logger = isinstance(owner, logging.Logger | logging.LoggerAdapter)
        return is_logger or getattr(owner, function.attr, None) in _TELLING

    def twin(self, function: ast.expr) -> str | None:
        """Returns the name of what stands in for a function of Python or torch, if it is that which is called."""
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name not in TWINS:
            return None
        own, twin = TWINS[name]
        found = self.value_of(function)
        is_own = found is own or getattr(found, "__wrapped__", None) is own  # a twin of an operator may stand in for it
        return twin.__name__ if is_own else None

    def value_of(self, function: ast.expr) -> Any:
        """Returns what a name, or an attribute of one, stands for; None for what isn't known."""
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            return getattr(self._value(function.value), function.attr, None)
        return self._value(function) if isinstance(function, ast.Name) else None

    def _value(self, name: ast.Name) -> Any:
        """What a name stands for; None for what the function sets itself, and for what isn't known."""
        return None if name.id in self.own else self.found.get(name.id, vars(builtins).get(name.id))
