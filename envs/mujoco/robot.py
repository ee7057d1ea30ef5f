"""The interface between the engine and a robot: observation, reward, termination and initial state, for all simulations of a batch at once.

A `Robot` works on views of the arrays of a `mujoco.batch.Batch`, so each method is a few numpy calls whatever the number of
simulations. The robots equal gymnasium's version 5 environments, whose XML files they load.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import gymnasium.envs.mujoco as gymnasium_mujoco
import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int
from mujoco.batch import Batch

from envs.goals import GoalRing
from envs.mujoco.logs import install_log_handler
from envs.task import Parameter, Task

ASSETS = Path(str(gymnasium_mujoco.__file__)).parent / "assets"
"""Where gymnasium keeps the XML files of its robots."""

Slots = Int[np.ndarray, " K"]
"""Sorted indices of K of the B simulations."""


class Robot(abc.ABC):
    """One robot in B simulations, as views of the arrays of a batch.

    Attributes:
        xml_file: its model, a file name in gymnasium's assets.
        frame_skip: substeps of the physics in one environment step.
        max_episode_steps: an episode is truncated after so many steps.
        gymnasium_id: the environment that it equals.
        is_endless: whether its episodes end by the limit only.
        reset_noise: how far from its initial state an episode starts (m, rad, m/s, rad/s).
        has_gaussian_velocity: first velocities are Gaussian, with `reset_noise` as their standard deviation, and not uniform.
        hidden_positions: leading coordinates of qpos that are not observed.
        parameters: in which numbers its tasks differ.
        goals: what draws its tasks; None for parameters uniform in their ranges.
        dt: seconds of an environment step.
    """

    xml_file: ClassVar[str]
    frame_skip: ClassVar[int]
    max_episode_steps: ClassVar[int] = 1000
    gymnasium_id: ClassVar[str]
    is_endless: ClassVar[bool] = False
    reset_noise: ClassVar[float]
    has_gaussian_velocity: ClassVar[bool] = False
    hidden_positions: ClassVar[int] = 0
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    goals: ClassVar[GoalRing | None] = None

    def __init__(self, batch: Batch) -> None:
        model = batch.model
        self.batch = batch
        self.dt = float(model.opt.timestep) * self.frame_skip
        self.qpos = batch.bind("qpos")
        self.qvel = batch.bind("qvel")
        self.init_qpos = np.array(model.qpos0)
        self.init_qvel = np.zeros(model.nv)

    @classmethod
    def load_spec(cls) -> mujoco.MjSpec:
        """Read the robot's XML file."""
        return mujoco.MjSpec.from_file(str(ASSETS / cls.xml_file))

    @classmethod
    def load(cls) -> mujoco.MjModel:
        """Compile the robot's model for the batch; the physics is that of gymnasium's model, bit for bit.

        A model of a single kinematic tree has at most one constraint island, so looking for islands changes no bit of the solution
        and costs 3-7 % of a step; it is switched off there.
        """
        install_log_handler()
        model = cls.compile()
        if model.ntree == 1:
            model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ISLAND)
        return model

    @classmethod
    def compile(cls) -> mujoco.MjModel:
        """Compile the model of the XML file; a robot that needs more in it overrides this."""
        return mujoco.MjModel.from_xml_path(str(ASSETS / cls.xml_file))

    @property
    def observation_size(self) -> int:
        """O, the length of an observation."""
        return int(self.qpos.shape[1] - self.hidden_positions + self.qvel.shape[1])

    def take_up(self, slots: Slots, tasks: Sequence[Task]) -> None:
        """Set the tasks of `slots`; called between two episodes, before `draw_start`."""

    def draw_start(self, slots: Slots, rng: np.random.Generator) -> None:
        """Write the first state of an episode to `slots`, all other state being at the model's defaults: the initial state and noise."""
        scale, num_slots = self.reset_noise, len(slots)
        self.qpos[slots] = self.init_qpos + rng.uniform(-scale, scale, size=(num_slots, self.qpos.shape[1]))
        size = (num_slots, self.qvel.shape[1])
        noise = scale * rng.standard_normal(size) if self.has_gaussian_velocity else rng.uniform(-scale, scale, size=size)
        self.qvel[slots] = self.init_qvel + noise

    def settle(self, slots: Slots) -> None:
        """Update what the robot reads besides qpos and qvel after a reset of `slots`."""

    def keep(self) -> None:
        """Store what the reward needs of the state before a step."""

    def observe(self, out: Float[np.ndarray, "B O"]) -> None:
        """Write every simulation's observation to `out`: positions, without the hidden ones, and velocities."""
        num_positions, num_velocities = self.qpos.shape[1] - self.hidden_positions, self.qvel.shape[1]
        out[:, :num_positions] = self.qpos[:, self.hidden_positions :]
        out[:, num_positions : num_positions + num_velocities] = self.qvel

    def progress(self, x_velocity: Float[np.ndarray, " B"]) -> Float[np.ndarray, " B"]:
        """Return the reward of moving at `x_velocity` (m/s)."""
        return x_velocity

    @abc.abstractmethod
    def outcome(self, action: Float[np.ndarray, "B A"]) -> tuple[Float[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        """Return reward and terminated of the step just taken under `action`, in new arrays.

        Terms in the action alone are summed in the action's own precision, as gymnasium does, so that float32 actions too give
        equal rewards.
        """

    def save(self) -> dict[str, np.ndarray]:
        """Return what the future depends on besides the batch's state rows and the tasks."""
        return {}

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        """Go on from `saved`."""


def squared_sum(values: Float[np.ndarray, "B N"]) -> Float[np.ndarray, " B"]:
    """Return the sum of squares of each row, in the order of addition that `np.sum(np.square(row))` has."""
    sums: Float[np.ndarray, " B"] = np.square(values).sum(axis=1)
    return sums
