"""The outer loop's unit of work: a chunk of lives of one epoch, lived in lockstep.

What a chunk comes to is a pure function of (setup, chunk, phi), so it does not matter who lives it, when, or how often. How an epoch is cut
belongs to the run (`lives_per_chunk`), since the rounding of batched products may depend on how many lives stand side by side.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from actors.life_experience import What
from actors.lifetimes import LifeSeed, Stage, check_can_be_lived_in, live
from actors.messages import Work
from envs.contract import make_env, sample_tasks
from envs.one_hot import as_vectors
from envs.registry import resolve
from envs.task import Task
from learners.evolution import EvolutionConfig, perturbed, vector_and_replica
from learners.learned_loss.inner_loop import LifeConfig, Objective
from learners.learned_loss.network import LossConfig, LossShape, draw_phi
from learners.learned_loss.objectives import GuidedObjective, LearnedObjective, PpoObjective
from learners.networks.spaces import SpaceSpec
from learners.seeds import Stream, generator, seed_sequence
from learners.trajectory import Episode, Snapshot

Kind = Literal["perturbed", "evaluation"]


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some lives of an epoch.

    Attributes:
        kind: lives under perturbed losses, whose fitness moves phi, or under phi itself, whose fitness judges it.
        epoch: which epoch.
        index: of the chunk, within its epoch and kind.
        first, count: the lives [first, first + count) of the epoch.
        num_workers, num_vectors: W and V of the epoch.
        alpha: PPO's share of the inner loss.
    """

    kind: Kind
    epoch: int
    index: int
    first: int
    count: int
    num_workers: int
    num_vectors: int
    alpha: float


@dataclass(frozen=True, kw_only=True)
class NotFinite:
    """A life in which something was NaN or infinite: its number within the epoch, what it was, and its task for a person."""

    life: int
    what: What
    task: str


@dataclass(frozen=True, kw_only=True)
class ChunkResult:
    """What the lives of a chunk came to.

    Attributes:
        kind, epoch, index: of the chunk.
        fitness: of each life, in order.
        env_steps: that they took, those of the fitness included.
        busy_s: seconds that they took.
        figures: means over the lives.
        not_finite: lives in which something was not a finite number, in order.
        cut_episodes: of the fitness, that had not ended when they were cut.
    """

    kind: Kind
    epoch: int
    index: int
    fitness: tuple[float, ...]
    env_steps: int
    busy_s: float
    figures: dict[str, float] = field(default_factory=dict)
    not_finite: tuple[NotFinite, ...] = ()
    cut_episodes: int = 0
    episodes: tuple[Episode, ...] = ()
    settled: tuple[float, ...] = ()
    state: None = None

    @property
    def counts(self) -> dict[str, int]:
        """Lives, those that are not finite (what was lived before they were named has its fitness to tell), and episodes that were cut."""
        not_finite = max(len(self.not_finite), sum(not math.isfinite(value) for value in self.fitness))
        return {"lives": len(self.fitness), "lives/not_finite": not_finite, "episodes/cut": self.cut_episodes}

    @property
    def samples(self) -> dict[str, tuple[float, ...]]:
        """The fitness of every life."""
        return {"fitness/histogram": self.fitness}


@dataclass(frozen=True, kw_only=True)
class LifeSetup:
    """All that a worker must know to live any chunk of a run."""

    family: str
    run_seed: int
    life: LifeConfig
    loss: LossConfig
    evolution: EvolutionConfig


def chunks_of(kind: Kind, epoch: int, num_workers: int, num_vectors: int, lives_per_chunk: int, alpha: float) -> list[Chunk]:
    """Cut an epoch into chunks; the last one may be smaller."""
    return [
        Chunk(
            kind=kind,
            epoch=epoch,
            index=index,
            first=first,
            count=min(lives_per_chunk, num_workers - first),
            num_workers=num_workers,
            num_vectors=num_vectors,
            alpha=alpha,
        )
        for index, first in enumerate(range(0, num_workers, lives_per_chunk))
    ]


def spaces_of(family_name: str) -> SpaceSpec:
    """Return the spaces of a family, read off an environment of one slot.

    Raises:
        InvalidInputError: there is no such family, or it cannot be lived in.
    """
    family = resolve(family_name)
    env = as_vectors(make_env(family, sample_tasks(family, 1, np.random.default_rng(0))))
    try:
        check_can_be_lived_in(family, env)
        return SpaceSpec.of(env)
    finally:
        env.close()


