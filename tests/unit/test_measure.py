import math
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxwright.backends import Ran
from onnxwright.errors import UsageError
from onnxwright.manifest import Measurement
from onnxwright.profile import Profile
from onnxwright.stages.measure import LEAST_RUNS, Clock, Plan, in_words, interval, measure, shapes

FEEDS = [({"batch": 1}, {"x": np.array([1.0, 2.0])}), ({"batch": 2}, {"x": np.array([3.0, 4.0])})]


@dataclass
class World:
    """A machine whose time passes only when a session runs or someone sleeps."""

    time: float = 0.0
    calls: list[str] = field(default_factory=list)

    def sleep(self, seconds):
        self.time += seconds

    @property
    def clock(self):
        return Clock(now=lambda: self.time, sleep=self.sleep)

    def session(self, name, seconds, answer=lambda feeds: {"y": feeds["x"]}):
        return FunctionSession(self, name, seconds if callable(seconds) else lambda: seconds, answer)


@dataclass
class FunctionSession:
    world: World
    name: str
    seconds: Callable[[], float]
    answer: Callable
    version: str = "1"

    @property
    def ran(self):
        return Ran(backend=self.name, version=self.version, provider="CPU", precision="float32", threads=2, sha256="ab")

    def run(self, feeds):
        self.world.calls.append(self.name)
        self.world.sleep(self.seconds())
        return self.answer(feeds)


def noisy(seconds, seed, spread=0.3):
    draw = np.random.default_rng(seed)
    return lambda: seconds * float(np.exp(spread * draw.standard_normal()))


def test_tells_each_shape_with_the_distribution_of_its_times():
    world = World()
    untimed = [9.0, 9.0, 9.0]
    timed = [9.0 if turn == 0 else seconds for seconds in range(1, 101) for turn in range(2)]
    times = iter([*untimed, *timed, *untimed, *[7.0] * 200])

    found = measure(
        {"only": world.session("only", lambda: next(times))},
        FEEDS,
        baseline="only",
        plan=Plan(seconds=1e9),
        clock=world.clock,
    )["only"]

    first, second = found.latencies
    assert (first.sizes, second.sizes) == ({"batch": 1}, {"batch": 2})
    assert first.runs == 100
    assert first.median_ms == pytest.approx(50_500)
    assert 95_000 <= first.p95_ms <= 96_000
    assert 99_000 <= first.p99_ms <= 100_000
    assert second.median_ms == second.p99_ms == pytest.approx(7_000)


def test_a_session_twice_as_fast_is_told_so_through_the_noise():
    world = World()
    sessions = {"slow": world.session("slow", noisy(0.2, 1)), "fast": world.session("fast", noisy(0.1, 2))}

    found = measure(sessions, FEEDS, baseline="slow", plan=Plan(seconds=1e9), clock=world.clock)["fast"]

    for latency in found.latencies:
        low, high = latency.speedup_interval
        assert low <= 2.0 <= high
        assert low <= latency.speedup <= high
        assert latency.is_different
        assert in_words(latency).endswith("× faster")


def test_a_slower_session_is_told_by_how_much():
    world = World()
    sessions = {"base": world.session("base", 0.1), "slow": world.session("slow", 0.25)}

    found = measure(sessions, FEEDS, baseline="base", clock=world.clock)["slow"]

    assert in_words(found.latencies[0]) == "2.50× slower"


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_equal_sessions_are_told_as_no_difference(spread):
    world = World()
    sessions = {name: world.session(name, noisy(0.1, seed, spread)) for seed, name in enumerate("ab")}

    found = measure(sessions, FEEDS, baseline="a", plan=Plan(seconds=1e9), clock=world.clock)

    assert [in_words(latency) for latency in found["b"].latencies] == ["no difference", "no difference"]
    assert in_words(found["a"].latencies[0]) == "no difference"


def test_a_slow_spell_of_the_machine_is_not_taken_for_a_difference():
    world = World()
    seconds = lambda: 0.1 if world.time < 16 else 0.5  # noqa: E731
    sessions = {name: world.session(name, seconds) for name in "abc"}

    found = measure(sessions, FEEDS[:1], baseline="a", plan=Plan(seconds=1e9), clock=world.clock)

    for name in "bc":
        assert found[name].latencies[0].speedup == pytest.approx(1.0)


def test_interleaves_in_an_order_that_the_seed_decides():
    def order(seed):
        world = World()
        plan = Plan(runs=20, warmup_runs=1, seed=seed)
        measure(
            {name: world.session(name, 0.01) for name in "abc"}, FEEDS[:1], baseline="a", plan=plan, clock=world.clock
        )
        return ["".join(world.calls[at : at + 6 : 2]) for at in range(3, len(world.calls), 6)]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert all(sorted(round_) == ["a", "b", "c"] for round_ in order(0))
    assert len(set(order(0))) > 3


