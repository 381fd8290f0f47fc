"""Each twin of an operator answers what the operator answers, and what is not its own is left to it."""

import dataclasses
import functools
import math

import pytest
import torch
from torch import nn
from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
from torch._higher_order_ops.associative_scan import associative_scan
from torch.nn import functional
from torch.nn.attention import flex_attention as flexible

from onnxwright.errors import RouteError
from onnxwright.repairs.operators import standing_in, twins

DRAW = torch.Generator().manual_seed(0)


def drawn(*shape):
    return torch.randn(*shape, generator=DRAW)


def biased(score, batch, head, query, key):
    """A rule of FlexAttention that looks up numbers by places."""
    return score * SLOPES[head] + BIASES[head][query - key + 20] + batch


def packed(layer):
    rows = nn.utils.rnn.pack_padded_sequence(
        X[0, ..., :5], torch.tensor([9, 17, 4]), batch_first=True, enforce_sorted=False
    )
    output, states = layer(rows)
    return nn.utils.rnn.pad_packed_sequence(output, batch_first=True), states


def packed_sorted(batch_first):
    rows = X[0, ..., :5] if batch_first else X[0, ..., :5].transpose(0, 1)
    found = nn.utils.rnn.pack_padded_sequence(rows, torch.tensor([15, 9, 4]), batch_first)
    return nn.utils.rnn.pad_packed_sequence(found, batch_first, padding_value=-1.0)


def leaves_of(answer):
    return tuple(torch.utils._pytree.tree_leaves(answer))


def masked(*shape):
    mask = torch.rand(*shape, generator=DRAW) > 0.5
    mask[0, ..., 0, :] = False
    return mask


X = drawn(2, 3, 17, 13)
LABELS = torch.arange(17) % 13
SIGNAL = X.reshape(6, -1)
SORTED = drawn(4, 10).sort().values
ASKED = torch.cat([drawn(4, 3), SORTED[:, 2:4]], 1)
LOWER = drawn(3, 17, 17) + 5 * torch.eye(17)
PLACES = torch.randint(0, 13, (2, 3, 17, 13), generator=DRAW)
TWICE = torch.tensor([3, 0, 3, 11])
FILTERS = drawn(5, 3, 3, 3)
MASK = masked(2, 1, 17, 17)
SLOPES, BIASES = drawn(3), drawn(3, 41)
ENDLESS = torch.tensor([[-torch.inf, -torch.inf, 1.0], [torch.inf, 2.0, torch.inf]])
CELLS = {"gru_cell": nn.GRUCell, "lstm_cell": nn.LSTMCell, "rnn_cell": nn.RNNCell}

ODD = torch.tensor(
    [[1.0, torch.nan, 3.0, -2.0], [torch.nan] * 4, [5.0, 4.0, torch.nan, torch.nan], [0.5, 2.5, 1.5, 9.0]]
)
ROWS, GROUPS = torch.arange(28.0).reshape(7, 4) / 7, torch.arange(96.0).reshape(3, 4, 8) / 9


class Doubled(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return 2 * x, x.sum()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)


class Tripled(Doubled):
    """Says itself what `vmap` makes of it."""

    generate_vmap_rule = False

    @staticmethod
    def vmap(info, in_dims, x):
        return (3 * x, x.sum()), (in_dims[0], None)


