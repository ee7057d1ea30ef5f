"""A Gymnasium environment that fails later: which slot it was, at which step, and the state of the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from envs.contract import CheckedEnv
from envs.errors import EnvFaultError, InvalidInputError
from envs.gymnasium_env import GymnasiumEnv, GymnasiumFamily
from envs.task import Task


class Fragile(gymnasium.Env[np.ndarray, int]):
    """Counts its steps over all episodes, which are 4 steps long; the second instance fails at its seventh step, or its second reset."""

    observation_space = Box(-1.0, 1.0, (1,), np.float64)
    action_space = Discrete(2)
    made: ClassVar[list[Fragile]] = []
    closed: ClassVar[list[Fragile]] = []

    def __init__(self, how: str) -> None:
        if how == "make" and self.made:
            raise MemoryError("no room for a second one")
        self.made.append(self)
        self._how, self._is_second = how, len(self.made) == 2
        self._steps = self._resets = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._resets += 1
        if self._how == "reset" and self._is_second and self._resets == 2:
            return np.zeros(1)
        return np.zeros(1), {}

    def step(self, action: int) -> Any:
        self._steps += 1
        is_over = self._steps % 4 == 0
        if self._how == "huge":
            return np.full(1, 1e300), 0.0, is_over, False, {}
        if self._how == "step" and self._is_second and self._steps == 7:
            raise OSError("the simulator has gone")
        return (None if is_over and self._how == "final" else np.ones(1)), 1.0, is_over, False, {}

    def close(self) -> None:
        self.closed.append(self)
        if self._how == "close":
            raise OSError("the window has gone")


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    Fragile.made.clear()
    Fragile.closed.clear()
    hows = ("make", "reset", "step", "final", "huge", "close")
    for how in hows:
        gymnasium.register(f"Fragile{how}-v0", entry_point=Fragile, kwargs={"how": how})
    yield
    for how in hows:
        gymnasium.registry.pop(f"Fragile{how}-v0")


def made(how: str, num_envs: int = 3) -> GymnasiumEnv:
    env = GymnasiumFamily(f"Fragile{how}-v0").make([Task(family=f"gym:Fragile{how}-v0")] * num_envs)
    assert isinstance(env, GymnasiumEnv)
    return env


def steps(env: GymnasiumEnv, num: int) -> None:
    for _ in range(num):
        env.step(np.zeros(env.num_envs, np.int64))


def test_a_step_that_raises_names_its_slot_and_the_step_of_the_episode() -> None:
    env = made("step")
    env.reset(seed=0)
    steps(env, 7)  # six of them, and the reset between
    with pytest.raises(EnvFaultError) as caught:
        steps(env, 1)
    line = (
        "environment gym:Fragilestep-v0, slot 1, step 3: step raised OSError: the simulator has gone (test_gymnasium_faults.py:"
    )
    assert str(caught.value).startswith(line)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_reset_between_two_episodes_names_its_slot(is_restarted: bool) -> None:
    env = made("reset")
    env.reset(seed=0)
    steps(env, 4)
    with pytest.raises(EnvFaultError, match=r"^environment gym:Fragilereset-v0, slot 1: reset returned an array of shape \(1,\)"):
        env.restart(np.array([0, 1])) if is_restarted else steps(env, 1)


def test_a_terminated_episode_may_end_without_an_observation() -> None:
    env = CheckedEnv(made("final"), "mine")
    env.reset(seed=0)
    for t in range(1, 9):
        obs, _, terminated, _, info = env.step(np.zeros(3, np.int64))
        assert terminated.all() == (t == 4)
        assert info["is_first"].all() == (t == 5)
        assert obs.ravel().tolist() == ([0.0] * 3 if t in (4, 5) else [1.0] * 3)


def test_a_number_beyond_single_precision_is_named_and_no_warning() -> None:
    env = CheckedEnv(made("huge"), "mine")
    env.reset(seed=0)
    with pytest.raises(
        EnvFaultError, match=r"^environment mine, slot 0, step 1: step returned an observation that is inf at \[0\]"
    ):
        env.step(np.zeros(3, np.int64))


def test_what_was_made_is_closed_when_the_next_one_cannot_be_made() -> None:
    with pytest.raises(InvalidInputError, match=r"^environment gym:Fragilemake-v0 cannot be made: MemoryError: no room"):
        made("make")
    assert Fragile.closed == Fragile.made and len(Fragile.made) == 1


def test_an_environment_that_fails_to_close_spoils_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="metaray"):
        made("close").close()
    assert len(Fragile.closed) == 3
    assert "environment gym:Fragileclose-v0: close raised OSError: the window has gone" in caplog.text
