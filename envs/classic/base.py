"""The base of every environment whose dynamics are a few lines of numpy: next-step autoreset, time limit, tasks, save and restore.

A subclass writes pure functions over all slots at once (`initial_state`, `advance`, `observe`) and names the task parameters
that they read in `defaults`. There is no Python per slot in `step`; a slot costs Python only when it takes up a new task, and at its
resets once slots are seeded one by one.
"""

from __future__ import annotations

import abc
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np

from envs.batched import Saved
from envs.errors import unknown
from envs.restarting import RestartingEnv
from envs.slots import RowRandom
from envs.task import Task


class NumpyEnv(RestartingEnv):
    """Many episodes of one numpy system in lockstep.

    Attributes:
        observation, action: the spaces of one slot.
        max_steps: an episode is truncated at this many steps; None for no limit.
        defaults: the task parameters that the dynamics read, with the value where a task does not name one.
    """

    observation: ClassVar[gymnasium.Space[Any]]
    action: ClassVar[gymnasium.Space[Any]]
    max_steps: ClassVar[int | None] = None
    defaults: ClassVar[Mapping[str, float]] = {}

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks, self.observation, self.action)
        self._draws_in_steps = len(inspect.signature(self.advance).parameters) != 2
        self._row = {name: row for row, name in enumerate(self.defaults)}
        self._params = np.empty((len(self._row), self.num_envs))
        for slot, task in enumerate(tasks):
            self.assign(slot, task)
        self._take_up(self._pending)
        self._pending = {}
        self._state = np.empty((self.num_envs, 0))

    @abc.abstractmethod
    def initial_state(self, slots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw the states [n, D] in which the episodes of `slots` [n] start."""

    @abc.abstractmethod
    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Move every slot by one step, without writing to `state`. One that draws nothing may do without `rng`.

        Args:
            state: [B, D]; the rows of slots that are about to be reset hold their final state, and their result is dropped.
            actions: [B, *A].
            rng: all randomness comes from it, drawn with a row for each slot: `rng.normal(size=len(state))`.

        Returns:
            The next states [B, D], a new array; reward [B]; terminated [B].
        """

    def observe(self, state: np.ndarray) -> np.ndarray:
        """Return the observations [B, *O] of states [B, D], a new array: the states themselves, unless a subclass says otherwise."""
        return state.astype(np.float32, order="C")

    def param(self, name: str) -> np.ndarray:
        """Return the task parameter `name` of every slot, [B]; do not write to it."""
        values: np.ndarray = self._params[self._row[name]]
        return values

    def assign(self, slot: int, task: Task) -> None:
        """Set the task of `slot` from its next reset on."""
        for name, _ in task.params:
            if name not in self._row:
                raise unknown(f"parameter of {task.family}", name, self._row)
        super().assign(slot, task)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every slot by one step; a slot whose episode is over is reset instead; see `BatchedEnv.step`."""
        self._check_started("step")
        is_first, before = self._is_over, self._state
        chance = RowRandom(self.np_random, self._slot_generators, self.num_envs)
        given: tuple[Any, ...] = (before, actions, chance) if self._draws_in_steps else (before, actions)
        self._state, step_reward, step_terminated = self.advance(*given)
        reward, terminated = np.array(step_reward, np.float64), np.array(step_terminated, np.bool_)
        slots = np.flatnonzero(is_first)
        if slots.size:
            self._begin(slots)
        if self._has_resting:
            self._state[self._is_resting] = before[self._is_resting]  # frozen, so that nothing grows without bound
        truncated = self._count_step(reward, terminated, is_first, self.max_steps)
        self._is_over = terminated | truncated
        return self._observe(), reward, terminated, truncated, {"is_first": is_first}

    def _start(self, slots: np.ndarray) -> None:
        """Draw the first states of `slots`, from each one's own generator where they have one."""
        drawn = np.concatenate([self.initial_state(some, rng) for some, rng in self._starts(slots)])
        if self._is_started:
            self._state[slots] = drawn
        else:
            self._state = drawn

    def _observe(self) -> np.ndarray:
        return self.observe(self._state)

    def _take_up(self, tasks: dict[int, Task]) -> None:
        """Set the current tasks of slots."""
        super()._take_up(tasks)
        for slot, task in tasks.items():
            given = dict(task.params)
            self._params[:, slot] = [float(given.get(name, default)) for name, default in self.defaults.items()]

    def save(self) -> Saved:
        """Return states, tasks, counters and generators."""
        return super().save() | {"state": self._state.copy()}

    def restore(self, saved: Saved) -> None:
        """Go on from where `saved` was taken, bit for bit."""
        super().restore(saved)
        self._state = np.array(saved["state"])
