"""Operators that exporters get wrong or refuse, computed by others: one twin a file, each offering `TWIN`.

A twin takes what the operator takes and answers what it answers, where its `applies` says so; elsewhere the operator
itself runs. It stands in for it wherever the module's code calls it, for the time of the export; that of a method
(`Tensor.cumprod`) for the one that works in place, too (`cumprod_`), unless this has a twin of its own.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from onnxwright.discovery import offered
from onnxwright.errors import RouteError, UsageError, accepted
from onnxwright.isolation import can_isolate, isolated
from onnxwright.pytorch.replacing import replaced, without_reading
from onnxwright.repairs import SEPARATOR, Exporter, Repair, Seen
from onnxwright.routes import Exported
from onnxwright.source import Source

if TYPE_CHECKING:
    from torch import Tensor, nn

_METHODS: Final = "torch.Tensor."
_MOST_SECONDS: Final = 60.0
"""For a trace that tells what a module calls."""


@dataclass(frozen=True)
class Twin:
    """An operator by the places from which it is called (`torch.nn.functional.pad`), and what stands in for it.

    A place may be a computed attribute (`torch.Tensor.mT`), of a twin with `told`, or one that torch lacks
    (`torch.Tensor.__ceil__`): the twin takes all arguments there.
    """

    name: str
    places: tuple[str, ...]
    compute: Callable[..., Any]
    """Takes what the operator takes."""
    applies: Callable[..., bool] = lambda *_, **__: True
    """Whether the twin is right for these arguments."""
    counts: Callable[..., bool] | None = None
    """Whether the twin may be right for a call that is seen outside of a trace, where `applies` says otherwise then."""
    told: str = ""
    """What an exporter's error says where a call of it is to blame that can't be seen otherwise."""
    is_taken: bool = False
    """Whether exporters take the operator, and get it wrong at times: where another is refused, it isn't to blame."""
    is_unread: bool = False
    """Whether it answers tensors where the operator reads their values in Python."""
    is_of_sizes: bool = False
    """Whether modules compute sizes with it, too, which are tensors only while a module is traced."""
    is_compiled: bool = False
    """Whether TorchScript may compile it in place of the operator; it is right for all arguments then."""


class Operators(Repair):
    """Computes the operators that the module calls, and that exporters break, by others."""

    name = "operators"
    summary = "computes operators that exporters get wrong or refuse by others that they get right"
    rank = 5.0
    depth = 2

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Yields those that the module calls, all at once; where an export fails, first those that may be refused."""
        if seen.source.module is None or seen.approach.has(self.name):
            return
        blamed = [twin.name for twin in twins().values() if twin.told and twin.told in seen.message]
        called = [*_called(seen.source.module, seen.source), *blamed]
        refused = [name for name in called if not twins()[name].is_taken]
        if refused and seen.proof is None:
            yield SEPARATOR.join(refused)
        if called:
            yield SEPARATOR.join(called)

    def details(self) -> Iterator[str]:
        """Yields what each twin is."""
        docs = ((name, sys.modules[twin.compute.__module__].__doc__ or "") for name, twin in twins().items())
        yield "\n".join(f"- `{name}`: {' '.join(doc.partition(chr(10) * 2)[0].split())}" for name, doc in docs)

    def around(self, export: Exporter, argument: str) -> Exporter:
        """Returns an export during which twins stand in for operators.

        Raises:
            UsageError: for a name of none.
        """
        known = twins()
        names = argument.split(SEPARATOR)
        for name in names:
            if name not in known:
                raise UsageError(f"operator '{name}' has no twin; expected {accepted(name, known)}.")

        def with_twins(source: Source) -> Exported:
            parts = source.module.modules() if source.module is not None else ()
            with standing_in({name: known[name] for name in names}, held_by=parts):
                return export(source)

        return with_twins


def twins() -> dict[str, Twin]:
    """Returns every twin by name."""
    return cast(dict[str, Twin], offered(__name__, "TWIN"))


def is_number(value: object) -> bool:
    """Whether a value is one number: sizes are symbols or tensors without dims while they are exported."""
    import torch

    return isinstance(value, (int, float, torch.SymInt)) or (isinstance(value, torch.Tensor) and value.dim() == 0)


def axes_of(x: Any, dim: int | Iterable[int] | None) -> list[int]:
    """The axes that are named by one number or several; all, where none is."""
    return list(range(x.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)


def sliced(x: Any, axis: int, start: Any, end: Any) -> Any:
    """Returns a stretch of an axis; both ends may be sizes that are traced."""
    return x[(slice(None),) * (axis % x.dim()) + (slice(start, end),)]


@contextlib.contextmanager
def standing_in(chosen: Mapping[str, Twin], *, held_by: Iterable[Any] = ()) -> Iterator[None]:
    """Has twins stand in for their operators while entered, in the attributes of some objects too."""
    pairs = [(place, functools.partial(_stand_in, twin)) for twin in chosen.values() for place in twin.places]
    in_place = [(place, functools.partial(_stand_in_place, twin)) for place, twin in _in_place(chosen.values())]
    with replaced(*pairs, *in_place, held_by=held_by):
        yield


def _in_place(chosen: Iterable[Twin]) -> Iterator[tuple[str, Twin]]:
    """Yields the methods that write over their tensor what a twin's method answers, with the twin."""
    import torch

    taken = {place for twin in twins().values() for place in twin.places}
    for twin in (one for one in chosen if not (one.is_compiled or one.is_unread)):
        for place in (f"{one}_" for one in twin.places if one.startswith(_METHODS)):
            if place not in taken and hasattr(torch.Tensor, place.removeprefix(_METHODS)):
                yield place, twin