class Squared(torch.autograd.Function):
    """Has a gradient that its operators don't have."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        return 7 * gradient * ctx.saved_tensors[0]


def looked_up(place):
    with TransformGetItemToIndex():
        return torch.vmap(torch.vmap(lambda row, column: MASK[0, 0][row, column], (None, 0)), (0, None))(place, place)


# Of each twin: calls of the operator, by what a user writes.
def decaying(before, after):
    return before[0] * after[0], after[0] * before[1] + after[1]


CALLS = {
    "interpolate": [
        lambda: functional.interpolate(X, (5, 29), mode="bilinear", antialias=True),
        lambda: functional.interpolate(X, size=6, mode="bicubic", align_corners=False, antialias=True),
        lambda: functional.interpolate(X, (34, 4), None, "bicubic", False, None, True),
        lambda: functional.interpolate(X, (34, 4), mode="bilinear"),
        lambda: functional.interpolate(X, scale_factor=0.4, mode="bilinear", antialias=True),
    ],
    "trunc": [
        lambda: torch.trunc(3 * X),
        lambda: torch.fix(3 * X),
        lambda: torch.Tensor.trunc(3 * X),
        lambda: torch.Tensor.fix(3 * X),
        lambda: torch.trunc(PLACES),
        lambda: torch.trunc(input=torch.tensor([-0.5, -1.0, 2.0, float("inf"), 0.0])),
    ],
    "div": [
        *(lambda mode=mode: X[:, :, : torch.div(X.shape[2], 4, rounding_mode=mode)] for mode in ("trunc", "floor")),
        lambda: torch.div(X, 3.0),
        lambda: torch.div(X, X.flip(0), rounding_mode="floor"),
    ],
    "solve_triangular": [
        lambda: torch.linalg.solve_triangular(LOWER, X[0], upper=False),
        lambda: torch.linalg.solve_triangular(LOWER.mT, X[0], upper=True),
        lambda: torch.linalg.solve_triangular(LOWER / 9, X[0], upper=False, unitriangular=True),
        lambda: torch.linalg.solve_triangular(LOWER, X[0].mT, upper=False, left=False),
        lambda: torch.linalg.solve_triangular(LOWER.mT, X[0].mT.contiguous(), upper=True, left=False),
    ],
    "scatter_reduce": [
        *(
            lambda reduce=reduce: X.scatter_reduce(2, PLACES, X * 2, reduce, include_self=False)
            for reduce in ("sum", "prod", "mean", "amax", "amin")
        ),
        lambda: torch.scatter_reduce(X, 2, PLACES, X * 2, reduce="amax"),
        lambda: PLACES.scatter_reduce(dim=-1, index=PLACES, src=PLACES * 3, reduce="amin", include_self=False),
    ],
    "isin": [
        lambda: torch.isin(PLACES, torch.tensor([3, 7])),
        lambda: torch.isin(PLACES, 3, invert=True),
        lambda: torch.isin(elements=torch.tensor([1, 2]), test_elements=torch.zeros(0, dtype=torch.int64)),
    ],
    "one_hot": [lambda: functional.one_hot(PLACES, 13), lambda: functional.one_hot(PLACES)],
    "convolution": [
        lambda: functional.conv2d(X, FILTERS + 0, None, 1, torch.tensor(1)),
        lambda: functional.conv2d(X, FILTERS, None, 2, (1, 0), dilation=1, groups=1),
        lambda: functional.conv1d(X[:, :, 0], FILTERS[..., 0], padding="same"),
        lambda: torch.conv1d(X[:, :, 0], FILTERS[:, :1, 0].repeat(3, 1, 1), FILTERS[:, 0, 0, 0].repeat(3), groups=3),
        lambda: functional.conv2d(X[0], FILTERS),
    ],
    "conv_transpose": [
        lambda: functional.conv_transpose2d(X, FILTERS.transpose(0, 1), stride=2, padding=1, output_padding=1),
        lambda: torch.conv_transpose1d(X[:, :, 0], FILTERS[:1, :, 0].transpose(0, 1), None, 3, groups=3),
    ],
    "split_by_counts": [
        lambda: X.split([torch.tensor(count) for count in (3, 0, 10, 4)], dim=2),
        lambda: torch.split(X, [torch.tensor(1), 1], 0),
        lambda: X.split([3, 14], dim=2),
    ],
    "movedim": [
        lambda: torch.movedim(X, -1, 1),
        lambda: X.movedim((0, 1), (-1, 0)),
        lambda: torch.moveaxis(X, source=2, destination=-4),
    ],
    "full_like": [
        lambda: torch.full_like(X, True),
        lambda: torch.full_like(PLACES, fill_value=False, dtype=torch.bool),
        lambda: torch.full_like(X, 2.5),
    ],
    "scatter": [
        lambda: (X > 0).scatter(-1, PLACES, False),
        lambda: torch.scatter(X > 0, 2, PLACES, value=True),
        lambda: X.scatter(2, PLACES, 3.0),
        lambda: X.scatter(2, PLACES, X.flip(0)),
    ],
    "module_to": [
        lambda: nn.Linear(4, 8).to(torch.float32)(ROWS),
        lambda: nn.Linear(4, 8).to(torch.device("cpu"))(ROWS),
        lambda: nn.Linear(4, 8).to(torch.float64)(ROWS.double()),
        lambda: nn.Linear(4, 8).to("cpu", torch.float64)(ROWS.double()),
    ],
    "diff": [lambda: X.diff(1), lambda: torch.diff(X, 2, 1), lambda: torch.diff(X, dim=0, prepend=X[:1])],
    "grouped_mm": [
        lambda: functional.grouped_mm(ROWS, GROUPS, offs=torch.tensor([2, 2, 7], dtype=torch.int32)),
        lambda: functional.grouped_mm(ROWS, GROUPS, offs=torch.tensor([0, 7, 7], dtype=torch.int32)),
    ],
    "amax": [lambda: X.amax(None), lambda: torch.amax(X), lambda: X.amax(1, keepdim=True)],
    "amin": [lambda: X.amin(None), lambda: torch.amin(X), lambda: X.amin((0, 1))],
    "scaled_dot_product_attention": [
        lambda: functional.scaled_dot_product_attention(X[..., :8], X[..., :9, :8], X[..., :9, 4:12]),
        lambda: functional.scaled_dot_product_attention(X, X, X, MASK),
        lambda: functional.scaled_dot_product_attention(X, X, X, is_causal=True, scale=0.3),
    ],
    "unflatten": [
        lambda: X.unflatten(-2, (17, 1)),
        lambda: torch.unflatten(X[..., :12], 3, (2, -1, 3)),
        lambda: X.unflatten(2, (torch.tensor(17), 1)),
    ],
    "flex_attention": [
        lambda: flexible.flex_attention(X[..., :8], X[..., :9, :8], X[..., :9, 4:12], scale=0.3),
        lambda: flexible.flex_attention(X, X[:, :1], X[:, :1], score_mod=biased, enable_gqa=True, return_lse=True),
    ],
    "combinations": [
        lambda: torch.combinations(X[0, 0, :, 0]),
        lambda: torch.combinations(X[0, 0, :5, 0], 3, with_replacement=True),
        lambda: torch.combinations(torch.arange(4), r=1),
    ],
    "einsum": [
        lambda: torch.einsum("b...d,b...e->bde", X, X),
        lambda: torch.einsum("...ij -> ji", X),
    ],
    "fftshift": [
        lambda: torch.fft.fftshift(X),
        lambda: torch.fft.fftshift(X, -2),
        lambda: torch.fft.fftshift(X, [1, 2]),
    ],
    "gradient": [
        lambda: torch.gradient(X, dim=2)[0],
        lambda: torch.gradient(X, spacing=0.5, dim=(1, -1), edge_order=2)[1],
        lambda: torch.gradient(X, spacing=[1.0, 2.0], dim=[2, 3])[1],
        lambda: torch.gradient(X[0, 0])[0],
    ],
    "ifftshift": [lambda: torch.fft.ifftshift(X), lambda: torch.fft.ifftshift(X, dim=2)],
    "kron": [
        lambda: torch.kron(X[0, 0], torch.eye(3)),
        lambda: X[0].kron(X[0, 0, 0]),
        lambda: torch.kron(X[0, 0, 0], X[0, :2]),
    ],
    "logspace": [
        lambda: torch.logspace(-1, 1, 7),
        lambda: torch.logspace(0.0, 3.0, steps=4, base=2.0, dtype=torch.float64),
        lambda: torch.logspace(2, 5, 1),
    ],
    "multi_dot": [
        lambda: torch.linalg.multi_dot([X[0, 0], X[0, 0].T, X[0, 0]]),
        lambda: torch.linalg.multi_dot((X[0, 0, 0], X[0, 0].T, X[0, 0, :, 0])),
    ],
    "put": [
        lambda: X.put(torch.tensor([0, -1, 5]), torch.tensor([1.0, 2.0, 3.0])),
        lambda: torch.put(X, torch.tensor([[0, 0], [2, -3]]), X[0, 0, :2, :2], accumulate=True),
    ],
    "vander": [
        lambda: torch.linalg.vander(X[0, 0]),
        lambda: torch.linalg.vander(X[0, 0, :3], N=5),
    ],
    "associative_scan": [
        lambda: associative_scan(torch.add, X, 1, combine_mode="generic"),
        lambda: associative_scan(torch.maximum, X, -2, reverse=True, combine_mode="generic"),
        lambda: associative_scan(torch.mul, X[:, :1], 1, combine_mode="generic"),
        lambda: associative_scan(decaying, (X.sigmoid(), X), 2, combine_mode="generic")[1],
    ],
    "bincount": [
        lambda: torch.bincount(torch.tensor([1, 1, 4])),
        lambda: torch.tensor([1, 1, 4], dtype=torch.int32).bincount(minlength=9),
        lambda: torch.bincount(torch.tensor([1, 1, 4]), torch.tensor([0.5, 1.0, 2.0])),
        lambda: torch.bincount(torch.tensor([1, 1, 4]), weights=torch.tensor([5, 1, 2]), minlength=2),
        lambda: torch.bincount(torch.tensor([], dtype=torch.int64), minlength=3),
        lambda: torch.bincount(torch.tensor([], dtype=torch.int64)),
    ],
    "repeat_interleave": [
        lambda: X.repeat_interleave(3, 1),
        lambda: torch.repeat_interleave(X, 2, dim=-1),
        lambda: X.repeat_interleave(2),
        lambda: torch.repeat_interleave(torch.tensor([1, 2, 3])),
        lambda: torch.repeat_interleave(X, torch.tensor([1, 2, 3]), dim=1),
    ],
    "adaptive_avg_pool1d": [
        lambda: functional.adaptive_avg_pool1d(X[0], 6),
        lambda: functional.adaptive_avg_pool1d(X[0, 0], (20,)),
    ],
    "adaptive_avg_pool2d": [
        lambda: functional.adaptive_avg_pool2d(X, (5, 4)),
        lambda: functional.adaptive_avg_pool2d(X, (None, 7)),
        lambda: functional.adaptive_avg_pool2d(X[0], output_size=5),
        lambda: functional.adaptive_avg_pool2d(X, 1),
    ],
    "median": [
        lambda: torch.median(X.clone()),
        lambda: tuple(torch.median(X, 2)),
        lambda: tuple(X.median(1, keepdim=True)),
        lambda: X.median(-1).values,
    ],
    "cdist": [lambda: torch.cdist(X[0], X[1]), lambda: torch.cdist(X[0], X[1], p=1.0), lambda: torch.cdist(X, X, 3.0)],
    "unfold": [lambda: X.unfold(2, 5, 3), lambda: X.unfold(-1, 4, 2)],
    "searchsorted": [
        lambda: torch.searchsorted(SORTED, ASKED),
        lambda: torch.searchsorted(SORTED[0], SORTED[:, ::3].contiguous(), right=True),
        lambda: torch.searchsorted(SORTED[0], SORTED[:, ::3].contiguous(), side="right"),
    ],
    "histc": [
        lambda: torch.histc(torch.tensor([41.0]), bins=2, min=0, max=82),
        lambda: torch.histc(torch.arange(20.0) % 8, bins=8, min=0, max=7),
        lambda: X.histc(10, -1, 1),
        lambda: torch.histc(X),
        lambda: torch.histc(torch.full((7,), 2.0), bins=1, min=0, max=0),
    ],
    "cumsum": [
        lambda: (X > 0).cumsum(-1),
        lambda: torch.cumsum(X > 0, dim=1, dtype=torch.float32),
        lambda: torch.cumsum(X, 2),
    ],
    **{
        name: [
            lambda owner=owner, name=name: getattr(owner, name)(X, 2),
            lambda owner=owner, name=name: getattr(owner, name)(PLACES, dim=-1),
            lambda owner=owner, name=name: getattr(owner, name)(torch.tensor([[2.0, 5.0, 5.0, -1.0, 2.0]]), 1),
            lambda owner=owner, name=name: getattr(owner, name)(ENDLESS, 1),
        ]
        for name, owner in (("cummax", torch), ("cummin", torch.Tensor))
    },
    "cumprod": [
        lambda: X.cumprod(-1),
        lambda: torch.cumprod(PLACES[..., :5].to(torch.int32), dim=1),
        lambda: torch.cumprod(PLACES > 0, 0, dtype=torch.float32),
    ],
    "index_add": [
        lambda: X.index_add(2, TWICE, X[:, :, :4]),
        lambda: torch.index_add(X, -1, TWICE.to(torch.int32), X[..., :4], alpha=-2),
        lambda: X[0, 0, 0].index_add(0, TWICE, X[0, 0, 1, :4]),
    ],
    "index_add_in_place": [
        lambda: X.clone().index_add_(1, TWICE[:3] % 3, X),
        lambda: X.clone().index_add_(3, TWICE, X[..., :4], alpha=0.5),
    ],
    "log1p": [
        lambda: torch.log1p(X * 1e-7) * 1e7,
        lambda: torch.Tensor.log1p(X.abs() * 1e6),
        lambda: torch.special.log1p(torch.tensor([-1.0, -2.0, 0.0, -0.0, torch.inf, -torch.inf, torch.nan])),
        lambda: torch.log1p(X.double() * 1e-12) * 1e12,
    ],
    "logsigmoid": [
        lambda: functional.logsigmoid(X * 20),
        lambda: functional.logsigmoid(10.0 + X.abs()) * 1e5,
        lambda: functional.logsigmoid(torch.tensor([0.0, 90.0, -200.0, torch.inf, -torch.inf, torch.nan])),
    ],
    "softmax": [
        lambda: functional.softmax(X, -1, dtype=torch.float64),
        lambda: torch.softmax(X.double(), 1, torch.float32),
        lambda: X.half().softmax(dim=-2, dtype=torch.float32),
    ],
    "log_softmax": [
        lambda: functional.log_softmax(X, dim=-1, dtype=torch.float64),
        lambda: X.double().log_softmax(1, torch.float32),
    ],
    "cov": [
        lambda: torch.cov(X[0, 0]),
        lambda: X[0, 0].cov(correction=0),
        lambda: torch.cov(X[0, 0, 0]),
        lambda: torch.cov(X[0, 0, :, :1]),
    ],
    "corrcoef": [lambda: torch.corrcoef(X[0, 0]), lambda: torch.corrcoef(X[0, 0, 0])],
    "pdist": [lambda: torch.pdist(X[0, 0]), lambda: functional.pdist(X[0, 0], p=1.0), lambda: torch.pdist(X[0, 0, :1])],
    "index_reduce": [
        lambda how=how, own=own: torch.index_reduce(
            X[0, 0], 0, PLACES[0, 0, 0] % 17, X[0, 1, :13], how, include_self=own
        )
        for how in ("prod", "mean", "amax", "amin")
        for own in (True, False)
    ],
    "unique_consecutive": [
        lambda: torch.unique_consecutive(PLACES[0, 0, 0] // 6),
        lambda: (PLACES[0] // 6).unique_consecutive(return_inverse=True),
        lambda: torch.unique_consecutive(PLACES[0, 0, 0] // 6, return_counts=True),
        lambda: torch.unique_consecutive(PLACES[0, 0, 0] // 6, return_inverse=True, return_counts=True, dim=0),
        lambda: torch.unique_consecutive(X[0, 0, 0, :0]),
    ],
    "cholesky_inverse": [
        lambda: torch.cholesky_inverse(LOWER.tril()),
        lambda: LOWER[0].triu().cholesky_inverse(upper=True),
    ],
    "signbit": [
        lambda: torch.signbit(X),
        lambda: torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan]).signbit(),
    ],
    "expm1": [
        lambda: torch.expm1(X),
        lambda: (1e-6 * X).expm1() * 1e6,
        lambda: torch.special.expm1(torch.tensor([-200.0, 0.0, 60.0, float("inf"), float("-inf")])),
    ],
    "fft": [
        lambda: torch.fft.fft(X).real,
        lambda: torch.fft.fft(X, dim=2).imag,
        lambda: torch.fft.fft(torch.fft.fft(X, dim=1), dim=2).abs(),
        lambda: torch.fft.fft(X, 9).imag,
        lambda: torch.fft.fft(X, n=30, dim=2).real,
    ],
    "fftn": [lambda: torch.fft.fftn(X, dim=(1, 2)).real, lambda: torch.fft.fftn(X[0]).imag / 10],
    "fold": [
        lambda: functional.fold(X[:, 0, :12].contiguous(), (1, 30), (1, 6), stride=(1, 2)),
        lambda: functional.fold(X[0, 0, :12, :9], (9, 6), (3, 4), 1, 1, (3, 2)),
        lambda: functional.fold(X[:, 1, :16, :6].contiguous(), (6, 7), 2, dilation=2, stride=2),
        lambda: functional.fold(X[:, 1, :4, :6].contiguous(), (4, 8), kernel_size=2, stride=(2, 3), padding=(0, 1)),
    ],
    "len": [lambda: len(X), lambda: len([1, 2]), lambda: len("four")],
    "sigmoid": [
        *(lambda owner=owner: owner.sigmoid(4 * X) for owner in (torch, torch.Tensor, functional)),
        lambda: torch.special.expit(torch.tensor([-200.0, -50.0, 0.0, 50.0, float("inf"), float("-inf")])),
        lambda: torch.sigmoid(input=PLACES),
        lambda: torch.sigmoid(X.half()),
    ],
    "linspace": [
        *(lambda steps=steps: torch.linspace(0.5, steps - 0.5, steps) for steps in (1, 2, 7, 0)),
        lambda: torch.linspace(torch.tensor(-1.0), 1, steps=torch.tensor(6), dtype=torch.float64, device="cpu"),
        lambda: torch.linspace(-1, 1, 1),
        lambda: torch.linspace(0, 10, 4, dtype=torch.int64),
    ],
    "ifft": [
        lambda: torch.fft.ifft(X, 20).abs(),
        lambda: torch.fft.ifft(X).imag,
        lambda: torch.fft.ifft(X, dim=1, norm="ortho").abs(),
    ],
    "fft2": [lambda: torch.fft.fft2(X).real, lambda: torch.fft.fft2(X, dim=(0, 2)).abs()],
    "rfft": [
        lambda: torch.fft.rfft(X).real,
        lambda: torch.fft.rfft(X, dim=0, norm="ortho").imag,
        lambda: torch.fft.rfft(X, 7).abs(),
        lambda: torch.fft.rfft(X, n=40, dim=2).imag,
    ],
    "rfft2": [lambda: torch.fft.rfft2(X).imag, lambda: torch.fft.rfft2(X, dim=(1, 0), norm="forward").abs()],
    "atan2": [
        lambda: torch.atan2(X, X.flip(0)),
        lambda: torch.tensor([0.0, 0.0, 0.0, 1.0, -1.0, 2.0]).atan2(torch.tensor([-1.0, 1.0, 0.0, 0.0, 0.0, -2.0])),
        lambda: torch.arctan2(PLACES, PLACES - 5),
    ],
    "inv": [lambda: torch.linalg.inv(LOWER), lambda: X[..., :4, :4].inverse() / 9, lambda: torch.inverse(LOWER[0].mT)],
    "solve": [
        lambda: torch.linalg.solve(LOWER, X[0]),
        lambda: torch.linalg.solve(LOWER, X[0, ..., 0]),
        lambda: torch.linalg.solve(LOWER[:, :5, :5].flip(1), X[0, :, :5]),
        lambda: torch.linalg.solve(LOWER, X[0].mT, left=False),
    ],
    "slogdet": [lambda: tuple(torch.linalg.slogdet(X[..., :5, :5])), lambda: tuple(torch.slogdet(LOWER[0]))],
    "logdet": [lambda: torch.logdet(LOWER), lambda: torch.Tensor.logdet(X[..., :3, :3])],
    "cholesky": [
        lambda: torch.linalg.cholesky(LOWER @ LOWER.mT),
        lambda: torch.linalg.cholesky(LOWER[0] @ LOWER[0].mT, upper=True),
    ],
    "cholesky_solve": [
        lambda: torch.cholesky_solve(X[0], LOWER.tril()),
        lambda: X[0].cholesky_solve(LOWER.triu(), True),
    ],
    "deconvolution": [
        lambda: nn.ConvTranspose2d(3, 4, 3, 2, 1)(X, output_size=(34, 25)),
        lambda: nn.ConvTranspose2d(3, 6, (4, 3), (3, 2), (1, 0), groups=3, dilation=(1, 2))(
            X, X.new_zeros(1, 1, 52, 29).shape
        ),
        lambda: nn.ConvTranspose1d(17, 4, 5, 4)(X[0], [55]),
    ],
    "pack_padded": [lambda: packed_sorted(True), lambda: packed_sorted(False)],
    "pad_packed": [lambda: packed_sorted(True), lambda: packed_sorted(False)],
    "packed_rnn": [
        lambda kind=kind, several=several: leaves_of(packed(kind(5, 6, several, bidirectional=True).eval()))
        for kind in (nn.LSTM, nn.GRU, nn.RNN)
        for several in (1, 2)
    ],
    "projected_lstm": [
        lambda: leaves_of(nn.LSTM(13, 7, 2, proj_size=3, bidirectional=True, batch_first=True).eval()(X[0])),
        lambda: leaves_of(nn.LSTM(13, 7, proj_size=3, bias=False).eval()(X[0], (X[:1, 0, :, :3], X[:1, 0, :, 3:10]))),
        lambda: leaves_of(nn.LSTM(13, 7, 2, proj_size=3).eval()(X[0, 0])),
        lambda: leaves_of(
            nn.LSTM(13, 7, proj_size=3, bidirectional=True, batch_first=True).eval()(
                X[0, 0], (X[0, :2, 0, :3], X[0, :2, 0, 3:10])
            )
        ),
    ],
    "cross_entropy": [
        lambda: functional.cross_entropy(X[0, 0], LABELS, label_smoothing=0.1),
        lambda: nn.CrossEntropyLoss(X[0, 0, 0].abs(), ignore_index=2, label_smoothing=0.3)(X[0, 0], LABELS),
        lambda: functional.cross_entropy(X[0].mT, LABELS.expand(3, 17), reduction="none", label_smoothing=0.2),
        lambda: functional.cross_entropy(X[0, 0, 0], LABELS[0], reduction="sum", label_smoothing=1.0),
        lambda: functional.cross_entropy(X[0, 0], X[0, 1].softmax(-1), X[0, 0, 0].abs(), label_smoothing=0.1),
        lambda: functional.cross_entropy(X[0, 0].half(), LABELS.byte(), label_smoothing=0.1),
        lambda: functional.cross_entropy(X[0, 0], LABELS, X[0, 0, 0].abs(), reduction="none", label_smoothing=0.4),
        lambda: functional.cross_entropy(X[0, 0], LABELS * 0 - 100, label_smoothing=0.4),
    ],
    "stft": [
        lambda: torch.stft(SIGNAL, 16, 5, 12, torch.hann_window(12), return_complex=True).real,
        lambda: torch.stft(SIGNAL[0], 8, return_complex=True, normalized=True, onesided=False).imag,
        lambda: SIGNAL.stft(8, center=False, pad_mode="constant", return_complex=True).abs(),
    ],
    "logcumsumexp": [lambda: X.logcumsumexp(1), lambda: torch.logcumsumexp(X * 30, dim=-1)],
    "isclose": [
        lambda: torch.isclose(X, X + 1e-6),
        lambda: X.isclose(X.round(), atol=0.2),
        lambda: torch.isclose(X / 0.0, X.flip(0) / 0.0, rtol=torch.inf),
        lambda: torch.isclose(X * torch.nan, X * torch.nan, equal_nan=True),
        lambda: torch.isclose(PLACES, PLACES),
    ],
    "mT": [lambda: X.mT, lambda: X.mT @ X.mT.mT],
    "mode": [
        lambda: torch.mode(PLACES, 2).values,
        lambda: PLACES.mode(keepdim=True).values,
        lambda: torch.tensor([[2.0, 1.0, 1.0, 2.0, 3.0]]).mode(1).values,
        lambda: torch.tensor([[torch.inf, torch.inf], [-torch.inf, 2.0]]).mode(1).values,
    ],
    "quantile": [
        lambda: torch.quantile(X, 0.3),
        lambda: X.quantile(torch.tensor([0.0, 0.25, 1.0]), dim=2),
        lambda: torch.quantile(X, torch.tensor(0.77), 1, keepdim=True),
        lambda: torch.quantile(X, torch.tensor([0.1, 0.9]), keepdim=True),
        lambda: torch.quantile(X, 0.5, -1, keepdim=True),
        lambda: torch.quantile(X, torch.tensor([0.5]), dim=0, keepdim=True),
        lambda: torch.cat(
            [X.quantile(0.41, 2, interpolation=one) for one in ("lower", "higher", "nearest", "midpoint")]
        ),
        lambda: torch.quantile(ODD, 0.5, dim=1),
        lambda: torch.quantile(ODD, 0.5),
        lambda: X[0, 0, 0, :1].quantile(0.2),
    ],
    "nanquantile": [
        lambda: torch.nanquantile(ODD, 0.4),
        lambda: ODD.nanquantile(torch.tensor([0.0, 0.6, 1.0]), dim=1, keepdim=True),
        lambda: torch.nanquantile(ODD, 0.6, dim=0),
    ],
    "nanmedian": [
        lambda: torch.nanmedian(ODD),
        lambda: ODD.nanmedian(1).values,
        lambda: torch.nanmedian(ODD, 0, keepdim=True).values,
        lambda: tuple(torch.nanmedian(X, 2)),
    ],
    "hypot": [
        lambda: torch.hypot(X, X.flip(0)),
        lambda: torch.hypot(1e30 * X, X[0]),
        lambda: torch.tensor([0.0, torch.inf, torch.nan, 3.0]).hypot(torch.tensor([0.0, torch.nan, 1.0, -4.0])),
    ],
    "fmax": [lambda: torch.fmax(ODD, -ODD.flip(1)), lambda: X.fmax(X[0])],
    "fmin": [lambda: torch.fmin(ODD, -ODD.flip(1)), lambda: X.fmin(X[0])],
    "copysign": [
        lambda: torch.copysign(X, X.flip(0)),
        lambda: 1 / torch.zeros(4).copysign(torch.tensor([0.0, -0.0, -1.0, 2.0])),
    ],
    "tril_indices": [
        lambda: torch.tril_indices(5, 7),
        lambda: torch.tril_indices(row=6, col=3, offset=-2, dtype=torch.int32),
        lambda: torch.tril_indices(0, 3),
    ],
    "triu_indices": [lambda: torch.triu_indices(4, 4, 1), lambda: torch.triu_indices(3, 9, offset=-1)],
    "kthvalue": [lambda: tuple(X.kthvalue(3)), lambda: tuple(torch.kthvalue(X, 1, dim=1, keepdim=True))],
    **{
        f"{kind}_pool{rank}d": [
            lambda name=f"{kind}_pool{rank}d", whole=whole: getattr(functional, name)(X[0], whole),
            lambda name=f"{kind}_pool{rank}d": getattr(functional, name)(X[0], 3),
            lambda name=f"{kind}_pool{rank}d": getattr(functional, name)(X[0], 2, 1),
        ]
        for kind in ("max", "avg")
        for rank, whole in ((1, [torch.tensor(13)]), (2, [torch.tensor(17), torch.tensor(13)]))
    },
    "adaptive_max_pool1d": [
        lambda: functional.adaptive_max_pool1d(X[0], 6),
        lambda: nn.AdaptiveMaxPool1d(20)(X[0]),
        lambda: functional.adaptive_max_pool1d(X[0], 4, return_indices=True),
    ],
    "adaptive_max_pool2d": [
        lambda: functional.adaptive_max_pool2d(X, (5, 4)),
        lambda: nn.AdaptiveMaxPool2d((None, 7))(X),
        lambda: functional.adaptive_max_pool2d(X[0], 1),
    ],
    "rms_norm": [
        lambda: functional.rms_norm(X, (13,), X[0, 0, 0], 1e-6),
        lambda: torch.rms_norm(X, (17, 13)),
        lambda: functional.rms_norm(X.half(), [13], weight=X[0, 0, 0].half()),
        lambda: nn.RMSNorm(13, eps=1e-3, elementwise_affine=False)(X),
    ],
    "bitwise_or": [
        lambda: PLACES | (PLACES > 3),
        lambda: (PLACES - 6) | 5,
        lambda: 9 | PLACES,
        lambda: torch.bitwise_or(PLACES.to(torch.int32), PLACES - 2**62),
        lambda: (PLACES > 3) | (PLACES < 1),
    ],
    "bitwise_xor": [
        lambda: PLACES ^ (PLACES > 3),
        lambda: (PLACES - 6).bitwise_xor(torch.tensor(5)),
        lambda: -9 ^ PLACES,
        lambda: (PLACES > 3) ^ (PLACES < 1),
    ],
    "chunk": [lambda: X.chunk(4, dim=2), lambda: torch.chunk(X, 3, -1), lambda: X[:, :, :2].chunk(5, 2)],
    "split": [
        lambda: torch.split(X, split_size_or_sections=5),
        lambda: X.split(5, dim=2),
        lambda: torch.split(X, 4, -1),
        lambda: X.split([10, 3], 3),
    ],
    "floor_divide": [
        lambda: X // 0.1,
        lambda: (X * 10).round() / 10 // -0.1,
        lambda: torch.floor_divide(X, X.flip(0)),
        lambda: torch.arange(-9, 9) // 4,
        lambda: torch.tensor([1.0, -1.0, 0.0]) // 0.0,
    ],
    "custom_function": [
        torch.no_grad()(lambda: torch.vmap(Doubled.apply, in_dims=1, out_dims=(1, 0))(X[0, 0])),
        torch.no_grad()(lambda: torch.vmap(Tripled.apply)(X[0, 0])),
        torch.no_grad()(lambda: looked_up(torch.tensor([3, 0, 16]))),
        lambda: torch.func.grad(lambda x: Squared.apply(x).sum())(X),
    ],
    "lgamma": [
        lambda: torch.lgamma(8 * X),
        lambda: torch.Tensor.lgamma(X[0].abs() * 30 + 0.01),
        lambda: torch.special.gammaln(torch.tensor([1.0, 2.0, 0.5, 0.0, -1.0, -2.5, 7.99, 8.0, 1e5, 1e-5])),
        lambda: torch.lgamma(X.double()),
    ],
    "digamma": [
        lambda: torch.digamma(X[0] + 5),
        lambda: torch.special.psi(torch.tensor([1.0, 2.0, 0.5, 0.0, -0.5, -2.5, 7.99, 8.0, 1e5, 1e-3])),
        lambda: torch.Tensor.digamma(X.abs() + 0.1),
    ],
    "erfinv": [
        lambda: torch.erfinv(X.tanh()),
        lambda: torch.special.erfinv(torch.tensor([0.0, 0.5, -0.999, 0.99999, 1.0, -1.0, 1e-6])),
    ],
    "logaddexp": [
        lambda: torch.logaddexp(9 * X, -X),
        lambda: X.logaddexp(X[0]),
        lambda: torch.logaddexp(
            torch.tensor([torch.inf, -torch.inf, -torch.inf, 2.0]),
            torch.tensor([torch.inf, -torch.inf, 1.0, torch.nan]),
        ),
    ],
    "xlogy": [
        lambda: torch.xlogy(X.relu(), X.abs()),
        lambda: X.xlogy(other=X[0].abs() + 1),
        lambda: torch.special.xlogy(torch.tensor([0.0, 0.0, 0.0, 1.0]), torch.tensor([torch.nan, -1.0, 0.0, 0.0])),
        lambda: torch.xlogy(PLACES, X.abs() + 1),
    ],
    "i0": [
        lambda: torch.i0(torch.tensor([88.0, 90.0, 1e20])),
        lambda: torch.i0(3 * X) / 100,
        lambda: torch.special.i0(torch.tensor([0.0, 3.75, -3.74, 1e-4])),
    ],
    "matrix_exp": [
        lambda: torch.matrix_exp(X[0, :, :4, :4]),
        lambda: torch.linalg.matrix_exp(X[..., :3, :3].double() * torch.tensor([0.0, 0.01, 4.0])[None, :, None, None]),
    ],
    "is_nonzero": [lambda: torch.is_nonzero(X[0, 0, :1, 0]), lambda: torch.is_nonzero((X > 100).any())],
    "allclose": [
        lambda: torch.allclose(X, X + 1e-9),
        lambda: torch.allclose(X, X + 1),
        lambda: torch.allclose(X / 0.0, X / 0.0),
        lambda: torch.allclose(X * torch.nan, X * torch.nan, equal_nan=True),
        lambda: torch.allclose(X * torch.nan, X * torch.nan),
        lambda: torch.allclose(X, X.abs() / 0.0),
        lambda: torch.allclose(PLACES, PLACES.clone()),
    ],
    **{
        name: [lambda cell=cell, bias=bias: cell(5, 7, bias=bias)(X[0, :, 0, :5]) for bias in (True, False)]
        for name, cell in CELLS.items()
    },
}


def leaves(answer):
    return answer if isinstance(answer, tuple) else (answer,)


@pytest.mark.parametrize(("name", "number"), [(name, place) for name in CALLS for place in range(len(CALLS[name]))])
def test_a_twin_answers_what_the_operator_answers(name, number):
    call = CALLS[name][number]
    torch.manual_seed(0)
    expected = leaves(call())

    with standing_in({name: twins()[name]}, held_by=[Counting()]):
        torch.manual_seed(0)
        answered = leaves(call())

    assert len(answered) == len(expected)
    for one, other in zip(answered, expected, strict=True):
        assert type(one) is type(other)
        if isinstance(one, torch.Tensor):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5, equal_nan=True)
        else:
            assert one == other


@pytest.mark.parametrize("name", CALLS)
def test_calls_reach_the_twin_that_is_held_against_its_operator(name):
    reached = []

    def noting(*args, **kwargs):
        reached.append(name)
        return twin.compute(*args, **kwargs)

    twin = twins()[name]
    watched = dataclasses.replace(twin, compute=functools.wraps(twin.compute)(noting))
    with standing_in({name: watched}, held_by=[Counting()]):
        for call in CALLS[name]:
            call()

    assert reached


IN_PLACE = {
    "cumprod": lambda x: x.cumprod_(1),
    "copysign": lambda x: x.copysign_(-X[:, 1:]),
    "hypot": lambda x: x.hypot_(X[:, 1:] + 1),
    "sigmoid": lambda x: x.sigmoid_(),
    "scatter": lambda x: (x > 0).scatter_(1, torch.zeros_like(x[:, :1], dtype=torch.int64), True),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_twin_stands_in_for_the_method_that_works_in_place_too(name):
    reached, twin = [], twins()[name]
    watched = dataclasses.replace(
        twin, compute=lambda *args, **kwargs: reached.append(name) or twin.compute(*args, **kwargs)
    )
    own, given = X.clone(), X.clone()
    expected = IN_PLACE[name](own[:, 1:])
    with standing_in({name: watched}):
        answered = IN_PLACE[name](given[:, 1:])

    assert reached
    torch.testing.assert_close(answered, expected)
    torch.testing.assert_close(given, own)


PAIRS = {"polar", "complex", "view_as_complex", "view_as_real", "irfft", "irfft2", "istft", "zeros"}


def test_every_twin_is_held_against_its_operator():
    assert CALLS.keys() | PAIRS | {"round", "ceil", "floor", "tolist", "divmod", "block_mask"} == twins().keys()


def rotated(parts, angles):
    turned = torch.view_as_complex(parts) * torch.polar(torch.ones_like(angles), angles)[None, :, None]
    turned = torch.complex(turned.real, turned.imag).conj() * 2.0 - turned.transpose(0, 1).transpose(0, 1)
    return torch.view_as_real(turned.unsqueeze(1).to(torch.complex64)).flatten(3), turned.abs()


def test_pairs_rotate_as_complex_numbers_do():
    draw = torch.Generator().manual_seed(0)
    parts, angles = torch.randn(2, 5, 3, 4, 2, generator=draw), torch.randn(5, 4, generator=draw)
    expected = rotated(parts, angles)

    with standing_in({name: twins()[name] for name in PAIRS}):
        answered = rotated(parts, angles)

    for one, other in zip(answered, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_pairs_are_written_multiplied_and_raised_as_complex_numbers_are():
    draw = torch.Generator().manual_seed(1)
    parts, weight = (torch.randn(2, 4, 4, 2, generator=draw) for _ in range(2))

    def mixed():
        one, other = torch.view_as_complex(parts), torch.view_as_complex(weight)
        kept = torch.zeros_like(one)
        kept[:, :2] = (1 - one[:, :2]) * other[:, 1:3].conj()
        product = torch.matmul(parts[..., 0].to(one.dtype), kept @ other) + kept.new_zeros(2, 4, 4)
        powers = torch.exp(torch.complex(-parts[..., 0].abs(), parts[..., 1]))
        return torch.view_as_real(product - powers), (product.numel(), product.is_complex(), powers.dtype)

    expected = mixed()
    with standing_in({name: twins()[name] for name in PAIRS}):
        answered = mixed()

    torch.testing.assert_close(answered[0], expected[0])
    assert answered[1] == expected[1]


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("length", [12, 13])
def test_halves_of_a_spectrum_are_those_of_the_operator(length, norm):
    def filtered():
        half = torch.fft.rfft(X[..., :length].transpose(1, 3), dim=1, norm=norm)
        parts = torch.view_as_real(half[:, :-1])
        turned = torch.complex(half.real * 1.5, half.imag - 2.0)
        return parts.flatten(3), torch.fft.irfft(turned, length, dim=1, norm=norm)

    expected = filtered()
    with standing_in(twins()):
        answered = filtered()

    for one, other in zip(answered, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


WEIGHTS = torch.complex(drawn(17, 7), drawn(17, 7))

HANN = torch.hann_window(8)
FILTERED = [
    lambda: torch.fft.irfft(torch.fft.rfft(X) * WEIGHTS[0], n=13),
    lambda: torch.fft.irfft(torch.fft.rfft(X[..., :12], dim=-1).pow(2)),
    lambda: torch.fft.irfft(torch.fft.rfft(X, norm="ortho"), 6, norm="ortho"),
    lambda: torch.fft.irfft(torch.fft.rfft(X, dim=1), n=X.shape[1], dim=1),
    lambda: torch.fft.irfft2(torch.fft.rfft2(X) * WEIGHTS + 0.5, s=X.shape[-2:]),
    lambda: torch.fft.irfft2(torch.einsum("bchw,chw->bhw", torch.fft.rfft2(X), WEIGHTS.repeat(3, 1, 1)), norm="ortho"),
    lambda: torch.fft.ifft(torch.fft.fft(X) / (2.0 + 1.0j)).imag,
    lambda: torch.angle(torch.fft.rfft(X)[..., 1:3]),
    lambda: torch.abs(torch.cat([torch.fft.rfft(X), 2.0 * torch.fft.rfft(X)], -1)),
    lambda: torch.istft(torch.stft(SIGNAL, 16, 4, return_complex=True) * 2.0, 16, 4, length=219),
    lambda: torch.istft(torch.stft(SIGNAL[0], 8, 2, window=HANN, return_complex=True), 8, 2, window=HANN),
    lambda: (torch.fft.rfft(X) / torch.fft.rfft(X + 3.0)).real,
]


def kept():
    spectrum = torch.zeros(2, 3, 17, 7, dtype=torch.complex64)
    spectrum[..., :4] = torch.fft.rfft(X)[..., :4] * 2.0
    return torch.fft.irfft(spectrum, n=13)


@pytest.mark.parametrize("act", [*FILTERED, kept])
def test_pairs_are_filtered_as_complex_numbers_are(act):
    expected = act()

    with standing_in(twins()):
        answered = act()

    torch.testing.assert_close(answered, expected, rtol=1e-4, atol=1e-4)


def test_counts_stay_tensors_only_while_the_twin_stands_in():
    counts = torch.tensor([3, 0, 10, 4])
    with standing_in({name: twins()[name] for name in ("tolist", "split_by_counts")}):
        assert all(isinstance(count, torch.Tensor) for count in counts.tolist())
        assert [piece.shape[2] for piece in X.split(counts.tolist(), dim=2)] == [3, 0, 10, 4]
        assert torch.tensor([0.5]).tolist() == [0.5]
    assert counts.tolist() == [3, 0, 10, 4]


def test_a_block_mask_is_its_rule():
    keys = torch.tensor([17, 0])

    def attend():
        mask = flexible.create_block_mask(lambda b, h, i, j: (i >= j) & (j < keys[b]), 2, None, 17, 17, device="cpu")
        return flexible.flex_attention(X, X, X, block_mask=mask)

    expected = attend()
    with standing_in({name: twins()[name] for name in ("block_mask", "flex_attention")}):
        answered = attend()

    assert not expected[1].any(), "who sees no key answers zeros"
    torch.testing.assert_close(answered, expected)


def test_tensors_round_only_while_the_twin_stands_in():
    with standing_in({"round": twins()["round"]}):
        assert torch.equal(round(torch.tensor([0.5, 1.5, -2.5])), torch.tensor([0, 2, -2]))
        assert round(torch.tensor(3.25), 1) == 3.2
    with pytest.raises(TypeError, match="__round__"):
        round(torch.tensor(1.5))


class Counting(nn.Module):
    def forward(self, x):
        return len(x), len([x])


def test_functions_of_python_are_replaced_in_the_files_of_modules_alone():
    class Sized(torch.Tensor):
        def __len__(self):
            return 99

    x = X.as_subclass(Sized)
    assert Counting()(x) == (99, 1)
    with standing_in({"len": twins()["len"]}, held_by=[Counting()]):
        assert Counting()(x) == (2, 1)
        assert torch.broadcast_tensors.__globals__.get("len") is None
    with standing_in({"len": twins()["len"]}):
        assert Counting()(x) == (99, 1)
    assert Counting()(x) == (99, 1)
    assert "len" not in globals()


def traced(decide):
    """What a function of a size gives while it is traced, the size being 45."""
    found = []

    class Asking(nn.Module):
        def forward(self, x):
            found.append(decide(x.shape[0]))
            return x + 1.0

    torch.jit.trace(Asking(), (torch.zeros(45),), check_trace=False)
    return found[0]


@pytest.mark.parametrize("part", [lambda n: n / 2, lambda n: n / 6, lambda n: n * 0.5, lambda n: 3 * n])
def test_a_part_of_a_size_is_rounded_where_float32_holds_it(part):
    with standing_in({"round": twins()["round"]}):
        assert traced(lambda n: round(part(n))) == round(part(45))


@pytest.mark.parametrize("part", [lambda n: n * 0.7, lambda n: n / 0.7, lambda n: n / 2 + 0.1, lambda n: n * 0.7 / 2])
def test_a_part_of_a_size_is_not_rounded_where_float32_may_not_hold_it(part):
    with standing_in({"round": twins()["round"]}), pytest.raises(RouteError, match=r"float32.*doubles"):
        traced(lambda n: round(part(n)))


@pytest.mark.parametrize("way", [math.ceil, math.floor])
@pytest.mark.parametrize(
    "part", [lambda n: n / 2, lambda n: (n - 8) / 6, lambda n: n * 0.75, lambda n: 3 * n, lambda n: n * 0.7]
)
def test_parts_of_sizes_are_rounded_up_and_down_as_python_does(way, part):
    with standing_in({name: twins()[name] for name in ("ceil", "floor")}):
        assert traced(lambda n: way(part(n))) == way(part(45))
        assert way(torch.tensor(2.5)) == way(2.5)


@pytest.mark.parametrize("way", [math.ceil, math.floor])
def test_parts_of_sizes_are_followed_where_float32_holds_them(way):
    with standing_in({name: twins()[name] for name in ("ceil", "floor")}):
        assert isinstance(traced(lambda n: way(n / 4)), torch.Tensor)
        assert isinstance(traced(lambda n: way(n / (n - 40))), torch.Tensor)
        assert isinstance(traced(lambda n: way(n * 0.7)), int)
        assert isinstance(traced(lambda n: way(n * 0.7 / 2)), int)


def test_sizes_are_divided_with_a_rest_only_while_the_twin_stands_in():
    with standing_in({"divmod": twins()["divmod"]}):
        assert divmod(torch.tensor(17), 5) == (3, 2)
        assert divmod(17, 5) == (3, 2)
    with pytest.raises(TypeError, match="divmod"):
        divmod(torch.tensor(17), 5)


def test_operators_are_put_back():
    before = torch.Tensor.chunk, torch.chunk, functional.scaled_dot_product_attention, nn.GRUCell.forward

    with standing_in(twins()):
        assert torch.chunk is not before[1]

    assert before == (torch.Tensor.chunk, torch.chunk, functional.scaled_dot_product_attention, nn.GRUCell.forward)
