"""The outer loop of Evolved Policy Gradients: an evolution strategy over phi, the parameters of a loss function.

    phi_v = phi + sigma eps_v,     eps_v ~ N(0, I),     F_v = mean fitness of the lifetimes trained on L_{phi_v}
    g     = (1/V) sum_v u(F)_v eps_v - c phi,           phi <- phi + Adam(g)

with u the ranks of `learners.ops.ranks`, sigma fixed, and the step size falling linearly over the first half of the epochs. An epoch is W
lifetimes, W/V for each of V vectors; the vectors come in pairs eps, -eps whose lifetimes share all random numbers. The learned loss is
mixed with PPO's at first: alpha falls linearly from 1 over the first epochs (`learners.learned_loss.objectives`).

Noise is a function of (seed of the run, epoch, pair) and is drawn again wherever it is needed, so it is never sent. Sums are taken in
the order of the vectors: phi is the same bit for bit for any order of arrival and any number of workers.

Reference: Houthooft et al. (2018), the outer loop, and its released code (evolution.py). Deviations:

1. Antithetic pairs and common random numbers, which the released code does not have; `antithetic = false` and
   `common_random_numbers = false` are the published form.
2. Ties of fitness share a rank.
3. An epoch whose search gradient is zero leaves phi as it is: all vectors tie, or the two of every pair do, as in the first epoch, where
   PPO alone is minimised and only tasks differ. Adam would make a full step of weight decay's small gradient.
4. The guide's share reaches 0 and stays there; the release's option of a floor is `guidance_floor`.

Letters: V vectors, W lifetimes ("workers" in the paper), R = W/V lifetimes of a vector, P parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from msgspec import Meta

from learners.ops.ranks import centred_ranks, pairwise_ranks

NOISE_KEY = 0xE7
"""Separates the noise from every other draw of the same seed."""


@dataclass(frozen=True, kw_only=True)
class EvolutionConfig:
    """The evolution strategy."""

    sigma: Annotated[float, Meta(gt=0, le=100, description="standard deviation of the perturbation of phi, fixed")] = 0.01
    learning_rate: Annotated[float, Meta(gt=0, le=10, description="step size of the outer Adam at the start")] = 1e-2
    final_learning_rate: Annotated[float, Meta(gt=0, le=10, description="step size from half of the scheduled epochs on")] = 1e-3
    weight_decay: Annotated[float, Meta(ge=0, le=1, description="c: weight decay of phi, added to the gradient")] = 1e-3
    beta1: Annotated[float, Meta(ge=0, lt=1, description="decay of the outer Adam's first moment")] = 0.0
    beta2: Annotated[float, Meta(ge=0, lt=1, description="decay of the outer Adam's second moment")] = 0.999
    antithetic: Annotated[bool, Meta(description="vectors in pairs eps, -eps; false: all independent, as published")] = True
    common_random_numbers: Annotated[
        bool, Meta(description="both of a pair have the same task, first weights and noise; false: independent, as published")
    ] = True
    ranks: Annotated[
        Literal["centred", "pairwise"],
        Meta(description="fitness as centred ranks of all vectors, or by comparison within each pair"),
    ] = "centred"
    guidance_share: Annotated[
        float,
        Meta(ge=0, le=1, description="share of the scheduled epochs over which PPO's guidance falls from 1; 0: no guidance"),
    ] = 0.125
    guidance_floor: Annotated[float, Meta(ge=0, le=1, description="where PPO's guidance ends and stays")] = 0.0


EPSILON = 1e-8
"""Adam's, in the denominator."""


@dataclass(frozen=True, kw_only=True)
class OuterState:
    """State of the outer loop between epochs.

    Attributes:
        phi: the loss function's parameters.
        first_moment, second_moment: Adam's.
        num_steps: steps of Adam.
        epoch: number of epochs.
        best_phi, best_score: of the evaluation with the highest score; None before the first.
    """

    phi: Float[np.ndarray, " P"]
    first_moment: Float[np.ndarray, " P"]
    second_moment: Float[np.ndarray, " P"]
    num_steps: int = 0
    epoch: int = 0
    best_phi: Float[np.ndarray, " P"] | None = None
    best_score: float | None = None

    @property
    def version(self) -> int:
        """Number of updates: epochs, including those that left phi unchanged."""
        return self.epoch


def init(config: EvolutionConfig, phi: Float[np.ndarray, " P"]) -> OuterState:
    """Return the state before the first epoch; independent of `config`."""
    return OuterState(
        phi=phi.astype(np.float32),
        first_moment=np.zeros(phi.size, np.float64),
        second_moment=np.zeros(phi.size, np.float64),
    )


def noise(run_seed: int, epoch: int, index: int, size: int) -> Float[np.ndarray, " P"]:
    """Return noise vector `index` of an epoch: that of pair `index` where vectors come in pairs; float32."""
    rng = np.random.default_rng(np.random.SeedSequence(run_seed, spawn_key=(NOISE_KEY, epoch, index)))
    return rng.standard_normal(size, dtype=np.float32)


