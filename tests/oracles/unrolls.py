"""Unrolls that cross every border: what the tests of multi-step targets feed on.

Environment 0 ends by termination, 1 by truncation, 2 not at all, 3 by both one after the other, the last at the unroll's last step; further
environments end at random. The row after an end is the reset: its reward is zero, its ratio arbitrary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Unroll:
    """Arrays [T, B] in float64; `value` has T + 1 rows, the last to bootstrap from."""

    log_ratio: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    is_reset: np.ndarray
    value: np.ndarray
    gamma: float

    @property
    def ended(self) -> np.ndarray:
        return self.terminated | self.truncated

    @property
    def discount(self) -> np.ndarray:
        return self.gamma * (1.0 - self.terminated)

    @property
    def weight(self) -> np.ndarray:
        return 1.0 - self.is_reset

    def experience(self) -> list[tuple[int, int]]:
        """(t, b) of every step that is experience."""
        return [(int(t), int(b)) for t, b in np.argwhere(~self.is_reset)]

    def tensors(self) -> dict[str, Tensor]:
        """The arguments that `gae` and `vtrace` share, but for lambda."""
        arrays = {
            "reward_t": self.reward,
            "discount_t": self.discount,
            "value_t": self.value[:-1],
            "value_tp1": self.value[1:],
            "weight_t": self.weight,
        }
        return {name: torch.tensor(array, dtype=torch.float64) for name, array in arrays.items()}

    @property
    def log_rho_t(self) -> Tensor:
        return torch.tensor(self.log_ratio, dtype=torch.float64)


def unroll(seed: int = 0, length: int = 9, num_envs: int = 5, gamma: float = 0.9) -> Unroll:
    """Draw an unroll; needs at least 9 steps and 4 environments for its scripted borders."""
    rng = np.random.default_rng(seed)
    terminated = np.zeros((length, num_envs), dtype=bool)
    truncated, is_reset = terminated.copy(), terminated.copy()
    scripted: list[tuple[int, int, np.ndarray]] = [
        (2, 0, terminated),
        (3, 1, truncated),
        (1, 3, terminated),
        (5, 3, truncated),
        (length - 1, 3, terminated),
    ]
    for t, b, flag in scripted:
        flag[t, b] = True
    for b in range(4, num_envs):
        t = int(rng.integers(length - 1))
        while t < length:
            (terminated if rng.random() < 0.5 else truncated)[t, b] = True
            t += 2 + int(rng.integers(length))
    is_reset[1:] = (terminated | truncated)[:-1]
    reward = np.where(is_reset, 0.0, rng.normal(size=is_reset.shape))
    return Unroll(
        log_ratio=rng.normal(scale=1.5, size=is_reset.shape),
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        is_reset=is_reset,
        value=rng.normal(size=(length + 1, num_envs)),
        gamma=gamma,
    )
