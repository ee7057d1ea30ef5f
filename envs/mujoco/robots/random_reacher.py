"""Reacher with link lengths of its task's: RandomReacher of Evolved Policy Gradients (Houthooft et al., 2018).

    length of link i = f_i 0.1 m,  f_i ~ U(0.5, 2);  the fingertip sits 0.01 m beyond the second link, whatever its length

Reward, observation, frame skip and the 50 steps of an episode are gymnasium's Reacher-v5. The released code has no Reacher and the
paper's ranges could not be recovered, so these are choices:

1. The range of the factors is that of the masses and sizes of the paper's hopper.
2. A longer link is a longer capsule of the same radius and density: mass, centre of mass and inertia are those of MuJoCo's compiler. The
   joints' armature of 1 kg m^2 outweighs them a thousandfold, so a length acts through where the fingertip is.
3. The target is drawn per episode, as gymnasium's is, but only where the task's arm can reach: uniform over the area of a ring around the
   shoulder, from the nearest point that the elbow's limit of 3 rad leaves within reach, to gymnasium's 0.2 m, or to the arm stretched out
   if that is less. Lengths are hidden, but can be inferred from the observed vector from target to fingertip.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from mujoco.batch import Batch

from envs.mujoco.robot import Slots
from envs.mujoco.robots.dynamics import FACTOR_RANGE
from envs.mujoco.robots.small import REACHER_TARGET_RADIUS, Reacher
from envs.task import Parameter, Task

LINKS = ("link0", "link1")

LENGTHS = tuple(
    Parameter(name=f"length_{link}", doc=f"factor on the length of the {which} link", low=FACTOR_RANGE[0], high=FACTOR_RANGE[1])
    for link, which in zip(LINKS, ("upper", "lower"))
)

_DENSITY = 1000.0
"""Of every geom in kg/m^3: MuJoCo's default."""


class RandomReacher(Reacher):
    """Reacher with its task's link lengths."""

    parameters = LENGTHS

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        model = batch.model
        self._bodies = [model.body(name).id for name in ("body0", "body1")]
        self._ends = [model.body(name).id for name in ("body1", "fingertip")]  # what is fixed to the far end of each link
        self._geoms = [model.geom(link).id for link in LINKS]
        self._body_pos, self._body_ipos = batch.expand("body_pos"), batch.expand("body_ipos")
        self._mass, self._inertia = batch.expand("body_mass"), batch.expand("body_inertia")
        self._geom_pos, self._geom_size = batch.expand("geom_pos"), batch.expand("geom_size")
        self._nearest, self._farthest = np.zeros(batch.nsim), np.zeros(batch.nsim)

    def take_up(self, slots: Slots, tasks: Sequence[Task]) -> None:
        """Set the tasks of `slots`; see `Robot.take_up`."""
        model, rows = self.batch.model, slots[:, None]
        factors = np.array([[task.number(parameter.name) for parameter in LENGTHS] for task in tasks])
        radius, half_length = model.geom_size[self._geoms, 0], model.geom_size[self._geoms, 1] * factors
        growth = 2.0 * (half_length - model.geom_size[self._geoms, 1])
        self._body_pos[rows, self._ends, 0] = model.body_pos[self._ends, 0] + growth
        self._geom_pos[rows, self._geoms, 0] = half_length
        self._geom_size[rows, self._geoms, 1] = half_length
        self._body_ipos[rows, self._bodies, 0] = half_length
        mass, lengthwise, crosswise = capsule(radius, half_length)
        self._mass[rows, self._bodies] = mass
        self._inertia[rows, self._bodies] = np.stack([crosswise, crosswise, lengthwise], axis=-1)
        self.batch.set_const(slots)
        self._note_reach(slots)

    def draw_targets(self, slots: Slots, rng: np.random.Generator) -> Float[np.ndarray, "K 2"]:
        """Draw where the targets of `slots` are, each within reach of its arm."""
        radius = np.sqrt(rng.uniform(self._nearest[slots] ** 2, self._farthest[slots] ** 2))
        angle = rng.uniform(-np.pi, np.pi, len(slots))
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)

    def _note_reach(self, slots: Slots) -> None:
        """Work out how near to the shoulder and how far from it the fingertips of `slots` can be."""
        upper, lower = self._body_pos[slots][:, self._ends, 0].T
        bend = self.batch.model.joint("joint1").range[1]
        self._nearest[slots] = np.sqrt(upper**2 + lower**2 + 2.0 * upper * lower * np.cos(bend))
        self._farthest[slots] = np.minimum(upper + lower, REACHER_TARGET_RADIUS)


def capsule(
    radius: Float[np.ndarray, " L"], half_length: Float[np.ndarray, "K L"]
) -> tuple[Float[np.ndarray, "K L"], Float[np.ndarray, "K L"], Float[np.ndarray, "K L"]]:
    """Return mass (kg) and moments of inertia (kg m^2) about the axis of a capsule and across it; two half balls and a cylinder."""
    length = 2.0 * half_length
    balls = _DENSITY * 4.0 / 3.0 * np.pi * radius**3 * np.ones_like(length)
    cylinder = _DENSITY * np.pi * radius**2 * length
    lengthwise = cylinder * radius**2 / 2.0 + balls * 2.0 * radius**2 / 5.0
    across_cylinder = cylinder * (3.0 * radius**2 + length**2) / 12.0
    across_balls = balls * (2.0 * radius**2 / 5.0 + length * (3.0 * radius + 2.0 * length) / 8.0)
    return balls + cylinder, lengthwise, across_cylinder + across_balls
