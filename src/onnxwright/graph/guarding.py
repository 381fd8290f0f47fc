"""What no pass may do to a graph: change its inputs or outputs, lose what it uses, or leave what isn't ONNX."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Final

import onnx
import onnx_ir as ir

from onnxwright.errors import SourceError
from onnxwright.graph.targets import CONTRIB, RMS_NORM
from onnxwright.graph.weights import as_inputs, left_out

_LONGEST: Final = 300
_MADE_UP: Final = "unk__"
"""How the names begin that ONNX's inference gives to sizes of which it knows nothing."""


def complaint(before: ir.Model, after: ir.Model) -> str:
    """Says what a pass broke: `after` is what it made of `before`; nothing where all is well.

    Dims that weren't known of an input or an output are put back as they were declared.
    """
    _keep_declared(before, after)
    broken = next(_breaches(before, after), "")
    if broken:
        return broken
    invalid = invalidity(after)
    return "" if not invalid or invalidity(before) else f"the ONNX checker refuses the graph: {invalid}"


def refuse_gaps(model: ir.Model) -> None:
    """Refuses a graph that uses what nothing gives: it can't even be copied.

    Raises:
        SourceError: with the name of the value.
    """
    lost = next(_without_origin(model), None)
    if lost is not None:
        raise SourceError(f"the graph uses '{lost.name}', which is no input, no weight, and computed by no node.")


def invalidity(model: ir.Model) -> str:
    """Returns what the ONNX checker says against a graph, nothing where it is valid; weights are left out."""
    with left_out(model.graph), _with_known_operators(model):
        proto = ir.to_proto(model)
    try:
        onnx.checker.check_model(as_inputs(proto), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        return " ".join(str(problem).split())[:_LONGEST]
    return ""


def _breaches(before: ir.Model, after: ir.Model) -> Iterator[str]:
    for kind in ("inputs", "outputs"):
        had, has = (_declared(getattr(model.graph, kind)) for model in (before, after))
        if had != has:
            yield f"the graph's {kind}: expected {_spelled(had)}, got {_spelled(has)}."
    missing = {node.domain for node in after.graph.all_nodes()} - set(after.opset_imports)
    if missing:
        yield f"no opset is imported for the domains {sorted(missing)} that nodes have."
    changed = {
        domain: version for domain, version in _standard(after) if dict(_standard(before)).get(domain) != version
    }
    if changed:
        yield f"the graph's opset: expected {before.opset_imports.get('')}, got {changed['']}."
    lost = next(_without_origin(after), None)
    if lost is not None:
        yield f"'{lost.name}' is used, and neither computed, given nor held by the graph."


def _standard(model: ir.Model) -> list[tuple[str, int]]:
    return [("", model.opset_imports[""])] if "" in model.opset_imports else []


def _keep_declared(before: ir.Model, after: ir.Model) -> None:
    given = {_dim(dim) for value in before.graph.inputs for dim in value.shape or ()}
    for kind in ("inputs", "outputs"):
        for had, has in zip(getattr(before.graph, kind), getattr(after.graph, kind), strict=False):
            if had.name == has.name and _is_refined(had.shape, has.shape, given):
                has.shape = None if had.shape is None else had.shape.copy()
            if had.name == has.name and has.type is None:
                has.type = had.type


def _is_refined(had: ir.Shape | None, has: ir.Shape | None, given: Collection[int | str | None]) -> bool:
    """Whether a shape says the same as another and more, has names that inference made up, or has been lost.

    A name that no input has says nothing of a size, so that any other says more.
    """
    if had is None or has is None:
        return had is not has
    if had.rank() != has.rank():
        return False
    pairs = [(_dim(old), _dim(new)) for old, new in zip(had, has, strict=True)]
    return had != has and all(_agree(old, new) or _is_free(old, given) for old, new in pairs)


def _is_free(dim: int | str | None, given: Collection[int | str | None]) -> bool:
    return isinstance(dim, str) and dim not in given


def _agree(old: int | str | None, new: int | str | None) -> bool:
    is_less = isinstance(new, str) and new.startswith(_MADE_UP)
    return old == new or None in {old, new} or (isinstance(old, str) and (is_less or isinstance(new, int)))


def _declared(values: list[ir.Value]) -> list[tuple[str | None, str, tuple[int | str | None, ...] | None]]:
    return [
        (value.name, str(value.type), None if value.shape is None else tuple(map(_dim, value.shape)))
        for value in values
    ]


def _spelled(declared: list[tuple[str | None, str, tuple[int | str | None, ...] | None]]) -> str:
    return ", ".join(f"{name}: {kind}{list(dims or ())}" for name, kind, dims in declared) or "none"


def _dim(dim: int | ir.SymbolicDim) -> int | str | None:
    return dim if isinstance(dim, int) else dim.value


def _without_origin(model: ir.Model) -> Iterator[ir.Value]:
    graphs = list(model.graphs())
    held = {value for graph in graphs for value in (*graph.inputs, *graph.initializers.values())}
    used = [value for graph in graphs for node in graph for value in node.inputs]
    ends = [value for graph in graphs for value in graph.outputs]
    for value in (*used, *ends):
        if value is not None and value.producer() is None and value not in held:
            yield value


@contextlib.contextmanager
def _with_known_operators(model: ir.Model) -> Iterator[None]:
    """Puts operators that ONNX Runtime has in ONNX's domain, and ONNX hasn't, into its own meanwhile."""
    nodes = [node for node in model.graph.all_nodes() if node.op_type == RMS_NORM and not node.domain]
    imports = dict(model.opset_imports)
    for node in nodes:
        node.domain = CONTRIB
        model.opset_imports.setdefault(CONTRIB, 1)
    try:
        yield
    finally:
        for node in nodes:
            node.domain = ""
        model.opset_imports.clear()
        model.opset_imports.update(imports)
