"""How onnxwright calls a torch module: inputs by name, outputs flat and named, evaluation mode, the same state."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

import torch
from torch import Tensor, nn

from onnxwright.errors import ForwardError
from onnxwright.pytorch.fake_quantization import observers_off
from onnxwright.pytorch.surroundings import Namespace, caches_of, namespaces_of, variables_of
from onnxwright.pytorch.uncompiled import functions_as_written


class TensorFunction(nn.Module):
    """A module as a plain function: tensors in the order of `inputs`, a flat tuple of tensors out.

    Nested outputs (tuple, list, mapping, dataclass) are flattened in order; `outputs` picks and orders them by name.
    With `is_whole` they are all that there may be. An output `x` beside an input `x` is called `x_output`, since the
    values of a graph have one name each. One in bfloat16 is answered in float32: numpy has no such type.
    """

    def __init__(
        self, module: nn.Module, inputs: Sequence[str], outputs: Sequence[str] | None = None, *, is_whole: bool = False
    ):
        super().__init__()
        self.module = module
        self._inputs = tuple(inputs)
        self._outputs = None if outputs is None else tuple(outputs)
        self._is_whole = is_whole
        # Only this module's own flag: the legacy exporter puts all submodules into the mode that it finds here.
        self.training = False

    def answer(self, tensors: Sequence[Tensor]) -> object:
        """Calls the module and returns whatever it answers."""
        return self.module(**dict(zip(self._inputs, tensors, strict=True)))

    def named(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """Calls the module and returns its outputs by name."""
        answered = flatten(self.answer(tensors)).items()
        found = {
            self._apart(name): tensor.float() if tensor.dtype is torch.bfloat16 else tensor for name, tensor in answered
        }
        if self._outputs is None:
            return found
        missing = [name for name in self._outputs if name not in found]
        if missing:
            raise ForwardError(f"output '{missing[0]}': not answered at these sizes; got {', '.join(found)}.")
        extra = [name for name in found if name not in self._outputs]
        if extra and self._is_whole:
            raise ForwardError(
                f"output '{extra[0]}': answered at these sizes, but not for the example; expected "
                f"{', '.join(self._outputs)} only. Return the same outputs at all sizes."
            )
        return {name: found[name] for name in self._outputs}

    def _apart(self, name: str) -> str:
        return f"{name}_output" if name in self._inputs else name

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Calls the module and returns its outputs in order."""
        return tuple(self.named(tensors).values())


def flatten(answer: object) -> dict[str, Tensor]:
    """Names every tensor in a nested answer: `output` for a lone tensor, else by key, field or index.

    Raises:
        ForwardError: when there is no tensor in it, or two get the same name.
    """
    found: dict[str, Tensor] = {}
    for path, leaf in _leaves(answer, ()):
        if not isinstance(leaf, Tensor):
            continue
        name = _name(path)
        if name in found:
            raise ForwardError(f"output '{name}': two outputs have this name. Return them under names of their own.")
        found[name] = leaf
    if not found:
        raise ForwardError(
            f"the module returned a {type(answer).__name__} without any tensor; expected a tensor, or tuples, lists, "
            "mappings or dataclasses of tensors."
        )
    return found


def skipped_outputs(answer: object) -> dict[str, str]:
    """Names the parts of a nested answer that no graph answers (None, numbers, strings, objects), with their types."""
    return {_name(path): type(leaf).__name__ for path, leaf in _leaves(answer, ()) if not isinstance(leaf, Tensor)}


def _name(path: tuple[str, ...]) -> str:
    name = re.sub(r"\W", "_", "_".join(path) if path else "output")
    return f"output_{name}" if name[0].isdigit() else name


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    parts = None if isinstance(value, Tensor) else _parts(value)
    if parts is None:
        yield path, value
        return
    for key, part in parts:
        yield from _leaves(part, (*path, key))


def _parts(value: object) -> list[tuple[str, object]] | None:
    if isinstance(value, Mapping):
        return [(str(key), part) for key, part in value.items()]
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, (tuple, list)):
        return [(str(index), part) for index, part in enumerate(value)]
    return None


