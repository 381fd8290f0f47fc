"""A session and a module made of a plain function, for tests that need to say what is answered."""

from dataclasses import dataclass

from torch import nn

from onnxwright.backends import Ran

RAN = Ran("function", "1", "here", "float32", 1)


@dataclass
class FunctionSession:
    """A session that answers what a function makes of the feeds."""

    answer: object
    ran: Ran = RAN

    def run(self, feeds):
        return self.answer(feeds)


class FunctionModule(nn.Module):
    """A module that answers what a function makes of its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)
