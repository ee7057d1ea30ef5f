"""The one protocol of every batched environment: gymnasium's `VectorEnv` in next-step autoreset mode, with a task in each slot.

Next-step autoreset: the step that ends an episode returns the episode's *final* observation, from which a truncated episode bootstraps
without a second array. The following `step` ignores the action of that slot, resets it, and returns the first observation of the next
episode with reward 0 and both flags false. That step is no experience: `info["is_first"]` marks it, it is not counted as an environment
step, and the learner gives it no weight.

    step t    : action a_t        -> final observation, r_t, terminated or truncated
    step t + 1: action is ignored -> first observation of the next episode, reward 0, is_first

A slot switches to a new task at its next reset: `assign(slot, task)` between the two steps above, or at any time before.

A caller that counts real steps only (lifetimes of equal length) cannot spend a step on a reset. Where `can_restart`, it calls `restart` on
the slots that have just ended, and every following step is a real one for every slot; `rest` marks slots that are not used any more; and
`seed_slots` gives each slot its own random numbers, so that its episodes depend on no other slot:

    step t      : action a_t     -> final observation, r_t, terminated or truncated
    restart     : no action      -> first observation of the next episode
    step t + 1  : action a_{t+1} -> its second observation, r_{t+1}
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from envs.slots import SlotSeed
from envs.task import Task

Saved = dict[str, Any]
"""What `save` returns: numpy arrays and plain Python values only, so that a checkpoint can hold it."""


class BatchedEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray], abc.ABC):
    """Many episodes of a task family in lockstep, one task a slot.

    Attributes:
        tasks: the current task of each slot.
        frame_stack: how many of the newest frames an observation stacks along its first axis; 1 where nothing is stacked.
        can_save: whether `save` and `restore` work; where not, a caller replays the actions since the last `reset`.
        can_restart: whether `seed_slots`, `restart` and `rest` work.
    """

    frame_stack: int = 1
    can_save: bool = True
    can_restart: bool = False

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
        """Set the task of `slot` from its next reset on."""

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

    def seed_slots(self, seeds: Sequence[SlotSeed]) -> None:
        """Let each slot draw its episode starts, from its next one on, from its own generator.

        The k-th start of a slot since then depends on its seed, its task and k alone: not on the other slots, nor on their number.
        A later `reset(seed=...)` goes back to one generator for all slots; a `reset` without a seed does not.

        Args:
            seeds: one a slot, [B]; slots with equal seeds and tasks start equal episodes.

        Raises:
            InvalidInputError: there are not B seeds, or one is negative.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot seed its slots one by one (can_restart is false)")

    def restart(self, slots: np.ndarray) -> np.ndarray:
        """Start the next episode of `slots` now, each with its pending task where it has one, and end their rest.

        The following `step` steps them as any other (`is_first` false). What is drawn, and in which order, is what the reset by the next
        step would have drawn, save where that step draws from the same generator; a slot in the middle of an episode leaves it.

        Args:
            slots: [n], each at most once.

        Returns:
            Their first observations [n, *O], in the order of `slots`, in a new array.

        Raises:
            InvalidInputError: a slot is out of range or named twice.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot start an episode between two steps (can_restart is false)")

    def rest(self, slots: np.ndarray) -> None:
        """Leave out `slots` until they are restarted or `reset` is called; an engine need not simulate them.

        Until then `step` ignores their actions and returns an arbitrary finite observation, reward 0 and false flags for them.
        No bit of the other slots changes, given that slots have generators of their own: with one for all, a slot that rests draws nothing.

        Args:
            slots: [n], each at most once.

        Raises:
            InvalidInputError: a slot is out of range or named twice.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot leave slots out of a step (can_restart is false)")

    def save(self) -> Saved:
        """Return everything that the future of this environment depends on (simulators, tasks, generators, counters)."""
        raise NotImplementedError(f"{type(self).__name__} cannot save its state (can_save is false)")

    def restore(self, saved: Saved) -> None:
        """Go on from where `saved` was taken, bit for bit."""
        raise NotImplementedError(f"{type(self).__name__} cannot restore a state (can_save is false)")
