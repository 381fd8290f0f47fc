"""What a module's own code keeps outside of it is put back too."""

import torch
from torch import nn

from onnxwright.pytorch.modules import Pristine

SEEN = []
COUNT = 0


def remember(size):
    SEEN.append(size)


class Global(nn.Module):
    """Keeps things in globals, one of them through a function."""

    def forward(self, x):
        global COUNT  # noqa: PLW0603 - what is tested
        COUNT += 1
        remember(x.shape)
        return x


def closing():
    kept = {}
    calls = 0

    class Closing(nn.Module):
        def forward(self, x):
            nonlocal calls
            calls += 1
            kept[calls] = x
            return x * calls

    return Closing()


def test_globals_and_what_functions_keep_in_them_are_put_back():
    module = Global()
    pristine = Pristine(module)
    module(torch.ones(2))

    assert {"COUNT", "SEEN"} <= set(pristine.changes())
    pristine.restore()
    assert (COUNT, SEEN) == (0, [])
    assert pristine.changes() == []


def test_closures_are_put_back():
    module = closing()
    pristine = Pristine(module)
    first = module(torch.ones(2))
    assert pristine.changes()

    pristine.restore()

    assert torch.equal(module(torch.ones(2)), first)


def test_buffers_containers_and_attributes_are_put_back():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("total", torch.zeros(2))
            self.cache = {"inner": []}
            self.calls = 0

        def forward(self, x):
            self.total += x
            self.cache["inner"].append(x)
            self.cache["new"] = 1
            self.calls += 1
            self.extra = x
            return x

    module = Own()
    pristine = Pristine(module)
    module(torch.ones(2))
    changed = pristine.changes()
    pristine.restore()

    assert {"total", "cache", "calls", "extra"} <= set(changed)
    assert (module.total.tolist(), module.cache, module.calls) == ([0.0, 0.0], {"inner": []}, 0)
    assert not hasattr(module, "extra")


def test_a_buffer_that_a_call_makes_larger_is_put_back():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x):
            self.seen.resize_(4).fill_(2.0)
            return x

    module = Growing()
    pristine = Pristine(module)
    module(torch.ones(1))

    assert pristine.changes() == ["seen"]
    pristine.restore()
    assert module.seen.tolist() == [0.0]
