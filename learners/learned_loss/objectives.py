"""The objectives of the inner loop: a learned loss, PPO's loss, or a mixture of both.

    LearnedObjective     L_phi(theta)
    PpoObjective         L_ppo(theta)
    GuidedObjective      (1 - alpha) L_phi + alpha L_ppo

The first trains no value network, so that guidance costs nothing once alpha is 0.
The gradient of L_phi flows into the policy through every row of the buffer, by way of the context, and through the minibatch's own rows;
into the memory unit through the minibatch's rows only.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from learners.learned_loss.inner_loop import MinibatchLoss, Policies, Update, memory_output
from learners.learned_loss.network import LossConfig, LossShape
from learners.learned_loss.ppo_loss import PpoConfig, advantages, ppo_loss
from learners.learned_loss.stack import LossStack, static_rows
from learners.ops.distributions import Categorical, DiagonalGaussian


class LearnedObjective:
    """L_phi, with separate parameters phi for each lifetime.

    Args:
        config: how the context is computed and differentiated.
        shape: of the loss.
        phis: a row for each lifetime.
    """

    has_value = False

    def __init__(self, config: LossConfig, shape: LossShape, phis: Float[Tensor, "L P"]) -> None:
        self._config, self._shape, self._stack = config, shape, LossStack(shape, phis)

    def begin(self, update: Update, parameters: Mapping[str, Tensor], policies: Policies) -> MinibatchLoss:
        """Convolve what the policy does not change; see `learners.learned_loss.inner_loop.Objective`."""
        config, shape, stack = self._config, self._shape, self._stack
        num_newest = update.steps.reward.shape[1]
        parts = stack.static_parts(static_rows(shape, update.rows, update.ends), num_newest)
        obs = update.rows[..., : shape.obs_size].contiguous()

        def varying(parameters: Mapping[str, Tensor], obs: Tensor) -> Tensor:
            """The policy's outputs as the loss reads them: means, or probabilities."""
            outputs = policies.outputs(parameters, obs)
            return outputs.softmax(dim=-1) if shape.is_discrete else outputs

        def constant(parameters: Mapping[str, Tensor], *, for_context: bool) -> Tensor:
            """Log std and memory; no gradient reaches the memory through the context."""
            memory = memory_output(parameters) if "memory.weight" in parameters else update.memory
            memory = memory.detach() if for_context else memory
            return memory if shape.is_discrete else torch.cat((parameters["log_std"], memory), dim=-1)

        def context(parameters: Mapping[str, Tensor], outputs: Tensor) -> Tensor:
            return stack.context(parts, outputs, constant(parameters, for_context=True))

        fixed = context(parameters, varying(parameters, obs)) if config.context_once else None

        def loss(parameters: Mapping[str, Tensor], rows: Int[Tensor, "L B"]) -> Float[Tensor, " L"]:
            if config.context_gradient and fixed is None:
                outputs = varying(parameters, obs)
                of_rows, of_buffer = _picked(outputs[:, -num_newest:], rows), context(parameters, outputs)
            else:
                of_rows = varying(parameters, _picked(obs[:, -num_newest:], rows))
                with torch.no_grad():
                    of_buffer = context(parameters, varying(parameters, obs)) if fixed is None else fixed
            return stack.head(parts, rows, of_rows, constant(parameters, for_context=False), of_buffer)

        return loss


class PpoObjective:
    """PPO's loss on the newest steps."""

    has_value = True

    def __init__(self, config: PpoConfig) -> None:
        self._config = config

    def begin(self, update: Update, parameters: Mapping[str, Tensor], policies: Policies) -> MinibatchLoss:
        """Estimate advantages with the value network as it is; see `learners.learned_loss.inner_loop.Objective`."""
        steps = update.steps
        num_newest, obs_size = steps.obs.shape[1], steps.obs.shape[2]
        obs = update.rows[:, -num_newest:, :obs_size].contiguous()
        next_obs = update.moments.normalised(torch.cat((steps.next_obs, steps.action), dim=-1))[..., :obs_size]
        old = policies.outputs(parameters, obs)
        old_log_std = None if policies.is_discrete else parameters["log_std"].clone()
        advantage, target = advantages(
            self._config,
            reward=steps.reward,
            value=policies.values(parameters, obs),
            next_value=policies.values(parameters, next_obs),
            is_terminated=steps.is_terminated,
            is_last=steps.is_last,
        )

        def loss(parameters: Mapping[str, Tensor], rows: Int[Tensor, "L B"]) -> Float[Tensor, " L"]:
            row_obs = _picked(obs, rows)
            return ppo_loss(
                self._config,
                new=_distribution(policies.outputs(parameters, row_obs), parameters.get("log_std")),
                old=_distribution(_picked(old, rows), old_log_std),
                action=_picked(steps.action, rows),
                advantage=advantage.gather(1, rows),
                value=policies.values(parameters, row_obs),
                target=target.gather(1, rows),
            )

        return loss


class GuidedObjective:
    """A mixture of a learned loss and PPO's: (1 - alpha) L_phi + alpha L_ppo.

    Args:
        learned: L_phi.
        guide: L_ppo.
        alpha: its share, in (0, 1].
    """

    has_value = True

    def __init__(self, learned: LearnedObjective, guide: PpoObjective, alpha: float) -> None:
        self._learned, self._guide, self._alpha = learned, guide, alpha

    def begin(self, update: Update, parameters: Mapping[str, Tensor], policies: Policies) -> MinibatchLoss:
        """Prepare both; see `learners.learned_loss.inner_loop.Objective`."""
        guide, alpha = self._guide.begin(update, parameters, policies), self._alpha
        if alpha == 1:
            return guide
        learned = self._learned.begin(update, parameters, policies)

        def loss(parameters: Mapping[str, Tensor], rows: Int[Tensor, "L B"]) -> Float[Tensor, " L"]:
            guidance = guide(parameters, rows)
            return (1 - alpha) * learned(parameters, rows) + alpha * guidance

        return loss


def _picked(values: Float[Tensor, "L M X"], rows: Int[Tensor, "L B"]) -> Float[Tensor, "L B X"]:
    """The given rows of each lifetime. Gradient: flows to `values`."""
    return values.gather(1, rows.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def _distribution(outputs: Float[Tensor, "L B A"], log_std: Float[Tensor, "L A"] | None) -> Categorical | DiagonalGaussian:
    if log_std is None:
        return Categorical(outputs)
    return DiagonalGaussian(outputs, log_std.unsqueeze(1).expand_as(outputs))