def test_the_time_budget_ends_the_rounds():
    world = World()
    sessions = {name: world.session(name, 0.1) for name in "ab"}

    found = measure(
        sessions, FEEDS, baseline="a", plan=Plan(runs=10_000, seconds=10, pause_seconds=0), clock=world.clock
    )

    assert 10 <= world.time <= 10.8
    assert 9 <= found["b"].latencies[0].runs <= 13


def test_the_least_number_of_runs_is_made_whatever_the_budget():
    world = World()
    sessions = {name: world.session(name, 100.0) for name in "ab"}

    found = measure(sessions, FEEDS, baseline="a", plan=Plan(runs=1, seconds=0.001), clock=world.clock)

    assert [latency.runs for latency in found["b"].latencies] == [LEAST_RUNS, LEAST_RUNS]


def test_warms_up_every_session_on_every_shape_untimed():
    world = World()
    first = iter([50.0, 50.0])
    answers = world.session("a", lambda: next(first, 0.1))

    found = measure(
        {"a": answers}, FEEDS[:1], baseline="a", plan=Plan(runs=10, warmup_runs=2, seconds=1e9), clock=world.clock
    )

    assert len(world.calls) == 2 + 2 * 10
    assert found["a"].latencies[0].p99_ms == pytest.approx(100)


def test_labels_come_from_what_ran():
    world = World()

    found = measure({"my name": world.session("engine", 0.1)}, FEEDS, baseline="my name", clock=world.clock)["my name"]

    assert found.label == "engine float32"
    assert found.ran["sha256"] == "ab"
    assert msgspec.json.decode(msgspec.json.encode(found), type=Measurement) == found


def test_a_version_of_a_type_of_its_own_is_told_as_text():
    class Version(str):
        __slots__ = ()

    session = World().session("a", 0.1)
    session.version = Version("2.13.0+cpu")

    found = measure({"a": session}, FEEDS[:1], baseline="a", plan=Plan(runs=6), clock=session.world.clock)["a"]

    assert type(found.ran["version"]) is str


def test_the_error_is_the_largest_distance_from_the_baseline():
    world = World()
    sessions = {
        "base": world.session("base", 0.1),
        "off": world.session("off", 0.1, lambda feeds: {"y": feeds["x"] * 1.01}),
        "other": world.session("other", 0.1, lambda feeds: {"z": feeds["x"]}),
    }

    found = measure(sessions, FEEDS, baseline="base", plan=Plan(runs=6), clock=world.clock)

    assert found["base"].error == 0.0
    assert found["off"].error == pytest.approx(0.01 * 2 / (2 + 1.5))
    assert found["other"].error == math.inf


def test_refuses_a_baseline_that_is_not_measured():
    world = World()

    with pytest.raises(UsageError, match="baseline 'torch' is not measured; expected one of a"):
        measure({"a": world.session("a", 0.1)}, FEEDS, baseline="torch", clock=world.clock)


# Ranks of the 2.5 % quantile of the binomial distribution for fair coins; from about 20 on, n/2 - 0.98 sqrt(n).
@pytest.mark.parametrize(("count", "rank"), [(6, 1), (8, 1), (9, 2), (10, 2), (20, 6), (100, 40), (4000, 1938)])
def test_interval_takes_the_ranks_of_the_sign_test(count, rank):
    assert interval(range(1, count + 1)) == (rank, count + 1 - rank)


def test_interval_holds_the_median_as_often_as_it_says():
    draw = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        low, high = interval(draw.exponential(size=25))
        held += low <= math.log(2) <= high

    assert 0.95 <= held / 2000 <= 0.97


@given(st.lists(st.floats(0.1, 10), min_size=LEAST_RUNS, max_size=60))
def test_interval_is_ordered_and_around_the_median(values):
    low, high = interval(values)

    assert min(values) <= low <= float(np.median(values)) <= high <= max(values)


def test_shapes_of_the_usual_profile_are_a_short_a_usual_and_a_batch_of_requests():
    profile = Profile(batch=(1, 8, 32), sequence=(1, 128, 512))

    assert shapes(profile) == [
        {"batch": 1, "sequence": 16},
        {"batch": 1, "sequence": 128},
        {"batch": 8, "sequence": 128},
    ]


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (Profile(), [{}]),
        (Profile(batch=(1, 1, 1)), [{"batch": 1}]),
        (Profile(rows=(2, 4, 8)), [{"rows": 2}, {"rows": 4}]),
        (
            Profile(sequence=(10, 16, 20), batch=(1, 4, 4)),
            [{"sequence": 10, "batch": 1}, {"sequence": 16, "batch": 1}, {"sequence": 16, "batch": 4}],
        ),
    ],
)
def test_shapes_are_inside_the_profile_and_told_once(profile, expected):
    assert shapes(profile) == expected
