"""The outer loop's unit of work: a chunk of an epoch's lifetimes, run in lockstep.

The result of a chunk is a pure function of (setup, chunk, phi), so it does not matter where, when or how often it is computed. How an epoch
is cut belongs to the run (`lives_per_chunk`), since the rounding of batched products may depend on how many lifetimes stand side by side.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from actors.inner_loop_buffer import Quantity
from actors.lifetimes import LifetimeEnvs, LifetimeSeed, check_restarts, run_lifetimes
from actors.messages import Report, Work
from envs.contract import make_env, sample_tasks
from envs.one_hot import as_vectors
from envs.registry import resolve
from learners.evolution import EvolutionConfig, perturbed, vector_and_replica
from learners.learned_loss.inner_loop import LifetimeConfig, Objective
from learners.learned_loss.network import LossConfig, LossShape
from learners.learned_loss.objectives import GuidedObjective, LearnedObjective, PpoObjective
from learners.networks.spaces import SpaceSpec
from learners.seeds import Stream, seed_sequence
from learners.trajectory import Snapshot

Kind = Literal["perturbed", "evaluation"]
"""Lifetimes under perturbed losses, whose fitness moves phi, or under phi itself, whose fitness evaluates it."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some lifetimes of an epoch.

    Attributes:
        kind: of the lifetimes.
        epoch: which epoch.
        index: of the chunk, within its epoch and kind.
        first, count: the lifetimes [first, first + count) of the epoch.
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

    @property
    def numbers(self) -> range:
        """Of its lifetimes, within the epoch."""
        return range(self.first, self.first + self.count)


@dataclass(frozen=True, kw_only=True)
class NotFinite:
    """A lifetime in which something was NaN or infinite: its number within the epoch, what it was, and its task as text."""

    life: int
    what: Quantity
    task: str


@dataclass(frozen=True, kw_only=True)
class ChunkResult(Report):
    """The result of a chunk, which is its report: `env_steps` has the steps of the fitness in it, `figures` are means over the lifetimes.

    Attributes:
        kind, epoch, index: of the chunk.
        fitness: of each lifetime, in order.
        not_finite: lifetimes in which something was not a finite number, in order.
        cut_episodes: of the fitness, that had not ended when they were cut.
    """

    kind: Kind
    epoch: int
    index: int
    fitness: tuple[float, ...]
    not_finite: tuple[NotFinite, ...] = ()
    cut_episodes: int = 0

    def __post_init__(self) -> None:
        """Derive counts and samples from the other fields, so that a result that was read from a journal has them too."""
        # older journals do not name the lifetimes that are not finite, but hold their fitness
        not_finite = max(len(self.not_finite), sum(not math.isfinite(value) for value in self.fitness))
        counts = {"lives": len(self.fitness), "lives/not_finite": not_finite, "episodes/cut": self.cut_episodes}
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "samples", {"fitness/histogram": self.fitness})


@dataclass(frozen=True, kw_only=True)
class LifetimeSetup:
    """What a worker needs to run any chunk of a run."""

    family: str
    run_seed: int
    life: LifetimeConfig
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
    """Return the spaces that lifetimes in a family have, read off an environment of one slot.

    Raises:
        InvalidInputError: there is no such family, or its engine cannot restart single slots.
    """
    family = resolve(family_name)
    env = as_vectors(make_env(family, sample_tasks(family, 1, np.random.default_rng(0))))
    try:
        check_restarts(family, env)
        return SpaceSpec.of(env)
    finally:
        env.close()


