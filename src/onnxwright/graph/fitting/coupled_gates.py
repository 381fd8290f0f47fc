"""Writes an `LSTM` that forgets what it doesn't take in (`input_forget`) with a forget gate of its own.

One less a sigmoid is the sigmoid of the negative: the forget gate gets the weights of the input gate, negated.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from onnxwright.graph.defining import define_by, written
from onnxwright.graph.fitting import Fit

_GATES: Final = {"w": 4, "r": 4, "b": 8, "p": 3}
"""Of how many parts each input consists: of the gates for input, output, forgetting and cell; biases, twice."""


def _rewrite(model: ir.Model) -> int:
    return define_by(model, "LSTM", _text)


def _text(node: ir.Node) -> str:
    given = node.attributes
    gates = [one.lower() for one in given.get_strings("activations") or ["Sigmoid"]]
    if not given.get_int("input_forget", 0) or any(one != "sigmoid" for one in gates[::3]):
        return ""
    has = [place < len(node.inputs) and node.inputs[place] is not None for place in range(8)]
    names = ["x", "w", "r", "b", "l", "h", "c", "p"]
    changed = {name: parts for name, parts in _GATES.items() if has[names.index(name)]}
    lines = " ".join(_coupled(name, parts) for name, parts in changed.items())
    inputs = [name if is_given else f"unused_{name}" for name, is_given in zip(names, has, strict=True)]
    taken = [
        f"{name}_own" if name in changed else name if is_given else ""
        for name, is_given in zip(names, has, strict=True)
    ]
    outputs = ", ".join(["y", "last", "cell"][: len(node.outputs)])
    kept = written(node, [name for name in given if name != "input_forget"])
    count = len(node.inputs)
    return f"""({", ".join(inputs[:count])}) => ({outputs}) {{
        {lines} {outputs} = LSTM <{kept}> ({", ".join(taken[:count])}) }}"""


def _coupled(name: str, parts: int) -> str:
    """The parts of an input, with that of each forget gate the negative of that of the input gate before it."""
    every = ", ".join(f"{name}{part}" for part in range(parts))
    forgetting = [part for part in range(parts) if part % 4 == 2]
    negated = " ".join(f"{name}n{part} = Neg ({name}{part - 2})" for part in forgetting)
    joined = ", ".join(f"{name}n{part}" if part in forgetting else f"{name}{part}" for part in range(parts))
    return f"""{every} = Split <axis = 1, num_outputs = {parts}> ({name}) {negated}
        {name}_own = Concat <axis = 1> ({joined})"""


FIT = Fit(
    name="coupled_gates",
    summary="Writes an `LSTM` with coupled gates with a forget gate of its own.",
    change=_rewrite,
    operators=frozenset({"LSTM"}),
)
