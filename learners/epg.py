"""Evolved Policy Gradients: evolution of a loss function that policies are trained on.

A round is an epoch of W lifetimes under V perturbed losses.

Reference: Houthooft et al. (2018), arXiv 1802.04821. The evolution strategy is `learners.evolution`, which lists the deviations; the
learned loss and the inner loop are in `learners.learned_loss`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from envs.errors import InvalidInputError
from learners import evolution
from learners.algorithm import Progress, Setup
from learners.evolution import EvolutionConfig, OuterState
from learners.learned_loss.inner_loop import LifetimeConfig
from learners.learned_loss.network import ARCHITECTURES, LossConfig, LossShape, draw_phi
from learners.seeds import Stream, generator


@dataclass(frozen=True, kw_only=True)
class Config:
    """The learner's side of a run."""

    evolution: EvolutionConfig = field(default_factory=EvolutionConfig)
    life: LifetimeConfig = field(default_factory=LifetimeConfig)
    loss: LossConfig = field(default_factory=LossConfig)


class ChunkFitness(Protocol):
    """The result of a chunk of lifetimes."""

    @property
    def fitness(self) -> Sequence[float]:
        """Of each lifetime, in order."""


def check(config: Config) -> None:
    """Check fields against each other. See `learners.algorithm`."""
    strategy = config.evolution
    if strategy.common_random_numbers and not strategy.antithetic:
        raise InvalidInputError(
            "evolution.common_random_numbers = true needs pairs, and evolution.antithetic = false makes none: set both to false"
        )
    if strategy.ranks == "pairwise" and not strategy.antithetic:
        raise InvalidInputError(
            'evolution.ranks = "pairwise" compares pairs, and evolution.antithetic = false makes none: try centred'
        )
    check_life(config.life, config.loss)


def check_life(life: LifetimeConfig, loss: LossConfig) -> None:
    """Check the size of the buffer against the updates and the convolutions of the loss.

    Raises:
        InvalidInputError: names the fields, their values and the nearest that would do.
    """
    shortest = ARCHITECTURES[loss.architecture].shortest_buffer
    if life.buffer_rows < shortest:
        raise InvalidInputError(
            f"life.buffer_rows = {life.buffer_rows} is shorter than the convolutions of the {loss.architecture} loss, "
            f"which need {shortest} steps: try {shortest} or more"
        )
    if life.buffer_rows < life.update_every:
        raise InvalidInputError(
            f"life.buffer_rows = {life.buffer_rows} must hold the {life.update_every} steps of an update (life.update_every): "
            f"try {life.update_every} or more"
        )
    check_minibatch("life", life.minibatch_rows, life.update_every)


def check_minibatch(group: str, minibatch_rows: int, update_every: int) -> None:
    """Check that the steps of an update divide into minibatches; InvalidInputError where they do not."""
    if update_every % minibatch_rows:
        raise InvalidInputError(
            f"{group}.minibatch_rows = {minibatch_rows} must divide life.update_every = {update_every}: "
            f"try {_divisor(update_every, minibatch_rows)}"
        )


def _divisor(value: int, near: int) -> int:
    """The divisor of `value` nearest to `near`."""
    return min((candidate for candidate in range(1, value + 1) if value % candidate == 0), key=lambda one: abs(one - near))


def init(config: Config, setup: Setup) -> tuple[LossShape, OuterState]:
    """Return the shape of the loss, and the state before the first epoch; phi is a numpy array on any device."""
    shape = LossShape.of(config.loss, setup.spec)
    phi = draw_phi(shape, generator(setup.run_seed, Stream.LOSS)).astype(np.float32)
    return shape, evolution.init(config.evolution, phi)


def weights(config: Config, state: OuterState, progress: Progress) -> dict[str, np.ndarray]:
    """Return phi; PPO's share of an epoch's inner loss is `learners.evolution.guidance_alpha`."""
    return {"phi": state.phi}


def update(
    agent: LossShape | None, config: Config, state: OuterState, experience: Sequence[ChunkFitness], progress: Progress
) -> tuple[OuterState, dict[str, float]]:
    """Move phi by the fitness of an epoch's lifetimes.

    Args:
        agent: the shape of the loss, which an update does not need.
        config: the evolution strategy.
        state: before the epoch.
        experience: its chunks of lifetimes, in order.
        progress: with the epochs that schedules are laid over as `total`, and in `settings` the epoch's `num_vectors` and `alpha`.
    """
    fitness = np.array([value for result in experience for value in result.fitness], dtype=np.float64)
    after, scalars = evolution.update(
        config.evolution,
        state,
        fitness,
        num_vectors=progress.settings.num_vectors,
        num_epochs=progress.total,
        run_seed=progress.run_seed,
    )
    size = {"evolution/workers": float(fitness.size), "evolution/vectors": float(progress.settings.num_vectors)}
    return after, scalars | size | {"epoch": float(after.epoch), "alpha": progress.settings.alpha}


def keep_best(config: Config, state: OuterState, score: float) -> OuterState:
    """Keep phi as the best one where `score`, of an evaluation of it, is the highest so far."""
    if not math.isfinite(score) or (state.best_score is not None and score <= state.best_score):
        return state
    return replace(state, best_phi=state.phi, best_score=score)
