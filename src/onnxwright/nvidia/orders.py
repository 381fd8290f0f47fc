"""What a process that parses and builds is told to do, and what it answers: values that travel as JSON."""

from __future__ import annotations

import msgspec

Shape = tuple[int, ...]


class Shapes(msgspec.Struct, frozen=True):
    """The shapes between which an engine takes one input: least, usual, most."""

    least: Shape
    usual: Shape
    most: Shape


Shaped = dict[str, Shapes]
"""One optimization profile: the shapes of each input that has dims, by name."""


class Settings(msgspec.Struct, frozen=True):
    """How an engine is built.

    Without `targets`, the engine is for what the library builds by itself: the GPU at hand, or a portable one.
    """

    profiles: tuple[Shaped, ...] = ()
    targets: tuple[str, ...] = ()
    is_tf32: bool = False
    workspace: int | None = None
    """The most bytes of GPU memory that a layer may use while it runs."""


class Order(msgspec.Struct, frozen=True):
    """A graph to parse and, where `engine` says where to, to build; with the operators to ask the parser about."""

    engine_name: str
    file: str
    settings: Settings = Settings()
    engine: str | None = None
    operators: tuple[str, ...] = ()


class Refusal(msgspec.Struct, frozen=True):
    """A node that the parser refuses: its place in the graph, its name and operator, and the parser's words."""

    place: int
    node: str
    operator: str
    reason: str


class Tensor(msgspec.Struct, frozen=True):
    """An input or output as the library sees it; -1 is a size that may vary.

    `declared` is the type that the graph declares, where the library has another in its place.
    """

    name: str
    dtype: str
    shape: Shape
    declared: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What came of an order.

    `problem` says in a line why there is no engine where no node is to blame; `log` holds what the library said, one
    line each, with its severity.
    """

    version: str
    targets: tuple[str, ...] = ()
    """Those that the library builds for."""
    refused: tuple[Refusal, ...] = ()
    lacking: tuple[str, ...] = ()
    """Those of the operators asked about that the parser doesn't have."""
    problem: str = ""
    log: tuple[str, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    layers: int = 0
    parse_seconds: float = 0.0
    build_seconds: float = 0.0
    processor_seconds: float = 0.0
    """What all threads took together, the library's import included: less than the clock where others wait beside."""
    peak_bytes: int = 0
    is_parsed: bool = False
    is_misused: bool = False
    """Whether the settings are to blame: a target or a profile that the library doesn't take."""
    is_built: bool = False
