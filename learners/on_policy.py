"""On-policy experience with its rewards, values and advantages, as rows that minibatches are drawn from.

    G_t = r_t + gamma G_{t-1} within an episode,      r_t <- r_t / std(G),      A by GAE,      target = A + V

The moments of G are those of all rounds, this one included, so that one deviation divides all rewards of a round. A truncated step
bootstraps from the value of its final observation, and resets of next-step autoreset have weight zero (`learners.batch`).

Reference: Schulman et al. (2016) for GAE; Engstrom et al. (2020), "Implementation matters in deep policy gradients", for rewards in
deviations of their discounted return.
Letters: T time, B environments, N rows of a minibatch: steps, or environments where there is a core.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch
from torch import Tensor

from learners.actor_critic import LearnerState, Precision, forward, network_arrays, scaled_rewards
from learners.batch import Batch
from learners.networks.agent import Agent, NetworkInputs
from learners.ops.gae import gae
from learners.ops.masks import cleared
from learners.ops.normaliser import RunningMoments, update
from learners.ops.recurrence import backward_recurrence

MAX_NORMALISED_REWARD = 10.0
"""In standard deviations of the discounted return (CleanRL): bounds the effect of one faulty reward."""

ROWS_AT_ONCE = 2048
"""Rows per forward pass for the values of a round: keeps a layer's outputs in the cache, and bounds the memory of images."""


class ReturnConfig(Protocol):
    """The fields of an algorithm's config that returns and advantages use."""

    @property
    def gamma(self) -> float: ...
    @property
    def lambda_(self) -> float: ...
    @property
    def reward_scale(self) -> float: ...
    @property
    def reward_clip(self) -> float: ...
    @property
    def precision(self) -> Precision: ...


@dataclass(frozen=True, kw_only=True)
class RewardScale:
    """State of the reward normalisation.

    Attributes:
        moments: of the discounted returns of all steps so far.
        running: the discounted return [B] of each environment's current episode; None before the first round.
    """

    moments: RunningMoments
    running: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Rows(NetworkInputs):
    """Experience that minibatches are drawn from, [T, N, ...]; without a core T is 1 and N the number of steps."""

    action: Tensor
    log_prob: Tensor
    advantage: Tensor
    value: Tensor
    target: Tensor
    weight: Tensor

    @property
    def size(self) -> int:
        """N."""
        return self.weight.shape[1]

    def steps(self) -> list[Tensor]:
        """All tensors except the initial states, in the order of the fields."""
        return [getattr(self, name) for name in _STEPS]

    @staticmethod
    def of(steps: Sequence[Tensor], initial_state: tuple[Tensor, ...] = ()) -> Rows:
        """The inverse of `steps`."""
        return Rows(**dict(zip(_STEPS, steps, strict=True)), initial_state=initial_state)

    def minibatches(self, order: Tensor, count: int) -> Iterator[Rows]:
        """Yield the rows in this order, in `count` parts whose sizes differ by one at most; they are permuted once for all parts."""
        count = min(count, self.size)
        states = [state.index_select(0, order).tensor_split(count) for state in self.initial_state]
        for index, steps in enumerate(zip(*(one.index_select(1, order).tensor_split(count, 1) for one in self.steps()))):
            yield Rows.of(steps, tuple(state[index] for state in states))


_STEPS = [field.name for field in fields(Rows) if field.name != "initial_state"]


def rows_of(
    agent: Agent, config: ReturnConfig, state: LearnerState, scale: RewardScale | None, batch: Batch
) -> tuple[Rows, RewardScale | None]:
    """Return the rows of a round, with GAE's advantages, and the reward scale after it.

    Args:
        agent: the network.
        config: discount, trace parameter and reward scaling.
        state: of the value estimates.
        scale: the reward scale before the round; None without reward normalisation.
        batch: the round.
    """
    reward, scale = rewards(config, scale, batch)
    value = values(agent, config, state, batch)
    advantage = gae(
        reward_t=reward,
        discount_t=config.gamma * (~batch.terminated).to(value.dtype),
        value_t=value[:-1],
        value_tp1=value[1:],
        lambda_=torch.tensor(config.lambda_, dtype=value.dtype, device=value.device),
        weight_t=batch.weight,
    )
    rows = Rows(
        obs=batch.obs[:-1],
        is_first=batch.is_first[:-1],
        previous_action=batch.previous_action[:-1],
        previous_reward=batch.previous_reward[:-1],
        action=batch.action,
        log_prob=batch.behaviour_log_prob,
        advantage=advantage,
        value=value[:-1],
        target=advantage + value[:-1],
        weight=batch.weight,
        initial_state=batch.initial_state,
    )
    if agent.core is None:
        rows = Rows.of([tensor.flatten(0, 1).unsqueeze(0) for tensor in rows.steps()])
    return rows, scale


def rewards(config: ReturnConfig, scale: RewardScale | None, batch: Batch) -> tuple[Tensor, RewardScale | None]:
    """Return the scaled rewards, and the reward scale updated with their returns."""
    reward = scaled_rewards(batch.reward, config.reward_scale, config.reward_clip)
    if scale is None:
        return reward, None
    reward = cleared(reward, batch.weight)
    # the running return restarts with each episode, and everywhere if the number of environments has changed
    before = scale.running if scale.running is not None and len(scale.running) == batch.num_envs else None
    decay = config.gamma * (~batch.is_first[:-1]).to(reward.dtype)
    running = backward_recurrence(reward.flip(0), decay.flip(0), before).flip(0)
    moments = update(scale.moments, running, batch.weight)
    normalised = (reward / moments.std.to(reward.dtype)).clamp(-MAX_NORMALISED_REWARD, MAX_NORMALISED_REWARD)
    return normalised, replace(scale, moments=moments, running=running[-1])


@torch.no_grad()
def values(agent: Agent, config: ReturnConfig, state: LearnerState, batch: Batch) -> Tensor:
    """Return V of every observation, [T + 1, B]."""
    size, arrays = max(1, ROWS_AT_ONCE // len(batch.obs)), network_arrays(state)
    starts = range(0, batch.num_envs, size)
    parts = [batch] if len(starts) == 1 else [batch.columns(slice(start, start + size)) for start in starts]
    return torch.cat([forward(agent, arrays, part, config.precision).value for part in parts], dim=1)
