"""Which whole numbers floats decide, so that a lower type may turn them out otherwise."""

import pytest
from cases.graphs import model

from onnxwright.graph.precision.deciding import decided

GIVEN = "float[B,4] x, int64[B,S] ids"


@pytest.mark.parametrize(
    ("answer", "lines", "is_decided"),
    [
        ("int64[B] y", "y = ArgMax <axis = 1, keepdims = 0> (x)", True),
        ("bool[B,4] y", "zero = Constant <value = float {0}> () \n y = Greater (x, zero)", True),
        ("int64[B,S] y", "f = Cast <to = 1> (ids) \n r = Round (f) \n y = Cast <to = 7> (r)", True),
        ("int64[2] y", "t = Tanh (x) \n y = Shape (t)", False),
        ("int64[B,S] y", "y = Add (ids, ids)", False),
        ("float[B,4] y", "y = Tanh (x)", False),
        (
            "int64[1] y",
            "s = Shape <start = 0, end = 1> (x) \n f = Cast <to = 1> (s) \n r = Sqrt (f) \n y = Cast <to = 7> (r)",
            False,
        ),
    ],
)
def test_what_is_computed_of_floats_that_depend_on_the_inputs_is_decided_by_them(answer, lines, is_decided):
    graph = model(f"g ({GIVEN}) => ({answer}) {{ {lines} }}", opset=20)

    assert decided(graph) == ({"y"} if is_decided else set())
