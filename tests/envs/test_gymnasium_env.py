"""`gym:<id>`: any registered environment under our protocol."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary

from envs.errors import InvalidInputError
from envs.gymnasium_env import GymnasiumFamily
from envs.registry import resolve


class Probe(gymnasium.Env[np.ndarray, np.ndarray]):
    """Observes, in double precision, the action that reached it; never ends by itself."""

    def __init__(self, kind: str = "box") -> None:
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = {"box": Box(-0.5, 1.0, (2,), np.float64), "shifted": Discrete(3, start=-1), "binary": MultiBinary(2)}[
            kind
        ]

    def reset(self, *, seed: int | None = None, options: dict[str, object] | None = None) -> tuple[np.ndarray, dict[str, object]]:
        super().reset(seed=seed)
        return np.full(2, self.np_random.random()), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        return np.broadcast_to(np.asarray(action, np.float64), (2,)).copy(), 1.0, False, False, {}


@pytest.fixture(autouse=True)
def _registered() -> None:
    for kind in ("box", "shifted", "binary"):
        gymnasium.registry.pop(f"Probe{kind}-v0", None)
        gymnasium.register(f"Probe{kind}-v0", entry_point=Probe, kwargs={"kind": kind}, max_episode_steps=3)


def test_equals_the_environment_stepped_by_hand() -> None:
    family = resolve("gym:MountainCar-v0")
    env = family.make(family.sample(2, np.random.default_rng(0)))
    obs, info = env.reset(seed=3)
    assert info["is_first"].all()
    seeds = np.random.default_rng(3).integers(2**31, size=2).tolist()
    singles = [gymnasium.make("MountainCar-v0") for _ in range(2)]
    want = np.stack([single.reset(seed=seed)[0] for single, seed in zip(singles, seeds, strict=True)])
    np.testing.assert_array_equal(obs, want)
    rng = np.random.default_rng(0)
    for t in range(450):
        actions = rng.integers(3, size=2)
        obs, reward, terminated, truncated, info = env.step(actions)
        if (t + 1) % 201 == 0:  # 200 steps, then the reset
            assert info["is_first"].all() and not reward.any() and not (terminated | truncated).any()
            np.testing.assert_array_equal(obs, np.stack([single.reset()[0] for single in singles]))
            continue
        steps = [single.step(action) for single, action in zip(singles, actions.tolist(), strict=True)]
        np.testing.assert_array_equal(obs, np.stack([step[0] for step in steps]))
        assert reward.tolist() == [step[1] for step in steps]
        assert truncated.tolist() == [step[3] for step in steps] == [(t + 1) % 201 == 200] * 2
        assert not info["is_first"].any()


def test_final_observation_is_kept_and_a_limit_is_a_truncation() -> None:
    env = resolve("gym:Probebox-v0").make([GymnasiumFamily("Probebox-v0").sample(1, np.random.default_rng(0))[0]])
    env.reset(seed=0)
    for _ in range(2):
        env.step(np.zeros((1, 2), np.float32))
    obs, reward, terminated, truncated, _ = env.step(np.full((1, 2), 0.25, np.float32))
    assert obs.tolist() == [[0.25, 0.25]] and reward.tolist() == [1.0]
    assert (terminated.tolist(), truncated.tolist()) == ([False], [True])
    obs, reward, terminated, truncated, info = env.step(np.full((1, 2), 0.75, np.float32))
    assert info["is_first"].tolist() == [True] and reward.tolist() == [0.0] and obs[0, 0] not in (0.25, 0.75)


@pytest.mark.parametrize("env_id", ["Probebox-v0", "Pendulum-v1"])  # double and single precision
def test_observations_are_float32_and_the_callers_own(env_id: str) -> None:
    env = GymnasiumFamily(env_id).make(GymnasiumFamily(env_id).sample(2, np.random.default_rng(0)))
    first, _ = env.reset(seed=0)
    kept = first.copy()
    env.step(np.ones(env.action_space.shape, np.float32))
    assert first.dtype == np.float32 == env.single_observation_space.dtype
    np.testing.assert_array_equal(first, kept)


def test_a_box_action_is_clipped_and_a_discrete_one_starts_at_zero() -> None:
    box = GymnasiumFamily("Probebox-v0").make(GymnasiumFamily("Probebox-v0").sample(1, np.random.default_rng(0)))
    box.reset(seed=0)
    assert box.step(np.array([[-9.0, 9.0]], np.float32))[0].tolist() == [[-0.5, 1.0]]
    shifted = GymnasiumFamily("Probeshifted-v0").make(GymnasiumFamily("Probeshifted-v0").sample(1, np.random.default_rng(0)))
    shifted.reset(seed=0)
    assert shifted.single_action_space == Discrete(3)
    assert shifted.step(np.array([0]))[0].tolist() == [[-1.0, -1.0]]


def test_a_discrete_observation_is_one_index_from_zero_on() -> None:
    family = GymnasiumFamily("Taxi-v4")
    env = family.make(family.sample(3, np.random.default_rng(0)))
    obs, _ = env.reset(seed=0)
    assert env.single_observation_space == Discrete(500)
    assert obs.shape == (3,) and obs.nbytes <= 3 * 8  # and no vector of 500
    assert obs.tolist() == [instance.unwrapped.s for instance in env._instances]  # type: ignore[attr-defined]


def test_a_seed_gives_the_same_episodes_and_a_neighbouring_seed_shares_none() -> None:
    def episodes(seed: int) -> np.ndarray:
        env = GymnasiumFamily("Probebox-v0").make(GymnasiumFamily("Probebox-v0").sample(4, np.random.default_rng(0)))
        rows = [env.reset(seed=seed)[0]]
        for _ in range(9):
            obs, *_, info = env.step(np.zeros((4, 2), np.float32))
            rows += [obs] if info["is_first"].all() else []
        return np.stack(rows)[..., 0]

    np.testing.assert_array_equal(episodes(5), episodes(5))
    assert not set(episodes(5).ravel()) & set(episodes(6).ravel())


@pytest.mark.parametrize(
    ("env_id", "said"),
    [
        ("Blackjack-v1", "Tuple observation space"),
        ("Probebinary-v0", "MultiBinary action space"),
        ("no_such_module:Env-v0", "there is no module 'no_such_module' here"),
        ("CartPole-v7", "did you mean gym:CartPole-v1"),
    ],
)
def test_an_environment_that_cannot_be_used_gets_one_line(env_id: str, said: str) -> None:
    def play() -> None:
        family = GymnasiumFamily(env_id)
        family.make(family.sample(1, np.random.default_rng(0)))

    with pytest.raises(InvalidInputError) as caught:
        play()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ale_prints_no_banner(capfd: pytest.CaptureFixture[str]) -> None:
    family = resolve("gym:ALE/Pong-v5")
    env = family.make(family.sample(1, np.random.default_rng(0)))
    obs, _ = env.reset(seed=0)
    assert obs.dtype == np.uint8
    assert capfd.readouterr() == ("", "")
