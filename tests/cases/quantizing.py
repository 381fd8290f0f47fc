"""Modules that pretend to quantize: `torch.ao` in eager and FX mode, and calls of PyTorch's operators themselves."""

import torch
from torch import nn
from torch.ao import quantization as tq
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import (
    FakeQuantize,
    FusedMovingAvgObsFakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    QConfig,
)
from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize
from torch.ao.quantization.quantize_fx import prepare_qat_fx
from torch.nn import functional

WIDTH = 16


def activations(least=0, most=255, *, kind=FakeQuantize, dtype=torch.quint8, scheme=torch.per_tensor_affine, **options):
    limits = {"quant_min": least, "quant_max": most, "dtype": dtype, "qscheme": scheme}
    return kind.with_args(observer=MovingAverageMinMaxObserver, **limits, **options)


def weights(
    least=-128, most=127, *, kind=FakeQuantize, dtype=torch.qint8, scheme=torch.per_channel_symmetric, **options
):
    limits = {"quant_min": least, "quant_max": most, "dtype": dtype, "qscheme": scheme}
    return kind.with_args(observer=MovingAveragePerChannelMinMaxObserver, **limits, **options)


SIGNED = {"dtype": torch.qint8, "scheme": torch.per_tensor_symmetric}
FUSED = {"kind": FusedMovingAvgObsFakeQuantize}
CONFIGS = {
    "u8 s8": QConfig(activations(), weights()),
    "u7 s8, fused, as PyTorch's default for x86": QConfig(activations(0, 127, **FUSED), weights(**FUSED)),
    "symmetric s8 in 255 steps, as TensorRT has it": QConfig(activations(-127, 127, **SIGNED), weights(-127, 127)),
    "s8 with a zero point": QConfig(activations(-128, 127, dtype=torch.qint8), weights()),
    "7 bits": QConfig(activations(-64, 63, dtype=torch.qint8), weights(-64, 63)),
    "4 bits": QConfig(activations(0, 15), weights(-8, 7)),
    "u8 weights with zero points": QConfig(
        activations(), weights(0, 255, dtype=torch.quint8, scheme=torch.per_channel_affine)
    ),
    "learned": QConfig(activations(kind=_LearnableFakeQuantize), weights()),
}


class Residual(nn.Module):
    """Two layers and an addition, with the stubs of eager mode."""

    def __init__(self):
        super().__init__()
        self.quant, self.dequant = tq.QuantStub(), tq.DeQuantStub()
        self.wide, self.narrow, self.add = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH), FloatFunctional()

    def forward(self, x):
        x = self.quant(x)
        return self.dequant(self.add.add(self.narrow(torch.relu(self.wide(x))), x))


class Plain(nn.Module):
    """The same without stubs, for FX."""

    def __init__(self):
        super().__init__()
        self.wide, self.narrow = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x):
        return self.narrow(torch.relu(self.wide(x))) + x


class Picture(nn.Module):
    """A convolution with batch norm and Relu, which is fused, and one alone."""

    def __init__(self):
        super().__init__()
        self.quant, self.dequant = tq.QuantStub(), tq.DeQuantStub()
        self.first, self.norm, self.relu = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        self.second = nn.Conv2d(8, 4, 3, bias=False)

    def forward(self, x):
        return self.dequant(self.second(self.relu(self.norm(self.first(self.quant(x))))))


class Pooled(nn.Module):
    """What is averaged is put on the grid of what it is averaged of: one mean in sixteen lies between two steps."""

    def __init__(self):
        super().__init__()
        self.first, self.relu, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Linear(8, 10)

    def forward(self, x):
        return self.last(self.relu(self.first(x)).mean((2, 3)))


