"""The arrays of one unroll, filled step by step and handed over as a `Trajectory` without another copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.task import Task
from learners.trajectory import Trajectory


class UnrollBuffers:
    """T steps of B environments, time-major.

    Args:
        unroll_length: T.
        num_envs: B.
        obs_shape: shape of one observation as it travels (one frame where frames are stacked).
        obs_dtype: `SpaceSpec.sent_dtype`.
        action: any action batch, for its shape and type.
    """

    def __init__(
        self, unroll_length: int, num_envs: int, obs_shape: Sequence[int], obs_dtype: np.dtype[np.generic], action: np.ndarray
    ) -> None:
        steps, rows = (unroll_length, num_envs), (unroll_length + 1, num_envs)
        self._obs = np.empty((*rows, *obs_shape), dtype=obs_dtype)
        self._is_first = np.empty(rows, dtype=bool)
        self._action = np.empty((unroll_length, *action.shape), dtype=action.dtype)
        self._reward = np.empty(steps, dtype=np.float32)
        self._terminated, self._truncated = np.empty(steps, dtype=bool), np.empty(steps, dtype=bool)
        self._log_prob = np.empty(steps, dtype=np.float32)

    def before_step(self, t: int, obs: np.ndarray, is_first: np.ndarray, action: np.ndarray, log_prob: np.ndarray) -> None:
        """Keep what the policy saw and did at step t."""
        self._obs[t], self._is_first[t], self._action[t], self._log_prob[t] = obs, is_first, action, log_prob

    def after_step(self, t: int, reward: np.ndarray, terminated: np.ndarray, truncated: np.ndarray) -> None:
        """Keep what the environment answered at step t."""
        self._reward[t], self._terminated[t], self._truncated[t] = reward, terminated, truncated

    def last(self, obs: np.ndarray, is_first: np.ndarray) -> None:
        """Keep the observation that the last step led to."""
        self._obs[-1], self._is_first[-1] = obs, is_first

    def trajectory(
        self,
        *,
        history: np.ndarray,
        previous_action: np.ndarray,
        previous_reward: np.ndarray,
        initial_state: tuple[np.ndarray, ...],
        policy_version: int,
        tasks: tuple[Task, ...],
    ) -> Trajectory:
        """Hand the filled arrays over; this object must not be used again."""
        return Trajectory(
            obs=self._obs,
            frame_history=history,
            is_first=self._is_first,
            action=self._action,
            reward=self._reward,
            terminated=self._terminated,
            truncated=self._truncated,
            behaviour_log_prob=self._log_prob,
            previous_action=previous_action,
            previous_reward=previous_reward,
            initial_state=initial_state,
            policy_version=policy_version,
            tasks=tasks,
        )
