from __future__ import annotations

import pickle
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from envs.errors import InvalidInputError
from learners.networks.spaces import SpaceSpec

VECTOR = gymnasium.spaces.Box(-np.inf, np.inf, (17,), np.float64)
CONTROL = gymnasium.spaces.Box(-1, 1, (6,), np.float32)


def env(observation: gymnasium.Space, action: gymnasium.Space, **rest: int) -> SimpleNamespace:
    return SimpleNamespace(single_observation_space=observation, single_action_space=action, **rest)


def test_reads_continuous_and_discrete_spaces() -> None:
    spec = SpaceSpec.of(env(VECTOR, CONTROL))
    assert spec == SpaceSpec((17,), "float64", action_size=6)
    assert (spec.is_discrete, spec.action_shape, spec.action_size) == (False, (6,), 6)
    frames = gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    spec = SpaceSpec.of(env(frames, gymnasium.spaces.Discrete(18), frame_stack=4))
    assert spec == SpaceSpec((4, 84, 84), "uint8", num_actions=18, frame_stack=4)
    assert (spec.is_discrete, spec.action_shape, spec.num_actions) == (True, (), 18)


@pytest.mark.parametrize(
    ("space", "wanted", "sent"),
    [
        (gymnasium.spaces.Discrete(500), {"obs_shape": (), "obs_dtype": "int64", "index_sizes": (500,)}, "int32"),
        (gymnasium.spaces.MultiDiscrete([3, 4]), {"obs_shape": (2,), "obs_dtype": "int64", "index_sizes": (3, 4)}, "int32"),
        (gymnasium.spaces.MultiBinary(3), {"obs_shape": (3,), "obs_dtype": "int8"}, "float32"),
        (gymnasium.spaces.Box(0, 255, (2,), np.uint8), {"obs_shape": (2,), "obs_dtype": "uint8"}, "uint8"),
        (
            gymnasium.spaces.Box(0, 10, (2,), np.uint8),
            {"obs_shape": (2,), "obs_dtype": "uint8", "obs_bounds": ((0.0,), (10.0,))},
            "uint8",
        ),
        (
            gymnasium.spaces.Box(-4, 4, (2,), np.int32),
            {"obs_shape": (2,), "obs_dtype": "int32", "obs_bounds": ((-4.0,), (4.0,))},
            "float32",
        ),
    ],
)
def test_indices_and_integers_say_what_the_network_needs(space: gymnasium.Space, wanted: dict[str, object], sent: str) -> None:
    spec = SpaceSpec.of(env(space, CONTROL))
    assert spec == SpaceSpec(**wanted, action_size=6)  # type: ignore[arg-type]
    assert spec.sent_dtype == sent
    assert pickle.loads(pickle.dumps(spec)) == spec and hash(spec) == hash(SpaceSpec.of(env(space, CONTROL)))


@pytest.mark.parametrize(
    ("observation", "action", "match"),
    [
        (gymnasium.spaces.Discrete(5, start=1), CONTROL, r"observation space Discrete\(5, start=1\)"),
        (gymnasium.spaces.Box(0.0, 1.0, (), np.float32), CONTROL, "observation space Box"),
        (gymnasium.spaces.Text(5), CONTROL, "observation space Text"),
        (VECTOR, gymnasium.spaces.MultiBinary(3), "action space MultiBinary"),
        (VECTOR, gymnasium.spaces.MultiDiscrete([2, 3]), "action space MultiDiscrete"),
        (VECTOR, gymnasium.spaces.Box(-1, 1, (2, 3), np.float32), "action space Box"),
        (VECTOR, gymnasium.spaces.Discrete(3, start=1), "start at 0"),
    ],
)
def test_refuses_other_spaces_by_name(observation: gymnasium.Space, action: gymnasium.Space, match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        SpaceSpec.of(env(observation, action))
