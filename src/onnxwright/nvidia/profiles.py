"""Optimization profiles: the shapes of every input, derived from a signature and the range of each dim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxwright.errors import OutOfRangeError, ProfileError
from onnxwright.nvidia.orders import Shape, Shaped, Shapes
from onnxwright.profile import Profile
from onnxwright.signature import Signature


def shaped(signature: Signature, profile: Profile) -> Shaped:
    """Returns the shapes of each input that has dims, as the builder wants them."""
    return {
        spec.name: Shapes(*(spec.resolve(sizes) for sizes in (profile.least, profile.usual, profile.most)))
        for spec in signature.inputs
        if any(isinstance(dim, str) for dim in spec.shape)
    }


def buckets(profile: Profile, dim: str, edges: Sequence[int]) -> list[Profile]:
    """Splits a profile at sizes of one dim: from its least to the first edge, from there to the next, to its most.

    Each is built for its own longest, since what is shorter is padded to that or runs as fast.

    Raises:
        ProfileError: for a dim that the profile doesn't have, or edges outside of its range or out of order.
    """
    if dim not in profile:
        raise ProfileError(f"bucket of dim '{dim}': the model has no such dim; it has {', '.join(profile) or 'none'}.")
    least, _, most = profile[dim]
    inner = [edge for edge in edges if edge != most]
    if list(inner) != sorted(set(inner)) or any(not least <= edge < most for edge in inner):
        raise ProfileError(
            f"buckets of dim '{dim}': expected rising sizes from {least} to {most}, got {', '.join(map(str, edges))}."
        )
    starts = [least, *(edge + 1 for edge in inner)]
    ends = [*inner, most]
    return [profile.replace({dim: (start, end, end)}) for start, end in zip(starts, ends, strict=True)]


def edges_of(lengths: Sequence[int], count: int = 3) -> list[int]:
    """Returns the ends of buckets that hold equal shares of the lengths that a user has seen.

    Raises:
        ProfileError: when there are none.
    """
    if not lengths or min(lengths) < 1:
        raise ProfileError("lengths: expected one whole number of at least 1 in each line.")
    ordered = sorted(lengths)
    return sorted({ordered[-(-len(ordered) * part // count) - 1] for part in range(1, count + 1)})


def fitting(profiles: Sequence[Shaped], shapes: Mapping[str, Shape]) -> int:
    """Returns which profile to run shapes with: of those that hold them, the one whose most is the least.

    Raises:
        OutOfRangeError: when no profile holds them.
    """
    held = [place for place, profile in enumerate(profiles) if _holds(profile, shapes)]
    if not held:
        told = "; ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise OutOfRangeError(f"shapes {told}: the engine has no profile for them. It has {_spelled(profiles)}.")
    return min(held, key=lambda place: _size(profiles[place]))


def _holds(profile: Shaped, shapes: Mapping[str, Shape]) -> bool:
    return all(
        len(shapes[name]) == len(one.least)
        and all(low <= size <= high for low, size, high in zip(one.least, shapes[name], one.most, strict=True))
        for name, one in profile.items()
    )


def _size(profile: Shaped) -> int:
    return sum(_volume(one.most) for one in profile.values())


def _volume(shape: Shape) -> int:
    found = 1
    for size in shape:
        found *= size
    return found


def _spelled(profiles: Sequence[Shaped]) -> str:
    return "; ".join(
        ", ".join(f"{name} {list(one.least)} to {list(one.most)}" for name, one in profile.items())
        for profile in profiles
    )
