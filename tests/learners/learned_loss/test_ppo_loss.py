"""What PPO's advantages bootstrap from, and which values they ignore."""

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

NUM_LIFETIMES, STEPS, OBS = 2, 16, 3
JUNK = [math.nan, math.inf, -math.inf]
SPECS = [SpaceSpec((OBS,), "float32", action_size=2), SpaceSpec((OBS,), "float32", num_actions=4)]


def flags() -> tuple[Tensor, Tensor]:
    """Terminated and truncated steps: ends of either kind inside, two in a row, and one of each at the last step."""
    terminated, truncated = (
        torch.zeros(NUM_LIFETIMES, STEPS, dtype=torch.bool),
        torch.zeros(NUM_LIFETIMES, STEPS, dtype=torch.bool),
    )
    terminated[0, [3, 4]] = truncated[0, [8, 15]] = True
    terminated[1, [0, 15]] = truncated[1, 7] = True
    return terminated, truncated


def by_the_formula(config: PpoConfig, reward: np.ndarray, value: np.ndarray, after: np.ndarray, lifetime: int) -> np.ndarray:
    """R_t of one lifetime, backwards from the last step."""
    terminated, truncated = (flag[lifetime].numpy() for flag in flags())
    advantage, target = 0.0, np.zeros(STEPS)
    for t in reversed(range(STEPS)):
        bootstrap = 0.0 if terminated[t] else config.gamma * after[t]
        delta = config.reward_scale * reward[t] + bootstrap - value[t]
        advantage = delta + (0.0 if terminated[t] or truncated[t] else config.gamma * config.lambda_ * advantage)
        target[t] = advantage + value[t]
    return target


@pytest.mark.parametrize("junk", [0.0, *JUNK])
def test_the_value_after_a_termination_is_unused_and_every_other_one_is_used(junk: float) -> None:
    config, (terminated, truncated) = PpoConfig(gamma=0.9, lambda_=0.8, reward_scale=0.7), flags()
    generator = torch.Generator().manual_seed(0)
    reward, value, after = (torch.randn(NUM_LIFETIMES, STEPS, generator=generator, dtype=torch.float64) for _ in range(3))

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
    for lifetime in range(NUM_LIFETIMES):
        want = by_the_formula(config, reward[lifetime].numpy(), value[lifetime].numpy(), after[lifetime].numpy(), lifetime)
        np.testing.assert_allclose(target[lifetime], want, rtol=1e-12)
        raw = want - value[lifetime].numpy()
        np.testing.assert_allclose(standardised[lifetime], (raw - raw.mean()) / (raw.std() + 1e-8), rtol=1e-10)
    for t in (2, 8, 15):
        changed = after.clone()
        changed[0, t] = math.nan
        assert found(changed)[1][0, t].isnan()


def learned(spec: SpaceSpec, final: float | None) -> Tensor:
    """The parameters of lifetimes that PPO has updated twice, with `final` as the final observation of episodes that terminated."""
    config = LifetimeConfig(
        update_every=STEPS, buffer_rows=32, minibatch_rows=8, passes=2, hidden_sizes=(8,), learning_rate=0.01, num_updates=2
    )
    rng, (terminated, truncated) = np.random.default_rng(0), flags()
    lifetimes = Lifetimes(config, spec, PpoObjective(config.ppo), [draw_start(config, spec, rng) for _ in range(NUM_LIFETIMES)])
    for _ in range(2):
        action = rng.normal(size=(NUM_LIFETIMES, STEPS, spec.action_size))
        if spec.is_discrete:
            action = np.eye(spec.num_actions)[rng.integers(spec.num_actions, size=(NUM_LIFETIMES, STEPS))]
        obs, next_obs = (torch.from_numpy(rng.normal(size=(NUM_LIFETIMES, STEPS, OBS))).float() for _ in range(2))
        steps = Steps(
            obs=obs,
            action=torch.from_numpy(action).float(),
            reward=torch.from_numpy(rng.normal(size=(NUM_LIFETIMES, STEPS))).float(),
            is_terminated=terminated,
            is_truncated=truncated,
            next_obs=next_obs if final is None else next_obs.masked_fill(terminated.unsqueeze(-1), final),
        )
        lifetimes.update(steps, torch.from_numpy(np.stack([rng.permutation(STEPS) for _ in range(NUM_LIFETIMES)])).repeat(1, 2))
    return torch.cat([tensor.flatten(1) for tensor in lifetimes.parameters.values()], dim=1)


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("spec", SPECS, ids=["continuous", "discrete"])
def test_a_lifetime_under_ppo_does_not_depend_on_a_terminated_episode_s_final_observation(spec: SpaceSpec, junk: float) -> None:
    want = learned(spec, 0.0)
    assert torch.equal(learned(spec, junk), want)
    assert torch.equal(learned(spec, None), want)
    assert want.isfinite().all()
