"""Weights that a module computes from others at each call are computed once, before the export.

What `torch.nn.utils.parametrizations` registers (orthogonal, spectrally normed) is computed by operators that exporters
lack, and the same at each call of a module that is no longer trained: the graph gets the weights themselves.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from onnxwright.pytorch.replacing import in_class
from onnxwright.repairs import Exporter, Repair, Seen
from onnxwright.routes import Exported
from onnxwright.source import Source

if TYPE_CHECKING:
    from torch import nn


_KNOWN: Final = "_known_before_the_export"


class Parametrized(Repair):
    """Has the parametrized weights of a module computed beforehand."""

    name = "parametrized"
    summary = "computes weights that the module computes from others at each call once, before the export"
    rank = 1.0
    depth = 3

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Proposes itself where there are such weights."""
        if seen.source.module is not None and not seen.approach.has(self.name) and any(_computed(seen.source.module)):
            yield ""

    def around(self, export: Exporter, argument: str) -> Exporter:  # noqa: ARG002 - there is but one way
        """Returns an export during which such weights are there already."""

        def beforehand(source: Source) -> Exported:
            assert source.module is not None, "proposed for modules only"
            with _known(source.module):
                return export(source)

        return beforehand


def _computed(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """The weights that parts of a module compute, by the part and the name."""
    from torch.nn.utils import parametrize

    for part in module.modules():
        if parametrize.is_parametrized(part):
            yield from ((part, name) for name, _ in part.get_submodule("parametrizations").named_children())


@contextlib.contextmanager
def _known(module: nn.Module) -> Iterator[None]:
    """Has the parts of a module answer such weights without computing them, while entered.

    PyTorch's own cache of them refuses a trace. A class may serve several parts, so that each holds its own.
    """
    import torch

    from onnxwright.pytorch.modules import evaluation

    with contextlib.ExitStack() as entered:
        with evaluation(module), torch.no_grad():
            values = [(part, name, getattr(part, name)) for part, name in _computed(module)]
        for part, name, value in values:
            setattr(part, f"{name}{_KNOWN}", value)
            entered.callback(delattr, part, f"{name}{_KNOWN}")
        for kind, name in dict.fromkeys((type(part), name) for part, name, _ in values):
            entered.enter_context(in_class(kind, name, property(operator.attrgetter(f"{name}{_KNOWN}"))))
        yield


REPAIR = Parametrized()
