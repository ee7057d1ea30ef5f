"""The PPO baseline has lifetimes of the same length as the learned loss, and is the PPO that was tuned for the family."""

from __future__ import annotations

import numpy as np
import pytest

from actors.fresh_policies import AdaptationChunk, AdaptationSetup, adapt
from envs.registry import resolve
from learners.learned_loss.inner_loop import LifetimeConfig
from learners.learned_loss.network import LossConfig
from learners.learned_loss.ppo_baseline import TUNED, BaselineConfig, baseline_for, baseline_life

LIFE = LifetimeConfig(num_updates=64, update_every=32, buffer_rows=96, train_memory=True, hidden_sizes=(16,), fitness_episodes=5)


def test_it_has_as_many_steps_and_updates_and_its_own_use_of_them() -> None:
    baseline = BaselineConfig(learning_rate=0.02, passes=7, minibatch_rows=16)
    life = baseline_life(LIFE, baseline)
    assert (life.num_updates, life.update_every, life.num_steps) == (64, 32, 2048)
    assert (life.hidden_sizes, life.fitness_episodes, life.buffer_rows) == ((16,), 5, 96)
    assert (life.learning_rate, life.passes, life.minibatch_rows, life.ppo) == (0.02, 7, 16, baseline.ppo)
    assert not life.train_memory


def test_a_visible_task_has_the_settings_of_the_hidden_one() -> None:
    for family, settings in TUNED.items():
        assert baseline_for(family) == baseline_for(f"{family}-visible") == settings
    assert baseline_for("no-such-family") == BaselineConfig()


@pytest.mark.parametrize("family", TUNED)
def test_what_was_tuned_is_a_family_that_exists(family: str) -> None:
    assert resolve(family).name == family


@pytest.mark.slow
def test_it_finds_every_goal() -> None:
    """128 updates of 64 steps. Standing still is worth about -32, walking straight to the goal -3 to -5."""
    life, baseline = LifetimeConfig(), baseline_for("point-goal-circle")
    setup = AdaptationSetup(family="point-goal-circle", seed=0, life=life, loss=LossConfig(), baseline=baseline, phi=None)
    result = adapt(setup, AdaptationChunk(learner="ppo", split="test", first=0, count=8))
    assert np.mean([one.episodes[0].episode_return for one in result.policies]) < -25
    assert min(one.fitness for one in result.policies) > -10
