import copy

import torch
from torch import nn

from onnxwright.pytorch.devices import on_device, whole_mantissas


def test_what_a_user_holds_stays_where_it_is():
    module = nn.Linear(2, 3)
    before = copy.deepcopy(module.state_dict())

    moved = on_device(module, "meta")

    assert on_device(module, "cpu") is module
    assert {one.device.type for one in moved.parameters()} == {"meta"}
    assert {one.device.type for one in module.parameters()} == {"cpu"}
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())


def test_convolutions_keep_all_bits_meanwhile():
    torch.backends.cudnn.allow_tf32 = True

    with whole_mantissas():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32
