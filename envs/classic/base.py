"""The base of every environment whose dynamics are a few lines of numpy: next-step autoreset, time limit, tasks, save and restore.

A subclass writes three pure functions over all slots at once (`initial_state`, `advance`, `observe`) and names the task parameters
that they read in `defaults`. There is no Python per slot in `step`; a slot costs Python only when it takes up a new task, and at its
resets once slots are seeded one by one.
"""

from __future__ import annotations

import abc
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.utils import seeding

from envs.batched import BatchedEnv, Saved
from envs.errors import unknown
from envs.slots import RowRandom, SlotGenerators, SlotSeed, checked_slots
from envs.task import Task, Value


class NumpyEnv(BatchedEnv):
    """Many episodes of one numpy system in lockstep.

    Attributes:
        observation, action: the spaces of one slot.
        max_steps: an episode is truncated at this many steps; None for no limit.
        defaults: the task parameters that the dynamics read, with the value where a task does not name one.
    """

    observation: ClassVar[gymnasium.Space[Any]]
    action: ClassVar[gymnasium.Space[Any]]
    can_restart = True
    max_steps: ClassVar[int | None] = None
    defaults: ClassVar[Mapping[str, float]] = {}

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks, self.observation, self.action)
        self._draws_in_steps = len(inspect.signature(self.advance).parameters) != 2
        self._row = {name: row for row, name in enumerate(self.defaults)}
        self._params = np.empty((len(self._row), self.num_envs))
        self._pending: dict[int, Task] = {}
        for slot, task in enumerate(tasks):
            self.assign(slot, task)
        self._take_up_tasks()
        self._state: np.ndarray | None = None
        self._elapsed = np.zeros(self.num_envs, np.int64)
        self._is_over = np.zeros(self.num_envs, np.bool_)

    @abc.abstractmethod
    def initial_state(self, slots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw the states [n, D] in which the episodes of `slots` [n] start."""

    @abc.abstractmethod
    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Move every slot by one step, without writing to `state`. One that draws nothing may do without `rng`.

        Args:
            state: [B, D]; the rows of slots that are about to be reset hold their final state, and what comes of them is dropped.
            actions: [B, *A].
            rng: all chance comes from it, drawn with a row for each slot: `rng.normal(size=len(state))`.

        Returns:
            The next states [B, D], a new array; reward [B]; terminated [B].
        """

    @abc.abstractmethod
    def observe(self, state: np.ndarray) -> np.ndarray:
        """Return the observations [B, *O] of states [B, D], a new array."""

    def param(self, name: str) -> np.ndarray:
        """Return the task parameter `name` of every slot, [B]; do not write to it."""
        values: np.ndarray = self._params[self._row[name]]
        return values

    def assign(self, slot: int, task: Task) -> None:
        """Give `slot` the task that it plays from its next reset on."""
        for name, _ in task.params:
            if name not in self._row:
                raise unknown(f"parameter of {task.family}", name, self._row)
        self._pending[slot] = task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every slot's next episode; see `BatchedEnv.reset`."""
        if seed is not None or self._np_random is None:
            self._np_random, self._np_random_seed = seeding.np_random(seed)
        if seed is not None:
            self._slot_generators = None
        everyone = np.arange(self.num_envs)
        self._is_over = np.zeros(self.num_envs, np.bool_)
        self._set_resting(everyone, False)
        self._elapsed[:] = 0
        self._take_up_tasks()
        self._state = self._drawn_state(everyone)
        return self.observe(self._state), {"is_first": np.ones(self.num_envs, np.bool_)}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every slot by one step; a slot whose episode is over is reset instead; see `BatchedEnv.step`."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before the first step()")
        is_first, before = self._is_over, self._state
        chance = RowRandom(self.np_random, self._slot_generators, self.num_envs)
        given: tuple[Any, ...] = (before, actions, chance) if self._draws_in_steps else (before, actions)
        self._state, step_reward, step_terminated = self.advance(*given)
        reward, terminated = np.array(step_reward, np.float64), np.array(step_terminated, np.bool_)
        self._elapsed += 1
        slots = np.flatnonzero(is_first)
        if slots.size:
            self._start(slots, self._state)
            reward[slots] = 0.0
            terminated[slots] = False
        if self._has_resting:
            resting = self._is_resting
            self._state[resting] = before[resting]  # frozen, so that nothing grows without bound
            reward[resting] = 0.0
            terminated[resting] = False
            self._elapsed[resting] = 0
        truncated = np.zeros_like(terminated) if self.max_steps is None else self._elapsed >= self.max_steps
        self._is_over = terminated | truncated
        return self.observe(self._state), reward, terminated, truncated, {"is_first": is_first}

    def seed_slots(self, seeds: Sequence[SlotSeed]) -> None:
        """Give each slot a generator of its own; see `BatchedEnv.seed_slots`."""
        self._slot_generators = SlotGenerators(seeds, self.num_envs)

    def restart(self, slots: np.ndarray) -> np.ndarray:
        """Start the next episode of `slots` now; see `BatchedEnv.restart`."""
        slots = checked_slots(slots, self.num_envs)
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before the first restart()")
        self._start(np.sort(slots), self._state)
        self._is_over[slots] = False
        if self._has_resting:
            self._set_resting(slots, False)
        first: np.ndarray = self.observe(self._state)[slots]
        return first

    def rest(self, slots: np.ndarray) -> None:
        """Freeze `slots` where they are; see `BatchedEnv.rest`."""
        slots = checked_slots(slots, self.num_envs)
        self._is_over[slots] = False
        self._set_resting(slots, True)

    def _start(self, slots: np.ndarray, state: np.ndarray) -> None:
        """Write the first states of the next episodes of `slots` into `state`."""
        self._take_up_tasks(slots)
        self._elapsed[slots] = 0
        state[slots] = self._drawn_state(slots)

    def _drawn_state(self, slots: np.ndarray) -> np.ndarray:
        """Draw the first states of `slots`, from each one's own generator where they have one."""
        if self._slot_generators is None or not slots.size:
            return self.initial_state(slots, self.np_random)
        generators = self._slot_generators
        return np.concatenate(
            [self.initial_state(slots[i : i + 1], generators.start(slot)) for i, slot in enumerate(slots.tolist())]
        )

    def _take_up_tasks(self, slots: np.ndarray | None = None) -> None:
        """Make the assigned tasks of `slots` (all, when None) the tasks that they play."""
        if not self._pending:
            return
        due = list(self._pending) if slots is None else [slot for slot in slots.tolist() if slot in self._pending]
        for slot in due:
            task = self._pending.pop(slot)
            self.tasks[slot] = task
            given = dict(task.params)
            self._params[:, slot] = [float(given.get(name, default)) for name, default in self.defaults.items()]

    def save(self) -> Saved:
        """Return states, tasks, counters and the generator."""
        return {
            "state": None if self._state is None else self._state.copy(),
            "elapsed": self._elapsed.copy(),
            "is_over": self._is_over.copy(),
            "tasks": [_plain(task) for task in self.tasks],
            "pending": [(slot, _plain(task)) for slot, task in sorted(self._pending.items())],
            # As text: the words of PCG64 are 128 bits wide, which not every checkpoint format holds as integers.
            "generator": json.dumps(self.np_random.bit_generator.state),
            "is_resting": self._is_resting.copy(),
            "slot_generators": None if self._slot_generators is None else self._slot_generators.save(),
        }

    def restore(self, saved: Saved) -> None:
        """Go on from where `saved` was taken, bit for bit."""
        self._state = None if saved["state"] is None else np.array(saved["state"])
        self._elapsed = np.array(saved["elapsed"])
        self._is_over = np.array(saved["is_over"])
        self._pending = {slot: _task(plain) for slot, plain in enumerate(saved["tasks"])}
        self._take_up_tasks()
        self._pending = {int(slot): _task(plain) for slot, plain in saved["pending"]}
        self.np_random.bit_generator.state = json.loads(saved["generator"])
        self._set_resting(np.arange(self.num_envs), saved["is_resting"])
        states = saved["slot_generators"]
        self._slot_generators = None if states is None else SlotGenerators.restored(states)


def _plain(task: Task) -> tuple[str, tuple[tuple[str, Value], ...]]:
    """A task as plain Python values."""
    return task.family, task.params


def _task(plain: Sequence[Any]) -> Task:
    """The task of `_plain`, also after a format that turned its tuples into lists."""
    family, params = plain
    return Task(family=family, params=tuple((str(name), value) for name, value in params))