def initial_phi(setup: LifeSetup) -> np.ndarray:
    """Return the phi that a run starts from, float32."""
    shape = LossShape.of(setup.loss, spaces_of(setup.family))
    return draw_phi(shape, generator(setup.run_seed, Stream.LOSS)).astype(np.float32)


class LifeRunner:
    """Lives chunks, one after the other, in one process; keeps the environments of each size at hand."""

    def __init__(self, setup: LifeSetup) -> None:
        torch.set_num_threads(1)
        self._setup, self._family = setup, resolve(setup.family)
        self._stop = threading.Event()
        self._stages: dict[int, Stage] = {}

    def collect(self, work: Work, weights: Snapshot) -> tuple[ChunkResult, None]:
        """See `actors.messages.Collector`; LivesStoppedError when another thread calls `stop`."""
        return self.live(work.request, weights.arrays["phi"]), None

    def live(self, chunk: Chunk, phi: np.ndarray) -> ChunkResult:
        """Live the lives of `chunk`, under losses around `phi`."""
        setup, stage = self._setup, self._stage(chunk.count)
        numbers = range(chunk.first, chunk.first + chunk.count)
        seeds = [self._seed(chunk, life) for life in numbers]
        tasks = self._tasks(seeds)
        record = live(stage, setup.life, self._objective(stage, chunk, phi), tasks, seeds, stop=self._stop)
        returns = [episode.episode_return for episode in record.episodes if math.isfinite(episode.episode_return)]
        named = zip(numbers, record.not_finite, tasks, strict=True)
        return ChunkResult(
            kind=chunk.kind,
            epoch=chunk.epoch,
            index=chunk.index,
            fitness=tuple(record.fitness.tolist()),
            env_steps=record.env_steps,
            busy_s=record.seconds,
            figures={"lives/training_return": float(np.mean(returns))} if returns else {},
            not_finite=tuple(NotFinite(life=life, what=what, task=str(task)) for life, what, task in named if what is not None),
            cut_episodes=record.cut_episodes,
        )

    def stop(self) -> None:
        """End the chunk under way within a step, and every later one at once."""
        self._stop.set()

    def _stage(self, num_lives: int) -> Stage:
        if num_lives not in self._stages:
            self._stages[num_lives] = Stage(self._family, num_lives, self._setup.life.fitness_episodes)
        return self._stages[num_lives]

    def _tasks(self, seeds: list[LifeSeed]) -> list[Task]:
        return [seed.draw_task(self._family, "train") for seed in seeds]

    def _seed(self, chunk: Chunk, life: int) -> LifeSeed:
        """The life's seed: that of its vector, or of its pair where the two share their random numbers."""
        evolution, run_seed = self._setup.evolution, self._setup.run_seed
        if chunk.kind == "evaluation":
            return LifeSeed(seed_sequence(run_seed, Stream.EVALUATION_LIVES, chunk.epoch, life))
        vector, replica = vector_and_replica(evolution, life, chunk.num_workers, chunk.num_vectors)
        group = vector // 2 if evolution.antithetic and evolution.common_random_numbers else vector
        return LifeSeed(seed_sequence(run_seed, Stream.PERTURBED_LIVES, chunk.epoch, group, replica))

    def _objective(self, stage: Stage, chunk: Chunk, phi: np.ndarray) -> Objective:
        setup = self._setup
        if chunk.kind == "evaluation":
            phis = np.broadcast_to(phi, (chunk.count, phi.size))
        else:
            vectors = [
                vector_and_replica(setup.evolution, life, chunk.num_workers, chunk.num_vectors)[0]
                for life in range(chunk.first, chunk.first + chunk.count)
            ]
            drawn = {v: perturbed(setup.evolution, phi, setup.run_seed, chunk.epoch, v) for v in dict.fromkeys(vectors)}
            phis = np.stack([drawn[vector] for vector in vectors])
        return objective(setup, stage.spec, phis, chunk.alpha)

    def close(self) -> None:
        """End the environments."""
        for stage in self._stages.values():
            stage.close()
        self._stages.clear()


def objective(setup: LifeSetup, spec: SpaceSpec, phis: np.ndarray, alpha: float, dtype: torch.dtype = torch.float32) -> Objective:
    """Return what lives minimise under `phis` [L, P] with PPO's share `alpha`."""
    learned = LearnedObjective(setup.loss, LossShape.of(setup.loss, spec), torch.from_numpy(np.array(phis)).to(dtype))
    return learned if alpha == 0 else GuidedObjective(learned, PpoObjective(setup.life.ppo), alpha)
