"""What PyTorch does to a module's code before it runs, written out as plain operators before the export.

A module may compute derivatives of its own answers on the way, as forces from an energy (`torch.autograd.grad`) or a
Jacobian (`torch.func.jacrev`), or map a function over rows (`torch.vmap`). Exporters record what Python calls, and see
nothing of what is done with that. The module runs once on fake tensors of symbolic sizes, and what it comes to below
autograd is recorded: the same operators, those of the derivative among them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from onnxwright.errors import RepairError
from onnxwright.pytorch.replacing import replaced
from onnxwright.repairs import Exporter, Repair, Seen
from onnxwright.routes import Exported, told
from onnxwright.source import Source

if TYPE_CHECKING:
    from torch import Tensor, fx, nn

_BEGUN_BY: Final = (
    "torch.autograd._engine_run_backward",
    "torch.autograd.forward_ad.enter_dual_level",
    "torch._functorch.vmap._vmap_increment_nesting",
)
"""What PyTorch calls to go backward, forward with derivatives, and over rows."""


class Derivatives(Repair):
    """Exports what a module comes to below autograd."""

    name = "derivatives"
    summary = "writes out derivatives that the module computes, and maps over rows, as plain operators"
    rank = 1.0
    depth = 1
    route = "dynamo"

    def proposals(self, seen: Seen) -> Iterator[str]:
        """Proposes itself where a call of the module computes derivatives, or maps over rows."""
        if seen.source.module is not None and not seen.approach.has(self.name) and _transforms(seen.source):
            yield ""

    def around(self, export: Exporter, argument: str) -> Exporter:  # noqa: ARG002 - there is but one way
        """Returns an export of what the module comes to."""
        from torch.fx.traceback import preserve_node_meta

        def flat(source: Source) -> Exported:
            try:
                module = written_out(source)
            except RepairError:
                raise
            except Exception as problem:  # PyTorch raises types of every layer
                raise RepairError(f"what is below the derivatives can't be recorded: {told(problem)}") from problem
            with preserve_node_meta():  # the lines of the user's code
                return export(dataclasses.replace(source, module=module))

        return flat


def _transforms(source: Source) -> bool:
    from onnxwright.pytorch.session import taken_by

    assert source.module is not None, "asked for modules only"
    begun: list[Callable[..., Any]] = []

    def noting(own: Callable[..., Any]) -> Callable[..., Any]:
        def note(*args: Any, **kwargs: Any) -> Any:
            begun.append(own)
            return own(*args, **kwargs)

        return note

    with replaced(*((place, noting) for place in _BEGUN_BY)):
        taken_by(source.module, source.sampler, source.traced)
    return bool(begun)


def written_out(source: Source) -> nn.Module:
    """Returns a module that answers the same by operators alone, recorded at symbolic sizes."""
    import torch
    from torch import fx
    from torch._dispatch.python import enable_python_dispatcher
    from torch.func import functionalize
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.traceback import preserve_node_meta
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from onnxwright.pytorch.modules import Pristine, TensorFunction, evaluation
    from onnxwright.watching.walking import symbolic_mode, symbolic_tensors, unlogged

    assert source.module is not None, "proposed for modules only"
    signature = source.signature
    mode = symbolic_mode()
    fakes, dims = symbolic_tensors(mode, signature, source.sampler.draw(source.traced))
    function = TensorFunction(source.module, signature.input_names, signature.output_names)

    def recorded(run: Callable[..., Any]) -> fx.GraphModule:
        record = make_fx(
            lambda *tensors: run(*tensors),  # noqa: PLW0108 - a module would be entered and its parts listed
            {torch.ops.aten.convolution_backward.default: _convolution_backward},
            record_stack_traces=True,
            _allow_non_fake_inputs=True,
        )
        found: fx.GraphModule = record(*fakes)
        found.graph.eliminate_dead_code()
        found.recompile()
        return found

    with (
        Pristine(source.module),
        evaluation(source.module),
        unlogged(),
        enable_python_dispatcher(),
        mode,
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),  # the fused kernels' backward has no other form
        replaced(*_taken_backward()),
    ):
        below = recorded(function)
        with preserve_node_meta():
            plain = recorded(functionalize(fx.Interpreter(below).run, remove="mutations"))
    for symbol, size in mode.shape_env.replacements.items():
        if symbol in dims and size.is_number:
            raise RepairError(f"PyTorch itself takes {dims[symbol]} for {size} in the derivative of some operator")
    return _module(plain, signature.input_names, signature.output_names)


def _taken_backward() -> Iterator[tuple[str, Callable[[Any], Callable[..., Any]]]]:
    """Takes backward what PyTorch takes forward, where it knows no symbolic sizes: the derivatives are the same."""
    from torch import func
    from torch.utils._pytree import tree_map

    def jvp(function: Any, primals: Any, tangents: Any, **others: Any) -> Any:
        answer, pull, *aux = func.vjp(function, *primals, has_aux=others.get("has_aux", False))
        # Pulling back is linear: the derivative of that, at any point, pushes forward.
        (pushed,) = func.vjp(pull, tree_map(lambda one: one.new_zeros(one.shape), answer))[1](tuple(tangents))
        return (answer, pushed, *aux)

    def jacfwd(function: Any, argnums: Any = 0, has_aux: bool = False, **_: Any) -> Any:
        return func.jacrev(function, argnums, has_aux=has_aux)

    for name, other in (("jvp", jvp), ("jacfwd", jacfwd)):
        for room in ("torch.func", "torch._functorch.eager_transforms"):
            yield f"{room}.{name}", lambda _, other=other: other  # type: ignore[misc]  # a default binds it


def _module(program: fx.GraphModule, inputs: Sequence[str], outputs: Sequence[str]) -> nn.Module:
    """A recorded program as a module with named inputs and outputs."""
    from torch import fx, nn

    class WrittenOut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.program = program

        def forward(self, **tensors: Tensor) -> dict[str, Tensor]:
            return dict(
                zip(outputs, fx.Interpreter(self.program).run(*(tensors[name] for name in inputs)), strict=True)
            )

    return WrittenOut().eval()


def _convolution_backward(  # noqa: PLR0913, PLR0917 - the operator's own arguments
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Any,  # noqa: ARG001 - likewise
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],  # noqa: ARG001 - likewise
    groups: int,
    output_mask: Sequence[bool],
) -> Any:
    """The derivative by the input: the transposed convolution of what comes back, cut to the input's size.

    See V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, chapter 4.
    """
    import torch
    from torch.nn import functional

    if any(output_mask[1:]):
        return NotImplemented
    none = [0] * len(stride)
    if transposed:
        back = torch.ops.aten.convolution(gradient, weight, None, stride, padding, dilation, False, none, groups)
        return back, None, None
    whole = torch.ops.aten.convolution(gradient, weight, None, stride, none, dilation, True, none, groups)
    ends = [
        (-before, size + before - length)
        for before, size, length in zip(padding, x.shape[2:], whole.shape[2:], strict=True)
    ]
    return functional.pad(whole, [end for pair in reversed(ends) for end in pair]), None, None


REPAIR = Derivatives()
