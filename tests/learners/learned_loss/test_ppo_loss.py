"""What PPO's advantages bootstrap from, and what they do not look at."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from learners.learned_loss.buffer import Steps
from learners.learned_loss.inner_loop import LifetimeConfig, Lifetimes, draw_start
from learners.learned_loss.objectives import PpoObjective
from learners.learned_loss.ppo_loss import PpoConfig, advantages
from learners.networks.spaces import SpaceSpec

LIVES, STEPS, OBS = 2, 16, 3
JUNK = [math.nan, math.inf, -math.inf]
SPECS = [SpaceSpec((OBS,), "float32", action_size=2), SpaceSpec((OBS,), "float32", num_actions=4)]


def flags() -> tuple[Tensor, Tensor]:
    """Terminated and truncated steps: ends of either kind inside, two in a row, and one of each at the last step."""
    terminated, truncated = torch.zeros(LIVES, STEPS, dtype=torch.bool), torch.zeros(LIVES, STEPS, dtype=torch.bool)
    terminated[0, [3, 4]] = truncated[0, [8, 15]] = True
    terminated[1, [0, 15]] = truncated[1, 7] = True
    return terminated, truncated


def by_the_formula(config: PpoConfig, reward: np.ndarray, value: np.ndarray, after: np.ndarray, life: int) -> np.ndarray:
    """R_t of one life, backwards from the last step."""
    terminated, truncated = (flag[life].numpy() for flag in flags())
    advantage, target = 0.0, np.zeros(STEPS)
    for t in reversed(range(STEPS)):
        bootstrap = 0.0 if terminated[t] else config.gamma * after[t]
        delta = config.reward_scale * reward[t] + bootstrap - value[t]
        advantage = delta + (0.0 if terminated[t] or truncated[t] else config.gamma * config.lambda_ * advantage)
        target[t] = advantage + value[t]
    return target


@pytest.mark.parametrize("junk", [0.0, *JUNK])
def test_the_value_after_a_termination_is_not_looked_at_and_every_other_one_is(junk: float) -> None:
    config, (terminated, truncated) = PpoConfig(gamma=0.9, lambda_=0.8, reward_scale=0.7), flags()
    generator = torch.Generator().manual_seed(0)
    reward, value, after = (torch.randn(LIVES, STEPS, generator=generator, dtype=torch.float64) for _ in range(3))

    def found(next_value: Tensor) -> tuple[Tensor, Tensor]:
        return advantages(
            config,
            reward=reward,
            value=value,
            next_value=next_value,
            is_terminated=terminated,
            is_last=terminated | truncated,
        )

    standardised, target = found(after.masked_fill(terminated, junk))
    for life in range(LIVES):
        want = by_the_formula(config, reward[life].numpy(), value[life].numpy(), after[life].numpy(), life)
        np.testing.assert_allclose(target[life], want, rtol=1e-12)
        raw = want - value[life].numpy()
        np.testing.assert_allclose(standardised[life], (raw - raw.mean()) / (raw.std() + 1e-8), rtol=1e-10)
    for t in (2, 8, 15):
        changed = after.clone()
        changed[0, t] = math.nan
        assert found(changed)[1][0, t].isnan()


def learned(spec: SpaceSpec, final: float | None) -> Tensor:
    """The parameters of lives that PPO has updated twice, with `final` as the final observation of episodes that terminated."""
    config = LifetimeConfig(
        update_every=STEPS, buffer_rows=32, minibatch_rows=8, passes=2, hidden_sizes=(8,), learning_rate=0.01, num_updates=2
    )
    rng, (terminated, truncated) = np.random.default_rng(0), flags()
    lives = Lifetimes(config, spec, PpoObjective(config.ppo), [draw_start(config, spec, rng) for _ in range(LIVES)])
    for _ in range(2):
        action = rng.normal(size=(LIVES, STEPS, spec.action_size))
        if spec.is_discrete:
            action = np.eye(spec.num_actions)[rng.integers(spec.num_actions, size=(LIVES, STEPS))]
        obs, next_obs = (torch.from_numpy(rng.normal(size=(LIVES, STEPS, OBS))).float() for _ in range(2))
        steps = Steps(
            obs=obs,
            action=torch.from_numpy(action).float(),
            reward=torch.from_numpy(rng.normal(size=(LIVES, STEPS))).float(),
            is_terminated=terminated,
            is_truncated=truncated,
            next_obs=next_obs if final is None else next_obs.masked_fill(terminated.unsqueeze(-1), final),
        )
        lives.update(steps, torch.from_numpy(np.stack([rng.permutation(STEPS) for _ in range(LIVES)])).repeat(1, 2))
    return torch.cat([tensor.flatten(1) for tensor in lives.parameters.values()], dim=1)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("spec", SPECS, ids=["continuous", "discrete"])
def test_a_life_under_ppo_does_not_depend_on_a_terminated_episode_s_final_observation(spec: SpaceSpec, junk: float) -> None:
    want = learned(spec, 0.0)
    assert torch.equal(learned(spec, junk), want)
    assert torch.equal(learned(spec, None), want)
    assert want.isfinite().all()
