"""What one environment returns: refused where `SyncVectorEnv` refuses it or takes a wrong number from it, and taken otherwise."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from envs.errors import EnvFaultError
from envs.replies import Replies

VECTOR = Box(-1.0, 1.0, (3,), np.float32)
BYTES = Box(0, 255, (2,), np.uint8)
ROOMS = Discrete(5, start=2)
PAIR = MultiDiscrete([3, 4])
ZEROS = np.zeros(3, np.float32)


def step(obs: Any = ZEROS, reward: Any = 1.0, terminated: Any = False, truncated: Any = False, info: Any = None) -> Any:
    return obs, reward, terminated, truncated, {} if info is None else info


@pytest.mark.parametrize(
    ("space", "obs", "want"),
    [
        (VECTOR, ZEROS, [0.0, 0.0, 0.0]),
        (VECTOR, np.full(3, 9.0), [9.0] * 3),  # double precision, and out of bounds, as in many good environments
        (VECTOR, [1, 2, 3], [1.0, 2.0, 3.0]),
        (VECTOR, np.array([True, False, True]), [1.0, 0.0, 1.0]),
        (BYTES, [0, 255], [0, 255]),
        (BYTES, np.array([7, 8], np.int64), [7, 8]),
        (ROOMS, 6, 6),
        (ROOMS, np.int32(2), 2),
        (ROOMS, np.array(3), 3),
        (PAIR, [2, 3], [2, 3]),
        (MultiBinary(2), [True, False], [1, 0]),
        (Box(0, 1, (2,), np.bool_), [1, 0], [True, False]),
    ],
)
def test_what_numpy_casts_within_a_kind_is_accepted(space: gymnasium.Space[Any], obs: Any, want: Any) -> None:
    stored = np.zeros(space.shape or (), space.dtype)
    stored[...] = Replies(space).of_reset((obs, {}))
    assert stored.tolist() == want


@pytest.mark.parametrize(
    ("space", "obs", "said"),
    [
        (
            VECTOR,
            np.zeros(1, np.float32),
            "an array of shape (1,), float32, [0.] as observation; the space is a Box of shape (3,)",
        ),
        (VECTOR, np.zeros((3, 1), np.float32), "an array of shape (3, 1)"),
        (VECTOR, 0.5, "0.5 (float) as observation"),
        (VECTOR, None, "None as observation"),
        (VECTOR, ["a", "b", "c"], "['a', 'b', 'c'] (list) as observation"),
        (VECTOR, [1, 2j, 3], "[1, 2j, 3] (list)"),
        (VECTOR, [[1], [2, 3], []], "no array of numbers"),
        (VECTOR, {"state": ZEROS}, "(dict) as observation"),
        (BYTES, np.array([0.1, 0.9], np.float32), "float32, [0.1 0.9] as observation; the space is a Box of shape (2,), uint8"),
        (BYTES, [0, 256], "[0, 256] (list) as observation; the space is a Box of shape (2,), uint8"),
        (BYTES, np.array([-1, 0]), "[-1 0]"),
        (ROOMS, 1, "1 (int) as observation; the space is Discrete(5, start=2)"),
        (ROOMS, 7, "7 (int)"),
        (ROOMS, 3.0, "3.0 (float)"),
        (ROOMS, None, "None"),
        (ROOMS, np.array([3]), "an array of shape (1,)"),
        (PAIR, [2, 4], "[2, 4] (list) as observation; the space is MultiDiscrete([3 4])"),
        (MultiBinary(2), [0, 2], "the space is MultiBinary(2)"),
    ],
)
@pytest.mark.parametrize("call", ["reset", "step"])
def test_what_does_not_fit_the_space_is_named(call: str, space: gymnasium.Space[Any], obs: Any, said: str) -> None:
    replies = Replies(space)
    with pytest.raises(EnvFaultError) as caught:
        replies.of_reset((obs, {})) if call == "reset" else replies.of_step(step(obs))
    assert said in str(caught.value)
    assert caught.value.call == call
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            np.array([1.0, 0.0], np.float32),
            "reset returned an array of shape (2,), float32, [1. 0.]; it must return (observation, info)",
        ),
        (None, "reset returned None"),
        ((ZEROS,), "reset returned a tuple of 1 (ndarray)"),
        ((ZEROS, {}, 0), "reset returned a tuple of 3 (ndarray, dict, int)"),
        ((ZEROS, None), "reset returned None as info; it must be a dict"),
        ((ZEROS, 0.5), "reset returned 0.5 (float) as info"),
    ],
)
def test_a_reset_returns_two_things(reply: Any, said: str) -> None:
    with pytest.raises(EnvFaultError) as caught:
        Replies(VECTOR).of_reset(reply)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            (ZEROS, 1.0, False, {}),
            "step returned a tuple of 4 (ndarray, float, bool, dict); it must return (observation, reward, ",
        ),
        (ZEROS, "step returned an array of shape (3,)"),
        (None, "step returned None"),
        (step(reward=np.ones(1)), "step returned the reward an array of shape (1,), float64, [1.]; it must be a number"),
        (step(reward=None), "step returned the reward None"),
        (step(reward="1.0"), "step returned the reward '1.0' (str)"),
        (step(reward=1 + 1j), "step returned the reward (1+1j) (complex)"),
        (step(reward=np.complex64(1)), "step returned the reward np.complex64"),
        (step(reward=[1.0]), "step returned the reward [1.0] (list)"),
        (step(terminated=None), "step returned terminated = None; it must be a bool"),
        (step(terminated="no"), "step returned terminated = 'no' (str)"),
        (step(terminated=2), "step returned terminated = 2 (int)"),
        (step(truncated=0.5), "step returned truncated = 0.5 (float)"),
        (step(truncated=np.zeros(1, bool)), "step returned truncated = an array of shape (1,), bool, [False]"),
        (step(truncated={}), "step returned truncated = {} (dict)"),
        (step(info=[]), "as info; it must be a dict"),
    ],
)
def test_a_step_returns_five_values_of_the_right_types(reply: Any, said: str) -> None:
    with pytest.raises(EnvFaultError) as caught:
        Replies(VECTOR).of_step(reply)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reward", [1, True, np.float32(1), np.int64(1), np.array(1.0), Fraction(1)])
@pytest.mark.parametrize("flag", [np.True_, np.array(True), 1, True])
def test_numbers_and_flags_of_other_types_are_taken(reward: Any, flag: Any) -> None:
    _, number, terminated, truncated = Replies(VECTOR).of_step(step(reward=reward, terminated=flag, truncated=flag))
    assert (type(number), type(terminated), type(truncated)) == (float, bool, bool)
    assert (number, terminated, truncated) == (1.0, True, True)


@pytest.mark.parametrize(("space", "stands"), [(VECTOR, [0.0] * 3), (ROOMS, 2), (PAIR, [0, 0])])
def test_a_terminated_episode_may_have_no_final_observation_and_a_truncated_one_may_not(
    space: gymnasium.Space[Any], stands: Any
) -> None:
    obs, *_ = Replies(space).of_step(step(None, terminated=True))
    assert np.asarray(obs).tolist() == stands
    with pytest.raises(EnvFaultError, match="step returned None as observation"):
        Replies(space).of_step(step(None, truncated=True))


def test_numbers_beyond_single_precision_become_infinite_without_a_warning() -> None:
    obs = Replies(VECTOR).of_reset((np.array([1e300, 0.0, -1e300]), {}))
    assert obs.tolist() == [np.inf, 0.0, -np.inf]


class Canned(gymnasium.Env[Any, Any]):
    """Returns the replies that it is given, whatever they are."""

    action_space = Discrete(2)

    def __init__(self, space: gymnasium.Space[Any], first: Any, then: Any) -> None:
        self.observation_space, self._first, self._then = space, first, then

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self._first

    def step(self, action: Any) -> Any:
        return self._then


OBSERVATIONS = [
    ZEROS,
    np.zeros(1, np.float32),
    np.zeros(3),
    np.zeros(3, int),
    [0, 0, 0],
    [0.5, 1, 1],
    None,
    0.0,
    "abc",
    np.zeros(3, complex),
]
OBSERVATIONS += [
    np.zeros((3, 1)),
    np.full(3, 300),
    np.full(3, -1),
    np.full(3, 0.5),
    np.array(["a"] * 3),
    np.full(3, None),
    {"a": 1},
]
REWARDS = [1.0, 1, True, np.float32(1), np.ones(1), np.ones(2), None, "1", "high", 1j, [1.0], {}, np.array(1.0)]
FLAGS = [True, np.False_, 1, 0, np.array(True), np.zeros(2, bool)]


@pytest.mark.parametrize("space", [VECTOR, Box(0, 255, (3,), np.uint8)], ids=["float32", "uint8"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::numpy.exceptions.ComplexWarning")
def test_whatever_sync_vector_env_refuses_is_refused(space: gymnasium.Space[Any]) -> None:
    fine = np.zeros(3, space.dtype)
    resets = [(obs, {}) for obs in OBSERVATIONS] + [fine, (fine,), (fine, {}, 1), (fine, None), (fine, 1.0), None]
    steps = [step(obs) for obs in OBSERVATIONS] + [step(fine, reward=reward) for reward in REWARDS]
    steps += [step(fine, terminated=flag, truncated=other) for flag in FLAGS for other in FLAGS] + [(fine, 1.0, False, {}), None]
    num_refused = 0
    for first, then in [(reply, step(fine)) for reply in resets] + [((fine, {}), reply) for reply in steps]:
        vector = gymnasium.vector.SyncVectorEnv([lambda first=first, then=then: Canned(space, first, then)] * 2)  # type: ignore[misc]
        try:
            vector.reset()
            vector.step(np.zeros(2, np.int64))
        except Exception:  # whatever numpy happens to say
            num_refused += 1
            assert is_refused(space, first, then) or is_of_small_integers(first[0]) or is_of_small_integers(then[0])
    assert num_refused > 20


def is_refused(space: gymnasium.Space[Any], first: Any, then: Any) -> bool:
    replies = Replies(space)
    try:
        replies.of_reset(first)
        replies.of_step(then)
    except EnvFaultError:
        return True
    return False


def is_of_small_integers(obs: Any) -> bool:
    """Whether an observation fits uint8 by its values though not by its type, which numpy would want."""
    array = np.asarray(obs)
    return array.shape == (3,) and array.dtype == np.int64 and bool(((array >= 0) & (array <= 255)).all())
