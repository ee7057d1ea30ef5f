"""Using what was evolved: fresh policies on tasks that nobody has seen, under a frozen loss, and beside them under PPO.

Life k of a split is the same world for every learner: its task, its first weights, its noise and its starts of episodes all come from
one seed, (root, ADAPTATION, split, k). So fitness is compared task by task, and what luck there is is shared.

The unit of work is a chunk of lives in lockstep, a pure function of (setup, chunk): it does not matter in which process it is lived.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from actors.life_experience import LivedEpisode, What
from actors.lifetimes import LifeSeed, Stage, live
from envs.registry import resolve
from envs.task import Split, Task
from learners.learned_loss.inner_loop import LifeConfig, Lives, Objective
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
    """All that a process must know to live any chunk.

    Attributes:
        family: whose tasks.
        seed: root of every draw.
        life: under the learned loss; PPO's has the same steps and updates.
        loss: what the context costs and carries.
        baseline: PPO's settings.
        phi: [P]; None where only PPO lives.
    """

    family: str
    seed: int
    life: LifeConfig
    loss: LossConfig
    baseline: BaselineConfig
    phi: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class AdaptationChunk:
    """Lives [first, first + count) of a split, under one learner."""

    learner: Learner
    split: Split
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class AdaptedLife:
    """What became of one policy.

    Attributes:
        learner, split: of its chunk.
        life: its number within the split; the same number is the same task and luck under every learner.
        task: what it learned.
        fitness: mean return of whole episodes with the final policy.
        episodes: that ended while it learned, in order.
        not_finite: what was NaN or infinite in its life; None where nothing was.
    """

    learner: Learner
    split: Split
    life: int
    task: Task
    fitness: float
    episodes: tuple[LivedEpisode, ...]
    not_finite: What | None = None


@dataclass(frozen=True, kw_only=True)
class AdaptedChunk:
    """What a chunk came to.

    Attributes:
        lives: in order.
        env_steps: of all of them, those of the fitness included.
        busy_s: seconds that it took.
        cut_episodes: of the fitness, that had not ended when they were cut.
    """

    lives: tuple[AdaptedLife, ...]
    env_steps: int
    busy_s: float
    cut_episodes: int


def chunks_for(learner: Learner, split: Split, num_lives: int, lives_per_chunk: int) -> list[AdaptationChunk]:
    """Cut lives into chunks; the last one may be smaller."""
    return [
        AdaptationChunk(learner=learner, split=split, first=first, count=min(lives_per_chunk, num_lives - first))
        for first in range(0, num_lives, lives_per_chunk)
    ]


def adapt(setup: AdaptationSetup, chunk: AdaptationChunk, on_update: Callable[[int], None] | None = None) -> AdaptedChunk:
    """Live the lives of `chunk`.

    Args:
        setup: of all chunks.
        chunk: which lives.
        on_update: told after each update how many lives have made it.
    """
    torch.set_num_threads(1)
    family = resolve(setup.family)
    life = setup.life if chunk.learner == "learned" else baseline_life(setup.life, setup.baseline)
    numbers = range(chunk.first, chunk.first + chunk.count)
    seeds = [LifeSeed(seed_sequence(setup.seed, Stream.ADAPTATION, SPLITS.index(chunk.split), number)) for number in numbers]
    tasks = [seed.draw_task(family, chunk.split) for seed in seeds]

    def tell(_: int, lives: Lives) -> None:
        if on_update is not None:
            on_update(lives.num_lives)

    stage = Stage(family, chunk.count, life.fitness_episodes)
    try:
        record = live(stage, life, _objective(setup, chunk, stage.spec), tasks, seeds, on_update=tell)
    finally:
        stage.close()
    lives = tuple(
        AdaptedLife(
            learner=chunk.learner,
            split=chunk.split,
            life=number,
            task=tasks[row],
            fitness=float(record.fitness[row]),
            episodes=tuple(episode for episode in record.episodes if episode.life == row),
            not_finite=record.not_finite[row],
        )
        for row, number in enumerate(numbers)
    )
    return AdaptedChunk(lives=lives, env_steps=record.env_steps, busy_s=record.seconds, cut_episodes=record.cut_episodes)


def _objective(setup: AdaptationSetup, chunk: AdaptationChunk, spec: SpaceSpec) -> Objective:
    if chunk.learner == "ppo":
        return PpoObjective(setup.baseline.ppo)
    assert setup.phi is not None
    phis = np.tile(setup.phi.astype(np.float32), (chunk.count, 1))
    return LearnedObjective(setup.loss, LossShape.of(setup.loss, spec), torch.from_numpy(phis))