def vector_noise(config: EvolutionConfig, run_seed: int, epoch: int, vector: int, size: int) -> Float[np.ndarray, " P"]:
    """Return eps_v: in pairs, vector 2p is +noise p and vector 2p + 1 is -noise p."""
    if not config.antithetic:
        return noise(run_seed, epoch, vector, size)
    drawn = noise(run_seed, epoch, vector // 2, size)
    return -drawn if vector % 2 else drawn


def vector_and_replica(config: EvolutionConfig, index: int, num_workers: int, num_vectors: int) -> tuple[int, int]:
    """Return the vector of lifetime `index` of an epoch, and its number among that vector's R lifetimes.

    The two lifetimes of a pair are neighbours: lifetimes 2k and 2k + 1 are replica k mod R of pair k // R.
    """
    replicas = num_workers // num_vectors
    if not config.antithetic:
        return index // replicas, index % replicas
    return 2 * (index // 2 // replicas) + index % 2, index // 2 % replicas


def perturbed(
    config: EvolutionConfig, phi: Float[np.ndarray, " P"], run_seed: int, epoch: int, vector: int
) -> Float[np.ndarray, " P"]:
    """Return phi + sigma eps_v, float32."""
    return phi + np.float32(config.sigma) * vector_noise(config, run_seed, epoch, vector, phi.size)


def utilities(config: EvolutionConfig, fitness: Float[np.ndarray, " W"], num_vectors: int) -> Float[np.ndarray, " V"]:
    """Return u(F)_v of each vector, from the fitness of all lifetimes in order."""
    table = np.empty((num_vectors, fitness.size // num_vectors))
    for index, value in enumerate(fitness):
        table[vector_and_replica(config, index, fitness.size, num_vectors)] = value
    return pairwise_ranks(table) if config.ranks == "pairwise" else centred_ranks(table)


def search_gradient(
    config: EvolutionConfig, utility: Float[np.ndarray, " V"], run_seed: int, epoch: int, size: int
) -> Float[np.ndarray, " P"]:
    """Return (1/V) sum_v u_v eps_v, summed in the order of the noise vectors, float64."""
    weights = utility[0::2] - utility[1::2] if config.antithetic else utility
    total = np.zeros(size)
    for index, weight in enumerate(weights):
        total += weight * noise(run_seed, epoch, index, size)
    return total / utility.size


def learning_rate(config: EvolutionConfig, epoch: int, num_epochs: int) -> float:
    """Return the step size of an epoch: from the first to the final one over half of `num_epochs`, then constant."""
    done = min(1.0, epoch / max(1.0, 0.5 * num_epochs))
    return config.learning_rate + done * (config.final_learning_rate - config.learning_rate)


def guidance_alpha(config: EvolutionConfig, epoch: int, num_epochs: int) -> float:
    """Return alpha, PPO's share of the inner loss in an epoch of a run whose schedules span `num_epochs`."""
    if config.guidance_share == 0:
        return config.guidance_floor
    done = min(1.0, epoch / (config.guidance_share * num_epochs))
    return 1.0 + done * (config.guidance_floor - 1.0)


def update(
    config: EvolutionConfig,
    state: OuterState,
    fitness: Float[np.ndarray, " W"],
    *,
    num_vectors: int,
    num_epochs: int,
    run_seed: int,
) -> tuple[OuterState, dict[str, float]]:
    """Return the state after an epoch.

    Args:
        config: the evolution strategy.
        state: before the epoch.
        fitness: of its lifetimes, in the order of `vector_and_replica`.
        num_vectors: V.
        num_epochs: epochs of the step-size schedule: those of the config at the start of the run.
        run_seed: which the noise was drawn from.

    Returns:
        The next state, and scalars to log.
    """
    utility = utilities(config, fitness, num_vectors)
    search = search_gradient(config, utility, run_seed, state.epoch, state.phi.size)
    rate = learning_rate(config, state.epoch, num_epochs)
    moved = _adam(config, state, search - config.weight_decay * state.phi.astype(np.float64), rate) if search.any() else state
    scalars = fitness_figures(fitness) | {
        "evolution/learning_rate": rate,
        "evolution/gradient_norm": math.sqrt(float(np.square(search).sum())),
        "evolution/phi_norm": math.sqrt(float(np.square(moved.phi, dtype=np.float64).sum())),
        "evolution/step_norm": math.sqrt(float(np.square(moved.phi - state.phi, dtype=np.float64).sum())),
    }
    return replace(moved, epoch=state.epoch + 1), scalars


def fitness_figures(fitness: Float[np.ndarray, " W"]) -> dict[str, float]:
    """Return mean, standard deviation and range of the fitness that is finite, by name; NaN where none is."""
    finite = fitness[np.isfinite(fitness)]
    figures = (finite.mean(), finite.std(), finite.min(), finite.max()) if finite.size else (math.nan,) * 4
    return {f"fitness/{name}": float(value) for name, value in zip(("mean", "std", "min", "max"), figures, strict=True)}


def _adam(config: EvolutionConfig, state: OuterState, gradient: Float[np.ndarray, " P"], rate: float) -> OuterState:
    """Take a step of Adam up the gradient.

    In numpy and not by `learners.ops.optimisers`: a journal is replayed to the same phi on any machine, and torch's kernels fuse
    multiplication and addition where the processor can. By them a third of the second moments of 2000 epochs differ in their last bit,
    which reaches one number of phi in some 10^9.
    """
    step = state.num_steps + 1
    first = config.beta1 * state.first_moment + (1 - config.beta1) * gradient
    second = config.beta2 * state.second_moment + (1 - config.beta2) * np.square(gradient)
    direction = first / (1 - config.beta1**step) / (np.sqrt(second / (1 - config.beta2**step)) + EPSILON)
    phi = (state.phi + rate * direction).astype(np.float32)
    return replace(state, phi=phi, first_moment=first, second_moment=second, num_steps=step)
