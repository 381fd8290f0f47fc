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


def test_a_copy_shares_what_the_module_shares_and_keeps_what_is_no_weight():
    module = nn.Sequential(nn.Embedding(5, 3), nn.BatchNorm1d(3), nn.Linear(3, 5, bias=False))
    module[2].weight = module[0].weight
    module[0].weight.requires_grad_(False)

    moved = on_device(module, "meta")

    assert moved[2].weight is moved[0].weight
    assert isinstance(moved[0].weight, nn.Parameter)
    assert not moved[0].weight.requires_grad
    assert moved[1].weight.requires_grad
    assert moved[1].running_mean.device.type == "meta"
    assert (moved[1].eps, moved[1] is module[1]) == (module[1].eps, False)


def test_convolutions_keep_all_bits_meanwhile():
    torch.backends.cudnn.allow_tf32 = True

    with whole_mantissas():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32
