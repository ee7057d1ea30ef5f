"""The two action distributions: categorical over discrete actions, and a Gaussian with independent components.

    Categorical:       log pi(a) = z_a - logsumexp(z)
    DiagonalGaussian:  log pi(a) = -1/2 sum_i ((a_i - mu_i) / sigma_i)^2 - sum_i log sigma_i - k/2 log(2 pi)

Without argument checks and broadcasting rules, so that a call takes microseconds. The Gaussian is not squashed: an actor clips the action
for the environment to the action space, and sends the learner the action as sampled.

Letters: A actions (categorical) or action components (Gaussian).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from learners.networks.spaces import SpaceSpec

MIN_LOG_STD, MAX_LOG_STD = -10.0, 2.0
"""Bounds of a Gaussian's log standard deviation: below, densities overflow float32 over many components; above, actions are noise."""

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True)
class Categorical:
    """A distribution over A discrete actions.

    Attributes:
        logits: unnormalised log-probabilities; minus infinity forbids an action.
    """

    logits: Float[Tensor, "*N A"]

    @cached_property
    def log_probs(self) -> Float[Tensor, "*N A"]:
        """Normalised log-probabilities."""
        return self.logits.log_softmax(dim=-1)

    def sample(self, generator: torch.Generator | None = None) -> Int[Tensor, "*N"]:
        """Draw an action: the argmin of A exponential variables with rates pi."""
        clocks = torch.empty_like(self.logits).exponential_(generator=generator)
        return (self.logits - clocks.log_()).argmax(dim=-1)

    def log_prob(self, action: Int[Tensor, "*N"]) -> Float[Tensor, "*N"]:
        """Return log pi(action). Gradient: flows to the logits."""
        return self.log_probs.gather(-1, action.long().unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Float[Tensor, "*N"]:
        """Return the entropy in nats. Gradient: flows to the logits."""
        # A forbidden action has log-probability -inf, and 0 * -inf is NaN: a finite bound makes it 0.
        bounded = self.log_probs.clamp(min=torch.finfo(self.logits.dtype).min)
        return -(bounded.exp() * bounded).sum(dim=-1)

    def mode(self) -> Int[Tensor, "*N"]:
        """Return the most probable action."""
        return self.logits.argmax(dim=-1)

    def kl(self, other: Categorical) -> Float[Tensor, "*N"]:
        """Return KL(self | other) in nats, for distributions that forbid the same actions. Gradient: flows to both."""
        least = torch.finfo(self.logits.dtype).min
        mine, others = self.log_probs.clamp(min=least), other.log_probs.clamp(min=least)
        return (mine.exp() * (mine - others)).sum(dim=-1)


@dataclass(frozen=True)
class DiagonalGaussian:
    """A Gaussian with independent components.

    Attributes:
        mean: of each component.
        log_std: natural logarithm of each component's standard deviation.
    """

    mean: Float[Tensor, "*N A"]
    log_std: Float[Tensor, "*N A"]

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "*N A"]:
        """Draw an action. Gradient: flows to both parameters (reparameterised)."""
        noise = torch.empty_like(self.mean).normal_(generator=generator)
        return torch.addcmul(self.mean, self.log_std.exp(), noise)

    def log_prob(self, action: Float[Tensor, "*N A"]) -> Float[Tensor, "*N"]:
        """Return the log density of `action`. Gradient: flows to both parameters and to the action."""
        # mean - action and not the reverse: a constant less a dual number is the one slow case of torch's forward mode (2.13)
        standardised = (self.mean - action) * (-self.log_std).exp()
        return (
            torch.addcmul(self.log_std, standardised, standardised, value=0.5).sum(dim=-1).neg()
            - _HALF_LOG_2PI * self.mean.shape[-1]
        )

    def entropy(self) -> Float[Tensor, "*N"]:
        """Return the differential entropy in nats. Gradient: flows to `log_std`."""
        return self.log_std.sum(dim=-1) + (0.5 + _HALF_LOG_2PI) * self.mean.shape[-1]

    def mode(self) -> Float[Tensor, "*N A"]:
        """Return the mean."""
        return self.mean

    def kl(self, other: DiagonalGaussian) -> Float[Tensor, "*N"]:
        """Return KL(self | other) in nats. Gradient: flows to both."""
        log_ratio = self.log_std - other.log_std
        distance = (self.mean - other.mean) * (-other.log_std).exp()
        return (0.5 * ((2 * log_ratio).exp() + distance.square() - 1) - log_ratio).sum(dim=-1)


def distribution(spec: SpaceSpec, params: Float[Tensor, "*N P"]) -> Categorical | DiagonalGaussian:
    """Return the action distribution of `spec` with the policy head's outputs as parameters.

    Args:
        spec: the spaces.
        params: logits [A] for discrete actions; means and log standard deviations [2 A], in this order, for continuous ones.

    Gradient: flows to `params`; a log standard deviation outside its bounds is held at the bound and has gradient zero.
    """
    if spec.is_discrete:
        return Categorical(params)
    mean, log_std = params.tensor_split(2, dim=-1)
    return DiagonalGaussian(mean, log_std.clamp(MIN_LOG_STD, MAX_LOG_STD))
