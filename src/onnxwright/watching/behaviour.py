"""How a module behaves beyond what it answers: memory that it shares, modes, rows that influence each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils._pytree import tree_leaves

from onnxwright import tolerance
from onnxwright.backends import Tensors
from onnxwright.errors import ForwardError
from onnxwright.findings import Finding
from onnxwright.pytorch.calls import Call, Log, Note, departure, noting
from onnxwright.pytorch.dispatching import OperatorMode
from onnxwright.pytorch.lines import Place, found_at, line_of_forward
from onnxwright.pytorch.modules import Pristine, TensorFunction, evaluation, layers_as_written, tolerated
from onnxwright.pytorch.session import PyTorchSession, to_tensor
from onnxwright.reference import Reference
from onnxwright.samples import Sampler
from onnxwright.signature import Signature
from onnxwright.source import Source
from onnxwright.watching.examination import Dice

Run = Callable[[Tensors], Mapping[str, Any]]

_FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
"""The layers of which PyTorch has fused forms in evaluation mode."""
_FUSED_LIMIT = 1e-3
_COMPARING = {getattr(torch.ops.aten, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")}
_MOST_NUMBERS = 12
_ROWS = 3
_ROW_LIMIT = 1e-4
"""A batch is computed in another order than a row, which shows in the last digits."""


class Behaviour:
    """Runs a module, each time from its first state, and looks at more than its answer."""

    def __init__(self, module: nn.Module, signature: Signature):
        self._module = module
        self._function = TensorFunction(module, signature.input_names, signature.output_names or None)
        self._pristine = Pristine(module)

    def log(self, *many: Tensors, rows: int | None = None, is_fused: bool = False) -> list[Call]:
        """Returns the calls of a run on the last of some feeds, after runs on those before it."""
        self._pristine.restore()
        log = Log(rows)
        # What fails here fails in the reference too, which tells it.
        with tolerated(), evaluation(self._module), torch.no_grad():
            for feeds in many[:-1]:
                self._function(*map(to_tensor, feeds.values()))
            with noting(self._module, log.note), layers_as_written(is_asked=not is_fused):
                self._function(*map(to_tensor, many[-1].values()))
        self._pristine.restore()
        return log.calls

    def findings(self, feeds: Tensors) -> list[Finding]:
        """Returns what is noteworthy about one call: training mode, and memory shared with the inputs."""
        found: list[Finding] = []
        self._pristine.restore()
        with self._pristine, evaluation(self._module), torch.no_grad(), tolerated():
            found += self._shared(feeds)
            found += self._modes()
        return found

    def _modes(self) -> Iterator[Finding]:
        without = {id(inner) for part in self._module.modules() if _has_no_modes(part) for inner in part.modules()}
        for path, part in self._module.named_modules():
            if part.training and id(part) not in without:
                line = line_of_forward(part)
                message = f"{type(part).__name__} is in training mode although the module was put into evaluation mode."
                yield found_at(Place(path, line) if line else None, "training-mode", message)

    def _shared(self, feeds: Tensors) -> Iterator[Finding]:
        inputs = {name: to_tensor(array) for name, array in feeds.items()}
        versions = {name: tensor._version for name, tensor in inputs.items()}
        written: dict[str, Place] = {}
        holders: dict[int, Place] = {}

        def note(place: Place, _: Sequence[Any], answer: Any) -> None:
            for name, tensor in inputs.items():
                if tensor._version != versions[name]:
                    written.setdefault(name, place)
            if isinstance(answer, Tensor) and answer.layout is torch.strided and _memory(answer):
                holders[_memory(answer)] = place

        with noting(self._module, note):
            answers = self._function.named(list(inputs.values()))
        for name, place in written.items():
            yield place.finding("output-aliases-input", f"The module writes into its input '{name}'.")
        memory = {_memory(tensor): name for name, tensor in inputs.items()}
        for output, tensor in answers.items():
            shared = memory.get(_memory(tensor))
            if shared is not None and _memory(tensor) and shared not in written:
                message = f"Output '{output}' is memory of the input '{shared}'."
                line = line_of_forward(self._module)
                holder = holders.get(_memory(tensor)) or (Place("", line) if line else None)
                yield found_at(holder, "output-aliases-input", message)

    def compared(self, feeds: Tensors) -> tuple[float, ...]:
        """Returns the finite numbers with which a call compares tensors; the first few."""
        numbers: dict[float, None] = {}

        class Comparing(OperatorMode):
            def _operator(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
                if func.overloadpacket in _COMPARING and isinstance(args[1], (int, float)):
                    numbers[float(args[1])] = None
                return func(*args, **kwargs)

        self._pristine.restore()
        with tolerated(), evaluation(self._module), torch.no_grad(), Comparing():
            self._function(*map(to_tensor, feeds.values()))
        self._pristine.restore()
        return tuple(number for number in numbers if math.isfinite(number))[:_MOST_NUMBERS]

    def first_draw(self, feeds: Tensors) -> Place | None:
        """Returns the first call at or after which a random generator was drawn from."""
        places: list[Place] = []
        dice = Dice()

        def note(place: Place, *_: Any) -> None:
            if not places and dice.thrown():
                places.append(place)

        self._run(feeds, note)
        return places[0] if places else None

    def first_nan(self, feeds: Tensors) -> Place | None:
        """Returns where NaN first comes of numbers that are none."""
        places: list[Place] = []

        def note(place: Place, args: Sequence[Any], answer: Any) -> None:
            if _has_nan(answer) and not _has_nan(args):
                places.append(place)

        self._run(feeds, note)
        return places[0] if places else None

    def first_wide(self, feeds: Tensors) -> Place | None:
        """Returns where a tensor of float64 or, failing that, of int64 first comes from."""
        places: dict[torch.dtype, Place] = {}

        def note(place: Place, _: Sequence[Any], answer: Any) -> None:
            if isinstance(answer, Tensor):
                places.setdefault(answer.dtype, place)

        self._run(feeds, note)
        return places.get(torch.float64) or places.get(torch.int64)

    def _run(self, feeds: Tensors, note: Note) -> None:
        self._pristine.restore()
        with tolerated(), evaluation(self._module), torch.no_grad(), noting(self._module, note):
            self._function(*map(to_tensor, feeds.values()))
        self._pristine.restore()


def _memory(tensor: Tensor) -> int:
    """Where a tensor's numbers lie; those inside `vmap` have no place of their own."""
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return 0
    return tensor.untyped_storage().data_ptr()


