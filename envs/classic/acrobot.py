"""Acrobot: swing the tip of a two-link arm above a line by torque on the joint between the links.

Equal to gymnasium's Acrobot-v1 (the book's equations, 500 steps).

Reference: Sutton and Barto (2018), section 11.3 of the first edition.
"""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box, Discrete

from envs.classic.base import NumpyEnv
from envs.slots import RowRandom

_TIME_STEP = 0.2  # s
_GRAVITY = 9.8  # m/s^2
_MAX_SPEED_1, _MAX_SPEED_2 = 4 * np.pi, 9 * np.pi  # rad/s
_HIGH = np.array([1.0, 1.0, 1.0, 1.0, _MAX_SPEED_1, _MAX_SPEED_2], np.float32)
# Both links: length 1 m, mass 1 kg, centre of mass at half the length, moment of inertia 1 kg m^2.
_CENTRE, _INERTIA = 0.5, 1.0


class Acrobot(NumpyEnv):
    """State (theta1, theta2, theta1', theta2'), zero hanging; actions 0, 1, 2 are torques -1, 0, 1 N m; reward -1 until the tip is up."""

    observation = Box(-_HIGH, _HIGH, dtype=np.float32)
    action = Discrete(3)
    max_steps = 500

    def initial_state(self, slots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Near rest, rounded to single precision as gymnasium rounds it."""
        return rng.uniform(-0.1, 0.1, (len(slots), 4)).astype(np.float32).astype(np.float64)

    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One Runge-Kutta step of 0.2 s, then angles wrapped to [-pi, pi] and speeds bounded."""
        before = np.ascontiguousarray(state.T)
        torque = actions - 1.0
        k1 = _derivative(before, torque)
        k2 = _derivative(before + _TIME_STEP / 2 * k1, torque)
        k3 = _derivative(before + _TIME_STEP / 2 * k2, torque)
        k4 = _derivative(before + _TIME_STEP * k3, torque)
        after = before + _TIME_STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        _wrap(after[:2])
        np.clip(after[2], -_MAX_SPEED_1, _MAX_SPEED_1, out=after[2])
        np.clip(after[3], -_MAX_SPEED_2, _MAX_SPEED_2, out=after[3])
        terminated = -np.cos(after[0]) - np.cos(after[1] + after[0]) > 1.0
        return after.T, np.where(terminated, 0.0, -1.0), terminated

    def observe(self, state: np.ndarray) -> np.ndarray:
        """(cos theta1, sin theta1, cos theta2, sin theta2, theta1', theta2')."""
        theta1, theta2, speed1, speed2 = state.T
        columns = [np.cos(theta1), np.sin(theta1), np.cos(theta2), np.sin(theta2), speed1, speed2]
        return np.stack(columns, axis=1, dtype=np.float32, casting="same_kind")


def _derivative(state: np.ndarray, torque: np.ndarray) -> np.ndarray:
    """The time derivative of states [4, B], Sutton and Barto's equations."""
    theta1, theta2, speed1, speed2 = state
    cos2, sin2 = np.cos(theta2), np.sin(theta2)
    d1 = _CENTRE**2 + (1.0 + _CENTRE**2 + 2 * _CENTRE * cos2) + 2 * _INERTIA
    d2 = _CENTRE**2 + _CENTRE * cos2 + _INERTIA
    phi2 = _CENTRE * _GRAVITY * np.cos(theta1 + theta2 - np.pi / 2)
    phi1 = (
        -_CENTRE * speed2**2 * sin2
        - 2 * _CENTRE * speed2 * speed1 * sin2
        + (_CENTRE + 1.0) * _GRAVITY * np.cos(theta1 - np.pi / 2)
        + phi2
    )
    acc2 = (torque + d2 / d1 * phi1 - _CENTRE * speed1**2 * sin2 - phi2) / (_CENTRE**2 + _INERTIA - d2**2 / d1)
    acc1 = -(d2 * acc2 + phi1) / d1
    return np.array([speed1, speed2, acc1, acc2])


def _wrap(angle: np.ndarray) -> None:
    """Bring angles into [-pi, pi] in place, by whole turns."""
    while (too_large := angle > np.pi).any():
        angle[too_large] -= 2 * np.pi
    while (too_small := angle < -np.pi).any():
        angle[too_small] += 2 * np.pi
