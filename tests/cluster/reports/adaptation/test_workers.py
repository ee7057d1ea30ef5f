"""Results of adaptation do not depend on how many worker processes compute them."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import replace

import numpy as np
import pytest

from actors.chunks import spaces_of
from actors.fresh_policies import SPLITS, AdaptationChunk, AdaptationSetup, adapt, chunks_for
from cluster.reports.adaptation.workers import LostWorkerError, adapt_all
from learners.learned_loss.inner_loop import LifetimeConfig
from learners.learned_loss.network import LossConfig, LossShape, draw_phi
from learners.learned_loss.ppo_baseline import BaselineConfig

LIFE = LifetimeConfig(num_updates=4, update_every=16, buffer_rows=32, minibatch_rows=8, learning_rate=0.01, fitness_episodes=2)
BASELINE = BaselineConfig(passes=2, minibatch_rows=8)


def setup_for(family: str) -> AdaptationSetup:
    phi = draw_phi(LossShape.of(LossConfig(), spaces_of(family)), np.random.default_rng(0))
    return AdaptationSetup(family=family, seed=3, life=LIFE, loss=LossConfig(), baseline=BASELINE, phi=phi.astype(np.float32))


def chunks() -> list[AdaptationChunk]:
    return [chunk for learner in ("learned", "ppo") for chunk in chunks_for(learner, "test", 5, 2)]  # type: ignore[arg-type]


def test_a_lifetime_is_the_same_bit_for_bit_for_any_number_of_actors() -> None:
    setup, told = setup_for("hopper-dynamics"), {1: [0], 2: [0]}
    policies = {
        num_actors: [
            lifetime
            for chunk in adapt_all(setup, chunks(), num_actors=num_actors, on_progress=told[num_actors].append)
            for lifetime in chunk.policies
        ]
        for num_actors in told
    }
    assert policies[1] == policies[2]
    assert len(policies[1]) == 10
    for counts in told.values():
        assert counts == sorted(counts)
        assert counts[-1] == 10 * LIFE.num_updates


def test_both_learn_the_same_tasks_and_no_two_lifetimes_of_a_side_are_alike() -> None:
    setup = setup_for("hopper-dynamics")
    policies = [lifetime for chunk in chunks() for lifetime in adapt(setup, chunk).policies]
    learned, ppo = ([lifetime for lifetime in policies if lifetime.learner == one] for one in ("learned", "ppo"))
    assert [(lifetime.number, lifetime.task) for lifetime in learned] == [(lifetime.number, lifetime.task) for lifetime in ppo]
    assert len({lifetime.task for lifetime in learned}) == 5
    train = adapt(setup, AdaptationChunk(learner="ppo", split="train", first=0, count=5))
    assert not {lifetime.task for lifetime in train.policies} & {lifetime.task for lifetime in learned}
    assert {lifetime.fitness for lifetime in learned}.isdisjoint(lifetime.fitness for lifetime in ppo)


def test_each_side_has_its_own_tasks() -> None:
    setup = setup_for("point-goal-halves")
    sides = {
        side: [
            lifetime.task.number("goal_x")
            for lifetime in adapt(setup, AdaptationChunk(learner="ppo", split=side, first=0, count=6)).policies
        ]
        for side in SPLITS
    }
    assert min(sides["train"]) > 0 > max(sides["test"])


def test_starts_and_noise_are_shared() -> None:
    """With step sizes of almost nothing neither learns, and what both live is the same world step by step."""
    setup = setup_for("hopper-dynamics")
    still = replace(setup, life=replace(LIFE, learning_rate=1e-12), baseline=replace(BASELINE, learning_rate=1e-12, passes=1))
    learned, ppo = (adapt(still, AdaptationChunk(learner=one, split="test", first=0, count=3)) for one in ("learned", "ppo"))
    for one, other in zip(learned.policies, ppo.policies, strict=True):
        assert [(episode.end_step, episode.length) for episode in one.episodes] == [
            (episode.end_step, episode.length) for episode in other.episodes
        ]
        assert [episode.episode_return for episode in one.episodes] == pytest.approx(
            [episode.episode_return for episode in other.episodes], rel=1e-6
        )
        assert one.episodes
        assert one.fitness == pytest.approx(other.fitness, rel=1e-6)


def test_a_lifetime_does_not_depend_on_how_many_there_are() -> None:
    setup = setup_for("pendulum")
    few, many = (
        [
            lifetime
            for chunk in adapt_all(setup, chunks_for("ppo", "test", n, 2), num_actors=1, on_progress=len_of)
            for lifetime in chunk.policies
        ]
        for n in (2, 4)
    )
    assert few == many[:2]


def len_of(_: int) -> None:
    """Nobody watches."""


def test_an_error_in_a_process_is_raised_here() -> None:
    setup = replace(setup_for("pendulum"), family="no-such-family")
    with pytest.raises(ValueError, match="unknown task family"):
        adapt_all(setup, chunks(), num_actors=2, on_progress=len_of)


def kill_all(_: int) -> None:
    for child in multiprocessing.active_children():
        child.kill()


def test_a_process_that_is_lost_is_an_error_and_no_hang() -> None:
    with pytest.raises(LostWorkerError, match="a worker process died; fewer --actors"):
        adapt_all(setup_for("pendulum"), chunks(), num_actors=2, on_progress=kill_all)
    until = time.monotonic() + 20
    while multiprocessing.active_children():  # killed, and reaped by the threads that wait for them
        assert time.monotonic() < until
        time.sleep(0.05)
