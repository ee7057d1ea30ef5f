"""The evolution strategy against its formulas, and on a problem whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from learners import epg, evolution
from learners.evolution import EvolutionConfig

PUBLISHED = EvolutionConfig(antithetic=False, common_random_numbers=False)
PAIRED = EvolutionConfig()


@pytest.mark.parametrize("config", [PAIRED, PUBLISHED], ids=["paired", "published"])
def test_every_vector_has_its_lifetimes_and_pairs_are_adjacent(config: EvolutionConfig) -> None:
    names = [evolution.vector_and_replica(config, lifetime, 24, 6) for lifetime in range(24)]
    assert sorted(names) == [(vector, replica) for vector in range(6) for replica in range(4)]
    if config.antithetic:
        for plus, minus in zip(names[0::2], names[1::2], strict=True):
            assert (plus[0] + 1, plus[1]) == minus


def test_a_pair_is_one_noise_with_both_signs() -> None:
    plus, minus = (evolution.vector_noise(PAIRED, 3, 7, vector, 50) for vector in (4, 5))
    np.testing.assert_array_equal(plus, -minus)
    np.testing.assert_array_equal(plus, evolution.noise(3, 7, 2, 50))


def test_noise_is_named_by_seed_epoch_and_index() -> None:
    draws = [evolution.noise(*name, 20) for name in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))]
    assert len({draw.tobytes() for draw in draws}) == 4
    np.testing.assert_array_equal(draws[3], evolution.noise(1, 0, 0, 20))
    assert abs(evolution.noise(0, 0, 0, 100_000).std() - 1) < 0.01


@pytest.mark.parametrize("ranks", ["centred", "pairwise"])
@pytest.mark.parametrize("config", [PAIRED, PUBLISHED], ids=["paired", "published"])
def test_an_update_is_adam_on_the_search_gradient(config: EvolutionConfig, ranks: str) -> None:
    if ranks == "pairwise" and not config.antithetic:
        pytest.skip("pairs are needed to be compared")
    config = replace(config, ranks=ranks, beta1=0.3, weight_decay=0.05)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    state = evolution.init(config, rng.normal(size=30))
    weights = torch.nn.Parameter(torch.from_numpy(state.phi.astype(np.float64)))
    optimiser = torch.optim.Adam([weights], lr=1.0, betas=(0.3, 0.999), eps=evolution.EPSILON, maximize=True)
    for epoch in range(4):
        fitness = rng.normal(size=12)
        before = evolution.utilities(config, fitness, 6)
        gradient = np.zeros(30)
        for vector in range(6):
            gradient += before[vector] * evolution.vector_noise(config, 9, epoch, vector, 30).astype(np.float64) / 6
        optimiser.param_groups[0]["lr"] = evolution.learning_rate(config, epoch, 4)
        weights.grad = torch.from_numpy(gradient - 0.05 * state.phi)
        optimiser.step()
        state, _ = evolution.update(config, state, fitness, num_vectors=6, num_epochs=4, run_seed=9)
        with torch.no_grad():
            np.testing.assert_allclose(state.phi, weights.numpy(), rtol=1e-5, atol=1e-7)
            weights.copy_(torch.from_numpy(state.phi))
    assert state.epoch == 4


def test_utilities_average_over_the_lifetimes_of_a_vector() -> None:
    fitness = np.zeros(8)
    for lifetime in range(8):
        vector, replica = evolution.vector_and_replica(PAIRED, lifetime, 8, 4)
        fitness[lifetime] = vector + (100 if replica else -100)
    np.testing.assert_allclose(evolution.utilities(PAIRED, fitness, 4), [-0.5, -1 / 6, 1 / 6, 0.5])


@pytest.mark.parametrize("config", [PAIRED, PUBLISHED], ids=["paired", "published"])
def test_it_climbs(config: EvolutionConfig) -> None:
    config = replace(config, sigma=0.1, learning_rate=0.1, final_learning_rate=0.01, weight_decay=0.0)
    target, state = np.linspace(-1, 1, 10), evolution.init(config, np.zeros(10))
    for epoch in range(150):
        points = [
            evolution.perturbed(config, state.phi, 0, epoch, evolution.vector_and_replica(config, lifetime, 16, 16)[0])
            for lifetime in range(16)
        ]
        fitness = np.array([-np.square(point - target).sum() for point in points])
        state, _ = evolution.update(config, state, fitness, num_vectors=16, num_epochs=150, run_seed=0)
    assert np.square(state.phi - target).sum() < 0.02


def test_the_step_size_falls_over_half_of_the_epochs() -> None:
    rates = [evolution.learning_rate(PAIRED, epoch, 2000) for epoch in (0, 500, 1000, 1999)]
    np.testing.assert_allclose(rates, [1e-2, 5.5e-3, 1e-3, 1e-3])


def test_guidance_falls_over_the_first_eighth() -> None:
    np.testing.assert_allclose([evolution.guidance_alpha(PAIRED, epoch, 2000) for epoch in (0, 125, 250, 1999)], [1, 0.5, 0, 0])
    held = replace(PAIRED, guidance_share=1 / 16, guidance_floor=0.5)
    np.testing.assert_allclose([evolution.guidance_alpha(held, epoch, 2000) for epoch in (0, 125, 1999)], [1, 0.5, 0.5])
    assert evolution.guidance_alpha(replace(PAIRED, guidance_share=0.0), 0, 2000) == 0


def test_the_best_evaluation_is_kept() -> None:
    state = epg.keep_best(epg.Config(), evolution.init(PAIRED, np.ones(3)), 5.0)
    worse = epg.keep_best(epg.Config(), replace(state, phi=np.zeros(3, np.float32)), 4.0)
    assert worse.best_score == 5.0
    assert worse.best_phi is not None and worse.best_phi.tolist() == [1, 1, 1]
    assert epg.keep_best(epg.Config(), state, float("nan")).best_score == 5.0


def test_figures_are_of_the_lifetimes_whose_fitness_is_finite() -> None:
    fitness = np.array([1.0, np.nan, 3.0, np.inf, -np.inf, 8.0, np.nan, 0.0])
    after, scalars = evolution.update(
        PAIRED, evolution.init(PAIRED, np.ones(5)), fitness, num_vectors=8, num_epochs=10, run_seed=0
    )
    assert [scalars[f"fitness/{name}"] for name in ("mean", "std", "min", "max")] == [3.0, np.std([1.0, 3.0, 8.0, 0.0]), 0.0, 8.0]
    assert np.isfinite(after.phi).all() and after.num_steps == 1
    assert np.isnan(evolution.fitness_figures(np.full(3, np.nan))["fitness/mean"])


@pytest.mark.parametrize("ranks", ["centred", "pairwise"])
@pytest.mark.parametrize("num_workers", [8, 32], ids=["W = V", "W = 4 V"])
@pytest.mark.parametrize("tasks_differ", [False, True], ids=["all tie", "the two of every pair tie"])
def test_an_epoch_that_says_nothing_leaves_phi_and_the_optimiser_as_they_are(
    ranks: str, num_workers: int, tasks_differ: bool
) -> None:
    """As the first epoch, in which PPO alone is minimised: what the two of a pair are worth is what their task is worth."""
    config = replace(PAIRED, ranks=ranks, beta1=0.5)  # type: ignore[arg-type]
    fitness = np.repeat(np.random.default_rng(2).normal(size=num_workers // 2), 2) if tasks_differ else np.full(num_workers, 3.0)
    state = evolution.init(config, np.linspace(-1, 1, 50))
    state, _ = evolution.update(
        config, state, np.random.default_rng(1).normal(size=num_workers), num_vectors=8, num_epochs=9, run_seed=0
    )
    after, scalars = evolution.update(config, state, fitness, num_vectors=8, num_epochs=9, run_seed=0)
    np.testing.assert_array_equal(after.phi, state.phi)
    np.testing.assert_array_equal(after.first_moment, state.first_moment)
    np.testing.assert_array_equal(after.second_moment, state.second_moment)
    assert (after.epoch, after.num_steps, scalars["evolution/step_norm"]) == (2, 1, 0.0)
