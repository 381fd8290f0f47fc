"""Code that asks whether it is being exported or traced is told that it is not.

Models take other ways then (`if torch.compiler.is_exporting(): …`), which are not always the ones that PyTorch runs
otherwise, and which are often longer: a loop written out in place of an operator.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from onnxwright.errors import UsageError, accepted
from onnxwright.pytorch.replacing import OWN, replaced
from onnxwright.repairs import SEPARATOR, Exporter, Repair, Seen
from onnxwright.routes import Exported
from onnxwright.source import Source

if TYPE_CHECKING:
    from torch import nn

_QUESTIONS: Final = {
    "exporting": ("torch.compiler.is_exporting", "torch.onnx.is_in_onnx_export"),
    "tracing": (
        *("torch.compiler.is_compiling", "torch.compiler.is_dynamo_compiling", "torch.jit.is_tracing"),
        "transformers.utils.import_utils.is_fake_tensor",
    ),
}
"""What code asks whether it is being done, and where it asks."""
_ENDLESS: Final = "takes longer than"


class Untold(Repair):
    """Answers that nothing is exported to the module's code."""

    name = "untold"
    summary = "answers no where the module's code asks whether it is being exported"
    rank = 2.0
    depth = 2

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Yields what the module's code asks, after a graph that is wrong or an export without end."""
        is_wrong = seen.proof is not None and bool(seen.proof.failures)
        module = seen.source.module
        if module is None or seen.approach.has(self.name) or not (is_wrong or _ENDLESS in seen.message):
            return
        asked = _asked(module, seen.source)
        yield from asked[:1]
        if len(asked) > 1:
            yield SEPARATOR.join(asked)

    def around(self, export: Exporter, argument: str) -> Exporter:
        """Returns an export that the module's code doesn't notice.

        Raises:
            UsageError: for what no code asks.
        """
        import torch

        kinds = argument.split(SEPARATOR)
        for kind in kinds:
            if kind not in _QUESTIONS:
                raise UsageError(f"repair 'untold': '{kind}' is unknown; expected {accepted(kind, _QUESTIONS)}.")
        is_followed = torch.compiler.is_dynamo_compiling

        def unnoticed(source: Source) -> Exported:
            denied = functools.partial(_denied, is_followed)
            with replaced(*((question, denied) for kind in kinds for question in _QUESTIONS[kind])):
                return export(source)

        return unnoticed


def _denied(is_followed: Callable[[], bool], own: Callable[..., bool]) -> Callable[..., bool]:
    """A function that answers no to all but torch, and to dynamo, which can't follow who asks."""

    @functools.wraps(own)
    def answer(*args: Any) -> bool:
        return own(*args) if is_followed() or _is_own(sys._getframe(1)) else False

    return answer


def _asked(module: nn.Module, source: Source) -> list[str]:
    """What code of the user's asks in a call of the module."""
    from onnxwright.pytorch.session import taken_by

    asked = set()

    def noting(kind: str, own: Callable[..., bool]) -> Callable[..., bool]:
        @functools.wraps(own)
        def note(*args: Any) -> bool:
            if not _is_own(sys._getframe(1)):
                asked.add(kind)
            return own(*args)

        return note

    questions = [(question, kind) for kind, several in _QUESTIONS.items() for question in several]
    with replaced(*((question, functools.partial(noting, kind)) for question, kind in questions)):
        taken_by(module, source.sampler, source.traced)
    return [kind for kind in _QUESTIONS if kind in asked]


def _is_own(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in OWN


REPAIR = Untold()
