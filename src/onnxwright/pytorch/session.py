"""PyTorch itself, in eager mode: the reference. It runs modules, not ONNX files, so it is not an engine."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from onnxwright.backends import Array, Ran, Tensors
from onnxwright.dtypes import from_torch, is_known
from onnxwright.errors import ForwardError
from onnxwright.pytorch.devices import whole_mantissas
from onnxwright.pytorch.jittered import Jittered
from onnxwright.pytorch.lines import user_line_of
from onnxwright.pytorch.modules import Pristine, TensorFunction, evaluation, layers_as_written, setting, tolerated
from onnxwright.pytorch.reads import ValueReads
from onnxwright.pytorch.ties import Ties, Turned
from onnxwright.pytorch.tipping import Tipping
from onnxwright.pytorch.uncached import Held, asking_none, held_by
from onnxwright.pytorch.widened import Widening, is_rounded, unwrapped, widen, without_fast_paths
from onnxwright.samples import TYPICAL, Sampler, Values
from onnxwright.signature import Signature

NAME = "pytorch"
_FEW = 256


class PyTorchSession:
    """A module that answers each call from the same state, in evaluation mode, without gradients.

    With `is_whole`, an output that the signature doesn't name is an error; else it is left out.
    """

    def __init__(
        self, module: nn.Module, signature: Signature, *, threads: int, device: str = "cpu", is_whole: bool = False
    ):
        self._module = module
        self._pristine = Pristine(module)
        self._unguarded = UnguardedSession(module, signature, threads=threads, device=device, is_whole=is_whole)

    @property
    def ran(self) -> Ran:
        """What runs."""
        return self._unguarded.ran

    @property
    def rounded(self) -> frozenset[str]:
        """The outputs that the last run in float64 has seen would be rounded to a half-precision type on their way."""
        return self._unguarded.rounded

    @functools.cached_property
    def _caches(self) -> list[Held]:
        """Functions that would keep what they answer in float64 for calls in float32."""
        return list(held_by(self._module))

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`, from the module's first state.

        Raises:
            ForwardError: when the module raises.
        """
        self._pristine.restore()
        return self.run_again(feeds)

    def run_fused(self, feeds: Tensors) -> dict[str, Array]:
        """Answers as a user's call does, with PyTorch's fused kernels for whole layers.

        Raises:
            ForwardError: when the module raises.
        """
        with self._from_first_state(), layers_as_written(is_asked=False):
            return self._unguarded.run(feeds, threads=self._threads_for(feeds))

    def run_again(self, feeds: Tensors) -> dict[str, Array]:
        """Answers like `run`, but from whatever state the calls before have left."""
        with evaluation(self._module), whole_mantissas():
            return self._unguarded.run(feeds, threads=self._threads_for(feeds))

    def run_widened(self, feeds: Tensors, mode: Widening, *, shift: float = 0.0) -> dict[str, Array]:
        """Answers in float64, by the same module on the same numbers; its first state is put back afterwards too.

        With a shift, the numbers are greater or smaller by such a part of them, in turns without a pattern.

        Raises:
            ForwardError: when the module raises, or does what only float32 can.
        """
        with self._from_first_state(), asking_none(self._caches):
            return self._unguarded.run_widened(feeds, mode, threads=self._threads_for(feeds), shift=shift)

    def run_reordered(self, feeds: Tensors) -> dict[str, Array]:
        """Answers in another order of evaluation: with another number of threads, and without fused kernels.

        On one core there is one thread: two would spend their time waiting for each other.

        Raises:
            ForwardError: when the module raises.
        """
        threads = other_threads(self._threads_for(feeds)) if self.ran.threads > 1 else 1
        with self._from_first_state():
            return self._unguarded.run_reordered(feeds, threads=threads)

    def run_tipped(self, feeds: Tensors) -> dict[str, Array]:
        """Answers with each number that rounding may put on either of two steps on the other; `{}` without steps.

        Raises:
            ForwardError: when the module raises.
        """
        watch = Tipping(self._module)
        answered = self._watched(feeds, watch)
        return answered if watch.is_stepping else {}

    def run_led(self, feeds: Tensors, put: Sequence[Array]) -> dict[str, Array]:
        """Answers with each such number on the step where another computation has put it, all of which are given.

        Raises:
            ForwardError: when the module raises.
        """
        return self._watched(feeds, Tipping(self._module, [to_tensor(one) for one in put]))

    def _watched(self, feeds: Tensors, watch: contextlib.AbstractContextManager[Any]) -> dict[str, Array]:
        with self._from_first_state(), watch:
            return self._unguarded.run(feeds, threads=self._threads_for(feeds))

    def _threads_for(self, feeds: Tensors) -> int:
        """One for small inputs: several wait longer for each other than they work, all the more on a busy machine."""
        elements = max((array.size for array in feeds.values()), default=0)
        return self.ran.threads if elements > _FEW else 1

    @contextlib.contextmanager
    def _from_first_state(self) -> Iterator[None]:
        self._pristine.restore()
        try:
            with evaluation(self._module), whole_mantissas():
                yield
        finally:
            self._pristine.restore()

    def has_ties(self, feeds: Tensors, *, is_close: bool = False) -> bool:
        """Whether the module picks among equal elements, as of a `topk`; or among almost equal ones, if asked so."""
        watch = Ties()
        with contextlib.suppress(ForwardError), self._from_first_state(), watch:
            self._unguarded.run(feeds)
        return watch.is_close if is_close else watch.is_found

    def run_turned(self, feeds: Tensors, number: int) -> dict[str, Array]:
        """Answers with others taken of equal elements, wherever it picks among such: which, a number says.

        Raises:
            ForwardError: when the module raises.
        """
        return self._watched(feeds, Turned(number))

    def run_jittered(self, feeds: Tensors, seed: int) -> dict[str, Array]:
        """Answers with sums and functions rounded otherwise: how, the seed says; `{}` where that decides nothing.

        Raises:
            ForwardError: when the module raises.
        """
        watch = Jittered(seed)
        answered = self._watched(feeds, watch)
        return answered if watch.is_deciding else {}

    def depends_on_chance(self, feeds: Tensors) -> bool:
        """Whether numbers that torch's random generators give reach an output, or are read by Python."""
        self._pristine.restore()
        watch = ValueReads(is_chance_followed=True)
        with evaluation(self._module), torch.no_grad(), watch:
            answered = self._unguarded.function(*map(to_tensor, feeds.values()))
        self._pristine.restore()
        return bool(watch.found) or watch.carries(answered)

    def changes(self) -> list[str]:
        """Names what calls since the last `run` began have changed in the module."""
        return self._pristine.changes()

    def restore(self) -> None:
        """Puts the module back into its first state."""
        self._pristine.restore()


