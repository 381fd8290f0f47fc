"""Which sizes a proof tries."""

from hypothesis import given, settings
from hypothesis import strategies as st

from onnxwright.profile import Profile
from onnxwright.proof.lattice import combinations, corners, ends, essential, neighbours, resting, sweep, volume

PROFILE = Profile(batch=(1, 8, 32), sequence=(1, 128, 512))
TRACED = {"batch": 2, "sequence": 16}

ranges = st.lists(st.integers(1, 600), min_size=3, max_size=3).map(sorted).map(tuple)


def test_every_end_of_every_dim_is_tried_alone():
    tried = ends(PROFILE)

    assert {sizes["batch"] for sizes in tried} >= {1, 32}
    assert {sizes["sequence"] for sizes in tried} >= {1, 512}


def test_the_traced_size_its_neighbours_and_powers_of_two_with_theirs_are_essential():
    lengths = {sizes["sequence"] for sizes in essential(PROFILE, TRACED)}

    assert lengths >= {1, 2, 3, 15, 16, 17, 31, 32, 33, 127, 128, 129, 255, 256, 257, 511, 512}


def test_corners_reach_from_the_least_to_the_most_of_all_dims_together():
    found = corners(PROFILE)

    assert {"batch": 1, "sequence": 1} in found
    assert {"batch": 8, "sequence": 512} in found
    assert found[-1] == {"batch": 32, "sequence": 512}


def test_many_dims_have_few_corners_and_the_far_one_is_among_them():
    profile = Profile({f"dim_{place}": (1, 2, 3) for place in range(12)})

    found = corners(profile)

    assert len(found) < 40
    assert profile.most in found


def test_sizes_at_rest_are_distinct_and_not_one():
    assert resting(PROFILE) == {"batch": 2, "sequence": 3}


def test_a_profile_without_dims_has_one_size():
    assert essential(Profile(), {}) == []
    assert corners(Profile()) == [{}]
    assert ends(Profile()) == []


@given(ranges, ranges)
def test_nothing_outside_of_the_profile_is_tried(batch, sequence):
    profile = Profile(batch=batch, sequence=sequence)
    traced = {"batch": batch[0], "sequence": sequence[2]}

    for sizes in [resting(profile), *ends(profile), *corners(profile), *essential(profile, traced)]:
        assert all(profile[dim].least <= size <= profile[dim].most for dim, size in sizes.items())


@given(ranges)
def test_a_sweep_visits_every_size_once(sizes):
    visited = [one["batch"] for one in sweep(Profile(batch=sizes))]

    assert sorted(visited) == list(range(sizes[0], sizes[2] + 1))


def test_a_sweep_begins_far_apart():
    first = [sizes["sequence"] for sizes, _ in zip(sweep(Profile(sequence=(1, 8, 512))), range(3), strict=False)]

    assert sorted(first) == [128, 256, 384]


def test_neighbours_hold_multiples_of_eight_and_primes():
    sizes = {one["sequence"] for one in neighbours(Profile(sequence=(1, 8, 100)))}

    assert {7, 8, 9, 39, 40, 41, 71, 73, 97} <= sizes
    assert 50 not in sizes


@settings(max_examples=30)
@given(ranges, ranges)
def test_combinations_stay_in_the_profile_and_are_all_there_where_they_are_few(batch, sequence):
    profile = Profile(batch=batch, sequence=sequence)
    found = list(combinations(profile, seed=1))
    count = (batch[2] - batch[0] + 1) * (sequence[2] - sequence[0] + 1)

    assert len({tuple(one.values()) for one in found}) == count or count > 10_000
    assert all(profile[dim].least <= size <= profile[dim].most for one in found[:50] for dim, size in one.items())


def test_random_sizes_are_the_same_for_the_same_seed_only():
    assert essential(PROFILE, TRACED, seed=1) == essential(PROFILE, TRACED, seed=1)
    assert essential(PROFILE, TRACED, seed=1) != essential(PROFILE, TRACED, seed=2)


def test_volume_counts_a_zero_as_one():
    assert volume({"batch": 0, "sequence": 7}) == 7
