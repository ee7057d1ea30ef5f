"""Evolved Policy Gradients by the protocol: its initial state, the weights of actors, and that its update is the evolution strategy's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from envs.errors import InvalidInputError
from learners import epg, evolution
from learners.algorithm import Progress, Setup
from learners.evolution import EvolutionConfig
from learners.learned_loss.inner_loop import LifetimeConfig
from learners.networks.agent import NetworkConfig, SpaceSpec
from learners.state_dict import state_from_arrays, state_to_arrays

CPU, SPEC = torch.device("cpu"), SpaceSpec((3,), "float32", action_size=1)


@dataclass(frozen=True)
class Chunk:
    fitness: tuple[float, ...]


@dataclass(frozen=True)
class Epoch:
    num_vectors: int
    alpha: float = 0.5


def progress(number: int, num_vectors: int = 4) -> Progress:
    return Progress(round=number, total=10, run_seed=3, settings=Epoch(num_vectors))


def test_the_first_phi_is_named_by_the_seed_of_the_run() -> None:
    phis = [
        epg.init(epg.Config(), Setup(spec=SPEC, network=NetworkConfig(), run_seed=seed, device=CPU))[1].phi for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(phis[0], phis[1])
    assert not np.array_equal(phis[0], phis[2])
    shape, state = epg.init(epg.Config(), Setup(spec=SPEC, network=NetworkConfig(), run_seed=3, device=CPU))
    assert state.phi.shape == (shape.num_parameters,)
    assert epg.weights(epg.Config(), state, progress(0))["phi"] is state.phi


def test_an_update_takes_the_fitness_of_chunks_in_order_and_continues_from_a_checkpoint() -> None:
    config = epg.Config()
    agent, state = epg.init(config, Setup(spec=SPEC, network=NetworkConfig(), run_seed=3, device=CPU))
    fitness = np.random.default_rng(0).normal(size=(2, 8))
    want, like = state, state
    for number, values in enumerate(fitness):
        state = state_from_arrays(state_to_arrays(state), like=like, device=CPU)
        state, scalars = epg.update(agent, config, state, [Chunk((*values[:6],)), Chunk((*values[6:],))], progress(number))
        want, _ = evolution.update(config.evolution, want, values, num_vectors=4, num_epochs=10, run_seed=3)
        assert scalars["fitness/mean"] == pytest.approx(values.mean())
    np.testing.assert_array_equal(state.phi, want.phi)
    np.testing.assert_array_equal(state.second_moment, want.second_moment)
    assert state.version == state.epoch == 2
    other, _ = epg.update(agent, config, like, [Chunk((*fitness[0],))], progress(0, num_vectors=2))
    first, _ = epg.update(agent, config, like, [Chunk((*fitness[0],))], progress(0))
    assert not np.array_equal(other.phi, first.phi)


def test_the_best_phi_is_kept() -> None:
    config = epg.Config()
    _, state = epg.init(config, Setup(spec=SPEC, network=NetworkConfig(), run_seed=3, device=CPU))
    best = epg.keep_best(config, state, 1.0)
    worse = epg.keep_best(config, replace(best, phi=state.phi + 1), 0.5)
    assert worse.best_score == 1.0
    np.testing.assert_array_equal(worse.best_phi, state.phi)
    back = state_from_arrays(state_to_arrays(worse), like=state, device=CPU)
    np.testing.assert_array_equal(back.best_phi, state.phi)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (epg.Config(evolution=EvolutionConfig(antithetic=False)), "common_random_numbers = true needs pairs"),
        (
            epg.Config(evolution=EvolutionConfig(antithetic=False, common_random_numbers=False, ranks="pairwise")),
            "compares pairs",
        ),
        (epg.Config(life=LifetimeConfig(buffer_rows=20, update_every=16, minibatch_rows=16)), "shorter than the convolutions"),
        (epg.Config(life=LifetimeConfig(update_every=64, minibatch_rows=30)), "must divide life.update_every = 64: try 32"),
    ],
)
def test_wrong_input_is_refused_in_one_line(config: epg.Config, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        epg.check(config)
