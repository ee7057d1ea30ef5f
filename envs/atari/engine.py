"""Emulators of one game behind `ale_py`'s vector interface, with the preprocessing of IMPALA.

What the C++ does (`ale/vector/preprocessed_env.cpp`), as far as the numbers depend on it:

* An action is repeated for 4 frames, and a pixel is the larger one of the last two; 84 x 84, grey; 4 frames stacked, zeros before the
  first.
* An episode may start with `n - 1` no-op frames, n uniform in 1 .. `noop_max`. The protocol wants 1 to 30, so this file asks for 0 to 30
  and draws again where none were played: uniform over 1 .. 30, exactly. `max_noops = 0` plays none and draws nothing.
* `episodic_life` would restart the whole game at a lost life and `life_loss_info` hides a time limit that falls on one, so both
  stay off; `AtariEnv` reads the lives.
* `use_fire_reset` stays off: pressing FIRE to launch the ball is part of playing (Mnih et al. 2015 and IMPALA press nothing).
* A worker thread that throws never answers, so actions are checked before they are sent.
* The console has 18 actions, but the "full" set of a game may be smaller (Skiing: 9). The others are no-ops, as the emulator has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ale_py.vector_env import AtariVectorEnv

from envs.atari.protocols import ACTION_REPEAT, MAX_FRAMES, MAX_NOOPS

NUM_STACKED = 4
FRAME_SIZE = 84
NUM_CONSOLE_ACTIONS = 18


@dataclass(frozen=True, kw_only=True)
class EmulatorStep:
    """One step of n emulators.

    Attributes:
        obs: [n, 4, 84, 84], the newest frame last; an array of its own.
        reward: [n] float64, the change of the score.
        is_over, is_capped: [n], the game ended, or reached its frame limit; the next step restarts it.
        lives: [n], lives left; always 0 in a game without lives.
    """

    obs: np.ndarray
    reward: np.ndarray
    is_over: np.ndarray
    is_capped: np.ndarray
    lives: np.ndarray


class Emulators:
    """n emulators of one game; the one class that touches `ale_py`.

    Args:
        game: ROM name in snake case.
        num_envs: n.
        num_threads: C++ threads that step them; more than n are of no use.
        has_all_actions: all 18 actions of the console, not only those that do something in this game.
        repeat_action_probability: of playing the last action in place of the given one, frame by frame ("sticky actions").
        max_noops: a game starts with 1 to so many frames without action; 0 for none.
        max_frames: frames after which a game is truncated.
    """

    def __init__(
        self,
        game: str,
        num_envs: int,
        *,
        num_threads: int,
        has_all_actions: bool,
        repeat_action_probability: float = 0.0,
        max_noops: int = MAX_NOOPS,
        max_frames: int = MAX_FRAMES,
    ) -> None:
        self._has_noops = max_noops > 0
        self._ale = AtariVectorEnv(
            game,
            num_envs,
            num_threads=max(1, min(num_threads, num_envs)),
            max_num_frames_per_episode=max_frames,
            repeat_action_probability=repeat_action_probability,
            full_action_space=has_all_actions,
            img_height=FRAME_SIZE,
            img_width=FRAME_SIZE,
            grayscale=True,
            stack_num=NUM_STACKED,
            frameskip=ACTION_REPEAT,
            maxpool=True,
            noop_max=max_noops + 1,
            episodic_life=False,
            life_loss_info=False,
            reward_clipping=False,
            use_fire_reset=False,
        )
        legal = [int(action.value) for action in self._ale.ale.get_action_set()]
        # From the action that a policy chooses to the engine's index of it.
        self._index = np.arange(len(legal), dtype=np.int32)
        if has_all_actions:
            self._index = np.array(
                [legal.index(action) if action in legal else 0 for action in range(NUM_CONSOLE_ACTIONS)], np.int32
            )
        self.num_actions = len(self._index)
        self._restarts = np.zeros(num_envs, np.bool_)

    def reset(self, seeds: np.ndarray) -> EmulatorStep:
        """Start a game in every emulator, all its randomness from `seeds` [n]."""
        obs, info = self._ale.reset(seed=seeds)
        obs, lives = self._redraw_noops(obs, info["lives"], info["episode_frame_number"], np.ones(len(obs), np.bool_))
        nothing = np.zeros(len(obs), np.bool_)
        self._restarts = nothing
        return EmulatorStep(obs=obs, reward=np.zeros(len(obs)), is_over=nothing, is_capped=nothing, lives=lives)

    def send(self, actions: np.ndarray) -> None:
        """Start one step with the integers `actions` [n]; `recv` waits for it.

        Raises:
            ValueError: an action that the game does not have.
        """
        if actions.min() < 0 or actions.max() >= self.num_actions:
            raise ValueError(f"actions must lie in [0, {self.num_actions - 1}], got [{actions.min()}, {actions.max()}]")
        self._ale.send(self._index[actions])

    def recv(self) -> EmulatorStep:
        """Wait for the step that `send` started; games that were over have been restarted by it."""
        obs, reward, is_over, is_capped, info = self._ale.recv()
        lives = info["lives"]
        if self._restarts.any():
            obs, lives = self._redraw_noops(obs, lives, info["episode_frame_number"], self._restarts)
        self._restarts = is_over | is_capped
        return EmulatorStep(obs=obs, reward=reward.astype(np.float64), is_over=is_over, is_capped=is_capped, lives=lives)

    def _redraw_noops(
        self, obs: np.ndarray, lives: np.ndarray, num_noops: np.ndarray, is_new: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Restart those of the new games that were given no no-op at all; the frame count of a new game is its number of no-ops."""
        while self._has_noops and (redraw := is_new & (num_noops == 0)).any():
            obs, info = self._ale.reset(options={"reset_mask": redraw})
            lives, num_noops = info["lives"], info["episode_frame_number"]
        return obs, lives

    def close(self) -> None:
        """Stop the threads."""
        del self._ale
