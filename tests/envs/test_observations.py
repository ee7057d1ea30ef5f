"""How each observation space is sent, and which of its bounds scale."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

from envs.errors import InvalidInputError
from envs.observations import converted, index_sizes, integer_bounds, observed_space

BYTES = Box(0, 255, (2, 3), np.uint8)
CASES = {
    "floats": (Box(-1.0, 1.0, (2,), np.float64), [[0.5, -0.25]], Box(-1.0, 1.0, (2,), np.float32), [[0.5, -0.25]]),
    "bytes": (BYTES, [[[1, 2, 3], [4, 5, 255]]], BYTES, [[[1, 2, 3], [4, 5, 255]]]),
    "integers": (Box(-3, 9, (2,), np.int64), [[-3, 9]], Box(-3, 9, (2,), np.int64), [[-3, 9]]),
    "bools": (Box(0, 1, (3,), np.bool_), [[True, False, True]], Box(0, 1, (3,), np.uint8), [[1, 0, 1]]),
    "flags": (MultiBinary(3), [[1, 0, 1]], Box(0, 1, (3,), np.uint8), [[1, 0, 1]]),
    "an index": (Discrete(5, start=-2), [-2, 2], Discrete(5), [0, 4]),
    "indices": (MultiDiscrete([3, 4], start=[1, -1]), [[1, -1], [3, 2]], MultiDiscrete([3, 4]), [[0, 0], [2, 3]]),
}


@pytest.mark.parametrize("name", CASES)
def test_observations_lie_in_the_space_that_is_promised(name: str) -> None:
    space, raw, promised, wanted = CASES[name]
    given = np.array(raw, space.dtype)
    got = converted(space, given)
    assert observed_space("gym:Any-v0", space) == promised
    np.testing.assert_array_equal(got, wanted)
    assert got.dtype == promised.dtype
    assert all(promised.contains(row) for row in got)
    assert not np.shares_memory(got, given)  # a caller may keep it while the environment writes on


@pytest.mark.parametrize("space", [Dict({"a": BYTES}), Tuple([Discrete(2)]), Text(3)])
def test_other_spaces_are_refused_by_name(space: gymnasium.Space[Any]) -> None:
    with pytest.raises(InvalidInputError, match=f"^gym:Any-v0 has a {type(space).__name__} observation space; Box, Discrete, "):
        observed_space("gym:Any-v0", space)


def test_indices_have_sizes_and_numbers_have_none() -> None:
    assert index_sizes(Discrete(5)) == (5,)
    assert index_sizes(MultiDiscrete(np.array([[2, 3], [4, 5]]))) == (2, 3, 4, 5)
    assert index_sizes(BYTES) == index_sizes(MultiBinary(3)) == ()


@pytest.mark.parametrize(
    ("space", "bounds"),
    [
        (Box(0, 1, (4,), np.uint8), ((0.0,), (1.0,))),
        (Box(0, 10, (7, 7, 3), np.uint8), ((0.0,), (10.0,))),
        (Box(-5, 5, (2,), np.int8), ((-5.0,), (5.0,))),
        (Box(0, 255, (2,), np.int32), ((0.0,), (255.0,))),
        (Box(1, 100, (2,), np.uint16), ((1.0,), (100.0,))),
        (Box(np.array([0, -2]), np.array([10, 2]), dtype=np.int64), ((0.0, -2.0), (10.0, 2.0))),
        (BYTES, None),  # pixels
        (Box(-np.inf, np.inf, (2,), np.int64), None),
        (Box(np.iinfo(np.int64).min, np.iinfo(np.int64).max, (2,), np.int64), None),
        (Box(0, np.iinfo(np.int32).max, (2,), np.int32), None),
        (Box(-128, 127, (2,), np.int8), None),
        (Box(-128, 10, (2,), np.int8), None),
        (Box(0, 65535, (2,), np.uint16), None),
        (Box(0.0, 10.0, (2,), np.float32), None),
        (Discrete(5), None),
    ],
)
def test_integers_are_scaled_by_bounds_that_a_person_gave(space: Box, bounds: object) -> None:
    assert integer_bounds(space) == bounds


def test_a_component_without_bounds_does_not_keep_the_others_from_being_scaled() -> None:
    space = Box(np.array([0, np.iinfo(np.int32).min], np.int32), np.array([4, np.iinfo(np.int32).max], np.int32), dtype=np.int32)
    assert integer_bounds(space) == ((0.0, -np.inf), (4.0, np.inf))
