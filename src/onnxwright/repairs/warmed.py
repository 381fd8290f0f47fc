"""Tables that a module enlarges when it meets longer inputs are made at the most of the profile, before the export.

What a call leaves behind in the module (a cache of positions, a mask, a table of rotations) is there then when it is
exported, as long as it ever has to be. The module is put back into its first state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from onnxwright.errors import RepairError
from onnxwright.repairs import Exporter, Repair, Seen
from onnxwright.routes import Exported, told
from onnxwright.source import Source

if TYPE_CHECKING:
    from torch import Tensor


class Warmed(Repair):
    """Calls the module at the most of the profile before it is exported."""

    name = "warmed"
    summary = "calls the module at the most of the profile first, so that what it keeps between calls is large enough"
    rank = 1.0
    depth = 4

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Proposes itself where a call at the most of the profile leaves behind what a smaller one does not."""
        if seen.source.module is not None and not seen.approach.has(self.name) and _keeps_more(seen.source):
            yield ""

    def around(self, export: Exporter, argument: str) -> Exporter:  # noqa: ARG002 - there is but one way
        """Returns an export of the module as it is after a call at the most of the profile."""
        from onnxwright.pytorch.modules import Pristine

        def warm(source: Source) -> Exported:
            assert source.module is not None, "proposed for modules only"
            with Pristine(source.module):
                try:
                    _call(source, source.profile.most)
                except Exception as problem:  # the user's forward may raise anything
                    raise RepairError(f"the module refuses the most of the profile: {told(problem)}") from problem
                return export(source)

        return warm


def _keeps_more(source: Source) -> bool:
    from onnxwright.pytorch.modules import Pristine

    assert source.module is not None, "asked for modules only"
    with Pristine(source.module):
        try:
            _call(source, source.traced)
            kept = Pristine(source.module)
            _call(source, source.profile.most)
        except Exception:  # noqa: BLE001 - the user's forward may raise anything
            return False
        return bool(kept.changes())


def _call(source: Source, sizes: Mapping[str, int]) -> None:
    import torch

    from onnxwright.pytorch.modules import TensorFunction, evaluation
    from onnxwright.pytorch.session import to_tensor

    assert source.module is not None, "called for modules only"
    sample: list[Tensor] = [to_tensor(array) for array in source.sampler.draw(sizes).values()]
    with evaluation(source.module), torch.no_grad():
        TensorFunction(source.module, source.signature.input_names)(*sample)


REPAIR = Warmed()