def paths_of(module: nn.Module) -> dict[str, str]:
    """Returns every dotted path of a submodule, and the first path of the same one: they differ where it is shared.

    What is compiled has the path of what it stands in for.
    """
    first = {id(part): path for path, part in module.named_modules()}
    inner = [path for path, part in module.named_modules(remove_duplicate=False) if isinstance(part, CompiledPart)]
    return {
        path: functools.reduce(_without_compiled, inner, first[id(part)])
        for path, part in module.named_modules(remove_duplicate=False)
    }


def _without_compiled(path: str, holder: str) -> str:
    hidden = f"{holder}.compiled"
    return holder + path.removeprefix(hidden) if path == hidden or path.startswith(f"{hidden}.") else path


@contextlib.contextmanager
def tolerated() -> Iterator[None]:
    """Suppresses whatever a user's forward raises, where another run of it tells: `exit()` too."""
    try:
        yield
    except (Exception, SystemExit):  # noqa: BLE001 - a user's forward may raise anything
        return


@contextlib.contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Puts every submodule into evaluation mode and has all computed as it is written, then puts both back.

    In evaluation mode PyTorch replaces encoder layers by fused kernels, which answer zeros at padded positions and
    have no form in a graph.
    """
    with as_called(module), layers_as_written(), functions_as_written():
        yield


@contextlib.contextmanager
def layers_as_written(*, is_asked: bool = True) -> Iterator[None]:
    """Keeps PyTorch's fused kernels for whole encoder layers out while entered, or lets them in again."""
    before = torch.backends.mha.get_fastpath_enabled()
    with setting(torch.backends.mha.set_fastpath_enabled, not is_asked, before):
        yield


@contextlib.contextmanager
def setting(put: Callable[[Any], object], value: object, before: object) -> Iterator[None]:
    """Puts a setting of torch to a value while entered, and back to what it was before."""
    put(value)
    try:
        yield
    finally:
        put(before)


@contextlib.contextmanager
def as_called(module: nn.Module) -> Iterator[None]:
    """Puts every submodule into evaluation mode, with its observers off, and back into the mode it came in.

    Gradients that weights hold are put away meanwhile: a module may go backward itself, which adds to them.
    """
    modes = [(part, part.training) for part in module.modules()]
    gradients = [(weight, weight.grad) for weight in module.parameters()]
    try:
        with contextlib.suppress(NotImplementedError):  # what `torch.export` has made stays in the mode that it has
            module.eval()
        for weight, _ in gradients:
            weight.grad = None
        with observers_off(module):
            yield
    finally:
        for part, is_training in modes:
            part.training = is_training
        for weight, gradient in gradients:
            weight.grad = gradient


