"""Chunks are pure functions: who computes them, when and how often changes no bit, and a pair differs by its losses alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from actors.chunks import Chunk, LifetimeCollector, LifetimeSetup, chunks_of, spaces_of
from actors.lifetimes import LifetimeEnvs
from envs.errors import InvalidInputError
from envs.registry import resolve
from learners import epg
from learners.algorithm import Setup
from learners.evolution import EvolutionConfig
from learners.learned_loss.inner_loop import LifetimeConfig
from learners.learned_loss.network import LossConfig
from learners.networks.config import NetworkConfig
from tests.envs import windy

LIFE = LifetimeConfig(num_updates=2, update_every=16, buffer_rows=32, minibatch_rows=8, learning_rate=0.05, fitness_episodes=2)
SETUP = LifetimeSetup(family="pendulum", run_seed=3, life=LIFE, loss=LossConfig(), evolution=EvolutionConfig(sigma=0.5))
HOPPERS, WINDY = replace(SETUP, family="hopper-dynamics"), replace(SETUP, family=windy.NAME)


def initial_phi(setup: LifetimeSetup) -> np.ndarray:
    """The phi that a run starts from."""
    start = Setup(spec=spaces_of(setup.family), network=NetworkConfig(), run_seed=setup.run_seed, device=torch.device("cpu"))
    phi: np.ndarray = epg.init(epg.Config(loss=setup.loss), start)[1].phi
    return phi


def fitness_of(setup: LifetimeSetup, chunks: list[Chunk]) -> dict[int, tuple[float, ...]]:
    runner, phi = LifetimeCollector(setup), initial_phi(setup)
    try:
        return {chunk.index: runner.run(chunk, phi).fitness for chunk in chunks}
    finally:
        runner.close()


def test_an_epoch_is_cut_into_chunks_that_cover_it() -> None:
    chunks = chunks_of("perturbed", 4, 10, 5, 4, 0.25)
    assert [(chunk.first, chunk.count) for chunk in chunks] == [(0, 4), (4, 4), (8, 2)]
    assert {(chunk.epoch, chunk.num_workers, chunk.num_vectors, chunk.alpha) for chunk in chunks} == {(4, 10, 5, 0.25)}


@pytest.mark.parametrize("setup", [SETUP, HOPPERS, WINDY], ids=["pendulum", "hopper-dynamics", "windy"])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_order_and_repetition_change_no_bit(setup: LifetimeSetup, alpha: float) -> None:
    chunks = chunks_of("perturbed", 1, 8, 4, 4, alpha)
    there, back, twice = fitness_of(setup, chunks), fitness_of(setup, chunks[::-1]), fitness_of(setup, [*chunks, *chunks])
    assert there == back == twice
    assert len({fitness for values in there.values() for fitness in values}) == 8


@pytest.mark.parametrize("setup", [HOPPERS, WINDY], ids=["hopper-dynamics", "windy"])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_a_pair_shares_all_its_random_numbers(setup: LifetimeSetup, alpha: float) -> None:
    """With next to no perturbation the two lifetimes of a pair are the same; without common random numbers they do not."""
    still = replace(setup, evolution=EvolutionConfig(sigma=1e-30))
    chunks = chunks_of("perturbed", 0, 4, 4, 4, alpha)
    (plus, minus, other, _) = fitness_of(still, chunks)[0]
    assert plus == minus != other
    apart = replace(still, evolution=replace(still.evolution, common_random_numbers=False))
    (plus, minus, _, _) = fitness_of(apart, chunks)[0]
    assert plus != minus


def test_epochs_and_evaluations_draw_apart() -> None:
    still = replace(SETUP, evolution=EvolutionConfig(sigma=1e-30))
    first = fitness_of(still, chunks_of("perturbed", 0, 2, 2, 2, 0.0))[0]
    second = fitness_of(still, chunks_of("perturbed", 1, 2, 2, 2, 0.0))[0]
    judged, later = (fitness_of(still, chunks_of("evaluation", epoch, 2, 2, 2, 0.0))[0] for epoch in (0, 1))
    assert len({first[0], second[0], *judged, *later}) == 6


def test_a_family_without_restarts_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="family atari:pong cannot be used for lifetimes"):
        spaces_of("atari:pong")
    with pytest.raises(InvalidInputError, match="family atari:pong cannot be used for lifetimes"):
        LifetimeEnvs(resolve("atari:pong"), 1, 1)