class LifetimeCollector:
    """Runs chunks one after the other in one process; keeps the environments of each size for reuse."""

    def __init__(self, setup: LifetimeSetup) -> None:
        torch.set_num_threads(1)
        self._setup, self._family = setup, resolve(setup.family)
        self._stop = threading.Event()
        self._envs: dict[int, LifetimeEnvs] = {}

    def collect(self, work: Work, weights: Snapshot) -> tuple[ChunkResult, None]:
        """See `actors.messages.Collector`; LifetimesStoppedError when another thread calls `stop`."""
        return self.run(work.request, weights.arrays["phi"]), None

    def run(self, chunk: Chunk, phi: np.ndarray) -> ChunkResult:
        """Run the lifetimes of `chunk`, under losses around `phi`."""
        envs = self.envs_of(chunk.count)
        seeds = [self._seed(chunk, number) for number in chunk.numbers]
        result = run_lifetimes(envs, self._setup.life, self._objective(envs, chunk, phi), seeds, stop=self._stop)
        returns = [episode.episode_return for episode in result.episodes if math.isfinite(episode.episode_return)]
        named = zip(chunk.numbers, result.not_finite, result.tasks, strict=True)
        return ChunkResult(
            kind=chunk.kind,
            epoch=chunk.epoch,
            index=chunk.index,
            fitness=tuple(result.fitness.tolist()),
            env_steps=result.env_steps,
            busy_s=result.seconds,
            figures={"lives/training_return": float(np.mean(returns))} if returns else {},
            not_finite=tuple(
                NotFinite(life=number, what=what, task=str(task)) for number, what, task in named if what is not None
            ),
            cut_episodes=result.cut_episodes,
        )

    def envs_of(self, num_lifetimes: int) -> LifetimeEnvs:
        """The environments of chunks of this size, made where there are none."""
        if num_lifetimes not in self._envs:
            self._envs[num_lifetimes] = LifetimeEnvs(self._family, num_lifetimes, self._setup.life.fitness_episodes)
        return self._envs[num_lifetimes]

    def stop(self) -> None:
        """Stop the chunk in progress within a step, and every later one at once."""
        self._stop.set()

    def _seed(self, chunk: Chunk, number: int) -> LifetimeSeed:
        """The lifetime's seed: that of its vector, or of its pair where the two share their random numbers."""
        evolution, run_seed = self._setup.evolution, self._setup.run_seed
        if chunk.kind == "evaluation":
            return LifetimeSeed(seed_sequence(run_seed, Stream.EVALUATION_LIFETIMES, chunk.epoch, number))
        vector, replica = vector_and_replica(evolution, number, chunk.num_workers, chunk.num_vectors)
        group = vector // 2 if evolution.antithetic and evolution.common_random_numbers else vector
        return LifetimeSeed(seed_sequence(run_seed, Stream.PERTURBED_LIFETIMES, chunk.epoch, group, replica))

    def _objective(self, envs: LifetimeEnvs, chunk: Chunk, phi: np.ndarray) -> Objective:
        setup, evolution = self._setup, self._setup.evolution
        if chunk.kind == "evaluation":
            phis = np.broadcast_to(phi, (chunk.count, phi.size))
        else:
            vectors = [vector_and_replica(evolution, number, chunk.num_workers, chunk.num_vectors)[0] for number in chunk.numbers]
            drawn = {v: perturbed(evolution, phi, setup.run_seed, chunk.epoch, v) for v in dict.fromkeys(vectors)}
            phis = np.stack([drawn[vector] for vector in vectors])
        return objective(setup, envs.spec, phis, chunk.alpha)

    def close(self) -> None:
        """Free the environments."""
        for envs in self._envs.values():
            envs.close()
        self._envs.clear()


def objective(
    setup: LifetimeSetup, spec: SpaceSpec, phis: np.ndarray, alpha: float, dtype: torch.dtype = torch.float32
) -> Objective:
    """Return what lifetimes minimise under `phis` [L, P] with PPO's share `alpha`."""
    learned = LearnedObjective(setup.loss, LossShape.of(setup.loss, spec), torch.from_numpy(np.array(phis)).to(dtype))
    return learned if alpha == 0 else GuidedObjective(learned, PpoObjective(setup.life.ppo), alpha)
