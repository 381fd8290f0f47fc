"""Another form of attention, for models that hold several and choose one by their config.

`transformers` models compute attention by `scaled_dot_product_attention` (`sdpa`) or written out (`eager`), with masks
made to suit. Where one form is refused or wrong, the other may be right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from onnxwright.errors import UsageError, accepted
from onnxwright.repairs import Exporter, Repair, Seen
from onnxwright.routes import Exported
from onnxwright.source import Source

if TYPE_CHECKING:
    from torch import nn

_CHOICE: Final = "_attn_implementation"
_FORMS: Final = ("eager", "sdpa")
_BLAMED: Final = ("attention", "sdpa", "masking")
"""Words in what was seen that tell of attention, or of the masks made for it."""


class Attention(Repair):
    """Has the module compute attention in another form."""

    name = "attention"
    summary = "has a model that holds several forms of attention compute another one"
    rank = 5.5
    depth = 3

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Yields the form that the module does not compute by itself, where what was seen tells of attention."""
        if seen.source.module is None or seen.approach.fixes:
            return
        told = " ".join([seen.message, *(f"{found.message} {found.where} {found.module}" for found in seen.findings)])
        if not any(word in told for word in _BLAMED):
            return
        used = {getattr(config, _CHOICE) for config in _configs(seen.source.module)}
        yield from (form for form in _FORMS if used and form not in used)

    def around(self, export: Exporter, argument: str) -> Exporter:
        """Returns an export of the module with that form.

        Raises:
            UsageError: for an unknown form.
        """
        if argument not in _FORMS:
            raise UsageError(
                f"repair 'attention': form '{argument}' is unknown; expected {accepted(argument, _FORMS)}."
            )

        def in_form(source: Source) -> Exported:
            assert source.module is not None, "proposed for modules only"
            with contextlib.ExitStack() as chosen:
                for config in _configs(source.module):
                    chosen.enter_context(_choosing(config, argument))
                return export(source)

        return in_form


def _configs(module: nn.Module) -> list[Any]:
    """The configs that say which form is computed, each once."""
    found = [config for part in module.modules() for config in vars(part).values() if hasattr(config, _CHOICE)]
    return list({id(config): config for config in found if getattr(config, _CHOICE) in _FORMS}.values())


@contextlib.contextmanager
def _choosing(config: Any, form: str) -> Iterator[None]:
    own = getattr(config, _CHOICE)
    setattr(config, _CHOICE, form)
    try:
        yield
    finally:
        setattr(config, _CHOICE, own)


REPAIR = Attention()