def _has_nan(values: Any) -> bool:
    return any(
        bool(leaf.isnan().any())
        for leaf in tree_leaves(values)
        if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.layout is torch.strided
    )


def rows_influence(
    run: Run, sampler: Sampler, sizes: Mapping[str, int], limits: Mapping[str, float]
) -> dict[str, float]:
    """Returns the outputs in which the first row of a batch differs from the same row alone, and by how much.

    The batch is the dim that stands first in every input; `{}` where there is none, or it can't be one.
    """
    dim = batch_dim(sampler.signature)
    if dim is None:
        return {}
    together = sampler.draw({**sizes, dim: _ROWS})
    alone = {spec.name: together[spec.name][:1] for spec in sampler.signature.inputs}
    answered, lone = run(together), run(alone)
    errors = {
        spec.name: tolerance.distance(answered[spec.name][:1], lone[spec.name])
        for spec in sampler.signature.outputs
        if spec.shape and spec.shape[0] == dim
    }
    return {name: error for name, error in errors.items() if error > limits.get(name, 0.0)}


def rows_finding(source: Source, reference: Reference) -> tuple[Finding, ...]:
    """Says whether a row of the reference gets another answer alone than in a batch, beyond its own noise."""
    dim = batch_dim(source.signature)
    if dim is None or not _takes_rows(source, dim):
        return ()
    feeds = source.sampler.draw(source.traced)
    try:
        noise = reference.noise(feeds, reference.session.run(feeds))
        limits = {name: max(_ROW_LIMIT, tolerance.SAME_PRECISION.limit(floor)) for name, floor in noise.items()}
        errors = rows_influence(reference.session.run, source.sampler, source.traced, limits)
    except ForwardError:
        return ()
    if not errors:
        return ()
    told = ", ".join(f"'{name}' by {error:.1e}" for name, error in errors.items())
    message = f"A row alone gets another answer than in a batch of {_ROWS}: {told}."
    place = None
    if source.module is not None:
        place = place_of_influence(Behaviour(source.module, source.signature), source.sampler, source.traced)
    return (found_at(place, "rows-influence-each-other", message),)


def fused_finding(source: Source, threads: int) -> tuple[Finding, ...]:
    """Says whether PyTorch's fused kernels for whole layers answer differently from the layers."""
    module, sampler = source.module, source.sampler
    if module is None or not any(isinstance(part, _FUSED) for part in module.modules()):
        return ()
    session = PyTorchSession(module, source.signature, threads=threads)
    for values in sampler.regimes:
        feeds = sampler.draw(source.traced, values)
        try:
            written, fused = session.run(feeds), session.run_fused(feeds)
        except ForwardError:
            continue
        errors = {name: tolerance.distance(written[name], fused[name]) for name in written}
        wrong = [f"'{name}' by {error:.1e}" for name, error in errors.items() if error > _FUSED_LIMIT]
        if wrong:
            behaviour = Behaviour(module, source.signature)
            place = departure(behaviour.log(feeds), behaviour.log(feeds, is_fused=True), _FUSED_LIMIT)
            message = f"PyTorch's fused kernels answer differently from its layers in {', '.join(wrong)}"
            return (found_at(place, "fast-path-differs", f"{message} with {values.name} values."),)
    return ()


def _has_no_modes(part: nn.Module) -> bool:
    """Whether a module is one of `torch.export`: its operators are chosen, and it refuses to be put into a mode."""
    return isinstance(part, GraphModule) and "train" in vars(part)


def _takes_rows(source: Source, dim: str) -> bool:
    return source.profile[dim].least <= 1 and source.profile[dim].most >= _ROWS


def batch_dim(signature: Signature) -> str | None:
    """Returns the dim that stands first in every input; None where there is none."""
    first = {spec.shape[0] if spec.shape else None for spec in signature.inputs}
    dim = first.pop() if len(first) == 1 else None
    return dim if isinstance(dim, str) else None


def place_of_influence(behaviour: Behaviour, sampler: Sampler, sizes: Mapping[str, int]) -> Place | None:
    """Returns the line at which a row in a batch first gets another value than alone."""
    dim = batch_dim(sampler.signature)
    assert dim is not None
    together = sampler.draw({**sizes, dim: _ROWS})
    alone = {name: array[:1] for name, array in together.items()}
    return departure(behaviour.log(together, rows=_ROWS), behaviour.log(alone, rows=1), _ROW_LIMIT)
