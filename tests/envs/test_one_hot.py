"""Indices as one-hot vectors, for learners that read nothing else."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Discrete, MultiDiscrete

from envs.batched import BatchedEnv
from envs.one_hot import OneHotEnv, as_vectors
from envs.registry import resolve
from envs.task import Task


class Pair(gymnasium.Env[np.ndarray, int]):
    """Observes two drawn indices."""

    observation_space = MultiDiscrete([3, 2])
    action_space = Discrete(2)

    def _obs(self) -> np.ndarray:
        return self.np_random.integers([3, 2])

    def reset(self, *, seed: int | None = None, options: dict[str, object] | None = None) -> tuple[np.ndarray, dict[str, object]]:
        super().reset(seed=seed)
        return self._obs(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        return self._obs(), 0.0, bool(self.np_random.random() < 0.3), False, {}


@pytest.fixture(autouse=True)
def _registered() -> None:
    gymnasium.registry.pop("Pair-v0", None)
    gymnasium.register("Pair-v0", entry_point=Pair)


def made(family: str, num_envs: int = 3) -> BatchedEnv:
    return resolve(family).make(resolve(family).sample(num_envs, np.random.default_rng(0)))


@pytest.mark.parametrize(("family", "sizes"), [("gym:FrozenLake-v1", (16,)), ("gym:Pair-v0", (3, 2))])
def test_every_observation_is_the_one_hot_vector_of_the_index(family: str, sizes: tuple[int, ...]) -> None:
    plain, vectors = made(family), as_vectors(made(family))
    assert vectors.single_observation_space.shape == (sum(sizes),)

    def equal(got: np.ndarray, indices: np.ndarray) -> None:
        columns = indices.reshape(len(indices), -1).T
        parts = [np.eye(size, dtype=np.float32)[column] for size, column in zip(sizes, columns, strict=True)]
        np.testing.assert_array_equal(got, np.concatenate(parts, axis=1))
        assert got.dtype == np.float32

    for env in (plain, vectors):
        env.seed_slots([np.random.SeedSequence(k) for k in range(3)])
    equal(vectors.reset()[0], plain.reset()[0])
    rng = np.random.default_rng(0)
    for _ in range(40):
        actions = rng.integers(2, size=3)
        (got, *rest), (indices, *others) = vectors.step(actions), plain.step(actions)
        equal(got, indices)
        for mine, theirs in zip((*rest[:3], rest[3]["is_first"]), (*others[:3], others[3]["is_first"]), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        over = np.flatnonzero(rest[1] | rest[2])
        if over.size:
            equal(vectors.restart(over), plain.restart(over))
    for env in (plain, vectors):
        env.rest(np.array([1]))
    equal(vectors.step(actions)[0], plain.step(actions)[0])


def test_slots_run_the_tasks_that_they_are_assigned() -> None:
    env = as_vectors(made("gym:FrozenLake-v1"))
    task = Task(family="another")
    env.assign(2, task)
    env.reset(seed=0)
    assert isinstance(env, OneHotEnv) and env.tasks[2] is task
    assert (env.can_restart, env.can_save) == (True, False)


def test_an_environment_of_numbers_is_left_alone() -> None:
    env = made("cartpole")
    assert as_vectors(env) is env
