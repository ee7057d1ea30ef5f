"""One unroll of N tasks as the learner's batch: the steps of each task as rows, with advantages over a baseline fitted per task.

    trajectory [T, N * E] --> rows [N, T * E]      G_t = r_t + gamma G_{t+1},  0 after an episode's end and after the unroll's
                              V_i = the linear baseline, fitted to task i's G      A = GAE(r, V_i), standardised within the task

There is no bootstrapping, neither at a time limit nor at the unroll's end: time is an input of the baseline and the return is that of
the horizon, as in MAML's released code (rllab). So an unroll should be as long as the episodes.

Letters: T steps, N tasks, E environments of a task, R = T * E rows, O observation, A action.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from learners.batch import Batch, batch_of
from learners.ops.gae import gae
from learners.ops.linear_baseline import linear_values
from learners.ops.returns import discounted_returns
from learners.trajectory import Trajectory

EPSILON = 1e-8
"""Added to the deviation of advantages (rllab)."""


@dataclass(frozen=True, kw_only=True)
class TaskBatch:
    """The steps of N tasks.

    Attributes:
        obs: observations.
        action: actions taken.
        advantage: of the action.
        weight: one where a step is experience, zero at a reset.
    """

    obs: Shaped[Tensor, "N R *O"]
    action: Shaped[Tensor, "N R *A"]
    advantage: Float[Tensor, "N R"]
    weight: Float[Tensor, "N R"]

    @property
    def num_tasks(self) -> int:
        """N."""
        return len(self.weight)

    def mean(self, x: Float[Tensor, "N R"]) -> Float[Tensor, " N"]:
        """The mean over the steps of each task."""
        return (x * self.weight).sum(dim=1) / self.weight.sum(dim=1).clamp(min=1)


def task_batch(
    trajectory: Trajectory, envs_per_task: int, *, gamma: float, lambda_: float, normalises: bool, like: Tensor
) -> TaskBatch:
    """Return an unroll, whose environments are ordered by task, as rows of its tasks.

    Args:
        trajectory: of N * E environments.
        envs_per_task: E.
        gamma: discount per step.
        lambda_: trace parameter of GAE; 1 gives returns less the baseline.
        normalises: standardise the advantages of each task.
        like: a tensor with the device and dtype to compute with.

    Gradient: none.
    """
    batch = batch_of([trajectory], slice(None), like.device)
    num_tasks = batch.num_envs // envs_per_task

    def rows(x: Tensor) -> Tensor:
        return x.view(len(x), num_tasks, envs_per_task, *x.shape[2:]).transpose(0, 1).flatten(1, 2)

    def columns(x: Tensor) -> Tensor:
        return x.view(num_tasks, -1, envs_per_task).transpose(0, 1).flatten(1, 2)

    obs, reward, weight = batch.obs[:-1], batch.reward.to(like), batch.weight.to(like)
    discount = gamma * _continues(batch).to(like)
    target = discounted_returns(reward, discount, torch.zeros_like(reward[0]))
    value = columns(linear_values(obs=rows(obs), time=rows(_time(batch)), target=rows(target), weight=rows(weight)))
    value_tp1 = torch.cat((value[1:], torch.zeros_like(value[:1])))
    trace = torch.tensor(lambda_, dtype=like.dtype, device=like.device)
    advantage = gae(reward_t=reward, discount_t=discount, value_t=value, value_tp1=value_tp1, lambda_=trace, weight_t=weight)
    made = TaskBatch(obs=rows(obs), action=rows(batch.action), advantage=rows(advantage), weight=rows(weight))
    return _standardised(made) if normalises else made


def _continues(batch: Batch) -> Tensor:
    """Whether the next step is in the same episode and in the unroll, [T, B]: a reset follows the end of an episode."""
    return torch.cat((batch.weight[1:] > 0, torch.zeros_like(batch.terminated[:1])))


def _time(batch: Batch) -> Tensor:
    """Number of earlier steps of the episode, [T, B]; an episode starts with the unroll."""
    index = torch.arange(len(batch.weight), device=batch.weight.device).unsqueeze(1)
    return index - torch.where(batch.is_first[:-1], index, 0).cummax(dim=0).values


def _standardised(batch: TaskBatch) -> TaskBatch:
    """The batch with advantages of mean 0 and standard deviation 1 within each task."""
    centred = (batch.advantage - batch.mean(batch.advantage).unsqueeze(1)) * batch.weight
    scale = batch.mean(centred.square()).sqrt().unsqueeze(1) + EPSILON
    return TaskBatch(obs=batch.obs, action=batch.action, advantage=centred / scale, weight=batch.weight)
