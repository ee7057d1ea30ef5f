"""CartPole: balance a pole on a cart by pushing the cart left or right.

Equal to gymnasium's CartPole-v1 (reward 1 a step, 500 steps), with gravity, length, masses and force given by the task.

Reference: Barto, Sutton, Anderson (1983), "Neuronlike adaptive elements that can solve difficult learning control problems";
the equations of motion are those of Florian (2007), "Correct equations for the dynamics of the cart-pole system", without friction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete

from envs.classic.base import NumpyEnv
from envs.slots import RowRandom
from envs.task import Parameter

_TIME_STEP = 0.02  # s
_MAX_POSITION = 2.4  # m
_MAX_ANGLE = 12 * 2 * math.pi / 360  # rad
# gymnasium allows twice the failing values, so that a final observation lies inside the space.
_HIGH = np.array([2 * _MAX_POSITION, np.inf, 2 * _MAX_ANGLE, np.inf], np.float32)

PHYSICS = (
    Parameter(name="gravity", doc="gravity, m/s^2", low=4.9, high=19.6),
    Parameter(name="half_length", doc="half the length of the pole, m", low=0.25, high=1.0),
    Parameter(name="pole_mass", doc="mass of the pole, kg", low=0.05, high=0.5),
    Parameter(name="cart_mass", doc="mass of the cart, kg", low=0.5, high=2.0),
    Parameter(name="force", doc="force of a push, N", low=5.0, high=20.0),
)
"""Half to twice the values of CartPole-v1; the pole up to five times as heavy, which alone changes the motion little."""


class CartPole(NumpyEnv):
    """State (x, x', theta, theta'); action 0 pushes left, 1 right; ends when |x| or |theta| grows too large."""

    observation = Box(-_HIGH, _HIGH, dtype=np.float32)
    action = Discrete(2)
    max_steps = 500
    defaults: ClassVar[Mapping[str, float]] = {
        "gravity": 9.8,
        "half_length": 0.5,
        "pole_mass": 0.1,
        "cart_mass": 1.0,
        "force": 10.0,
    }

    def initial_state(self, slots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Near rest: every number uniform in [-0.05, 0.05]."""
        return rng.uniform(-0.05, 0.05, (len(slots), 4))

    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One explicit Euler step."""
        x, x_dot, theta, theta_dot = state.T
        pole_mass, half_length = self.param("pole_mass"), self.param("half_length")
        total_mass = pole_mass + self.param("cart_mass")
        force = np.where(actions == 1, self.param("force"), -self.param("force"))
        cos, sin = np.cos(theta), np.sin(theta)

        push = (force + pole_mass * half_length * np.square(theta_dot) * sin) / total_mass
        theta_acc = (self.param("gravity") * sin - cos * push) / (
            half_length * (4.0 / 3.0 - pole_mass * np.square(cos) / total_mass)
        )
        x_acc = push - pole_mass * half_length * theta_acc * cos / total_mass

        after = np.array(
            [
                x + _TIME_STEP * x_dot,
                x_dot + _TIME_STEP * x_acc,
                theta + _TIME_STEP * theta_dot,
                theta_dot + _TIME_STEP * theta_acc,
            ]
        )
        terminated = (np.abs(after[0]) > _MAX_POSITION) | (np.abs(after[2]) > _MAX_ANGLE)
        return after.T, np.ones(self.num_envs), terminated
