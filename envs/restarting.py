"""The base of engines whose slots restart alone, at a step or between two: pending tasks, episode steps, resting slots, checkpoints.

A subclass starts the episodes of slots (`_start`), observes them (`_observe`) and changes their tasks (`_take_up`). There is no Python per
slot, except where a slot takes up a new task, and at its resets once slots are seeded one by one.
"""

from __future__ import annotations

import abc
import json
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding

from envs.batched import BatchedEnv, Saved
from envs.errors import out_of_range
from envs.slots import SlotGenerators, SlotSeed, checked_slots
from envs.task import Task, plain_task, task_from_plain

_FORMER_KEYS = {"has_ended": "is_over", "rng": "generator"}
"""Keys of `save` in checkpoints of older versions, and today's."""


class RestartingEnv(BatchedEnv):
    """Many episodes in lockstep, each slot of which restarts alone.

    Args:
        tasks: one a slot.
        observation_space, action_space: of one slot.
        check: returns a task if it is valid here, or raises `InvalidInputError`; applied by `assign`.
    """

    can_restart = True

    def __init__(
        self,
        tasks: Sequence[Task],
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        check: Callable[[Task], Task] = lambda task: task,
    ) -> None:
        super().__init__(tasks, observation_space, action_space)
        self._check = check
        self._pending: dict[int, Task] = dict(enumerate(tasks))
        self._elapsed = np.zeros(self.num_envs, np.int64)
        self._is_over = np.zeros(self.num_envs, np.bool_)
        self._is_resting = np.zeros(self.num_envs, np.bool_)
        self._has_resting = self._is_started = False
        self._slot_generators: SlotGenerators | None = None  # one generator for all slots until `seed_slots`

    @abc.abstractmethod
    def _start(self, slots: np.ndarray) -> None:
        """Start the next episodes of `slots` [n], in ascending order; all slots where the environment is not started yet."""

    def _starts(self, slots: np.ndarray) -> list[tuple[np.ndarray, np.random.Generator]]:
        """Return what the first states of `slots` are drawn from: one generator for all, or each slot's own."""
        own = self._slot_generators
        if own is None:
            return [(slots, self.np_random)]
        return [(slots[row : row + 1], own.start(slot)) for row, slot in enumerate(slots.tolist())]

    @abc.abstractmethod
    def _observe(self) -> np.ndarray:
        """Return every slot's observation in a new array."""

    def _take_up(self, tasks: dict[int, Task]) -> None:
        """Set the current tasks of slots."""
        for slot, task in tasks.items():
            self.tasks[slot] = task

    def _reseed(self, seed: int | None) -> None:
        """Draw from one generator for all slots, where a seed is given."""
        if seed is not None or self._np_random is None:
            self._np_random, self._np_random_seed = seeding.np_random(seed)
        if seed is not None:
            self._slot_generators = None

    def assign(self, slot: int, task: Task) -> None:
        """Set the task of `slot` from its next reset on.

        Raises:
            InvalidInputError: there is no such slot, or the task is none of this environment.
        """
        if not 0 <= slot < self.num_envs:
            raise out_of_range("slot", slot, f"[0, {self.num_envs - 1}]")
        self._pending[slot] = self._check(task)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every slot's next episode; see `BatchedEnv.reset`."""
        self._reseed(seed)
        self._is_started = False
        self._begin(np.arange(self.num_envs))
        self._is_started = True
        self._is_over = np.zeros(self.num_envs, np.bool_)
        self._set_resting(np.arange(self.num_envs), False)
        return self._observe(), {"is_first": np.ones(self.num_envs, np.bool_)}

    def _begin(self, slots: np.ndarray) -> None:
        """Start the next episodes of `slots`, each with its pending task where it has one."""
        if self._pending:
            due = {slot: self._pending.pop(slot) for slot in slots.tolist() if slot in self._pending}
            if due:
                self._take_up(due)
        self._elapsed[slots] = 0
        self._start(slots)

    def _check_started(self, call: str) -> None:
        if not self._is_started:
            raise gymnasium.error.ResetNeeded(f"call reset() before the first {call}()")

    def _count_step(self, reward: np.ndarray, terminated: np.ndarray, is_first: np.ndarray, limit: int | None) -> np.ndarray:
        """Count a step; clear in place what it returned for slots that were reset or rest; return which slots `limit` truncates [B]."""
        self._elapsed += 1
        is_idle = is_first | self._is_resting
        if is_idle.any():
            self._elapsed[is_idle] = 0
            reward[is_idle] = 0.0
            terminated[is_idle] = False
        return np.zeros_like(terminated) if limit is None else self._elapsed >= limit

    def seed_slots(self, seeds: Sequence[SlotSeed]) -> None:
        """Give each slot its own generator; see `BatchedEnv.seed_slots`."""
        self._slot_generators = SlotGenerators(seeds, self.num_envs)

    def restart(self, slots: np.ndarray) -> np.ndarray:
        """Start the next episodes of `slots` now; see `BatchedEnv.restart`."""
        slots = checked_slots(slots, self.num_envs)
        self._check_started("restart")
        self._begin(np.sort(slots))
        self._is_over[slots] = False
        self._set_resting(slots, False)
        first: np.ndarray = self._observe()[slots]
        return first

    def rest(self, slots: np.ndarray) -> None:
        """Leave out `slots`; see `BatchedEnv.rest`."""
        slots = checked_slots(slots, self.num_envs)
        self._is_over[slots] = False
        self._set_resting(slots, True)

    def _set_resting(self, slots: np.ndarray, is_resting: bool | np.ndarray) -> None:
        """Record whether `slots` rest."""
        self._is_resting[slots] = is_resting
        self._has_resting = bool(self._is_resting.any())

    def save(self) -> Saved:
        """Return tasks, counters and generators; a subclass adds its state."""
        if not self.can_save:
            return super().save()
        return {
            "elapsed": self._elapsed.copy(),
            "is_over": self._is_over.copy(),
            "is_started": self._is_started,
            "tasks": [plain_task(task) for task in self.tasks],
            "pending": [(slot, plain_task(task)) for slot, task in sorted(self._pending.items())],
            # As text: the words of PCG64 are 128 bits wide, which not every checkpoint format holds as integers.
            "generator": json.dumps(self.np_random.bit_generator.state),
            "is_resting": self._is_resting.copy(),
            "slot_generators": None if self._slot_generators is None else self._slot_generators.save(),
        }

    def restore(self, saved: Saved) -> None:
        """Go on from where `saved` was taken, bit for bit; tasks may differ from the current ones."""
        if not self.can_save:
            super().restore(saved)
        saved = {_FORMER_KEYS.get(key, key): value for key, value in saved.items()}
        self._take_up({slot: task_from_plain(plain) for slot, plain in enumerate(saved["tasks"])})
        self._pending = {int(slot): task_from_plain(plain) for slot, plain in saved["pending"]}
        self._elapsed = np.array(saved["elapsed"])
        self._is_over = np.array(saved["is_over"])
        self._is_started = saved.get("is_started", True)
        generator = saved["generator"]
        self.np_random.bit_generator.state = json.loads(generator) if isinstance(generator, str) else generator
        self._set_resting(np.arange(self.num_envs), saved["is_resting"])
        states = saved["slot_generators"]
        self._slot_generators = None if states is None else SlotGenerators.restored(states)
