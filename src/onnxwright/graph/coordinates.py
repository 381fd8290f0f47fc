"""Coordinates of places that are numbered through, as ONNX text."""

from __future__ import annotations


def coordinates(tensor: str, flat: str, rank: int) -> str:
    """Returns the nodes that give `places`, int64[rank, n], of `flat`, int64[n]: the numbers of places in a tensor.

    They use `one`, the scalar 1, and `start`, the list that holds 0. A size of 0, of which there are no places, divides
    nothing.
    """
    lines = [f"sizes = Shape ({tensor})", *(_axis(tensor, flat, axis, rank) for axis in range(rank))]
    names = ", ".join(f"c{axis}" for axis in range(rank))
    return " ".join([*lines, f"places = Concat <axis = 0> ({names})"])


def _axis(tensor: str, flat: str, axis: int, rank: int) -> str:
    """The coordinate of every place along one axis: the quotient by the sizes after it, in the size of its own."""
    parts = (
        f"a{axis} = Constant <value = int64 {{{axis}}}> () s{axis} = Gather (sizes, a{axis})",
        f"n{axis} = Max (s{axis}, one)",
        f"t{axis} = Shape <start = {axis + 1}> ({tensor}) l{axis} = ReduceProd <keepdims = 0> (t{axis})"
        if axis + 1 < rank
        else f"l{axis} = Identity (one)",
        f"p{axis} = Max (l{axis}, one)",
        f"q{axis} = Div ({flat}, p{axis}) r{axis} = Mod (q{axis}, n{axis}) c{axis} = Unsqueeze (r{axis}, start)",
    )
    return " ".join(parts)
