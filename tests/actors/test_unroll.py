"""`unroll`: against a loop by hand, across the borders between unrolls, and with tasks of the caller's choice."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from actors.policy import Policy
from actors.unroll import EnvLoop, unroll
from envs.contract import CheckedEnv
from envs.family import TaskFamily
from envs.registry import resolve
from learners.networks.agent import NetworkConfig
from learners.trajectory import Trajectory
from tests.actors.lengths import TERMINATING, TRUNCATING, task

B, T = 4, 30
NETWORK = NetworkConfig(hidden_sizes=(8,), core="gru", core_size=4, use_previous_action=True, use_previous_reward=True)
FAMILIES = [TERMINATING, TRUNCATING, resolve("hopper-dynamics")]


def made(family: TaskFamily) -> tuple[Policy, EnvLoop]:
    """A policy with weights of its own and environments, both at the same place in every call."""
    env = family.make(family.sample(B, np.random.default_rng(0)))
    policy = Policy.for_env(env, NETWORK)
    rng = np.random.default_rng(1)
    for array in policy._arrays.values():
        array.detach().numpy()[...] = rng.normal(size=array.shape) * 0.3
    policy.seed(2)
    loop = EnvLoop(CheckedEnv(env, family.name))
    loop.reset(policy, seed=3)
    return policy, loop


def by_hand(family: TaskFamily) -> dict[str, np.ndarray]:
    """The same T steps without `unroll` and `EnvLoop`: rows of each field."""
    policy, loop = made(family)
    env, obs, is_first = loop.env, loop.obs, np.ones(B, bool)
    action, reward, state = policy.no_action(B), np.zeros(B, np.float32), policy.initial_state(B)
    rows: dict[str, list[Any]] = {name: [] for name in ("obs", "is_first", "action", "reward", "terminated", "truncated")}
    for _ in range(T):
        rows["obs"].append(obs.astype(np.float32))
        rows["is_first"].append(is_first)
        action, _, state = policy.act(obs, is_first, action, reward, state)
        obs, paid, terminated, truncated, info = env.step(policy.bounded(action))
        is_first, reward = info["is_first"], paid.astype(np.float32)
        for name, row in (("action", action), ("reward", reward), ("terminated", terminated), ("truncated", truncated)):
            rows[name].append(row)
    rows["obs"].append(obs.astype(np.float32))
    rows["is_first"].append(is_first)
    return {name: np.stack(of_steps) for name, of_steps in rows.items()}


@pytest.mark.parametrize("lengths", [(T,), (7, 3, 20), (1,) * T], ids=str)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_unrolls_of_any_length_are_the_steps_of_one_loop(family: TaskFamily, lengths: tuple[int, ...]) -> None:
    policy, loop = made(family)
    parts = [unroll(policy, loop, length) for length in lengths]
    for name, want in by_hand(family).items():
        last = [getattr(parts[-1], name)[-1:]] if name in ("obs", "is_first") else []
        got = np.concatenate([getattr(part, name)[: part.reward.shape[0]] for part in parts] + last)
        np.testing.assert_array_equal(got, want, err_msg=name)
    for before, after in pairwise(parts):
        np.testing.assert_array_equal(after.previous_action, before.action[-1])
        np.testing.assert_array_equal(after.previous_reward, before.reward[-1])
        np.testing.assert_array_equal(after.obs[0], before.obs[-1])
    assert parts[0].initial_state[0].shape == (B, 4) and not parts[0].initial_state[0].any()
    assert len(parts) == 1 or parts[-1].initial_state[0].any()


@pytest.mark.parametrize("lengths", [(T,), (7, 3, 20)], ids=str)
def test_the_caller_chooses_the_next_tasks_and_episodes_are_under_their_own(lengths: tuple[int, ...]) -> None:
    """Each step pays 1, and an episode of a task of length n takes n steps and one for its reset."""
    policy, loop = made(TERMINATING)
    wanted, ended = list(loop.env.tasks), list[tuple[int, list[int]]]()
    parts: list[Trajectory] = []

    def on_end(t: int, slots: np.ndarray) -> None:
        ended.append((t, slots.tolist()))
        for slot in slots.tolist():
            loop.env.assign(slot, task(2 + len(wanted) % 5))
            wanted.append(task(2 + len(wanted) % 5))

    for length in lengths:
        parts.append(unroll(policy, loop, length, on_end))
    episodes, settled = loop.episodes.take()
    assert len(episodes) == sum(int(part.terminated.sum()) for part in parts) > 15
    assert all(episode.length == np.floor(float(episode.task["length"])) == episode.episode_return for episode in episodes)
    assert {episode.task for episode in episodes} <= set(wanted) and len({episode.task for episode in episodes}) > B
    assert len(settled) > 10 and set(settled) <= {episode.episode_return for episode in episodes}
    assert loop.episodes.take() == ((), ())
    assert ended == [(t, np.flatnonzero(row).tolist()) for part in parts for t, row in enumerate(part.terminated) if row.any()]
