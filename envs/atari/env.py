"""Atari as a batched environment: one task a slot; episodes are lives in training and whole games in evaluation.

    train     an episode ends with a life (terminated), the game (terminated) or the frame limit (truncated)
    evaluate  an episode ends with the game or the frame limit

When a life is lost the game goes on. The next step, the "reset" of the next-step protocol, then plays one no-op whatever the action
says, and its observation is the first of the next episode: older frames of its stack are zero, as after a real reset, so that a stack can
be rebuilt from single frames and `is_first` alone (`learners.ops.frames`). Should that no-op score, its reward is handed on, for
statistics only; the learner gives no weight to such a row.

`info["is_final"]` [B]: the whole game is over or truncated, in either mode. A score is the sum of rewards from one such step to the next.

Reference: IMPALA (Espeholt et al. 2018), table G.1; no-op starts and 30 minutes of play as in DQN (Mnih et al. 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.utils import seeding

from envs.atari.engine import FRAME_SIZE, NUM_STACKED, Emulators, EmulatorStep
from envs.batched import BatchedEnv
from envs.task import Task

_NOOP = 0  # the first action of every game and of the console


class AtariEnv(BatchedEnv):
    """Games in lockstep. With one game, all slots share one engine; with several, each slot has its own, as games come and go.

    Args:
        tasks: one a slot.
        game_of: the game that a task names.
        is_one_game: every task names the same game, whose own actions are then the action space.
        engine: makes so many emulators of a game.
        num_threads: C++ threads that emulate at any time.
        ends_with_life: a lost life ends the episode.
    """

    frame_stack = NUM_STACKED
    can_save = False  # the vector interface cannot clone emulators; a seeded reset and the same actions give the same games

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        game_of: Callable[[Task], str],
        is_one_game: bool,
        engine: Callable[[str, int], Emulators],
        num_threads: int = 1,
        ends_with_life: bool = True,
    ) -> None:
        self._game_of, self._is_one_game, self._num_threads = game_of, is_one_game, num_threads
        self._ends_with_life, self._engine = ends_with_life, engine
        self._games = [game_of(task) for task in tasks]
        groups = [len(tasks)] if is_one_game else [1] * len(tasks)
        self._engines = [self._engine(game, num_envs) for game, num_envs in zip(self._games, groups, strict=False)]
        shape = (NUM_STACKED, FRAME_SIZE, FRAME_SIZE)
        super().__init__(tasks, Box(0, 255, shape, np.uint8), Discrete(self._engines[0].num_actions))
        self._pending: dict[int, Task] = {}
        self._lives = np.zeros(self.num_envs, np.int64)
        self._age = np.zeros(self.num_envs, np.int64)
        self._restarts = np.zeros(self.num_envs, np.bool_)
        self._is_final = np.zeros(self.num_envs, np.bool_)

    def assign(self, slot: int, task: Task) -> None:
        """Set the task of `slot` from the end of its current game on (not of a life)."""
        self._game_of(task)
        self._pending[slot] = task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start a new game in every slot; see `BatchedEnv.reset`."""
        if seed is not None or self._np_random is None:
            self._np_random, self._np_random_seed = seeding.np_random(seed)
        for slot in list(self._pending):
            self._take_up_task(slot)
        seeds = np.split(self._draw_seeds(self.num_envs), len(self._engines))
        played = _concatenated([engine.reset(of_engine) for engine, of_engine in zip(self._engines, seeds, strict=True)])
        self._lives = played.lives
        self._age[:] = 0
        self._restarts = np.zeros(self.num_envs, np.bool_)
        self._is_final = np.zeros(self.num_envs, np.bool_)
        return played.obs, {"is_first": np.ones(self.num_envs, np.bool_), "is_final": self._is_final}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every slot by one action, four frames; see the module and `BatchedEnv.step`."""
        is_first, is_new_game = self._restarts, self._is_final
        played = self._step_engines(np.where(is_first, _NOOP, actions), is_new_game)

        lost_life = (played.lives < self._lives) & (played.lives > 0)
        is_final = played.is_over | played.is_capped
        # What ends within the no-op between two episodes ends neither, as no action led there; nor does a new game's count of lives.
        terminated = (played.is_over | (lost_life & self._ends_with_life)) & ~is_first
        truncated = played.is_capped & ~terminated & ~is_first

        self._lives = played.lives
        self._restarts = terminated | truncated | is_final
        self._is_final = is_final
        self._age = np.where(is_first, 0, self._age + 1)
        for older in range(1, NUM_STACKED):
            played.obs[self._age < older, NUM_STACKED - 1 - older] = 0
        return played.obs, played.reward, terminated, truncated, {"is_first": is_first, "is_final": is_final}

    def _step_engines(self, actions: np.ndarray, is_new_game: np.ndarray) -> EmulatorStep:
        """Step every engine, at most `num_threads` of them at a time."""
        due = [slot for slot in self._pending if is_new_game[slot]]
        fresh = {slot: self._engines[slot].reset(self._draw_seeds(1)) for slot in due if self._take_up_task(slot)}
        if self._is_one_game:
            self._engines[0].send(actions)
            return self._engines[0].recv()
        running = [slot for slot in range(self.num_envs) if slot not in fresh]
        for slot in running[: self._num_threads]:
            self._engines[slot].send(actions[slot : slot + 1])
        for index, slot in enumerate(running):
            fresh[slot] = self._engines[slot].recv()
            for following in running[index + self._num_threads : index + self._num_threads + 1]:
                self._engines[following].send(actions[following : following + 1])
        return _concatenated([fresh[slot] for slot in range(self.num_envs)])

    def _take_up_task(self, slot: int) -> bool:
        """Make the assigned task of `slot` its current one; true where that took another engine, which must be reset."""
        task = self.tasks[slot] = self._pending.pop(slot)
        game = self._game_of(task)
        if game == self._games[slot]:
            return False
        self._games[slot] = game
        self._engines[slot].close()
        self._engines[slot] = self._engine(game, 1)
        return True

    def _draw_seeds(self, num_seeds: int) -> np.ndarray:
        """Seeds for emulators: not consecutive, so that environments with neighbouring seeds share no game."""
        return self.np_random.integers(2**31, size=num_seeds)

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the emulators' threads."""
        for engine in self._engines:
            engine.close()
        self._engines = []


def _concatenated(played: list[EmulatorStep]) -> EmulatorStep:
    """The steps of several engines as one, in order."""
    if len(played) == 1:
        return played[0]
    names = [field.name for field in fields(EmulatorStep)]
    return EmulatorStep(**{name: np.concatenate([getattr(one, name) for one in played]) for name in names})