def _called(module: nn.Module, source: Source) -> list[str]:
    """The twins whose operators a module calls in a way that they take."""
    from onnxwright.pytorch.session import taken_by

    called: dict[str, None] = {}

    def noting(twin: Twin, own: Callable[..., Any] | None) -> Callable[..., Any]:
        @functools.wraps(own or twin.compute)
        def note(*args: Any, **kwargs: Any) -> Any:
            if _takes(twin, twin.counts or twin.applies, args, kwargs):
                called.setdefault(twin.name)
            return (own or twin.compute)(*args, **kwargs)

        return note

    watched = [twin for twin in twins().values() if not twin.told]
    places = [(place, twin) for twin in watched for place in twin.places]
    pairs = [(place, functools.partial(noting, twin)) for place, twin in (*places, *_in_place(watched))]
    with replaced(*pairs, held_by=module.modules()):
        sample = taken_by(module, source.sampler, source.traced)
        if sample and any(twin.is_of_sizes for twin in watched):
            called.update(dict.fromkeys(_while_traced(module, sample, called)))
    return list(called)


def _while_traced(module: nn.Module, sample: Mapping[str, Tensor], called: Mapping[str, None]) -> list[str]:
    """What has been called once a module was traced, in a process of its own; nothing where that ends or hangs."""

    def step() -> list[str]:
        _trace(module, sample)
        return list(called)

    with contextlib.suppress(RouteError):
        return isolated(step, seconds=_MOST_SECONDS) if can_isolate() else step()
    return []


def _trace(module: nn.Module, sample: Mapping[str, Tensor]) -> None:
    """Runs a module while sizes are tensors."""
    import torch

    from onnxwright.pytorch.modules import Pristine, TensorFunction, evaluation, tolerated
    from onnxwright.routes import silence

    function = TensorFunction(module, tuple(sample))
    with Pristine(module), evaluation(module), silence(), torch.no_grad(), tolerated():
        torch.jit.trace(  # type: ignore[no-untyped-call]  # torch leaves it without annotations
            function, tuple(sample.values()), check_trace=False, strict=False
        )


def _stand_in(twin: Twin, own: Callable[..., Any] | None) -> Callable[..., Any]:
    """The twin, or the operator itself for calls that the twin doesn't take."""
    if twin.is_compiled or own is None:
        return twin.compute
    if inspect.isdatadescriptor(own):
        return cast(Callable[..., Any], property(twin.compute))

    @functools.wraps(own)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return (twin.compute if _takes(twin, twin.applies, args, kwargs) else own)(*args, **kwargs)

    return without_reading(stand_in, twin.applies) if twin.is_unread else stand_in


def _stand_in_place(twin: Twin, own: Callable[..., Any]) -> Callable[..., Any]:
    """What writes a twin's answer over the tensor, or the method itself for calls that the twin doesn't take."""

    @functools.wraps(own)
    def stand_in(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002 - torch's name
        is_taken = _takes(twin, twin.applies, (input, *args), kwargs)
        return input.copy_(twin.compute(input.clone(), *args, **kwargs)) if is_taken else own(input, *args, **kwargs)

    return stand_in


def _takes(twin: Twin, applies: Callable[..., bool], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a twin has the parameters that a call gives, and is right for them."""
    try:
        _signature(twin.compute).bind(*args, **kwargs)
        _signature(applies).bind(*args, **kwargs)
    except TypeError:
        return False
    return applies(*args, **kwargs)


_signature = functools.cache(inspect.signature)


REPAIR = Operators()
