"""NaN, infinity and episodes without an end in one lifetime are named, and stay in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from actors.chunks import LifetimeCollector, LifetimeSetup, chunks_of, objective
from actors.lifetimes import LifetimeEnvs, LifetimeSeed, LifetimesResult, LifetimesStoppedError, run_lifetimes
from envs.classic.point_goal import PointGoal
from envs.errors import EnvFaultError
from envs.registry import resolve
from learners.evolution import EvolutionConfig
from learners.learned_loss.inner_loop import LifetimeConfig, Lifetimes
from learners.learned_loss.network import LossConfig, LossShape, draw_phi
from tests.actors.test_chunks import initial_phi

LIFE = LifetimeConfig(num_updates=6, update_every=16, buffer_rows=48, minibatch_rows=8, learning_rate=0.02, fitness_episodes=2)
LOSS = LossConfig()
NUM_LIFETIMES, SPOILED = 4, 1


class Spoilt:
    """The environments of some lifetimes, one of which breaks at a step.

    Args:
        env: the environments.
        at: step of the lifetime.
        slot: whose.
        obs, reward: what it returns then, None for what is right.
        only_final: break the observation of the first step at or after `at` that ends an episode, and no other.
    """

    def __init__(
        self, env: Any, at: int, slot: int, *, obs: float | None = None, reward: float | None = None, only_final: bool = False
    ) -> None:
        self._env, self._at, self._slot, self._obs, self._reward, self._only_final = env, at, slot, obs, reward, only_final
        self._steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def step(self, actions: np.ndarray) -> Any:
        obs, reward, terminated, truncated, info = self._env.step(actions)
        self._steps += 1
        is_due = self._steps >= self._at and truncated[self._slot] if self._only_final else self._steps == self._at
        if is_due:
            obs, reward = obs.copy(), reward.copy()
            obs[self._slot, 0] = obs[self._slot, 0] if self._obs is None else self._obs
            reward[self._slot] = reward[self._slot] if self._reward is None else self._reward
        return obs, reward, terminated, truncated, info


def run_with_fault(
    family_name: str, alpha: float, config: LifetimeConfig = LIFE, **fault: Any
) -> tuple[LifetimesResult, Lifetimes]:
    family = resolve(family_name)
    envs, last = LifetimeEnvs(family, NUM_LIFETIMES, config.fitness_episodes), []
    if fault:
        part = fault.pop("part", "training")
        setattr(envs, part, Spoilt(getattr(envs, part), **fault))
    shape = LossShape.of(LOSS, envs.spec)
    phis = np.stack([3 * draw_phi(shape, np.random.default_rng(seed)) for seed in range(NUM_LIFETIMES)])
    setup = LifetimeSetup(family=family_name, run_seed=0, life=config, loss=LOSS, evolution=EvolutionConfig())
    seeds = [LifetimeSeed(np.random.SeedSequence(5, spawn_key=(number,))) for number in range(NUM_LIFETIMES)]
    aim = objective(setup, envs.spec, phis, alpha)
    record = run_lifetimes(envs, config, aim, seeds, on_update=lambda _, lifetimes: last.append(lifetimes))
    envs.close()
    return record, last[-1]


FAULTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "an observation is NaN": ({"obs": np.nan, "at": 20}, "observation"),
    "an observation is infinite": ({"obs": -np.inf, "at": 20}, "observation"),
    "a reward is NaN": ({"reward": np.nan, "at": 20}, "reward"),
    "a reward is infinite": ({"reward": np.inf, "at": 20}, "reward"),
    "a reward of the last episode is NaN": ({"reward": np.nan, "at": 95}, "reward"),
    "an observation is NaN in the fitness": ({"obs": np.nan, "at": 5, "part": "final", "slot": 2}, "observation"),
    "a reward is infinite in the fitness": ({"reward": -np.inf, "at": 5, "part": "final", "slot": 2}, "reward"),
}


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0], ids=["learned loss", "guided", "PPO"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("family", ["pendulum", "cartpole"])
def test_what_is_not_finite_is_named_and_no_other_lifetime_differs_by_a_bit(family: str, fault: str, alpha: float) -> None:
    changes, name = FAULTS[fault]
    (clean, as_it_was), (spoilt, lifetimes) = (
        run_with_fault(family, alpha, **options) for options in ({}, {"slot": SPOILED, **changes})
    )
    assert clean.not_finite == (None,) * NUM_LIFETIMES
    is_bad = np.arange(NUM_LIFETIMES) == SPOILED
    if family == "cartpole" and changes.get("part") == "final" and "obs" in changes:
        name = None  # its policy names an action all the same, and the pole does not know
    assert spoilt.not_finite == tuple(name if bad else None for bad in is_bad)
    np.testing.assert_array_equal(spoilt.fitness[~is_bad], clean.fitness[~is_bad])
    kept = torch.from_numpy(~is_bad)
    for one, other in zip(lifetimes.parameters.values(), as_it_was.parameters.values(), strict=True):
        assert torch.equal(one[kept], other[kept])
        assert one.isfinite().all()
    assert [one for one in spoilt.episodes if one.lifetime != SPOILED] == [
        one for one in clean.episodes if one.lifetime != SPOILED
    ]


def test_a_nan_that_only_ppo_looks_at_is_named_by_what_it_broke() -> None:
    """The observation that a truncated episode ends with is a bootstrap, and nothing else: neither moments nor returns have it."""
    config = replace(LIFE, num_updates=4, update_every=208, buffer_rows=208, minibatch_rows=208)
    record, lifetimes = run_with_fault("pendulum", 1.0, config, obs=np.nan, at=1, slot=SPOILED, only_final=True)
    assert record.not_finite == (None, "gradient", None, None)
    assert np.isfinite(record.fitness).all()
    assert all(one.isfinite().all() for one in lifetimes.parameters.values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda obs, reward: (obs, reward[:, None]), r"the rewards an array of shape \(4, 1\)"),
        (
            lambda obs, reward: (obs[:, :1], reward),
            r"an array of shape \(4, 1\), .* and 4 of them, as an array of shape \(4, 2\)",
        ),
        (lambda obs, reward: (obs, reward[:1]), r"the rewards an array of shape \(1,\)"),
    ],
    ids=["a column of rewards", "too few numbers", "one reward"],
)
def test_what_breaks_the_contract_of_an_environment_ends_lifetimes_in_one_line(
    change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of these is an error to numpy: rewards are broadcast, and observations too."""
    step = PointGoal.step

    def changed(self: PointGoal, actions: np.ndarray) -> Any:
        obs, reward, *flags, info = step(self, actions)
        return *(change(obs, reward) if self._elapsed.max() == 10 else (obs, reward)), *flags, info

    monkeypatch.setattr(PointGoal, "step", changed)
    with pytest.raises(EnvFaultError, match=f"^environment point-goal, step 10: step returned {said}"):
        run_with_fault("point-goal", 0.0)


