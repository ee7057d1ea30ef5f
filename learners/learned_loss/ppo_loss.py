"""PPO's loss for stacked lifetimes: the guidance of a learned loss in early epochs, and its baseline.

    delta_t = r_t + gamma V_{t+1} (1 - terminated_t) - V_t,      A_t = delta_t + gamma lambda A_{t+1} (1 - last_t),      R_t = A_t + V_t

    L_ppo = -mean min(rho A, clip(rho, 1 - eps, 1 + eps) A) + c_kl mean KL(old || new) + c_v mean (V - R)^2,     rho = pi(a|s) / pi_old(a|s)

with A standardised over the M steps of an update. A truncated step bootstraps from the value of the observation that it led to, and so
does the last of the M steps. Reference: Schulman et al. (2017), eq. 7-9; the constants are those of EPG's released code (agents.py).

Letters: L lifetimes, M steps, B rows of a minibatch, A action components or discrete actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from msgspec import Meta
from torch import Tensor

from learners.ops.distributions import Categorical, DiagonalGaussian
from learners.ops.gae import gae
from learners.ops.losses import clipped_surrogate


@dataclass(frozen=True, kw_only=True)
class PpoConfig:
    """Constants of the loss."""

    gamma: Annotated[float, Meta(ge=0, le=1, description="discount of PPO")] = 0.99
    lambda_: Annotated[float, Meta(ge=0, le=1, description="trace parameter of PPO's advantages")] = 0.95
    clip: Annotated[float, Meta(gt=0, lt=1, description="epsilon: how far a probability ratio may gain from moving")] = 0.2
    kl_cost: Annotated[float, Meta(ge=0, le=1000, description="cost of KL(old || new)")] = 0.001
    value_cost: Annotated[float, Meta(ge=0, le=1000, description="cost of the squared error of the value")] = 1.0
    entropy_cost: Annotated[float, Meta(ge=0, le=1000, description="weight of the entropy bonus")] = 0.0
    reward_scale: Annotated[float, Meta(gt=0, le=1e6, description="factor on rewards before values are fitted to them")] = 1.0


def advantages(
    config: PpoConfig,
    *,
    reward: Float[Tensor, "L M"],
    value: Float[Tensor, "L M"],
    next_value: Float[Tensor, "L M"],
    is_terminated: Bool[Tensor, "L M"],
    is_last: Bool[Tensor, "L M"],
) -> tuple[Float[Tensor, "L M"], Float[Tensor, "L M"]]:
    """Return standardised advantages, and the targets of the value.

    Args:
        config: gamma, lambda and the scale of rewards.
        reward: received on leaving the step.
        value: estimates of the observations acted on.
        next_value: estimates of the observations after the steps; at an episode's end, of its final observation. Not read, and so may be
            NaN, where the episode terminated.
        is_terminated: the episode terminated.
        is_last: it terminated or was truncated.
    """
    raw = gae(
        reward_t=config.reward_scale * reward.T,
        discount_t=config.gamma * (~is_terminated.T).to(value.dtype),
        value_t=value.T,
        value_tp1=next_value.T,
        lambda_=config.lambda_ * (~is_last.T).to(value.dtype),
        weight_t=torch.ones_like(value.T),
    ).T
    centred = raw - raw.mean(dim=1, keepdim=True)
    scale = centred.square().mean(dim=1, keepdim=True).sqrt() + 1e-8
    return centred / scale, raw + value


def ppo_loss(
    config: PpoConfig,
    *,
    new: Categorical | DiagonalGaussian,
    old: Categorical | DiagonalGaussian,
    action: Float[Tensor, "L B A"],
    advantage: Float[Tensor, "L B"],
    value: Float[Tensor, "L B"],
    target: Float[Tensor, "L B"],
) -> Float[Tensor, " L"]:
    """Return each lifetime's loss on a minibatch.

    Args:
        config: costs and the clip.
        new: the current policy, on the minibatch's rows [L, B].
        old: the policy that the steps were taken with, on the same rows.
        action: actions taken; discrete ones one-hot.
        advantage: standardised.
        value: current estimates of the value network.
        target: their regression targets.

    Gradient: flows to `new` and `value`.
    """
    done = action.argmax(dim=-1) if isinstance(new, Categorical) else action
    gain = clipped_surrogate(new.log_prob(done) - old.log_prob(done), advantage, config.clip)
    divergence = old.kl(new)  # type: ignore[arg-type]  # both have one type
    cost = config.kl_cost * divergence + config.value_cost * (value - target).square() - gain
    if config.entropy_cost:
        cost = cost - config.entropy_cost * new.entropy()
    return cost.mean(dim=1)
