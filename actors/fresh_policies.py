"""Testing an evolved loss: fresh policies on held-out tasks, trained by the frozen loss, and by PPO for comparison.

Lifetime k of a split is the same for every learner: its task, initial weights, noise and episode starts all come from one seed, (root,
ADAPTATION, split, k). So fitness is compared task by task, under common random numbers.

The unit of work is a chunk of lifetimes in lockstep, a pure function of (setup, chunk): it does not matter which process runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from actors.inner_loop_buffer import InnerEpisode, Quantity
from actors.lifetimes import LifetimeEnvs, LifetimeSeed, run_lifetimes
from actors.messages import Report
from envs.registry import resolve
from envs.task import Split, Task
from learners.learned_loss.inner_loop import LifetimeConfig, Objective
from learners.learned_loss.network import LossConfig, LossShape
from learners.learned_loss.objectives import LearnedObjective, PpoObjective
from learners.learned_loss.ppo_baseline import BaselineConfig, baseline_life
from learners.networks.spaces import SpaceSpec
from learners.seeds import Stream, seed_sequence

Learner = Literal["learned", "ppo"]
"""What a policy is trained by: the learned loss alone (alpha = 0), or PPO alone."""

SPLITS: tuple[Split, ...] = ("train", "test")
"""In the order of their numbers in the seed tree."""


@dataclass(frozen=True, kw_only=True)
class AdaptationSetup:
    """What a process needs to run any chunk.

    Attributes:
        family: whose tasks.
        seed: root of every draw.
        life: under the learned loss; PPO's has the same steps and updates.
        loss: what the context costs and carries.
        baseline: PPO's settings.
        phi: [P]; None where every learner is PPO.
    """

    family: str
    seed: int
    life: LifetimeConfig
    loss: LossConfig
    baseline: BaselineConfig
    phi: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class AdaptationChunk:
    """Lifetimes [first, first + count) of a split, under one learner."""

    learner: Learner
    split: Split
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class AdaptedPolicy:
    """The result of one lifetime.

    Attributes:
        learner, split: of its chunk.
        number: of the lifetime within the split; the same number has the same task and random numbers under every learner.
        task: what it learned.
        fitness: mean return of whole episodes with the final policy.
        episodes: that ended while it learned, in order.
        not_finite: what was NaN or infinite; None where nothing was.
    """

    learner: Learner
    split: Split
    number: int
    task: Task
    fitness: float
    episodes: tuple[InnerEpisode, ...]
    not_finite: Quantity | None = None


@dataclass(frozen=True, kw_only=True)
class AdaptedChunk(Report):
    """The result of a chunk, which is its report: `env_steps` has the steps of the fitness in it.

    Attributes:
        policies: in order.
        cut_episodes: of the fitness, that had not ended when they were cut.
    """

    policies: tuple[AdaptedPolicy, ...]
    cut_episodes: int


def chunks_for(learner: Learner, split: Split, num_lifetimes: int, lives_per_chunk: int) -> list[AdaptationChunk]:
    """Cut lifetimes into chunks; the last one may be smaller."""
    return [
        AdaptationChunk(learner=learner, split=split, first=first, count=min(lives_per_chunk, num_lifetimes - first))
        for first in range(0, num_lifetimes, lives_per_chunk)
    ]


def adapt(
    setup: AdaptationSetup, chunk: AdaptationChunk, on_update: Callable[[int], None] = lambda num_lifetimes: None
) -> AdaptedChunk:
    """Run the lifetimes of `chunk`.

    Args:
        setup: of all chunks.
        chunk: which lifetimes.
        on_update: called after each update with the number of lifetimes that made it.
    """
    torch.set_num_threads(1)
    family = resolve(setup.family)
    life = setup.life if chunk.learner == "learned" else baseline_life(setup.life, setup.baseline)
    numbers = range(chunk.first, chunk.first + chunk.count)
    roots = [seed_sequence(setup.seed, Stream.ADAPTATION, SPLITS.index(chunk.split), number) for number in numbers]
    envs = LifetimeEnvs(family, chunk.count, life.fitness_episodes)
    try:
        result = run_lifetimes(
            envs,
            life,
            _objective(setup, chunk, envs.spec),
            [LifetimeSeed(root) for root in roots],
            chunk.split,
            on_update=lambda _, lifetimes: on_update(lifetimes.num_lifetimes),
        )
    finally:
        envs.close()
    policies = tuple(
        AdaptedPolicy(
            learner=chunk.learner,
            split=chunk.split,
            number=number,
            task=result.tasks[row],
            fitness=float(result.fitness[row]),
            episodes=tuple(episode for episode in result.episodes if episode.lifetime == row),
            not_finite=result.not_finite[row],
        )
        for row, number in enumerate(numbers)
    )
    return AdaptedChunk(policies=policies, env_steps=result.env_steps, busy_s=result.seconds, cut_episodes=result.cut_episodes)


def _objective(setup: AdaptationSetup, chunk: AdaptationChunk, spec: SpaceSpec) -> Objective:
    if chunk.learner == "ppo":
        return PpoObjective(setup.baseline.ppo)
    assert setup.phi is not None
    phis = np.tile(setup.phi.astype(np.float32), (chunk.count, 1))
    return LearnedObjective(setup.loss, LossShape.of(setup.loss, spec), torch.from_numpy(phis))
