"""Loops over what `nonzero` finds in a row of fixed length: they visit every place of it, found or not.

Mixtures of experts loop so over the experts that some token has chosen (`for expert in hit.nonzero()`). An expert that
none has chosen adds nothing, so that the loop may visit it too, and needs no decision. The proof has to show this.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from onnxwright.pytorch.replacing import replaced
from onnxwright.repairs import Exporter, Repair, Seen
from onnxwright.routes import Exported
from onnxwright.source import Source

if TYPE_CHECKING:
    from torch import Tensor

_PLACES: Final = ("torch.Tensor.nonzero", "torch.nonzero")


class Visited(Repair):
    """Has loops over what is not zero visit every place."""

    name = "visited"
    summary = "has loops over what `nonzero` finds in a row of fixed length visit all of the row"
    rank = 2.0
    depth = 2
    decides = True

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Proposes itself where the module loops over what `nonzero` finds."""
        if seen.source.module is not None and not seen.approach.has(self.name) and _loops(seen.source):
            yield ""

    def around(self, export: Exporter, argument: str) -> Exporter:  # noqa: ARG002 - there is but one way
        """Returns an export during which such loops visit all places."""

        def visiting(source: Source) -> Exported:
            with _found_as(Places):
                return export(source)

        return visiting


class Places:
    """What `nonzero` finds in a row: the tensor of that, but for a loop, which visits all of the row."""

    def __init__(self, row: Tensor, found: Tensor):
        self.found, self.row = found, row

    def __iter__(self) -> Iterator[Tensor]:
        import torch

        return (torch.tensor([place]) for place in range(self.row.shape[0]))

    def __getitem__(self, index: Any) -> Tensor:
        return self.found[index]

    def __len__(self) -> int:
        return len(self.found)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.found, name)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], _: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Takes part in PyTorch's functions as the tensor that it stands for."""
        own = {key: _tensor(value) for key, value in (kwargs or {}).items()}
        return function(*map(_tensor, args), **own)


def _tensor(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_tensor, value))
    return value.found if isinstance(value, Places) else value


@contextlib.contextmanager
def _found_as(made: Callable[[Tensor, Tensor], Places]) -> Iterator[None]:
    """Has `nonzero` of a row answer what is made of the row and of what is found in it."""
    from torch import SymInt

    def standing_in(own: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(own)
        def nonzero(row: Tensor, *args: Any, **kwargs: Any) -> Any:
            found = own(row, *args, **kwargs)
            is_row = not args and not any(kwargs.values()) and row.dim() == 1
            return made(row, found) if is_row and not isinstance(row.shape[0], SymInt) else found

        return nonzero

    with replaced(*((place, standing_in) for place in _PLACES)):
        yield


def _loops(source: Source) -> bool:
    """Whether a module loops over what `nonzero` finds in a row that is as long whatever the sizes of its inputs."""
    from onnxwright.pytorch.session import taken_by

    lengths: list[set[int]] = []

    class Noting(Places):
        def __iter__(self) -> Iterator[Tensor]:
            lengths[-1].add(self.row.shape[0])
            return iter(self.found)

    assert source.module is not None, "asked for modules only"
    for sizes in (source.traced, source.profile.usual, source.profile.most):
        lengths.append(set())
        with _found_as(Noting):
            taken_by(source.module, source.sampler, sizes)
    return bool(set.intersection(*lengths))


REPAIR = Visited()