class UnguardedSession:
    """A module called as a user calls it, for measuring: whoever holds it keeps the module in evaluation mode."""

    def __init__(
        self, module: nn.Module, signature: Signature, *, threads: int, device: str = "cpu", is_whole: bool = False
    ):
        self.function = TensorFunction(module, signature.input_names, signature.output_names or None, is_whole=is_whole)
        self._device = device
        floats = [from_torch(parameter.dtype) for parameter in module.parameters() if parameter.is_floating_point()]
        self.ran = Ran(
            backend=NAME,
            version=str(torch.__version__),
            provider=device,
            precision=max(set(floats), key=floats.count) if floats else "float32",
            threads=threads,
        )
        self.rounded: frozenset[str] = frozenset()
        """The outputs that the last run in float64 has seen would be rounded to a half-precision type on their way."""

    def run(self, feeds: Tensors, *, threads: int | None = None) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`.

        Raises:
            ForwardError: when the module raises, or answers something that is not a dense tensor of real numbers.
        """
        with _threads(threads or self.ran.threads):
            return self._answer([to_tensor(array).to(self._device) for array in feeds.values()])

    def run_widened(self, feeds: Tensors, mode: Widening, *, threads: int, shift: float = 0.0) -> dict[str, Array]:
        """Answers in float64, with the operators' types as `mode` says, and the inputs shifted by a part of them.

        Raises:
            ForwardError: when the module raises.
        """
        tensors = [widen(to_tensor(array).to(self._device), shift=shift) for array in feeds.values()]
        with _threads(threads), mode:
            named = self._named(tensors)
            self.rounded = frozenset(name for name, tensor in named.items() if is_rounded(tensor))
            return _as_arrays(named)

    def run_reordered(self, feeds: Tensors, *, threads: int) -> dict[str, Array]:
        """Answers on so many threads, and without fused kernels.

        Raises:
            ForwardError: when the module raises.
        """
        with _threads(threads), without_fast_paths():
            return self._answer([to_tensor(array).to(self._device) for array in feeds.values()])

    def _answer(self, tensors: list[Tensor]) -> dict[str, Array]:
        return _as_arrays(self._named(tensors))

    def _named(self, tensors: list[Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            try:
                return self.function.named(tensors)
            except ForwardError:
                raise
            except (Exception, SystemExit) as problem:  # a user's forward may raise anything
                raise ForwardError(f"{type(problem).__name__} at {user_line_of(problem)}: {problem}") from problem


def taken_by(
    module: nn.Module, sampler: Sampler, sizes: Mapping[str, int], values: Values = TYPICAL, *, seed: int = 0
) -> dict[str, Tensor]:
    """Returns a sample of some sizes, if the module answers it; else nothing. Its first state is put back."""
    sample = {name: to_tensor(array) for name, array in sampler.draw(sizes, values, seed=seed).items()}
    function = TensorFunction(module, sampler.signature.input_names)
    with Pristine(module), evaluation(module), torch.no_grad(), tolerated():
        function(*sample.values())
        return sample
    return {}


def other_threads(threads: int) -> int:
    """Returns another number of threads than this one."""
    return 1 if threads > 1 else 2


def to_tensor(array: Array) -> Tensor:
    """Copies an array to a torch tensor on the CPU."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array, copy=True))


def to_array(tensor: Tensor) -> Array:
    """Copies a tensor to numpy, on the CPU."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    if plain.dtype == torch.bfloat16:
        import ml_dtypes

        bits: Array = plain.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16).copy()
        return bits
    return plain.numpy().copy()


def _as_arrays(named: Mapping[str, Tensor]) -> dict[str, Array]:
    for name, tensor in named.items():
        _check_kind(name, tensor)
    return {name: to_array(unwrapped(tensor)) for name, tensor in named.items()}


def _check_kind(name: str, tensor: Tensor) -> None:
    dtype = from_torch(tensor.dtype)
    if tensor.layout is not torch.strided:
        kind, remedy = f"{tensor.layout} {dtype}", "Return `.to_dense()` of it."
    elif tensor.is_complex():
        kind, remedy = dtype, "Return `torch.view_as_real(...)` of it, or its parts."
    elif not is_known(dtype):
        kind, remedy = dtype, "Cast it inside the module."
    else:
        return
    raise ForwardError(f"output '{name}': expected a dense tensor of real numbers or bools, got {kind}. {remedy}")


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    with setting(torch.set_num_threads, count, torch.get_num_threads()):
        yield
