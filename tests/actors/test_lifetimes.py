"""Lifetimes in lockstep equal the same lifetimes run alone: the stacked code against the plain oracle, over whole short lifetimes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles.lifetime import OneLife

from actors.chunks import LifetimeSetup, objective
from actors.lifetimes import LifetimeEnvs, LifetimeSeed, LifetimesResult, run_lifetimes
from envs.registry import resolve
from learners.evolution import EvolutionConfig
from learners.learned_loss.inner_loop import LifetimeConfig, Lifetimes
from learners.learned_loss.network import LossConfig, LossShape, draw_phi

SHORT = LifetimeConfig(num_updates=5, update_every=16, buffer_rows=40, minibatch_rows=8, learning_rate=0.02, fitness_episodes=2)
"""A lifetime whose buffer is padded at first, overflows later, and whose episodes end within updates and across them."""

RELEASE, PAPER = LossConfig(), LossConfig(architecture="paper")
CASES = {
    "release": ("hopper-dynamics", SHORT, RELEASE, 0.0),
    "paper, memory trained": ("hopper-dynamics", replace(SHORT, train_memory=True, buffer_rows=48), PAPER, 0.0),
    "release, memory trained": ("hopper-dynamics", replace(SHORT, train_memory=True), RELEASE, 0.0),
    "no reward": ("hopper-dynamics", SHORT, replace(RELEASE, reward_input=False), 0.0),
    "guided by PPO": ("hopper-dynamics", SHORT, RELEASE, 0.6),
    "PPO alone, two passes": ("pendulum", replace(SHORT, passes=2), RELEASE, 1.0),
    "truncated episodes": ("pendulum", replace(SHORT, num_updates=14), RELEASE, 0.3),
    "discrete": ("cartpole", SHORT, RELEASE, 0.0),
    "discrete, paper, guided": ("cartpole", replace(SHORT, train_memory=True, buffer_rows=48), PAPER, 0.5),
    "context without gradient": ("hopper-dynamics", SHORT, replace(RELEASE, context_gradient=False), 0.0),
    "context once": ("hopper-dynamics", SHORT, replace(RELEASE, context_once=True), 0.0),
}


def seeds_of(count: int) -> list[LifetimeSeed]:
    return [LifetimeSeed(np.random.SeedSequence(5, spawn_key=(lifetime,))) for lifetime in range(count)]


def run_together(
    family_name: str, config: LifetimeConfig, loss: LossConfig, alpha: float, phis: np.ndarray, dtype: torch.dtype
) -> tuple[LifetimesResult, Lifetimes]:
    family = resolve(family_name)
    envs = LifetimeEnvs(family, len(phis), config.fitness_episodes)
    setup = LifetimeSetup(family=family_name, run_seed=0, life=config, loss=loss, evolution=EvolutionConfig())
    seeds, last = seeds_of(len(phis)), []
    record = run_lifetimes(
        envs,
        config,
        objective(setup, envs.spec, phis, alpha, dtype),
        seeds,
        dtype=dtype,
        on_update=lambda _, lifetimes: last.append(lifetimes),
    )
    envs.close()
    return record, last[-1]


def phis_for(family_name: str, loss: LossConfig, count: int) -> np.ndarray:
    envs = LifetimeEnvs(resolve(family_name), 1, 1)
    shape = LossShape.of(loss, envs.spec)
    envs.close()
    # large enough that every unit of the loss is on either side of its kink somewhere, and the policy moves far
    return np.stack([3 * draw_phi(shape, np.random.default_rng(seed)) for seed in range(count)])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_lifetimes_in_lockstep_equal_those_run_alone(case: str) -> None:
    family_name, config, loss, alpha = CASES[case]
    phis = phis_for(family_name, loss, 3)
    record, lifetimes = run_together(family_name, config, loss, alpha, phis, torch.float64)
    family = resolve(family_name)
    for index, seed in enumerate(seeds_of(3)):
        alone = OneLife(family, seed.draw_task(family, "train"), seed, config, loss, phis[index], alpha)
        fitness = alone.run()
        for name, stacked in lifetimes.parameters.items():
            np.testing.assert_allclose(
                stacked[index].numpy(), alone.agent.weights[name].detach().numpy(), rtol=1e-5, atol=1e-7, err_msg=name
            )
        assert record.fitness[index] == pytest.approx(fitness, rel=1e-5)
    first = lifetimes.parameters["policy.0.weight"]
    assert not torch.allclose(first[0], first[1])


@pytest.mark.parametrize("family_name", ["pendulum", "cartpole"])
def test_single_precision_follows_double_over_a_short_lifetime(family_name: str) -> None:
    phis = phis_for(family_name, RELEASE, 4)
    double, _ = run_together(family_name, SHORT, RELEASE, 0.0, phis, torch.float64)
    single, _ = run_together(family_name, SHORT, RELEASE, 0.0, phis, torch.float32)
    np.testing.assert_allclose(single.fitness, double.fitness, rtol=1e-3)


def test_a_lifetime_is_the_same_whatever_runs_beside_it() -> None:
    phis = phis_for("hopper-dynamics", RELEASE, 4)
    together, _ = run_together("hopper-dynamics", SHORT, RELEASE, 0.0, phis, torch.float64)
    fewer, _ = run_together("hopper-dynamics", SHORT, RELEASE, 0.0, phis[:2], torch.float64)
    np.testing.assert_allclose(together.fitness[:2], fewer.fitness, rtol=1e-9)
    assert [e for e in together.episodes if e.lifetime < 2] and len(fewer.episodes) == len(
        [e for e in together.episodes if e.lifetime < 2]
    )