class Called(nn.Module):
    """PyTorch's operators called by themselves, on a weight along an axis and on what comes in."""

    def __init__(self, least=-128, most=127, *, axis=0, zero=0, dtype=torch.int32):
        super().__init__()
        torch.manual_seed(1)
        self.line, self.axis, self.ends = nn.Linear(WIDTH, 2 * WIDTH), axis, (least, most)
        greatest = self.line.weight.detach().abs().amax(1 - axis)
        self.register_buffer("scale", greatest / most)
        self.register_buffer("zero", torch.full_like(greatest, zero).to(dtype))

    def forward(self, x):
        weight = torch.fake_quantize_per_channel_affine(self.line.weight, self.scale, self.zero, self.axis, *self.ends)
        x = torch.fake_quantize_per_tensor_affine(x, 0.013, 3, *self.ends)
        return functional.linear(x, weight, self.line.bias)


class Grouped(nn.Module):
    """A weight whose groups of four have a scale each."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.line = nn.Linear(WIDTH, 8)
        self.register_buffer("scale", self.line.weight.detach().reshape(-1, 4).abs().amax(1) / 7)
        self.register_buffer("zero", torch.zeros(len(self.scale), dtype=torch.int32))

    def forward(self, x):
        groups = self.line.weight.reshape(-1, 4)
        weight = torch.fake_quantize_per_channel_affine(groups, self.scale, self.zero, 0, -8, 7)
        return functional.linear(x, weight.reshape(self.line.weight.shape), self.line.bias)


class Upwards(nn.Module):
    """A transposed convolution, whose channels lie along axis 1."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.up, self.weights = nn.ConvTranspose2d(3, 5, 3), weights(ch_axis=1)()
        self.weights(self.up.weight)

    def forward(self, x):
        return functional.conv_transpose2d(x, self.weights(self.up.weight), self.up.bias)


class Tied(nn.Module):
    """A table of embeddings, on a grid, that is the last layer too."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.table, self.inner, self.weights = nn.Embedding(20, WIDTH), nn.Linear(WIDTH, WIDTH), weights()()
        self.weights(self.table.weight)

    def forward(self, ids):
        table = self.weights(self.table.weight)
        return functional.linear(torch.relu(self.inner(functional.embedding(ids, table))), table)


def drawn(module):
    """Gives a module weights of a fixed draw."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return module


def observed(module, shape, *, is_settled=True):
    """Shows a prepared module some batches, and turns its observers off."""
    torch.manual_seed(5)
    module.train()
    for _ in range(6):
        module(torch.randn(shape))
    return module.eval().apply(tq.disable_observer) if is_settled else module.eval()


def eager(config, **options):
    """A prepared module in eager mode."""
    module = drawn(Residual()).train()
    module.qconfig = config
    return observed(tq.prepare_qat(module), (4, WIDTH), **options)


def learned(config):
    """The same, whose scales of activations were learned."""
    module = eager(config, is_settled=False)
    for part in module.modules():
        if isinstance(part, _LearnableFakeQuantize):
            part.enable_param_learning()
        elif isinstance(part, FakeQuantize):
            part.disable_observer()
    return module


def convolving(config):
    """A prepared module of convolutions, batch norm fused."""
    module = tq.fuse_modules_qat(drawn(Picture()).train(), [["first", "norm", "relu"]])
    module.qconfig = config
    return observed(tq.prepare_qat(module), (4, 3, 6, 6))


def traced(config):
    """A prepared module in FX mode."""
    mapping = tq.QConfigMapping().set_global(config)
    return observed(prepare_qat_fx(drawn(Plain()).train(), mapping, (torch.randn(4, WIDTH),)), (4, WIDTH))


def pooled(seed):
    """A prepared module in FX mode that averages, observed as PyTorch's default for x86 has it."""
    torch.manual_seed(seed)
    mapping = tq.get_default_qat_qconfig_mapping("x86")
    module = prepare_qat_fx(Pooled().train(), mapping, (torch.randn(2, 3, 4, 4),))
    return observed(module, (4, 3, 4, 4), is_settled=False)
