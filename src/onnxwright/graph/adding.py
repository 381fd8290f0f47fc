"""What is added to a graph: weights, casts, and names that none of its values has."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir


class Names:
    """Names that are taken, and others that are given out."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    @classmethod
    def of_values(cls, model: ir.Model) -> Names:
        """Returns the names that the values of a model have, in branches and loops too."""
        return cls(value.name for graph in model.graphs() for value in values_of(graph) if value.name)

    def free(self, name: str) -> str:
        """Takes a name, or one like it where that is taken."""
        found, number = name, 2
        while found in self._taken:
            found, number = f"{name}_{number}", number + 1
        self._taken.add(found)
        return found


def held(graph: ir.Graph, tensor: ir.TensorProtocol) -> ir.Value:
    """Has a graph hold a tensor as an initializer of the tensor's own name, and returns the value."""
    shape = ir.Shape(tensor.shape.numpy())
    value = ir.Value(name=tensor.name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
    graph.register_initializer(value)
    return value


def cast_to(value: ir.Value, to: ir.DataType, name: str) -> ir.Node:
    """Returns a node, of no graph yet, that gives a value in another element type under a name of its own."""
    cast = ir.node("Cast", [value], {"to": int(to)})
    cast.outputs[0].name, cast.outputs[0].shape, cast.outputs[0].type = name, value.shape, ir.TensorType(to)
    return cast


def values_of(graph: ir.Graph) -> list[ir.Value]:
    """Returns what a graph is given, holds and computes, without what its branches and loops do."""
    computed = (value for node in graph for value in node.outputs)
    return [*graph.inputs, *graph.initializers.values(), *computed]
