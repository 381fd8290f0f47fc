"""Derivatives that a module computes, written out as plain operators."""

import pytest
import torch
from cases.functions import FunctionModule
from torch import nn
from torch.nn import functional

from onnxwright.errors import RepairError
from onnxwright.repairs.derivatives import written_out
from onnxwright.stages.load import load

torch.manual_seed(0)
LAYERS = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 2))
IMAGE, WEIGHT = torch.randn(2, 3, 9, 12), torch.randn(4, 3, 3, 2)


def by_input(answer):
    """The derivative of what a function answers, by its input."""

    def derived(x):
        with torch.enable_grad():
            given = x.detach().requires_grad_()
            return torch.autograd.grad(answer(given).square().sum(), given)[0]

    return derived


def penalized(x):
    with torch.enable_grad():
        given = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(LAYERS(given).sum(), given, create_graph=True)
        return torch.autograd.grad((slope.norm(dim=-1) - 1.0).square().sum(), given)[0]


def attended(x):
    return functional.scaled_dot_product_attention(x[None], x[None], x[None])[0]


def taken_forward(x):
    return torch.vmap(torch.func.jacfwd(LAYERS[:2]))(x)


OF_ROWS = {
    "layers": by_input(LAYERS),
    "a derivative of a derivative": penalized,
    "attention": by_input(attended),
    "a Jacobian": torch.vmap(torch.func.jacrev(LAYERS[:2])),
    "a Jacobian, taken forward": taken_forward,
    "one direction": lambda x: torch.func.jvp(LAYERS, (x,), (x * 2.0 + 1.0,))[1],
    "one direction of two inputs": lambda x: torch.func.jvp(torch.mul, (x, x + 1.0), (x * 2.0, x - 1.0))[1],
    "a map": torch.vmap(lambda row: row.softmax(0) * row.sum()),
}
OF_IMAGES = {
    "a convolution": by_input(lambda x: functional.conv2d(x, WEIGHT, padding=1)),
    "in steps": by_input(lambda x: functional.conv2d(x, WEIGHT, stride=(2, 3), padding=(1, 0))),
    "in steps of holes": by_input(lambda x: functional.conv2d(x, WEIGHT, stride=2, dilation=(1, 2), padding=1)),
    "in groups": by_input(lambda x: functional.conv2d(x, WEIGHT[:3, :1], groups=3)),
    "transposed": by_input(lambda x: functional.conv_transpose2d(x, WEIGHT[:3], stride=2, output_padding=1)),
    "of a row": by_input(lambda x: functional.conv1d(x.flatten(2), WEIGHT[:, :, 0], stride=2)),
    "pooled": by_input(lambda x: functional.max_pool2d(functional.avg_pool2d(x, 2), 2)),
}


def sourced(function, x, dims):
    return load(FunctionModule(function), example_inputs={"x": x}, dims={"x": dims})


@pytest.mark.parametrize("name", OF_ROWS)
def test_derivatives_are_the_same_at_other_sizes(name):
    source = sourced(OF_ROWS[name], torch.randn(4, 5), {0: "batch"})

    written = written_out(source)

    for batch in (2, 7):
        x = torch.randn(batch, 5)
        torch.testing.assert_close(written(x=x)["output"], source.module(x=x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", OF_IMAGES)
def test_derivatives_of_images_are_the_same_at_other_sizes(name):
    source = sourced(OF_IMAGES[name], IMAGE, {0: "batch", 2: "height", 3: "width"})

    written = written_out(source)

    for height, width in ((8, 12), (11, 9)):
        x = torch.randn(3, 3, height, width)
        torch.testing.assert_close(written(x=x)["output"], source.module(x=x), atol=1e-4, rtol=1e-4)


class Backward(nn.Module):
    """Goes backward through itself, which adds to the gradients of its weights."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 1)

    def forward(self, x):
        with torch.enable_grad():
            given = x.detach().requires_grad_()
            self.layer(given).square().sum().backward()
        return given.grad, self.layer.weight.grad


def test_a_module_may_go_backward_through_itself_and_its_weights_keep_their_gradients():
    module, x = Backward(), torch.randn(7, 5)
    module.layer.weight.grad = before = torch.ones_like(module.layer.weight)
    expected = 2 * module.layer(x) * module.layer.weight, (2 * module.layer(x) * x).sum(0, keepdim=True)

    written = written_out(load(module, example_inputs={"x": torch.randn(4, 5)}, dims={"x": {0: "batch"}}))

    for answered, right in zip(written(x=x).values(), expected, strict=True):
        torch.testing.assert_close(answered, right, atol=1e-5, rtol=1e-4)
    assert module.layer.weight.grad is before
    assert torch.equal(before, torch.ones_like(before))


def test_sizes_that_pytorch_holds_fixed_are_told():
    source = sourced(torch.vmap(torch.func.jacrev(LAYERS)), torch.randn(4, 5), {0: "batch"})

    with pytest.raises(RepairError, match="takes batch for 4"):
        written_out(source)