SETUP = LifetimeSetup(family="pendulum", run_seed=3, life=LIFE, loss=LOSS, evolution=EvolutionConfig())


def test_a_chunk_names_lifetimes_by_their_number_in_the_epoch_and_keeps_nan_out_of_its_means(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = LifetimeEnvs.__init__

    def spoilt(self: LifetimeEnvs, *arguments: Any) -> None:
        begin(self, *arguments)
        self.training = Spoilt(self.training, 20, SPOILED, reward=np.nan)  # type: ignore[assignment]

    monkeypatch.setattr(LifetimeEnvs, "__init__", spoilt)
    setup = replace(SETUP, life=replace(LIFE, num_updates=14))
    result = LifetimeCollector(setup).run(chunks_of("perturbed", 0, 8, 4, 4, 0.0)[1], initial_phi(setup))
    ((lifetime, what),) = [(one.life, one.what) for one in result.not_finite]
    assert (lifetime, what, result.counts["lives/not_finite"]) == (4 + SPOILED, "reward", 1)
    assert result.not_finite[0].task.startswith("pendulum")
    assert np.isfinite(result.figures["lives/training_return"])


@pytest.mark.parametrize(("limit", "num_cut"), [(150, 4 * 2), (199, 4 * 2), (200, 0), (10_000, 0)])
def test_an_episode_of_the_fitness_is_cut_at_the_limit_and_only_there(limit: int, num_cut: int) -> None:
    """Pendulum's episodes end at 200 steps by themselves: a limit that none of them meets changes no bit."""
    free, _ = run_with_fault("pendulum", 0.0)
    record, _ = run_with_fault("pendulum", 0.0, replace(LIFE, max_episode_steps=limit))
    assert record.cut_episodes == num_cut
    assert record.env_steps == NUM_LIFETIMES * (LIFE.num_steps + 2 * min(limit, 200))
    np.testing.assert_array_equal(record.fitness == free.fitness, num_cut == 0)
    assert (record.fitness >= free.fitness).all()  # each step costs


@pytest.mark.parametrize(
    "config", [replace(LIFE, num_updates=100_000), replace(LIFE, max_episode_steps=10**9)], ids=["life", "fitness"]
)
def test_a_chunk_under_way_is_stopped_within_a_moment(config: LifetimeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(self: Spoilt, actions: np.ndarray) -> Any:
        obs, reward, terminated, truncated, info = self._env.step(actions)
        return obs, reward, np.zeros_like(terminated), np.zeros_like(truncated), info

    begin = LifetimeEnvs.__init__

    def without_an_end(self: LifetimeEnvs, *arguments: Any) -> None:
        begin(self, *arguments)
        self.final = Spoilt(self.final, 0, 0)  # type: ignore[assignment]

    monkeypatch.setattr(Spoilt, "step", endless)
    monkeypatch.setattr(LifetimeEnvs, "__init__", without_an_end)
    setup = replace(SETUP, life=config)
    runner, phi, caught = LifetimeCollector(setup), initial_phi(setup), []

    def work() -> None:
        try:
            runner.run(chunks_of("perturbed", 0, 4, 4, 4, 0.0)[0], phi)
        except LifetimesStoppedError as error:
            caught.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    time.sleep(0.5)
    assert thread.is_alive()
    runner.stop()
    thread.join(5.0)
    assert not thread.is_alive() and len(caught) == 1
