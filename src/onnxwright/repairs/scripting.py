"""The submodules and functions that a finding points at, compiled by TorchScript, while the rest is traced.

What Python decides in them (a branch on a size or a value, an early exit, a loop over a length) stays in the graph as
an `If` or a `Loop`; what can't be compiled elsewhere in the module is in nobody's way.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from types import FunctionType
from typing import TYPE_CHECKING, Any

from onnxwright.errors import RepairError
from onnxwright.pytorch.functions import functions_at
from onnxwright.pytorch.replacing import replaced
from onnxwright.repairs import DECIDED, SEPARATOR, Exporter, Repair, Seen
from onnxwright.routes import Exported, told
from onnxwright.source import Source

if TYPE_CHECKING:
    from torch import nn


class Scripting(Repair):
    """Compiles the parts in which Python decides something, and traces the rest."""

    name = "scripting"
    summary = "compiles by TorchScript the functions or submodules in which Python decides, and traces the rest"
    rank = 8.0
    depth = 1
    route = "trace"
    decides = True

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Yields the functions that findings name by their places, then the submodules by their paths."""
        if seen.approach.route != self.route or seen.approach.has(self.name) or seen.source.module is None:
            return
        decided = [found for found in seen.findings if found.code in DECIDED]
        functions = functions_at(found.where for found in decided if found.where)
        places = [place for place, several in functions.items() if all(map(_is_alone, several))]
        if places and len(places) == len({found.where for found in decided}):
            yield SEPARATOR.join(places)
        named = dict.fromkeys(found.module for found in decided if found.module)
        outermost = [path for path in named if not any(path.startswith(f"{other}.") for other in named)]
        if outermost:
            yield SEPARATOR.join(outermost)

    def around(self, export: Exporter, argument: str) -> Exporter:
        """Returns an export of the module with these parts compiled."""
        parts = argument.split(SEPARATOR)
        # Found here: in a forked process the garbage collector no longer lists them.
        found = functions_at(part for part in parts if _is_place(part))
        functions = {id(one): one for several in found.values() for one in several}

        def with_compiled(source: Source) -> Exported:
            assert source.module is not None, "proposed for modules only"
            with contextlib.ExitStack() as exchanged:
                for function in functions.values():
                    exchanged.enter_context(_compiled_function(function))
                for path in parts:
                    if not _is_place(path):
                        exchanged.enter_context(_compiled(source.module, path))
                return export(source)

        return with_compiled


def _is_place(part: str) -> bool:
    return ":" in part


def _is_alone(function: FunctionType) -> bool:
    """Whether a function is found by its name in its module, so that another can stand in for it everywhere."""
    return vars(sys.modules.get(function.__module__)).get(function.__name__) is function


@contextlib.contextmanager
def _compiled_function(function: FunctionType) -> Iterator[None]:
    import torch

    from onnxwright.pytorch.modules import CompiledPart

    try:
        compiled: Any = torch.jit.script(function)
    except Exception as problem:  # the compiler raises types of its own, and whatever `inspect` raises
        raise RepairError(f"'{function.__qualname__}' can't be compiled: {told(problem)}") from problem

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        CompiledPart.running += 1
        try:
            return compiled(*args, **kwargs)
        finally:
            CompiledPart.running -= 1

    with replaced((f"{function.__module__}.{function.__name__}", lambda _: call)):
        yield


@contextlib.contextmanager
def _compiled(module: nn.Module, path: str) -> Iterator[None]:
    import torch

    from onnxwright.pytorch.modules import CompiledPart

    holder, _, name = path.rpartition(".")
    try:
        parent = module.get_submodule(holder)
        own = parent.get_submodule(name)
        compiled: Any = torch.jit.script(own)
    except Exception as problem:  # the compiler raises types of its own, and whatever `inspect` raises
        raise RepairError(f"'{path}' can't be compiled: {told(problem)}") from problem
    parent._modules[name] = CompiledPart(compiled)
    try:
        yield
    finally:
        parent._modules[name] = own


REPAIR = Scripting()
