"""The record of an inner loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from actors.inner_loop_buffer import InnerLoopBuffer


def test_steps_stay_as_they_were_when_an_engine_reuses_its_arrays() -> None:
    spec = SimpleNamespace(obs_shape=(3,), num_actions=0, action_size=3)
    lifetimes: Any = SimpleNamespace(dtype=torch.float32, num_lifetimes=2, spec=spec)
    buffer, rows, flags = InnerLoopBuffer(lifetimes, 4), np.zeros((2, 3)), np.zeros(2, np.bool_)
    reward = np.zeros(2)
    for step in range(4):
        rows[:], reward[:], flags[:] = step, 10 * step, step == 3
        buffer.write(step, obs=rows, action=rows, next_obs=rows, reward=reward, is_terminated=flags, is_truncated=flags)
    steps = buffer.steps()
    assert steps.obs[:, :, 0].tolist() == [[0.0, 1.0, 2.0, 3.0]] * 2
    assert steps.reward.tolist() == [[0.0, 10.0, 20.0, 30.0]] * 2
    assert steps.is_terminated.tolist() == [[False, False, False, True]] * 2
