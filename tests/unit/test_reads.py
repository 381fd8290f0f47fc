"""What Python takes of tensors while a module runs: sizes as numbers, by what gives it lists."""

import pytest
import torch
from torch import nn

from onnxwright.pytorch.reads import ValueReads


def sizes_read(call):
    reads = ValueReads()
    with reads, torch.no_grad():
        call(torch.randn(5, 2, 4))
    return [read.number for read in reads.sizes]


@pytest.mark.parametrize("layer", [nn.GRU(4, 4), nn.RNN(4, 4), nn.LSTM(4, 4, 2, bidirectional=True)])
def test_what_a_recurrent_layer_takes_apart_itself_is_no_number_of_pythons(layer):
    assert sizes_read(layer) == []
    assert sizes_read(lambda x: layer(x, layer(x)[1])) == []


@pytest.mark.parametrize("call", [lambda x: x.unbind(0), lambda x: x.split(1), list])
def test_what_is_taken_apart_for_python_is_one(call):
    assert set(sizes_read(call)) == {5}
