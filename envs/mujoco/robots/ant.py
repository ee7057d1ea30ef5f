"""Ant, a four-legged robot in three dimensions whose observation ends with the contact forces on its bodies.

    r = (x_velocity + s [healthy]) - (w_a * sum a^2 + w_c * sum clip(f, -1, 1)^2),        x_velocity = (x' - x) / dt

with x the torso's position and f the contact forces (`cfrc_ext`) of all bodies, the world included. Reference: gymnasium's ant_v5.py.
"""

from __future__ import annotations

from typing import ClassVar

import mujoco
import numpy as np
from jaxtyping import Bool, Float
from mujoco.batch import Batch

from envs.mujoco.contact_forces import compile_with_contact_forces
from envs.mujoco.robot import Robot, Slots, squared_sum

FORCES_PER_BODY = 6


class AntBody(Robot):
    """An ant without a reward: healthy while its torso is between 0.2 m and 1 m high and its state is finite."""

    xml_file = "ant.xml"
    frame_skip = 5
    gymnasium_id = "Ant-v5"
    reset_noise = 0.1
    has_gaussian_velocity = True

    def healthy(self) -> Bool[np.ndarray, " B"]:
        """Return which robots have their torso at a proper height and a finite state."""
        is_finite = np.isfinite(self.qpos).all(axis=1) & np.isfinite(self.qvel).all(axis=1)
        height = self.qpos[:, 2]
        healthy: Bool[np.ndarray, " B"] = is_finite & (height >= 0.2) & (height <= 1.0)
        return healthy


class Ant(AntBody):
    """Ant that runs forward, at a cost of control and of contact."""

    hidden_positions = 2
    ctrl_cost_weight: ClassVar[float] = 0.5
    contact_cost_weight: ClassVar[float] = 5e-4
    healthy_reward: ClassVar[float] = 1.0

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        raw = batch.bind("cfrc_ext")
        self._raw_forces = raw.reshape(batch.nsim, -1)
        self._forces = np.zeros_like(self._raw_forces)
        # the position at the last stage of the integrator, as gymnasium reads it, which is not that in qpos
        self._xpos = batch.bind("xpos")[:, batch.model.body("torso").id, 0]
        self._x = np.zeros(batch.nsim)

    @classmethod
    def compile(cls) -> mujoco.MjModel:
        """Compile the model with contact forces in it."""
        return compile_with_contact_forces(cls.load_spec())

    @property
    def observation_size(self) -> int:
        """O, the length of an observation."""
        return int(super().observation_size + self._forces.shape[1] - FORCES_PER_BODY)

    def settle(self, slots: Slots) -> None:
        """Bring what is read besides qpos and qvel up to date; see `Robot.settle`."""
        self._forces[slots] = 0.0
        self._x[slots] = self.qpos[slots, 0]

    def outcome(self, action: Float[np.ndarray, "B A"]) -> tuple[Float[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        """Return reward and terminated; see `Robot.outcome`."""
        x_velocity = (self._xpos - self._x) / self.dt
        self._x[:] = self._xpos
        np.clip(self._raw_forces, -1.0, 1.0, out=self._forces)
        healthy = self.healthy()
        costs = self.ctrl_cost_weight * squared_sum(action) + self.contact_cost_weight * squared_sum(self._forces)
        return self.progress(x_velocity) + self.healthy_reward * healthy - costs, ~healthy

    def observe(self, out: Float[np.ndarray, "B O"]) -> None:
        """Write every observation to `out`."""
        super().observe(out)
        out[:, super().observation_size :] = self._forces[:, FORCES_PER_BODY:]  # without the world's

    def save(self) -> dict[str, np.ndarray]:
        """Return what the future depends on besides the state rows; see `Robot.save`."""
        return {"x": self._x.copy()}

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        """Go on from `saved`."""
        self._x[:] = saved["x"]
