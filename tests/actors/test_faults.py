"""An actor names itself when its environment fails, and unused values after a terminated episode have no effect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from actors.evaluate import evaluate
from actors.messages import Work
from actors.rollout import RolloutActor, RolloutSpec
from envs.errors import EnvFaultError, InvalidInputError
from envs.family import TaskFamily
from envs.registry import resolve
from envs.task import Task
from learners import actor_critic
from learners.networks.agent import NetworkConfig
from learners.networks.snapshot import parameters_to_arrays
from learners.networks.spaces import SpaceSpec
from learners.ops.optimisers import OptimiserConfig
from learners.trajectory import Snapshot, Trajectory

NETWORK = NetworkConfig(hidden_sizes=(8,), core="lstm", core_size=4, use_previous_action=True, normalise_observations=True)
SPEC = RolloutSpec(num_envs=3, unroll_length=25, env_threads=1, run_seed=3, anchored=True)


class Ending(gymnasium.Env[np.ndarray, int]):
    """Ten steps of noise; the final observation is `final`, and the observation and reward of step `bad_step` are `bad`."""

    observation_space = Box(-1.0, 1.0, (2,), np.float32)
    action_space = Discrete(2)

    def __init__(self, final: float | None = None, bad_step: int = -1, bad_obs: float = 0.0, bad_reward: float = 0.0) -> None:
        self._final, self._bad_step, self._bad_obs, self._bad_reward = final, bad_step, bad_obs, bad_reward

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._t = 0
        return (np.full(2, self._bad_obs) if self._bad_step == 0 else self._noise()), {}

    def _noise(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def step(self, action: int) -> Any:
        self._t += 1
        if self._t == self._bad_step:
            return np.full(2, self._bad_obs, np.float32), self._bad_reward, False, False, {}
        if self._t == 10:
            return (None if self._final is None else np.full(2, self._final, np.float32)), 1.0, True, False, {}
        return self._noise(), float(action), False, False, {}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    kinds: dict[str, dict[str, Any]] = {
        "Zero": {"final": 0.0},
        "Nan": {"final": np.nan},
        "None": {"final": None},
        "NanObs": {"bad_step": 7, "bad_obs": np.nan},
        "NanFirst": {"bad_step": 0, "bad_obs": np.nan},
        "InfReward": {"bad_step": 7, "bad_reward": np.inf},
    }
    for name, kwargs in kinds.items():
        gymnasium.register(f"Ending{name}-v0", entry_point=Ending, kwargs=kwargs)
    yield
    for name in kinds:
        gymnasium.registry.pop(f"Ending{name}-v0")


def family(name: str) -> TaskFamily:
    return resolve(f"gym:Ending{name}-v0")


def snapshot() -> Snapshot:
    env = family("Zero").make([Task(family="gym:EndingZero-v0")])
    _, state = actor_critic.init(SpaceSpec.of(env), NETWORK, OptimiserConfig(), 1, torch.device("cpu"))
    return Snapshot(version=5, arrays=parameters_to_arrays(actor_critic.network_arrays(state)))


def unrolls(actor: RolloutActor, num: int, first: int = 0, state: Any = None) -> list[Trajectory]:
    requests = [Work(round=first + i, index=0, actor=0, state=state if i == 0 else None) for i in range(num)]
    return [actor.collect(request, snapshot())[1] for request in requests]


@pytest.mark.parametrize("name", ["Nan", "None"])
def test_no_final_observation_is_as_good_as_one_of_zeros(name: str) -> None:
    wanted = unrolls(RolloutActor(family("Zero"), NETWORK, SPEC, 0), 3)
    got = unrolls(RolloutActor(family(name), NETWORK, SPEC, 0), 3)
    assert any(trajectory.terminated.any() for trajectory in got)
    for want, trajectory in zip(wanted, got, strict=True):
        for field in ("obs", "action", "reward", "is_first", "behaviour_log_prob"):
            np.testing.assert_array_equal(getattr(trajectory, field), getattr(want, field), err_msg=field)
        np.testing.assert_array_equal(trajectory.initial_state[0], want.initial_state[0])


def test_a_replacement_after_such_an_episode_continues_bit_for_bit() -> None:
    calm = RolloutActor(family("Nan"), NETWORK, replace(SPEC, unroll_length=10), 0)  # stops on a final observation
    unrolls(calm, 1)
    state = calm.state()
    (want,) = unrolls(calm, 1, first=1)
    (got,) = unrolls(RolloutActor(family("Nan"), NETWORK, replace(SPEC, unroll_length=10), 0), 1, first=1, state=state)
    np.testing.assert_array_equal(got.obs, want.obs)
    np.testing.assert_array_equal(got.behaviour_log_prob, want.behaviour_log_prob)
    assert np.isfinite(got.obs).all()


def test_an_evaluation_passes_over_it_too() -> None:
    episodes = {
        name: evaluate(family(name), [Task(family="x")] * 2, NETWORK, snapshot(), seed=0, episodes_per_task=3)
        for name in ("Zero", "Nan", "None")
    }
    assert episodes["Nan"] == episodes["None"] == episodes["Zero"]
    assert all(episode.length == 10 and np.isfinite(episode.episode_return) for episode in episodes["Nan"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NanObs", "slot 0, step 7: step returned an observation that is nan at [0] after action"),
        ("InfReward", "slot 0, step 7: step returned the reward inf after action"),
    ],
)
def test_a_number_that_is_not_finite_is_named_with_its_place(name: str, said: str) -> None:
    actor = RolloutActor(family(name), NETWORK, SPEC, 4)
    with pytest.raises(EnvFaultError) as caught:
        unrolls(actor, 1)
    assert str(caught.value).startswith(f"environment gym:Ending{name}-v0, actor 4, {said}")
    with pytest.raises(EnvFaultError) as caught:
        evaluate(family(name), [Task(family="x")], NETWORK, snapshot(), seed=0)
    assert str(caught.value).startswith(f"environment gym:Ending{name}-v0, {said}")


def test_a_first_observation_that_is_not_finite_is_named_as_that_of_a_reset() -> None:
    with pytest.raises(
        EnvFaultError, match=r"^environment gym:EndingNanFirst-v0, actor 4, slot 0: reset returned an observation that"
    ):
        RolloutActor(family("NanFirst"), NETWORK, SPEC, 4)


def test_an_error_of_a_family_names_the_family(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = resolve("cartpole-physics")
    actor = RolloutActor(mine, NETWORK, replace(SPEC, num_envs=8, unroll_length=200), 2)
    env = mine.make(mine.sample(1, np.random.default_rng(0)))
    _, state = actor_critic.init(SpaceSpec.of(env), NETWORK, OptimiserConfig(), 1, torch.device("cpu"))
    weights = Snapshot(version=5, arrays=parameters_to_arrays(actor_critic.network_arrays(state)))

    def fail(*_: Any, **__: Any) -> Any:
        raise LookupError("no task left")

    monkeypatch.setattr(mine, "sample", fail)
    with pytest.raises(EnvFaultError, match=r"^environment cartpole-physics, actor 2: sample raised LookupError: no task left"):
        actor.collect(Work(round=0, index=2, actor=2), weights)
    monkeypatch.undo()
    monkeypatch.setattr(mine, "make", fail)
    with pytest.raises(InvalidInputError, match="cannot be made with 3 slots: LookupError"):
        RolloutActor(mine, NETWORK, SPEC, 0)
