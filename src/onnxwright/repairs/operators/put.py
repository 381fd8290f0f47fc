"""`put` as elements put at places of the flat tensor: exporters lack it."""

from __future__ import annotations

from torch import Tensor

from onnxwright.repairs.operators import Twin


def _put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:  # noqa: A002 - torch's name
    flat, places, values = input.reshape(-1), index.reshape(-1), source.reshape(-1)
    places = places.where(places >= 0, places + flat.shape[0])
    put = flat.scatter_add(0, places, values) if accumulate else flat.scatter(0, places, values)
    return put.reshape(input.shape)


TWIN = Twin("put", ("torch.put", "torch.Tensor.put"), _put)
