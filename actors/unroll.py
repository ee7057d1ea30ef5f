"""Unrolls: T steps of a policy in B environments, as a `Trajectory`.

    loop = EnvLoop(env);  loop.reset(policy, seed)
    unroll(policy, loop, T), unroll(policy, loop, T), ...        each starts where the one before it stopped

`EnvLoop` is what acting carries from one step to the next, so a caller may change weights, seeds and tasks between two unrolls. Which task
a slot takes up next is the caller's choice: `on_end` is called when episodes end, and may `loop.env.assign` tasks for the next resets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.episodes import EpisodeRecord
from actors.policy import Policy
from envs.contract import CheckedEnv
from learners.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of B environments.

    Attributes:
        action: as sampled, before bounds, [B, *A].
        log_prob: log pi(action), [B].
        terminated, truncated: the episode ended, by the task or by a limit, [B].
        is_final: what is scored as one episode is over, [B]: a whole game on Atari, where training also ends episodes at a lost life.
    """

    action: np.ndarray
    log_prob: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    is_final: np.ndarray


class EnvLoop:
    """B environments, and the state of acting in them; call `reset` first.

    Attributes:
        env: the environments.
        obs: newest observations, [B, *O].
        is_first: they are the first of their episodes, [B].
        action, reward: of the step before, [B, *A] and [B] float32; zeros before the first.
        recurrent: state of the policy's core.
        episodes: returns and lengths.
    """

    obs: np.ndarray
    is_first: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    recurrent: tuple[Any, ...]
    episodes: EpisodeRecord

    def __init__(self, env: CheckedEnv) -> None:
        self.env = env

    def reset(self, policy: Policy, seed: int | None = None) -> None:
        """Start every slot's next episode, with all randomness drawn anew from `seed` when one is given.

        Raises:
            EnvFaultError: the environment raised, or returned what it must not.
        """
        num_envs = self.env.num_envs
        self.obs, self.is_first = self.env.reset(seed=seed), np.ones(num_envs, dtype=bool)
        self.action, self.reward = policy.no_action(num_envs), np.zeros(num_envs, dtype=np.float32)
        self.recurrent, self.episodes = policy.initial_state(num_envs), EpisodeRecord(num_envs)

    def step(self, policy: Policy, *, greedy: bool = False) -> Step:
        """Act once in every environment; a slot whose episode ended with the last step is reset instead (`envs.batched`).

        Raises:
            EnvFaultError: the environment raised, or returned what it must not.
        """
        action, log_prob, self.recurrent = policy.act(
            self.obs, self.is_first, self.action, self.reward, self.recurrent, greedy=greedy
        )
        self.obs, reward, terminated, truncated, info = self.env.step(policy.bounded(action))
        self.is_first, self.action, self.reward = info["is_first"], action, reward.astype(np.float32)
        self.episodes.add(reward, self.is_first)
        is_final = info.get("is_final", terminated | truncated)
        return Step(action=action, log_prob=log_prob, terminated=terminated, truncated=truncated, is_final=is_final)

    def state(self, policy: Policy) -> dict[str, Any]:
        """All of it but the environments and their observations, as plain values and arrays."""
        return {
            "action": self.action.copy(),
            "reward": self.reward.copy(),
            "is_first": self.is_first.copy(),
            "recurrent": list(policy.state_arrays(self.recurrent)),
            **self.episodes.state(),
        }

    def restore(self, policy: Policy, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.action, self.reward, self.is_first = (state[key].copy() for key in ("action", "reward", "is_first"))
        self.recurrent = policy.state_tensors(state["recurrent"])
        self.episodes.restore(state)
        self.env.lengths[:] = self.episodes.lengths


def unroll(policy: Policy, loop: EnvLoop, length: int, on_end: Callable[[int, np.ndarray], None] | None = None) -> Trajectory:
    """Act for `length` steps from where `loop` stands.

    Finished episodes are in `loop.episodes`, under the tasks that they were of.

    Args:
        policy: acts, with its weights and its generator as they stand.
        loop: the environments, reset.
        length: T.
        on_end: called after a step t with the slots [n] whose episodes it ended.

    Returns:
        The trajectory, T steps of B environments.

    Raises:
        EnvFaultError: the environment raised, or returned what it must not.
    """
    trajectory = _empty_trajectory(policy, loop, length)
    for t in range(length):
        trajectory.obs[t], trajectory.is_first[t] = policy.newest_frame(loop.obs), loop.is_first
        step = loop.step(policy)
        trajectory.action[t], trajectory.behaviour_log_prob[t], trajectory.reward[t] = step.action, step.log_prob, loop.reward
        trajectory.terminated[t], trajectory.truncated[t] = step.terminated, step.truncated
        for slot in np.flatnonzero(step.is_final).tolist():
            loop.episodes.end(slot, loop.env.tasks[slot])
        ended = np.flatnonzero(step.terminated | step.truncated)
        if ended.size and on_end is not None:
            on_end(t, ended)
    trajectory.obs[length], trajectory.is_first[length] = policy.newest_frame(loop.obs), loop.is_first
    return trajectory


def _empty_trajectory(policy: Policy, loop: EnvLoop, length: int) -> Trajectory:
    """A trajectory that starts where `loop` stands, with room for the steps, which are written in place."""
    num_envs = loop.env.num_envs
    steps, rows = (length, num_envs), (length + 1, num_envs)
    return Trajectory(
        obs=np.empty((length + 1, *policy.newest_frame(loop.obs).shape), policy.obs_dtype),
        frame_history=policy.frame_history(loop.obs),
        is_first=np.empty(rows, bool),
        action=np.empty((length, *loop.action.shape), loop.action.dtype),
        reward=np.empty(steps, np.float32),
        terminated=np.empty(steps, bool),
        truncated=np.empty(steps, bool),
        behaviour_log_prob=np.empty(steps, np.float32),
        previous_action=loop.action,
        previous_reward=loop.reward,
        initial_state=policy.state_arrays(loop.recurrent),
        policy_version=policy.version,
        tasks=tuple(loop.env.tasks),
    )
