"""Evaluation: whole episodes of given tasks with fixed weights, each task the same number of episodes.

Every slot plays its own task until it has finished its share, and only those episodes count: short episodes get no more weight
than long ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from actors.policy import Policy
from actors.seeds import Stream, integer_seed
from envs.batched import BatchedEnv
from envs.task import Mode, Task, TaskFamily
from learners.networks.agent import Conditioning, NetworkConfig
from learners.trajectory import Episode, Snapshot


def evaluate(
    family: TaskFamily,
    tasks: Sequence[Task],
    network: NetworkConfig,
    snapshot: Snapshot,
    *,
    seed: int,
    episodes_per_task: int = 1,
    num_threads: int = 1,
    greedy: bool = False,
    mode: Mode = "evaluate",
    on_progress: Callable[[int], None] | None = None,
    conditioning: Conditioning | None = None,
) -> list[Episode]:
    """Play `episodes_per_task` episodes of each task, all tasks side by side.

    Args:
        family: the family that all `tasks` belong to.
        tasks: one slot each.
        network: shape of the network that `snapshot` belongs to.
        snapshot: weights to act with.
        seed: root of resets and actions.
        episodes_per_task: episodes that count for each task.
        num_threads: C++ threads that step the environments.
        greedy: take the likeliest action instead of sampling one.
        mode: `evaluate` for whole episodes under the family's evaluation protocol.
        on_progress: told the number of episodes finished so far whenever it grows.
        conditioning: what the network has besides, where its learner tunes meta-parameters.

    Returns:
        The episodes in order of task, `episodes_per_task` of each.
    """
    env = family.make(tasks, num_threads=num_threads, mode=mode)
    try:
        policy = Policy.for_env(env, network, conditioning)
        policy.load(snapshot)
        policy.seed(integer_seed(seed, Stream.EVALUATION, 1))
        obs, _ = env.reset(seed=integer_seed(seed, Stream.EVALUATION, 0))
        return _play(env, policy, obs, episodes_per_task, greedy=greedy, on_progress=on_progress)
    finally:
        env.close()


def _play(
    env: BatchedEnv,
    policy: Policy,
    obs: np.ndarray,
    episodes_per_task: int,
    *,
    greedy: bool,
    on_progress: Callable[[int], None] | None,
) -> list[Episode]:
    """Play from `obs` on until every slot has finished its share."""
    tasks, num_envs = list(env.tasks), env.num_envs
    state, action = policy.initial_state(num_envs), policy.no_action(num_envs)
    is_first, reward = np.ones(num_envs, dtype=bool), np.zeros(num_envs, dtype=np.float32)
    returns, lengths = np.zeros(num_envs), np.zeros(num_envs, dtype=np.int64)
    finished: list[list[Episode]] = [[] for _ in tasks]
    num_finished = 0
    while num_finished < num_envs * episodes_per_task:
        action, _, state = policy.act(obs, is_first, action, reward, state, greedy=greedy)
        obs, step_reward, terminated, truncated, info = env.step(policy.bounded(action))
        is_first, reward = info["is_first"], step_reward.astype(np.float32)
        returns += step_reward
        lengths += ~is_first
        for slot in np.flatnonzero(info.get("is_final", terminated | truncated)).tolist():
            if len(finished[slot]) < episodes_per_task:
                finished[slot].append(Episode(task=tasks[slot], episode_return=float(returns[slot]), length=int(lengths[slot])))
                num_finished += 1
            returns[slot], lengths[slot] = 0.0, 0
            if on_progress is not None:
                on_progress(num_finished)
    return [episode for episodes in finished for episode in episodes]
