"""The batched MuJoCo environment: many simulations of one robot, stepped by `mujoco.batch.Batch` on a C++ thread pool.

One call of `Batch.step` advances every simulation; observation, reward and termination are a few numpy calls over all of them, and so
is a reset (slots seeded one by one draw one by one). Nothing depends on the number of threads: the physics is bit-identical at any, and
all randomness comes from generators that only this object draws from. Slots that rest are left out of `Batch.step` and cost no physics.

A simulation that diverges (MuJoCo finds a non-finite or huge state or control and resets it by itself, or raises) ends its episode:
terminated, reward 0, a finite observation, and a reset at the next step, as any other end. The logger `metaray.mujoco` gets a line at
the first, tenth, hundredth ... such simulation of an environment. gymnasium would go on from the silently reset state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import mujoco
import numpy as np
from gymnasium.spaces import Box
from jaxtyping import Bool, Float
from mujoco.batch import Batch, SimulationError

from envs.batched import Saved
from envs.errors import InvalidInputError, out_of_range
from envs.mujoco.logs import LOGGER
from envs.mujoco.robot import Robot, Slots
from envs.restarting import RestartingEnv
from envs.task import Parameter, Task, Value

_BAD = slice(int(mujoco.mjtWarning.mjWARN_BADQPOS), int(mujoco.mjtWarning.mjWARN_BADCTRL) + 1)
"""MuJoCo's warnings of a diverged simulation: bad qpos, qvel, qacc and ctrl stand in a row."""


