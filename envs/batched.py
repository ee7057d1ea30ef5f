"""The one protocol of every batched environment: gymnasium's `VectorEnv` in next-step autoreset mode, with a task in each slot.

Next-step autoreset, and why: the step that ends an episode returns the episode's *final* observation, so that its value is at hand for
a truncated episode with no second array to carry. The following `step` ignores the action of that slot, resets it, and returns the first
observation of the next episode with reward 0 and both flags false. That step is no experience: `info["is_first"]` marks it, it is
not counted as an environment step, and the learner gives it no weight.

    step t    : action a_t        -> final observation, r_t, terminated or truncated
    step t + 1: action is ignored -> first observation of the next episode, reward 0, is_first

A slot takes up a new task at its next reset: `assign(slot, task)` between the two steps above, or at any time before.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from envs.task import Task

Saved = dict[str, Any]
"""What `save` returns: numpy arrays and plain Python values only, so that a checkpoint can hold it."""


class BatchedEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray], abc.ABC):
    """Many episodes of a task family in lockstep, one task a slot.

    Attributes:
        tasks: the task that each slot plays now.
        frame_stack: how many of the newest frames an observation stacks along its first axis; 1 where nothing is stacked.
        can_save: whether `save` and `restore` work; where not, a caller replays the actions since the last `reset`.
    """

    frame_stack: int = 1
    can_save: bool = True

    def __init__(
        self, tasks: Sequence[Task], observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any], **metadata: Any
    ) -> None:
        self.num_envs = len(tasks)
        self.tasks: list[Task] = list(tasks)
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, **metadata}
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.observation_space = gymnasium.vector.utils.batch_space(observation_space, self.num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(action_space, self.num_envs)

    @abc.abstractmethod
    def assign(self, slot: int, task: Task) -> None:
        """Give `slot` the task that it plays from its next reset on."""

    @abc.abstractmethod
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every slot's next episode, with all randomness drawn anew from `seed` when one is given.

        Returns:
            Observations [B, *O], and an info whose `is_first` [B] is all true.
        """

    @abc.abstractmethod
    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every slot by one step; a slot whose episode ended on the last call is reset instead.

        Args:
            actions: [B, *A].

        Returns:
            Observations [B, *O] that the caller may keep (later steps do not write to them), reward [B] float64, terminated [B] bool,
            truncated [B] bool, and an info with `is_first` [B] bool: the slots that were reset by this call.
        """

    def save(self) -> Saved:
        """Return everything that the future of this environment depends on (simulators, tasks, generators, counters)."""
        raise NotImplementedError(f"{type(self).__name__} cannot save its state (can_save is false)")

    def restore(self, saved: Saved) -> None:
        """Go on from where `saved` was taken, bit for bit."""
        raise NotImplementedError(f"{type(self).__name__} cannot restore a state (can_save is false)")
