"""What a package says of itself: the typed form of `onnxwright.json`."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from onnxwright.findings import Finding
from onnxwright.rewrites import Trace
from onnxwright.signature import Signature

FILE_NAME = "onnxwright.json"
SCHEMA = 1
EXPORTED = "fp32"
"""The variant that every package has: the graph as exported."""

Verdict = Literal["proven", "partial", "failed"]


class Worst(msgspec.Struct, frozen=True):
    """The largest error seen inside the proven range, relative to the output's own scale, its limit, and where.

    The limit is that of the output, or that of the reference's noise at this very point where that is greater.
    """

    error: float
    limit: float
    output: str
    sizes: dict[str, int]
    values: str


class Tolerance(msgspec.Struct, frozen=True):
    """How far each output may lie from the reference, and where that number comes from.

    `floors` are the noise of the reference itself, and a limit is `multiple` times that, or the least limit of the
    output's class where that is greater. `classes` says for each output which class it is held to. An error is that of
    the worst element, or with `is_overall` that of the whole tensor; with `is_for_usual` the limits hold for values as
    a model is used with, and of others the answer is finite.
    """

    name: str
    limits: dict[str, float]
    floors: dict[str, float]
    origin: str
    multiple: float = 0.0
    classes: dict[str, str] = {}
    is_overall: bool = False
    is_for_usual: bool = False


Wrong = Literal["values", "shape", "raises", "narrowed"]


class Failure(msgspec.Struct, frozen=True):
    """A size at which the candidate is wrong, with which values (drawn from which seed), and in what way."""

    sizes: dict[str, int]
    kind: Wrong
    message: str
    values: str = "typical"
    seed: int = 0


class Drift(msgspec.Struct, frozen=True):
    """One place on the way to a wrong output: what runs there, and how far apart reference and candidate are.

    The error is None where no number says it: shapes that differ, whole numbers, NaN on one side only.
    """

    module: str
    where: str | None
    error: float | None


class Divergence(msgspec.Struct, frozen=True):
    """Where a candidate first leaves the reference: the submodule, the line of Python and the node of the graph.

    `growth` are the steps before and after it, in the order in which they run. The error is as in `Drift`.
    """

    sizes: dict[str, int]
    values: str
    module: str
    where: str | None
    node: str | None
    error: float | None
    growth: tuple[Drift, ...] = ()
    message: str = ""
    operator: str | None = None


class Proof(msgspec.Struct, frozen=True):
    """What was shown of a candidate against a reference.

    `sizes` are those at which every point agreed; `failures` those at which one did not; `refused` those that the
    reference itself doesn't take; `untried` those that the time did not allow.
    """

    verdict: Verdict
    range: dict[str, tuple[int, int]]
    points: int
    worst: Worst | None
    tolerance: Tolerance
    reference: str
    candidate: str
    sizes: tuple[dict[str, int], ...] = ()
    failures: tuple[Failure, ...] = ()
    refused: tuple[dict[str, int], ...] = ()
    untried: tuple[dict[str, int], ...] = ()
    divergence: Divergence | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def extent(self) -> tuple[bool, float]:
        """How much was shown, to compare proofs by: whether everything, and how many sizes."""
        sizes = math.prod(high - low + 1 for low, high in self.range.values())
        return self.verdict == "proven", sizes if self.verdict != "failed" else 0


class Attempt(msgspec.Struct, frozen=True):
    """One entry of the journal: what was tried, what came of it, and how long it took."""

    route: str
    opset: int
    verdict: Verdict | Literal["error"]
    message: str
    range: dict[str, tuple[int, int]] = {}
    seconds: float = 0.0
    findings: tuple[Finding, ...] = ()
    repairs: tuple[str, ...] = ()

    @property
    def approach(self) -> str:
        """What `--replay` takes to walk this way alone."""
        return "; ".join([f"{self.route}@{self.opset}", *self.repairs])


class Latency(msgspec.Struct, frozen=True):
    """How long one call takes, in milliseconds, and how much faster than the baseline it is, pair by pair."""

    sizes: dict[str, int]
    runs: int
    median_ms: float
    p95_ms: float
    p99_ms: float
    speedup: float
    speedup_interval: tuple[float, float]

    @property
    def is_different(self) -> bool:
        """Whether the confidence interval of the speed-up leaves out 1."""
        return not self.speedup_interval[0] <= 1.0 <= self.speedup_interval[1]


class Measurement(msgspec.Struct, frozen=True):
    """What one session took on each shape, beside what really ran."""

    label: str
    baseline: str
    ran: dict[str, Any]
    latencies: tuple[Latency, ...]
    error: float | None = None


class EngineProof(msgspec.Struct, frozen=True):
    """What one engine was shown to do with a variant's file."""

    executed: bool
    proof: Proof | None
    message: str = ""


class Rewritten(msgspec.Struct, frozen=True):
    """One plan of rewrites for an engine: its nodes, how it compares with the graph as exported, what came of it.

    `control` is how that graph compared with itself meanwhile: what differs by no more than that is no difference.
    `rolled_back` are rules, or `RULE at NODE`, that were to blame for a wrong answer: of this plan, or of the one that
    it was before.
    """

    plan: str
    nodes: int
    outcome: Literal["kept", "not the fastest", "slower", "no faster", "not measured", "not shown right", "refused"]
    message: str = ""
    latencies: tuple[Latency, ...] = ()
    control: tuple[Latency, ...] = ()
    rolled_back: tuple[str, ...] = ()