class CompiledPart(nn.Module):
    """A submodule that TorchScript has compiled, in place of itself: what it decides stays in a trace of the whole.

    While one runs, nothing is read by Python, whatever operators it calls.
    """

    running = 0

    def __init__(self, compiled: nn.Module):
        super().__init__()
        self.compiled = compiled

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Calls what was compiled."""
        CompiledPart.running += 1
        try:
            return self.compiled(*args, **kwargs)
        finally:
            CompiledPart.running -= 1

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("compiled"), name)


class Pristine:
    """The state of a module as it was at first, put back on demand.

    Attributes, containers and buffers; and what its own code keeps in closures and globals.
    """

    def __init__(self, module: nn.Module):
        self._parts = [(name, part, dict(part.__dict__)) for name, part in module.named_modules()]
        self._containers = [kept for name, _, saved in self._parts for kept in _containers(name, saved)]
        self._buffers = [(name, buffer, buffer.detach().clone()) for name, buffer in module.named_buffers()]
        self._variables = [(variable, variable.read()) for variable in variables_of(module)]
        for variable, value in self._variables:
            self._containers += _nested(variable.name, value)
            if isinstance(value, Tensor):
                self._buffers.append((variable.name, value, value.detach().clone()))
        self._namespaces = [(space, space.names()) for space in namespaces_of(module)]
        for space, saved in self._namespaces:
            if space.name != "os.environ":
                self._containers += [
                    kept for key, value in saved.items() for kept in _nested(f"{space.name}.{key}", value)
                ]
        self._caches = caches_of(module)
        for cache in self._caches:
            cache.cache_clear()
        self._versions = [(name, weight, weight._version) for name, weight in module.named_parameters()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.restore()

    def restore(self) -> None:
        """Undoes what calls have left behind in attributes, containers and buffers."""
        for _, part, saved in self._parts:
            part.__dict__.clear()
            part.__dict__.update(saved)
        self._restore_surroundings()
        for kept in self._containers:
            if not kept.is_unchanged():
                kept.restore()
        with torch.no_grad():
            for _, buffer, value in self._buffers:
                if not _is_same(buffer, value):
                    (buffer.resize_(value.shape) if buffer.layout is torch.strided else buffer).copy_(value)

    def _restore_surroundings(self) -> None:
        for variable, value in self._variables:
            if variable.read() is not value:
                variable.write(value)
        for space, saved in self._namespaces:
            _put_back(space, saved)
        for cache in self._caches:
            cache.cache_clear()

    def changes(self) -> list[str]:
        """Names the attributes, containers, buffers and parameters that calls have changed since."""
        changed = [
            _joined(name, key)
            for name, part, saved in self._parts
            for key in {**saved, **part.__dict__}
            if saved.get(key) is not part.__dict__.get(key)
        ]
        changed += [variable.name for variable, value in self._variables if variable.read() is not value]
        changed += [f"{space.name}.{key}" for space, saved in self._namespaces for key in _rebound(space, saved)]
        changed += [kept.name for kept in self._containers if not kept.is_unchanged()]
        changed += [name for name, buffer, value in self._buffers if not _is_same(buffer, value)]
        changed += [name for name, weight, version in self._versions if weight._version != version]
        return list(dict.fromkeys(changed))


_PARTS: Final = {
    torch.sparse_coo: ("_indices", "_values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
}


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same numbers; sparse ones, as they stand."""
    return one.shape == other.shape and all(map(torch.equal, dense_parts(one), dense_parts(other)))


def dense_parts(tensor: Tensor) -> list[Tensor]:
    """The dense tensors that a sparse one is made of; a dense one itself."""
    names = _PARTS.get(tensor.layout)
    return [tensor] if names is None else [getattr(tensor, name)() for name in names]


def _rebound(space: Namespace, saved: Mapping[str, Any]) -> list[str]:
    """Names that are bound to other things than they were."""
    now, missing = space.names(), object()
    if now is saved:
        return []
    both = {key: (saved.get(key, missing), now.get(key, missing)) for key in {**saved, **now} if "hook" not in key}
    return [key for key, (one, other) in both.items() if one is not other and not _is_same_text(one, other)]


def _is_same_text(one: Any, other: Any) -> bool:
    """Whether both are the same text: the variables of the process are read anew each time."""
    return isinstance(one, str) and one == other


def _put_back(space: Namespace, saved: Mapping[str, Any]) -> None:
    for key in _rebound(space, saved):
        if key in saved:
            space.bind(key, saved[key])
        else:
            space.drop(key)


_Container = dict[Any, Any] | list[Any] | set[Any]


class _Kept:
    """What a container held at first."""

    def __init__(self, name: str, container: _Container):
        self.name = name
        self._container = container
        self._content = container.copy()

    def is_unchanged(self) -> bool:
        """Whether it holds the very same things."""
        now, then = self._container, self._content
        if len(now) != len(then):
            return False
        if isinstance(now, dict) and isinstance(then, dict):
            return all(now.get(key, self) is value for key, value in then.items())
        return all(one is other for one, other in zip(now, then, strict=True))

    def restore(self) -> None:
        """Fills it as it was."""
        self._container.clear()
        if isinstance(self._container, list):
            self._container.extend(self._content)
        else:
            self._container.update(self._content)


def _containers(name: str, attributes: Mapping[str, Any]) -> Iterator[_Kept]:
    for key, value in attributes.items():
        if "hook" not in key:
            yield from _nested(_joined(name, key), value)


def _nested(name: str, value: Any) -> Iterator[_Kept]:
    if isinstance(value, (dict, list, set)):
        yield _Kept(name, value)
        for part in value.values() if isinstance(value, dict) else value:
            yield from _nested(name, part)


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
