"""What lives minimise: a learned loss, PPO's loss, or one guided by the other.

    LearnedObjective     L_phi(theta)
    PpoObjective         L_ppo(theta)
    GuidedObjective      (1 - alpha) L_phi + alpha L_ppo

The first trains no value network and knows nothing of PPO, so that guidance costs nothing once alpha is 0.
The gradient of L_phi flows into the policy through every row of the buffer, by way of the context, and through the minibatch's own rows;
into the memory unit through the minibatch's rows only.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from learners.learned_loss.inner_loop import Policies, Update, memory_output
from learners.learned_loss.network import LossConfig, LossShape
from learners.learned_loss.ppo_loss import PpoConfig, advantages, ppo_loss
from learners.learned_loss.stack import LossStack, StaticParts, static_rows
from learners.ops.distributions import Categorical, DiagonalGaussian


class LearnedObjective:
    """L_phi, each life's with a phi of its own.

    Args:
        config: what the context costs and carries.
        shape: of the loss.
        phis: a row for each life.
    """

    has_value = False

    def __init__(self, config: LossConfig, shape: LossShape, phis: Float[Tensor, "L P"]) -> None:
        self._config, self._shape = config, shape
        self._stack = LossStack(shape, phis)
        self._parts: StaticParts
        self._obs: Tensor
        self._memory: Tensor
        self._policies: Policies
        self._fixed_context: Tensor | None

    def begin(self, update: Update, parameters: Mapping[str, Tensor], policies: Policies) -> None:
        """Convolve what the policy does not change; see `learners.learned_loss.inner_loop.Objective`."""
        static = static_rows(self._shape, update.rows, update.ends)
        self._parts = self._stack.static_parts(static, update.steps.reward.shape[1])
        self._obs = update.rows[..., : self._shape.obs_size].contiguous()
        self._memory, self._policies = update.memory, policies
        self._fixed_context = (
            self._context(parameters, self._varying(parameters, self._obs)) if self._config.context_once else None
        )

    def loss(self, parameters: Mapping[str, Tensor], rows: Int[Tensor, "L B"]) -> Float[Tensor, " L"]:
        """Return L_phi on these rows; see `learners.learned_loss.inner_loop.Objective`."""
        num_newest = self._parts.head.shape[1]
        if self._config.context_gradient and self._fixed_context is None:
            everywhere = self._varying(parameters, self._obs)
            varying, context = _picked(everywhere[:, -num_newest:], rows), self._context(parameters, everywhere)
        else:
            varying = self._varying(parameters, _picked(self._obs[:, -num_newest:], rows))
            context = self._context_without_gradient(parameters)
        return self._stack.head(self._parts, rows, varying, self._constant(parameters, for_context=False), context)

    def _varying(self, parameters: Mapping[str, Tensor], obs: Float[Tensor, "L N O"]) -> Float[Tensor, "L N A"]:
        """The policy's outputs as the loss reads them: means, or probabilities."""
        outputs = self._policies.outputs(parameters, obs)
        return outputs.softmax(dim=-1) if self._shape.is_discrete else outputs

    def _constant(self, parameters: Mapping[str, Tensor], *, for_context: bool) -> Float[Tensor, "L Q"]:
        """Log std and memory; the context takes the memory as it is, without gradient."""
        memory = memory_output(parameters) if "memory.weight" in parameters else self._memory
        memory = memory.detach() if for_context else memory
        return memory if self._shape.is_discrete else torch.cat((parameters["log_std"], memory), dim=-1)

    def _context(self, parameters: Mapping[str, Tensor], varying: Float[Tensor, "L N A"]) -> Float[Tensor, "L F"]:
        return self._stack.context(self._parts, varying, self._constant(parameters, for_context=True))

    @torch.no_grad()
    def _context_without_gradient(self, parameters: Mapping[str, Tensor]) -> Float[Tensor, "L F"]:
        if self._fixed_context is not None:
            return self._fixed_context
        return self._context(parameters, self._varying(parameters, self._obs))


class PpoObjective:
    """PPO's loss on the newest steps."""

    has_value = True

    def __init__(self, config: PpoConfig) -> None:
        self._config = config
        self._policies: Policies
        self._obs: Tensor
        self._action: Tensor
        self._old: Tensor
        self._old_log_std: Tensor | None
        self._advantage: Tensor
        self._target: Tensor

    def begin(self, update: Update, parameters: Mapping[str, Tensor], policies: Policies) -> None:
        """Judge the newest steps by the value as it is; see `learners.learned_loss.inner_loop.Objective`."""
        steps = update.steps
        num_newest, obs_size = steps.obs.shape[1], steps.obs.shape[2]
        self._policies, self._action = policies, steps.action
        self._obs = update.rows[:, -num_newest:, :obs_size].contiguous()
        next_obs = update.moments.normalised(torch.cat((steps.next_obs, steps.action), dim=-1))[..., :obs_size]
        self._old = policies.outputs(parameters, self._obs)
        self._old_log_std = None if policies.is_discrete else parameters["log_std"].clone()
        self._advantage, self._target = advantages(
            self._config,
            reward=steps.reward,
            value=policies.values(parameters, self._obs),
            next_value=policies.values(parameters, next_obs),
            is_terminated=steps.is_terminated,
            is_last=steps.is_last,
        )

    def loss(self, parameters: Mapping[str, Tensor], rows: Int[Tensor, "L B"]) -> Float[Tensor, " L"]:
        """Return L_ppo on these rows; see `learners.learned_loss.inner_loop.Objective`."""
        obs = _picked(self._obs, rows)
        log_std = None if self._policies.is_discrete else parameters["log_std"]
        return ppo_loss(
            self._config,
            new=_distribution(self._policies.outputs(parameters, obs), log_std),
            old=_distribution(_picked(self._old, rows), self._old_log_std),
            action=_picked(self._action, rows),
            advantage=self._advantage.gather(1, rows),
            value=self._policies.values(parameters, obs),
            target=self._target.gather(1, rows),
        )


class GuidedObjective:
    """A learned loss held by the hand: (1 - alpha) L_phi + alpha L_ppo.

    Args:
        learned: L_phi.
        guide: L_ppo.
        alpha: its share, in (0, 1].
    """

    has_value = True

    def __init__(self, learned: LearnedObjective, guide: PpoObjective, alpha: float) -> None:
        self._learned, self._guide, self._alpha = learned, guide, alpha

    def begin(self, update: Update, parameters: Mapping[str, Tensor], policies: Policies) -> None:
        """Prepare both; see `learners.learned_loss.inner_loop.Objective`."""
        if self._alpha < 1:
            self._learned.begin(update, parameters, policies)
        self._guide.begin(update, parameters, policies)

    def loss(self, parameters: Mapping[str, Tensor], rows: Int[Tensor, "L B"]) -> Float[Tensor, " L"]:
        """Return the mixture on these rows; see `learners.learned_loss.inner_loop.Objective`."""
        guidance = self._guide.loss(parameters, rows)
        if self._alpha == 1:
            return guidance
        return (1 - self._alpha) * self._learned.loss(parameters, rows) + self._alpha * guidance


def _picked(values: Float[Tensor, "L M X"], rows: Int[Tensor, "L B"]) -> Float[Tensor, "L B X"]:
    """The given rows of each life. Gradient: flows to `values`."""
    return values.gather(1, rows.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def _distribution(outputs: Float[Tensor, "L B A"], log_std: Float[Tensor, "L A"] | None) -> Categorical | DiagonalGaussian:
    if log_std is None:
        return Categorical(outputs)
    return DiagonalGaussian(outputs, log_std.unsqueeze(1).expand_as(outputs))