class Optimization(msgspec.Struct, frozen=True):
    """What was tried to make a graph faster on an engine, and what that led to.

    `variant` is the variant that came of it, None where the graph as exported stays. `trace` tells what the plan that
    was kept rewrote, or the one that came nearest, and what it declined.
    """

    told: str
    variant: str | None
    is_measured: bool
    plans: tuple[Rewritten, ...]
    trace: Trace


class Accuracy(msgspec.Struct, frozen=True):
    """How much worse a variant answers samples than the reference does, by the measure that its task has.

    `told` says what the loss is; its interval holds with 95 % confidence. Both are None where the loss is infinite: an
    answer that is not finite, or has another shape, as `message` says. With labels the loss is `reference_metric` less
    `metric`.
    """

    measure: str
    told: str
    loss: float | None
    interval: tuple[float, float] | None
    samples: int
    parts: dict[str, float] = {}
    is_labelled: bool = False
    metric: float | None = None
    reference_metric: float | None = None
    message: str = ""

    @property
    def amount(self) -> float:
        """The loss as a number, infinite where it is None."""
        return math.inf if self.loss is None else self.loss


class Neighbours(msgspec.Struct, frozen=True):
    """How far the answer for a row depends on the other rows of its batch: the loss that this alone makes."""

    loss: float | None
    told: str


Came = Literal[
    "kept",
    "not the fastest",
    "loses more",
    "slower",
    "no faster",
    "not measured",
    "over budget",
    "not shown right",
    "refused",
]
"""Of a candidate: `loses more` is as fast as what is kept, as far as a measurement tells, and loses more."""


class Candidate(msgspec.Struct, frozen=True):
    """One way to lower the precision for an engine: what it loses, what it gains, what came of it.

    `kept` are the nodes that stay in float32, each with why. `calibrated` is the loss on the samples that the variant
    was made with, `judged` on the others, None where it wasn't a choice any more. Latencies are relative to the graph
    as exported in the same engine. `anew` says how it was made anew, where the first one was wrong.
    """

    recipe: str
    execution: str
    outcome: Came
    message: str = ""
    kept: dict[str, str] = {}
    calibrated: Accuracy | None = None
    judged: Accuracy | None = None
    neighbours: Neighbours | None = None
    latencies: tuple[Latency, ...] = ()
    size: int = 0
    anew: str = ""

    @property
    def name(self) -> str:
        """The recipe, and the type in which the engine executes what is left in float32, if that is another."""
        return self.recipe if self.execution == "float32" else f"{self.recipe} in {self.execution}"


class Quantization(msgspec.Struct, frozen=True):
    """What was tried to lower a graph's precision for an engine within a budget, and what that led to.

    `variant` is the variant that came of it, None where the graph as exported stays.
    """

    told: str
    variant: str | None
    asked: str
    budget: float
    measure: str
    samples: str
    calibrating: int
    judging: int
    is_measured: bool
    candidates: tuple[Candidate, ...]
    instructions: tuple[str, ...] = ()
    """What the processor has that the speed of whole numbers and short floats hangs on."""
    rewriting: Optimization | None = None
    """What was rewritten in what is kept, measured beside it as it was before; None where that wasn't asked for."""


class Variant(msgspec.Struct, frozen=True):
    """One graph of the package: its file, precision and digest, what was proven of it and measured on it.

    An engine executes what is in float32 in `execution`; `accuracy` is what is lost on samples, of a variant in a
    lower precision. `io` is the type that its file has, in and out, for what is float32 by the signature.
    """

    file: str
    precision: str
    sha256: str
    proof: Proof
    engines: dict[str, EngineProof] = {}
    measurements: tuple[Measurement, ...] = ()
    execution: str = "float32"
    accuracy: Accuracy | None = None
    io: str = "float32"


class Default(msgspec.Struct, frozen=True):
    """What a session uses when it isn't told otherwise."""

    variant: str
    engine: str


class Evidence(msgspec.Struct, frozen=True):
    """Inputs with the reference's answers, kept in the package so that it can be proven where there is no PyTorch."""

    file: str
    sha256: str
    points: int


class Step(msgspec.Struct, frozen=True):
    """One step of the lineage: the verb, and what went into it."""

    verb: str
    details: dict[str, Any] = {}


class Manifest(msgspec.Struct, frozen=True):
    """The whole of `onnxwright.json`."""

    signature: Signature
    profile: dict[str, tuple[int, int, int]]
    proof: Proof
    findings: tuple[Finding, ...]
    attempts: tuple[Attempt, ...]
    variants: dict[str, Variant]
    default: Default
    lineage: tuple[Step, ...]
    environment: dict[str, Any]
    task: str | None = None
    task_options: dict[str, Any] = {}
    evidence: Evidence | None = None
    optimizations: dict[str, Optimization] = {}
    """By engine."""
    quantizations: dict[str, Quantization] = {}
    """By engine."""
    schema: int = SCHEMA


def to_json(manifest: Manifest) -> bytes:
    """Returns the manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def from_json(content: bytes) -> Manifest:
    """Reads a manifest.

    Raises:
        msgspec.ValidationError: when the content is not a manifest of this schema.
    """
    return msgspec.json.decode(content, type=Manifest)
