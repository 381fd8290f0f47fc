"""Control flow as operators: the rewritten function answers what its own did, in Python and as a graph."""

import contextlib
import inspect
import logging

import numpy as np
import onnxruntime
import pytest
import torch
from cases import control_flow
from cases.control_flow import MODULES
from torch.export import Dim

from onnxwright.approach import Approach
from onnxwright.repairs import Seen, repair
from onnxwright.repairs.control_flow import exchanged, recompiled
from onnxwright.repairs.control_flow.rewriting import UnsupportedError
from onnxwright.routes import silence

SIZES = [(2, 16), (1, 1), (3, 7), (5, 33), (1, 9), (4, 2)]
SCALES = [1.0, -1.0, 0.01, 5.0]


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
        yield


@pytest.mark.parametrize("name", MODULES)
def test_python_answers_the_same(name):
    module = flat(name)
    with torch.no_grad():
        expected = [module(x) for x in inputs()]

    with rewritten(name):
        answered = [module(x) for x in inputs()]

    for one, other in zip(answered, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", MODULES)
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
        y = x
        del y
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


def test_nothing_is_proposed_where_nothing_decides():
    seen = Seen(
        source=type("Given", (), {"module": torch.nn.Linear(2, 2)})(), approach=Approach("dynamo", 18), message=""
    )

    assert list(repair("control-flow").proposals(seen)) == []
