"""Control flow as operators: the rewritten function answers what its own did, in Python and as a graph."""

import contextlib
import inspect
import logging
import types

import numpy as np
import onnxruntime
import pytest
import torch
from cases import control_flow, thorough
from cases.control_flow import MODULES
from torch._dynamo.source import LocalSource
from torch.export import Dim
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

from onnxwright.approach import Approach
from onnxwright.profile import Profile
from onnxwright.repairs import Seen, repair
from onnxwright.repairs.control_flow.recompiling import exchanged, recompiled
from onnxwright.repairs.control_flow.settled import is_settled, over_profile
from onnxwright.repairs.control_flow.syntax.unsupported import UnsupportedError
from onnxwright.routes import silence
from onnxwright.routes.control_flow import control_flow_taken

SIZES = [(2, 16), (1, 1), (3, 7), (5, 33), (1, 9), (4, 2)]
SCALES = [1.0, -1.0, 0.01, 5.0]


PROFILED = types.SimpleNamespace(
    traced={"batch": 2, "sequence": 16},
    profile=Profile({"batch": (1, 2, 5), "sequence": (1, 16, 33)}),
    is_within=lambda _: True,
)


class Flat(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        answer = self.module(x)
        return answer["y"] if isinstance(answer, dict) else answer.y


def inputs():
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(*sizes, 8, generator=draw) * scale for sizes in SIZES for scale in SCALES]


def flat(name):
    torch.manual_seed(0)
    return Flat(MODULES[name]()).eval()


@contextlib.contextmanager
def rewritten(name):
    functions = [MODULES[name].forward, *([control_flow.trimmed] if name == "Helper" else [])]
    with contextlib.ExitStack() as replaced, torch.no_grad():
        for function in functions:
            replaced.enter_context(exchanged(function, recompiled(function)))
        replaced.enter_context(control_flow_taken())
        replaced.enter_context(over_profile(PROFILED))
        yield


@pytest.mark.parametrize("name", thorough.marked(MODULES, {"Equilibrium"}))
def test_python_answers_the_same(name):
    module = flat(name)
    with torch.no_grad():
        expected = [module(x) for x in inputs()]

    with rewritten(name):
        answered = [module(x) for x in inputs()]

    for one, other in zip(answered, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "name",
    thorough.marked(
        MODULES,
        {"Counts", "Windows", "ReturnsDeep", "Backtracking", "EarlyReturn", "Padded", "Filter", "Turned", "Functions"},
    ),
)
def test_the_graph_answers_the_same_at_every_size_and_side(name, tmp_path):
    module = flat(name)
    file = tmp_path / "model.onnx"
    with rewritten(name), silence():
        shapes = ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},)
        program = torch.export.export(module, (torch.randn(2, 16, 8),), dynamic_shapes=shapes, strict=False)
        torch.onnx.export(program, dynamo=True, verbose=False, opset_version=18).save(file)
    logging.disable(logging.NOTSET)
    session = onnxruntime.InferenceSession(file)

    for x in inputs():
        with torch.no_grad():
            expected = module(x).numpy()
        (answered,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        np.testing.assert_allclose(answered, expected, rtol=1e-4, atol=1e-5, err_msg=str(tuple(x.shape)))


def test_functions_are_put_back_and_keep_their_lines():
    function = MODULES["Rows"].forward
    own = function.__code__

    with rewritten("Rows"):
        lines = {line for _, _, line in function.__code__.co_lines() if line}
        assert function.__code__ is not own
        assert function.__code__.co_filename == own.co_filename
        assert lines <= set(
            range(own.co_firstlineno, own.co_firstlineno + len(inspect.getsource(function).split("\n")))
        )

    assert function.__code__ is own


class Unsupported:
    def yields(self, x):
        yield from x

    def deletes(self, x):
        del x[0]
        return x

    def tries(self, x):
        try:
            if x.sum() > 0:
                return x
        finally:
            pass
        return -x

    def has_an_else(self, x):
        for row in x:
            if row.sum() > 0:
                break
        else:
            return x
        return -x


@pytest.mark.parametrize("name", ["yields", "deletes", "tries", "has_an_else"])
def test_what_cant_be_rewritten_is_refused_with_a_reason(name):
    with pytest.raises(UnsupportedError, match=r"it |a loop"):
        recompiled(getattr(Unsupported, name))


def test_what_has_no_source_is_refused():
    made = {}
    exec("def forward(x):\n    return x if x.sum() > 0 else -x", made)

    with pytest.raises(UnsupportedError, match="its source can't be read"):
        recompiled(made["forward"])


def test_a_lambda_is_refused():
    with pytest.raises(UnsupportedError):
        recompiled(lambda x: x if x.sum() > 0 else -x)


def asked(expression, sizes, profile, is_within=lambda _: True):
    """A question that `torch.export` would ask about sizes, answered over a profile."""
    environment = ShapeEnv()
    symbols = {
        name: environment.create_symbol(size, LocalSource(name), dynamic_dim=DimDynamic.DYNAMIC)
        for name, size in sizes.items()
    }
    known = {name: environment.create_symintnode(symbol, hint=sizes[name]) for name, symbol in symbols.items()}
    source = types.SimpleNamespace(traced=sizes, profile=Profile(profile), is_within=is_within)
    with over_profile(source):
        return is_settled(expression(**known))


@pytest.mark.parametrize(
    ("expression", "most", "settled"),
    [
        (lambda n, b: (64 - n % 64) % 64 > 0, 63, True),
        (lambda n, b: (64 - n % 64) % 64 > 0, 64, False),
        (lambda n, b: n <= 64, 64, True),
        (lambda n, b: n < 64, 64, False),
        (lambda n, b: n * b > 0, 64, True),
        (lambda n, b: n > b, 64, False),
    ],
)
def test_a_question_is_settled_that_has_one_answer_over_the_profile(expression, most, settled):
    assert asked(expression, {"n": 16, "b": 3}, {"n": (1, 16, most), "b": (1, 3, 8)}) is settled


def test_a_question_is_settled_by_the_piece_that_is_exported():
    def is_single(n, b):
        return n <= 1

    sizes, profile = {"n": 16, "b": 3}, {"n": (1, 16, 64), "b": (1, 3, 8)}
    assert asked(is_single, sizes, profile, is_within=lambda sizes: sizes["n"] > 1)
    assert not asked(is_single, sizes, profile, is_within=lambda sizes: sizes["b"] > 1)


def test_nothing_is_settled_where_two_dims_have_one_size():
    assert not asked(lambda n, b: n <= 64, {"n": 16, "b": 16}, {"n": (1, 16, 64), "b": (1, 16, 32)})


def test_nothing_is_proposed_where_nothing_decides():
    seen = Seen(
        source=type("Given", (), {"module": torch.nn.Linear(2, 2)})(), approach=Approach("dynamo", 18), message=""
    )

    assert list(repair("control-flow").proposals(seen)) == []
