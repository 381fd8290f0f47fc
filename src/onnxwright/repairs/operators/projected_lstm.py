"""`nn.LSTM` with `proj_size`, which ONNX's LSTM lacks, as a scan over its steps.

Its gates are as its documentation gives them; of the cell's answer, `weight_hr` makes what is handed on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.nn.utils.rnn import PackedSequence

from onnxwright.repairs.operators import Twin

State = tuple[Tensor, Tensor]


def _run(self: Any, input: Tensor, hx: State | None = None) -> tuple[Tensor, State]:  # noqa: A002 - torch's name
    is_batched = input.dim() == 3
    steps = input.transpose(0, 1) if self.batch_first and is_batched else input
    steps = steps if is_batched else steps.unsqueeze(1)
    directions = ("", "_reverse") if self.bidirectional else ("",)
    hidden, cell = _first(self, steps, hx, len(directions), is_batched=is_batched)
    last: list[State] = []
    for layer in range(self.num_layers):
        answered = []
        for number, direction in enumerate(directions, layer * len(directions)):
            part = _part(self, f"_l{layer}{direction}")
            outputs, state = _layer(steps, (hidden[number], cell[number]), part, is_reversed=bool(direction))
            answered.append(outputs)
            last.append(state)
        steps = torch.cat(answered, -1)
    output = steps if is_batched else steps.squeeze(1)
    states = [torch.stack(one) if is_batched else torch.cat(one) for one in zip(*last, strict=True)]
    return output.transpose(0, 1) if self.batch_first and is_batched else output, (states[0], states[1])


def _first(self: Any, steps: Tensor, hx: State | None, directions: int, *, is_batched: bool) -> State:
    """The states to begin with: of each layer and direction, rows by numbers."""
    if hx is not None:
        hidden, cell = hx
        return (hidden, cell) if is_batched else (hidden.unsqueeze(1), cell.unsqueeze(1))
    rows = self.num_layers * directions, steps.shape[1]
    hidden, cell = (
        torch.zeros(*rows, size, dtype=steps.dtype, device=steps.device) for size in (self.proj_size, self.hidden_size)
    )
    return hidden, cell


def _part(self: Any, suffix: str) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """What a layer computes with in a direction: of its inputs, of its state, added, and of its answer."""
    added = getattr(self, f"bias_ih{suffix}") + getattr(self, f"bias_hh{suffix}") if self.bias else None
    of_input, of_state, of_answer = (getattr(self, f"weight_{name}{suffix}") for name in ("ih", "hh", "hr"))
    return of_input, of_state, added, of_answer


def _layer(
    steps: Tensor, first: State, part: tuple[Tensor, Tensor, Tensor | None, Tensor], *, is_reversed: bool
) -> tuple[Tensor, State]:
    from torch._higher_order_ops.scan import scan

    of_input, of_state, added, of_answer = part

    def step(before: list[Tensor], given: Tensor) -> tuple[list[Tensor], Tensor]:
        hidden, cell = before
        taken, kept, new, shown = (given + linear(hidden, of_state)).chunk(4, -1)
        cell = torch.sigmoid(kept) * cell + torch.sigmoid(taken) * torch.tanh(new)
        hidden = linear(torch.sigmoid(shown) * torch.tanh(cell), of_answer)
        return [hidden, cell], hidden.clone()

    start = [one.clone(memory_format=torch.contiguous_format) for one in first]
    (hidden, cell), outputs = scan(step, start, linear(steps, of_input, added), dim=0, reverse=is_reversed)
    return outputs, (hidden, cell)


def _is_projected(self: Any, input: Any, hx: Any = None) -> bool:  # noqa: A002 - torch's name
    return bool(self.proj_size) and not isinstance(input, PackedSequence) and not self.training


TWIN = Twin("projected_lstm", ("torch.nn.LSTM.forward",), _run, _is_projected)
