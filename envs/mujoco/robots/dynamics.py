"""Hopper and Walker2d with randomised bodies: mass, friction and thickness of every limb, and gravity, per simulation.

The distribution is that of RandomHopper in Evolved Policy Gradients (Houthooft et al., 2018), from its released code (random_robots.py):
factors drawn from U(0.5, 2) for each body's mass, each limb's friction and each limb's thickness, independently, and gravity along z from
U(-20, -2). The paper's ranges for RandomWalker could not be recovered; the same ones are used. Deviations:

1. A body's inertia is scaled with its mass (the same shape of another density); the released code left it as it was.
2. Thickness is the capsule's radius and changes contact only; mass and inertia stay parameters of their own, as released. Bounding
   volumes follow the radius through `set_const`; the released code kept the thin ones, so that contacts of thick limbs could be missed.
3. One factor scales all of a limb's friction coefficients, against one for each of the three. Contacts with the floor are of dimension 3,
   in which only the first, sliding, coefficient acts.
4. A robot with thicker feet starts that much higher, so that an episode begins on the floor and not inside it.
5. Reward, termination, frame skip and reset noise are those of gymnasium's version 5 environments.

MuJoCo takes the larger of two geoms' friction coefficients, and the floor's is 1 for Hopper and 0.7 for Walker2d: below that, a factor
changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from mujoco.batch import Batch

from envs.mujoco.robot import Slots
from envs.mujoco.robots.walkers import Hopper, UprightRobot, Walker2d
from envs.task import Parameter, Task

FACTOR_RANGE = (0.5, 2.0)
"""Range of the factors on mass, friction and thickness (EPG: U(0.5, 2))."""

GRAVITY_RANGE = (-20.0, -2.0)
"""Range of gravity along z in m/s^2 (EPG: -(U(0, 18) + 2))."""

HOPPER_LIMBS = ("torso", "thigh", "leg", "foot")
WALKER_LIMBS = (*HOPPER_LIMBS, "thigh_left", "leg_left", "foot_left")


def dynamics_parameters(limbs: Sequence[str]) -> tuple[Parameter, ...]:
    """Return the parameters of a family of randomised dynamics on a robot with these limbs."""
    low, high = FACTOR_RANGE
    factors = {
        "mass": "factor on the mass and inertia of the {}",
        "friction": "factor on the friction coefficients of the {}",
        "thickness": "factor on the capsule radius of the {}",
    }
    parameters = [
        Parameter(name=f"{kind}_{limb}", doc=doc.format(limb.replace("_", " ")), low=low, high=high)
        for kind, doc in factors.items()
        for limb in limbs
    ]
    gravity = Parameter(name="gravity", doc="acceleration along z, m/s^2", low=GRAVITY_RANGE[0], high=GRAVITY_RANGE[1])
    return (*parameters, gravity)


class RandomisedRobot(UprightRobot):
    """An upright robot whose body is its task's."""

    limbs: tuple[str, ...]

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        model = batch.model
        self._body_ids = [model.body(limb).id for limb in self.limbs]
        self._geom_ids = [model.geom(f"{limb}_geom").id for limb in self.limbs]
        self._is_foot = np.array([limb.startswith("foot") for limb in self.limbs])
        self._mass, self._inertia = batch.expand("body_mass"), batch.expand("body_inertia")
        self._friction, self._size = batch.expand("geom_friction"), batch.expand("geom_size")
        self._gravity = batch.expand("opt.gravity")
        self._lift = np.zeros(batch.nsim)

    def take_up(self, slots: Slots, tasks: Sequence[Task]) -> None:
        """Set the tasks of `slots`; see `Robot.take_up`."""
        mass, friction, thickness = (self._factors(kind, tasks) for kind in ("mass", "friction", "thickness"))
        model, bodies, geoms = self.batch.model, self._body_ids, self._geom_ids
        at_bodies, at_geoms = np.ix_(slots, bodies), np.ix_(slots, geoms)
        self._mass[at_bodies] = model.body_mass[bodies] * mass
        self._inertia[at_bodies] = model.body_inertia[bodies] * mass[:, :, None]
        self._friction[at_geoms] = model.geom_friction[geoms] * friction[:, :, None]
        radius = model.geom_size[geoms, 0]
        self._size[slots[:, None], geoms, 0] = radius * thickness
        self._gravity[slots, 2] = [task.number("gravity") for task in tasks]
        self.batch.set_const(slots)
        growth = radius * (thickness - 1.0)
        self._lift[slots] = growth[:, self._is_foot].max(axis=1).clip(min=0.0)

    def draw_start(self, slots: Slots, rng: np.random.Generator) -> None:
        """Write a first state to `slots`; see `Robot.draw_start`."""
        super().draw_start(slots, rng)
        self._z[slots] += self._lift[slots]

    def _factors(self, kind: str, tasks: Sequence[Task]) -> Float[np.ndarray, "K L"]:
        """Return the factors on one property, [tasks, limbs]."""
        return np.array([[task.number(f"{kind}_{limb}") for limb in self.limbs] for task in tasks])


class RandomisedHopper(RandomisedRobot, Hopper):
    """Hopper with its task's masses, friction, thickness and gravity."""

    limbs = HOPPER_LIMBS
    parameters = dynamics_parameters(HOPPER_LIMBS)


class RandomisedWalker2d(RandomisedRobot, Walker2d):
    """Walker2d with its task's masses, friction, thickness and gravity."""

    limbs = WALKER_LIMBS
    parameters = dynamics_parameters(WALKER_LIMBS)
