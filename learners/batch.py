"""Conversion of trajectories to a batch of tensors on the learner's device.

A trajectory holds as many environments as its actor steps; an update wants `batch_unrolls` of them. `batches` splits or concatenates
columns (environments), never time, so that every unroll keeps its initial recurrent state and its bootstrap row.

Rows that no loss uses may hold anything (such as NaN final observations) and are made finite here, before they reach a network: a weight's
gradient is x^T g, and NaN times a gradient of zero is NaN. Losses mask reward and behaviour_log_prob themselves (`learners.ops.masks`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Shaped
from torch import Tensor

from learners.networks.agent import NetworkInputs
from learners.ops.frames import stack_frames
from learners.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class Batch(NetworkInputs):
    """The learner's input: `Trajectory`'s fields as tensors, frames stacked, previous action and reward for every step.

    The network's inputs have T + 1 rows, everything else T.
    Unused rows of them (`unused_rows`, and the actions of resets) are finite: zero in place of NaN and infinity.
    `weight` is 1 where step t is experience and 0 at the reset rows of next-step autoreset (see `learners.trajectory`).
    """

    action: Shaped[Tensor, "T B *A"]
    reward: Float32[Tensor, "T B"]
    terminated: Bool[Tensor, "T B"]
    weight: Float32[Tensor, "T B"]
    behaviour_log_prob: Float32[Tensor, "T B"]
    env_steps: int

    @property
    def num_envs(self) -> int:
        """B."""
        return int(self.reward.shape[1])

    def columns(self, which: slice) -> Batch:
        """The unrolls of some of the environments, as views."""
        steps: dict[str, Any] = {name: it[:, which] for name, it in vars(self).items() if isinstance(it, Tensor)}
        states = tuple(state[which] for state in self.initial_state)
        return Batch(**steps, initial_state=states, env_steps=int(steps["weight"].sum()))


def unused_rows(is_first: Bool[np.ndarray, "T+1 B"], terminated: Bool[np.ndarray, "T B"]) -> Bool[np.ndarray, "T+1 B"]:
    """Return the rows whose observation no step uses.

        is_used_t = w_t or (w_{t-1} and not terminated_{t-1}),      w_t = not is_first_{t+1},      w_{-1} = w_T = false

    Row t is used by step t, which acts on it, unless that step is a reset; and by step t - 1, which bootstraps from it, unless that one
    is a reset or terminated. The rest: the final observation of an episode that terminated; row 0 where it is a final observation,
    of either kind, for the step that led to it is in the unroll before; and the last row where an episode starts there.
    """
    is_step = ~is_first[1:]
    is_used = np.zeros_like(is_first)
    is_used[:-1] = is_step
    is_used[1:] |= is_step & ~terminated
    return ~is_used


def batch_of(trajectories: Sequence[Trajectory], columns: slice, device: torch.device) -> Batch:
    """Concatenate the `columns` of all `trajectories`, in order, and move them to `device`."""

    def concatenated(pick: Callable[[Trajectory], np.ndarray], axis: int = 1) -> np.ndarray:
        arrays = [pick(trajectory)[:, columns] if axis == 1 else pick(trajectory)[columns] for trajectory in trajectories]
        # concatenate copies: arrays from actors may be read-only views of shared memory
        return np.concatenate(arrays, axis=axis)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device, non_blocking=True)

    def finite(array: np.ndarray, is_unused: np.ndarray) -> Tensor:
        if array.dtype.kind == "f":  # integers are
            rows = array[is_unused]
            if not np.isfinite(rows).all():
                array[is_unused] = np.where(np.isfinite(rows), rows, 0)
        return tensor(array)

    first = trajectories[0]
    starts, terminated = concatenated(lambda it: it.is_first), concatenated(lambda it: it.terminated)
    is_unused, is_first = unused_rows(starts, terminated), tensor(starts)
    obs = finite(concatenated(lambda it: it.obs), is_unused)
    if len(first.frame_history):
        history = concatenated(lambda it: it.frame_history)
        obs = stack_frames(obs, finite(history, np.broadcast_to(is_unused[0], history.shape[:2])), is_first)
    action, reward = finite(concatenated(lambda it: it.action), starts[1:]), tensor(concatenated(lambda it: it.reward))
    previous_action = finite(concatenated(lambda it: it.previous_action, 0), is_unused[0])
    previous_reward = finite(concatenated(lambda it: it.previous_reward, 0), is_unused[0])
    states = tuple(
        finite(concatenated(lambda it, i=i: it.initial_state[i], 0), is_unused[0])  # type: ignore[misc]
        for i in range(len(first.initial_state))
    )
    return Batch(
        obs=obs,
        is_first=is_first,
        action=action,
        reward=reward,
        terminated=tensor(terminated),
        weight=(~is_first[1:]).to(torch.float32),
        behaviour_log_prob=tensor(concatenated(lambda it: it.behaviour_log_prob)),
        previous_action=torch.cat([previous_action[None], action]),
        previous_reward=torch.cat([previous_reward[None], reward]),
        initial_state=states,
        env_steps=sum(int(np.count_nonzero(~it.is_first[1:, columns])) for it in trajectories),
    )


def batches(trajectories: Sequence[Trajectory], batch_unrolls: int, device: torch.device) -> Iterator[Batch]:
    """Yield the batches of one learner call: several of one trajectory's columns, or one of several trajectories.

    Args:
        trajectories: B environments each; either one with B a multiple of `batch_unrolls`, or `batch_unrolls / B` of them.
        batch_unrolls: environments of a batch.
        device: device of the tensors.
    """
    num_envs = trajectories[0].num_envs
    if num_envs <= batch_unrolls:
        yield batch_of(trajectories, slice(None), device)
        return
    for trajectory in trajectories:
        for start in range(0, num_envs, batch_unrolls):
            yield batch_of([trajectory], slice(start, start + batch_unrolls), device)