class MujocoBatchedEnv(RestartingEnv):
    """B simulations of one robot, a task in each.

    Args:
        tasks: the task of each slot.
        robot_type: the robot.
        num_threads: threads that step the simulations, the caller's included.
        visible: task parameters that are appended to the observation, in this order.
        check: returns a task if it is valid here, or raises `InvalidInputError`; applied by `assign`.

    Attributes:
        batch: the simulations; for inspection, as every write to them changes the episodes.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        robot_type: type[Robot],
        *,
        num_threads: int = 1,
        visible: Sequence[Parameter] = (),
        check: Callable[[Task], Task] = lambda task: task,
    ) -> None:
        if not tasks:
            raise InvalidInputError("a batched environment needs at least one task")
        if num_threads < 1:
            raise out_of_range("num_threads", num_threads, "1 or more")
        model = robot_type.load()
        self.batch = Batch(model, len(tasks), num_threads)
        self.batch.reset(stage=int(mujoco.mjtStage.mjSTAGE_NONE))
        self._default_row = self.batch.state[0].copy()
        self._ctrl = self.batch.bind("ctrl")
        self._bad = self.batch.warning[:, _BAD, 1]
        self._robot = robot_type(self.batch)
        self._visible = tuple(visible)
        self._goal = np.zeros((len(tasks), len(self._visible)))
        self._num_diverged = 0
        low, high = model.actuator_ctrlrange.T.astype(np.float32)
        size = self._robot.observation_size + len(self._visible)
        super().__init__(tasks, Box(-np.inf, np.inf, (size,), np.float64), Box(low, high, dtype=np.float32), check)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every slot by one step, or reset it if its episode is over; see `BatchedEnv.step`."""
        actions = np.asarray(actions)
        if actions.shape != self._ctrl.shape:
            raise InvalidInputError(f"actions have shape {actions.shape}: allowed is {self._ctrl.shape}")
        self._check_started("step")
        is_first = self._is_over
        is_idle = is_first | self._is_resting
        failed = self._advance(actions, np.flatnonzero(~is_idle).astype(np.int32) if is_idle.any() else None)
        reward, terminated = self._robot.outcome(actions)
        if is_first.any():
            self._begin(np.flatnonzero(is_first))
        obs = self._observe()
        if self._has_resting:
            obs[self._is_resting] = 0.0
        truncated = self._count_step(reward, terminated, is_first, self._robot.max_episode_steps)
        if failed.size or self._bad.any() or not math.isfinite(obs.sum() + reward.sum()):
            self._end_diverged(failed, obs, reward, terminated, truncated)
        self._is_over = terminated | truncated
        return obs, reward, terminated, truncated, {"is_first": is_first}

    def rest(self, slots: np.ndarray) -> None:
        """Leave `slots` out of the physics; see `BatchedEnv.rest`."""
        super().rest(slots)
        self.batch.state[slots] = self._default_row  # the last one may be that of a simulation that diverged
        self.batch.warning[slots] = 0

    def save(self) -> Saved:
        """Return everything that the future of this environment depends on, as arrays and plain values."""
        own = {"state": self.batch.state.copy(), "robot": self._robot.save(), "num_diverged": self._num_diverged}
        return super().save() | own

    def restore(self, saved: Saved) -> None:
        """Go on from where `saved` was taken, bit for bit; tasks may differ from the current ones."""
        if saved["state"].shape != self.batch.state.shape:
            raise InvalidInputError(f"saved state has shape {saved['state'].shape}: allowed is {self.batch.state.shape}")
        super().restore(saved)  # the model fields of a task are a function of it, so taking it up gives them back bit for bit
        self.batch.state[:] = saved["state"]
        self.batch.warning[:] = 0  # a warned slot has ended, so its next step clears its counters anyway
        self._robot.restore(saved["robot"])
        self._num_diverged = saved["num_diverged"]

    def _advance(self, actions: np.ndarray, slots: Slots | None) -> Slots:
        """Step the simulations in `slots` (all where None); return those in which MuJoCo raised."""
        self._ctrl[...] = actions
        self._robot.keep()
        try:
            self.batch.step(slots, nstep=self._robot.frame_skip)
        except SimulationError as error:  # those kept their state, the others went on
            LOGGER.warning("%s", error)
            return np.asarray(error.ids, dtype=np.int32)
        return np.zeros(0, dtype=np.int32)

    def _start(self, slots: np.ndarray) -> None:
        """Draw the first states of `slots`, from each one's own generator where they have one."""
        rows: Slots = slots.astype(np.int32)
        self.batch.state[rows] = self._default_row
        self.batch.warning[rows] = 0
        for some, rng in self._starts(rows):
            self._robot.draw_start(some, rng)
        self._robot.settle(rows)

    def _take_up(self, tasks: dict[int, Task]) -> None:
        """Set the current tasks of slots."""
        super()._take_up(tasks)
        for slot, task in tasks.items():
            self._goal[slot] = [_encoded(parameter, task[parameter.name]) for parameter in self._visible]
        self._robot.take_up(np.array(list(tasks), dtype=np.int32), list(tasks.values()))

    def _observe(self) -> Float[np.ndarray, "B O"]:
        """Return every slot's observation in a new array."""
        obs = np.empty((self.num_envs, self._robot.observation_size + len(self._visible)))
        self._robot.observe(obs[:, : self._robot.observation_size])
        obs[:, self._robot.observation_size :] = self._goal
        return obs

    def _end_diverged(
        self,
        failed: Slots,
        obs: Float[np.ndarray, "B O"],
        reward: Float[np.ndarray, " B"],
        terminated: Bool[np.ndarray, " B"],
        truncated: Bool[np.ndarray, " B"],
    ) -> None:
        """End the episodes of diverged simulations in place: terminated, reward 0, finite observation."""
        diverged = self._bad.any(axis=1) | ~np.isfinite(obs).all(axis=1) | ~np.isfinite(reward)
        diverged[failed] = True
        count = int(diverged.sum())
        if not count:
            return
        obs[diverged] = np.where(np.isfinite(obs[diverged]), obs[diverged], 0.0)
        reward[diverged] = 0.0
        terminated[diverged] = True
        truncated[diverged] = False
        before, self._num_diverged = self._num_diverged, self._num_diverged + count
        if len(str(before)) < len(str(self._num_diverged)) or before == 0:
            slot = int(np.flatnonzero(diverged)[0])
            LOGGER.warning(
                "simulation %d diverged (%s): its episode ends as terminated with reward 0; %d so far in this environment",
                slot,
                self.tasks[slot],
                self._num_diverged,
            )


def _encoded(parameter: Parameter, value: Value) -> float:
    """Return a task parameter as an observation has it: a number as it is, choices spread evenly from 1 to -1."""
    if not parameter.choices:
        return float(value)
    last = max(len(parameter.choices) - 1, 1)
    return 1.0 - 2.0 * parameter.choices.index(str(value)) / last
