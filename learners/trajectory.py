"""The data that actors send to learners: numpy, time-major, frozen.

Letters: T steps of an unroll, B environments, O observation, A action, H hidden, S stacked frames.

    obs[t], is_first[t] --policy--> action[t] --env--> reward[t], terminated[t], truncated[t], obs[t + 1]

Episodes end by next-step autoreset (see `envs.batched`): after a termination or truncation at t, obs[t + 1] is the final observation,
and step t + 1 is the reset, whose action and reward are not used. So a step t is experience exactly where `is_first[t + 1]` is false.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Shaped

from envs.task import Task


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A finished episode: its task, undiscounted and unclipped return, and length in environment steps.

    `is_cut`: ended by the step limit of an evaluation; its return is that up to the limit.
    """

    task: Task
    episode_return: float
    length: int
    is_cut: bool = False


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One unroll of B environments under one version of the policy.

    Attributes:
        obs: observations, with the last row for bootstrapping; where frames are stacked, only the newest frame of each stack.
        frame_history: the older frames of the first stack, oldest first; no rows where nothing is stacked.
        is_first: the observation is the first of its episode; recurrent state, previous action and reward are zero there.
        action: integers for discrete actions, float32 for continuous ones.
        reward: on leaving step t, as the environment gives it (the learner clips).
        terminated, truncated: the episode ended at step t, by termination or by a time limit.
        behaviour_log_prob: log mu(action) under the policy that acted.
        previous_action, previous_reward: those before row 0.
        initial_state: recurrent state before row 0, one array [B, H] each; empty for feed-forward policies.
        policy_version: number of learner updates of the policy that acted.
        tasks: the task of each environment at row 0.
    """

    obs: Shaped[np.ndarray, "T+1 B *O"]
    frame_history: Shaped[np.ndarray, "S-1 B *O"]
    is_first: Bool[np.ndarray, "T+1 B"]
    action: Shaped[np.ndarray, "T B *A"]
    reward: Float32[np.ndarray, "T B"]
    terminated: Bool[np.ndarray, "T B"]
    truncated: Bool[np.ndarray, "T B"]
    behaviour_log_prob: Float32[np.ndarray, "T B"]
    previous_action: Shaped[np.ndarray, "B *A"]
    previous_reward: Float32[np.ndarray, " B"]
    initial_state: tuple[Float32[np.ndarray, "B H"], ...]
    policy_version: int
    tasks: tuple[Task, ...]

    @property
    def num_envs(self) -> int:
        """B."""
        return int(self.reward.shape[1])

    @property
    def env_steps(self) -> int:
        """Environment steps in this unroll: every step but the resets. Steps are counted here only."""
        return int(self.reward.size - np.count_nonzero(self.is_first[1:]))


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A version of the policy for transport: parameter name -> read-only float32 array.

    Attributes:
        version: number of learner updates.
        arrays: parameters and buffers, by their names in the network.
    """

    version: int
    arrays: dict[str, np.ndarray]
