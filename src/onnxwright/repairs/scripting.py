"""The submodules that a finding points at, compiled by TorchScript, while the rest is traced.

What Python decides in them (a branch on a size or a value, an early exit, a loop over a length) stays in the graph as
an `If` or a `Loop`; what can't be compiled elsewhere in the module is in nobody's way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from onnxwright.errors import RouteError
from onnxwright.repairs import DECIDED, Exporter, Repair, Seen
from onnxwright.routes import Exported, told
from onnxwright.source import Source

if TYPE_CHECKING:
    from torch import nn

_SEPARATOR: Final = ", "


class Scripting(Repair):
    """Compiles the submodules in which Python decides something, and traces the rest."""

    name = "scripting"
    summary = "compiles by TorchScript the submodules in which Python decides something, and traces the rest"
    rank = 8.0
    depth = 1
    route = "trace"
    decides = True

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Yields the paths of the submodules that findings name, all at once."""
        if seen.approach.route != self.route or seen.approach.has(self.name) or seen.source.module is None:
            return
        named = dict.fromkeys(found.module for found in seen.findings if found.code in DECIDED and found.module)
        outermost = [path for path in named if not any(path.startswith(f"{other}.") for other in named)]
        if outermost:
            yield _SEPARATOR.join(outermost)

    def around(self, export: Exporter, argument: str) -> Exporter:
        """Returns an export of the module with these submodules compiled."""

        def with_compiled(source: Source) -> Exported:
            assert source.module is not None, "proposed for modules only"
            with contextlib.ExitStack() as replaced:
                for path in argument.split(_SEPARATOR):
                    replaced.enter_context(_compiled(source.module, path))
                return export(source)

        return with_compiled


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
        raise RouteError(f"'{path}' can't be compiled: {told(problem)}") from problem
    parent._modules[name] = CompiledPart(compiled)
    try:
        yield
    finally:
        parent._modules[name] = own


REPAIR = Scripting()
