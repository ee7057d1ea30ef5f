"""Reacher, Swimmer and InvertedPendulum. Reference: gymnasium's reacher_v5.py, swimmer_v5.py, inverted_pendulum_v5.py."""

from __future__ import annotations

import mujoco
import numpy as np
from jaxtyping import Bool, Float
from mujoco.batch import Batch

from envs.mujoco.robot import Robot, Slots, squared_sum
from envs.mujoco.robots.walkers import Runner

REACHER_ARM_NOISE = 0.1
REACHER_VELOCITY_NOISE = 0.005
REACHER_TARGET_RADIUS = 0.2
"""Reacher's target is uniform on a disc of this radius (m), which the arm of 0.21 m can reach all of."""

MAX_POLE_ANGLE = 0.2


class Reacher(Robot):
    """A two-jointed arm on a plane whose fingertip goes to a target drawn at each reset: r = -|fingertip - target| - sum a^2."""

    xml_file = "reacher.xml"
    frame_skip = 2
    max_episode_steps = 50
    gymnasium_id = "Reacher-v5"
    is_endless = True

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        xpos = batch.bind("xpos")  # at the last stage of the integrator, as gymnasium reads it
        self._fingertip = xpos[:, batch.model.body("fingertip").id]
        self._target = xpos[:, batch.model.body("target").id]

    @property
    def observation_size(self) -> int:
        """O, the length of an observation."""
        return 10

    def draw_start(self, slots: Slots, rng: np.random.Generator) -> None:
        """Write a first state to `slots`; see `Robot.draw_start`."""
        self.qpos[slots] = self.init_qpos + rng.uniform(-REACHER_ARM_NOISE, REACHER_ARM_NOISE, size=(len(slots), 4))
        self.qpos[slots, 2:] = self.draw_targets(slots, rng)
        velocity = rng.uniform(-REACHER_VELOCITY_NOISE, REACHER_VELOCITY_NOISE, size=(len(slots), 4))
        velocity[:, 2:] = 0.0
        self.qvel[slots] = velocity

    def draw_targets(self, slots: Slots, rng: np.random.Generator) -> Float[np.ndarray, "K 2"]:
        """Draw where the targets of `slots` are."""
        return _uniform_on_disc(len(slots), REACHER_TARGET_RADIUS, rng)

    def settle(self, slots: Slots) -> None:
        """Bring what is read besides qpos and qvel up to date; see `Robot.settle`."""
        self.batch.forward(slots, stage=int(mujoco.mjtStage.mjSTAGE_POS))

    def outcome(self, action: Float[np.ndarray, "B A"]) -> tuple[Float[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        """Return reward and terminated; see `Robot.outcome`."""
        distance = np.sqrt(squared_sum(self._fingertip - self._target))
        return -distance - squared_sum(action), np.zeros(len(action), dtype=np.bool_)

    def observe(self, out: Float[np.ndarray, "B O"]) -> None:
        """Write every observation to `out`."""
        angles = self.qpos[:, :2]
        np.cos(angles, out=out[:, 0:2])
        np.sin(angles, out=out[:, 2:4])
        out[:, 4:6] = self.qpos[:, 2:]
        out[:, 6:8] = self.qvel[:, :2]
        np.subtract(self._fingertip[:, :2], self._target[:, :2], out=out[:, 8:10])


class Swimmer(Runner):
    """A three-link swimmer on a plane of fluid: r = x_velocity - 1e-4 * sum a^2."""

    xml_file = "swimmer.xml"
    frame_skip = 4
    gymnasium_id = "Swimmer-v5"
    reset_noise = 0.1
    hidden_positions = 2
    ctrl_cost_weight = 1e-4


class InvertedPendulum(Robot):
    """A cart that balances a pole: reward 1 a step while the pole is within 0.2 rad of upright."""

    xml_file = "inverted_pendulum.xml"
    frame_skip = 2
    gymnasium_id = "InvertedPendulum-v5"
    reset_noise = 0.01

    def outcome(self, action: Float[np.ndarray, "B A"]) -> tuple[Float[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        """Return reward and terminated; see `Robot.outcome`."""
        is_finite = np.isfinite(self.qpos).all(axis=1) & np.isfinite(self.qvel).all(axis=1)
        is_up: Bool[np.ndarray, " B"] = is_finite & ~(np.abs(self.qpos[:, 1]) > MAX_POLE_ANGLE)
        return is_up.astype(np.float64), ~is_up


def _uniform_on_disc(num_points: int, radius: float, rng: np.random.Generator) -> Float[np.ndarray, "N 2"]:
    """Draw points uniformly on a disc, by rejection from its square."""
    points = rng.uniform(-radius, radius, size=(num_points, 2))
    while (outside := np.flatnonzero(np.hypot(points[:, 0], points[:, 1]) >= radius)).size:
        points[outside] = rng.uniform(-radius, radius, size=(len(outside), 2))
    return points
