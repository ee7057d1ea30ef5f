"""The inner loop of Evolved Policy Gradients: L policies trained from scratch, stacked, each with its own loss.

A lifetime begins with a new policy, memory unit, optimiser and normaliser. Every M steps it is updated: the steps are appended to the
buffer, the moments include the whole buffer, and each of the newest M steps is used once, in shuffled minibatches of B with a step of Adam
each:

    theta <- theta - lr * Adam(grad_theta L(theta))        for L_phi, or (1 - alpha) L_phi + alpha L_ppo, or L_ppo

The loss is an `Objective`; this module has the policies, Adam, and the order of operations. Lifetimes share nothing but the clock: each
equals the same lifetime run alone, up to rounding.

Reference: Houthooft et al. (2018), the inner loop, and its released code for the constants.
Letters: L lifetimes, M steps of an update, N rows of the buffer, B rows of a minibatch, O observation, A action, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from msgspec import Meta
from torch import Tensor

from learners.learned_loss.buffer import Buffer, Moments, Steps
from learners.learned_loss.network import MEMORY_SIZE
from learners.learned_loss.ppo_loss import PpoConfig
from learners.networks.spaces import SpaceSpec
from learners.networks.stacked import Layout, Per, draw_mlp, draw_normalised, folded_mlp, mlp
from learners.networks.stacked_mlp import apply_mlp_to_few

MEMORY_INPUTS = 64
"""Length of the vector of ones that is the input of the memory unit's linear layer."""

SMALL = 0.01
"""Length of the last layer's and the memory's initial vectors: a policy starts near mean zero (released code, networks.py)."""

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's, as in the released code."""


@dataclass(frozen=True, kw_only=True)
class LifetimeConfig:
    """One inner lifetime."""

    num_updates: Annotated[
        int, Meta(ge=1, le=100_000, description="updates of a lifetime; it takes num_updates x update_every steps")
    ] = 128
    update_every: Annotated[int, Meta(ge=1, le=65_536, description="M: environment steps between two updates")] = 64
    buffer_rows: Annotated[int, Meta(ge=1, le=65_536, description="N: newest steps that the context is computed from")] = 512
    minibatch_rows: Annotated[int, Meta(ge=1, le=65_536, description="B: steps of a minibatch; must divide update_every")] = 32
    passes: Annotated[int, Meta(ge=1, le=1000, description="times that an update uses each of the newest M steps")] = 1
    learning_rate: Annotated[float, Meta(gt=0, le=1, description="step size of the inner Adam")] = 1e-3
    hidden_sizes: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=4096)], ...], Meta(description="hidden layers of the policy, tanh between them")
    ] = (64, 64)
    unit_norm_per: Annotated[
        Per,
        Meta(
            description="first weights have unit norm per input, as in the released code, or per output, so that no layer amplifies"
        ),
    ] = "input"
    train_memory: Annotated[
        bool, Meta(description="train the memory unit with the policy; false leaves it random, as the released default does")
    ] = False
    fitness_episodes: Annotated[
        int, Meta(ge=1, le=1000, description="whole episodes of the final policy whose mean return is the fitness")
    ] = 3
    max_episode_steps: Annotated[
        int, Meta(ge=1, le=10**9, description="steps after which an episode of the fitness is cut; its return so far counts")
    ] = 10_000
    ppo: PpoConfig = field(default_factory=PpoConfig)

    @property
    def num_steps(self) -> int:
        """U: environment steps of a lifetime, without those of its fitness."""
        return self.num_updates * self.update_every


def draw_start(config: LifetimeConfig, spec: SpaceSpec, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw the initial parameters of a lifetime, by name, float64.

    The released code keeps a weight as [outputs, inputs] and normalises its columns, one for each input: the 11 observations of a hopper
    reach the first tanh with a standard deviation of 0.41, and 1.0 where it is done for each output. The memory's
    weight has the same layout here as there, [32, 64].

    The value network comes last, so that a lifetime with one starts with the same policy as a lifetime without.
    """
    obs_size, num_outputs, per = spec.obs_shape[0], spec.num_actions or spec.action_size, config.unit_norm_per
    drawn = draw_mlp(rng, "policy", (obs_size, *config.hidden_sizes, num_outputs), SMALL, per)
    if not spec.is_discrete:
        drawn["log_std"] = np.zeros(num_outputs)
    drawn["memory.weight"] = draw_normalised(rng, MEMORY_SIZE, MEMORY_INPUTS, SMALL, "output")
    drawn["memory.bias"] = np.zeros(MEMORY_SIZE)
    return drawn | draw_mlp(rng, "value", (obs_size, *config.hidden_sizes, 1), SMALL, per)


@dataclass(frozen=True, kw_only=True)
class Update:
    """The input of an objective for one update.

    Attributes:
        steps: the newest M steps.
        rows: observations and actions of the whole buffer, normalised, oldest first; zeros where it is padded.
        ends: reward and end of episode of the same rows, raw.
        moments: with the buffer included.
        memory: output of the memory units at the start of the lifetime; the trained ones are in the parameters.
    """

    steps: Steps
    rows: Float[Tensor, "L N OA"]
    ends: Float[Tensor, "L N 2"]
    moments: Moments
    memory: Float[Tensor, "L 32"]


@dataclass(frozen=True, kw_only=True)
class IsFinite:
    """Whether the data and the parameters of L lifetimes are finite, each [L].

    Attributes:
        observation, action: all that the moments have included; what is not finite stays in them.
        parameters: current values.
        gradient: in most steps of Adam; a gradient that is not finite leaves its tensor unchanged.
    """

    observation: np.ndarray
    action: np.ndarray
    parameters: np.ndarray
    gradient: np.ndarray


MinibatchLoss = Callable[[Mapping[str, Tensor], Int[Tensor, "L B"]], Float[Tensor, " L"]]
"""Each lifetime's loss, of its parameters and of the indices of a minibatch's rows among the newest. Gradient: flows to the parameters."""


class Objective(Protocol):
    """What the inner loop minimises."""

    has_value: bool
    """Whether it trains a value network."""

    def begin(self, update: Update, parameters: Mapping[str, Tensor], policies: Policies) -> MinibatchLoss:
        """Return the loss of an update's minibatches; what stays the same over them is computed here, without gradient.

        Args:
            update: the buffer, with the newest steps in it.
            parameters: those that the steps were taken with.
            policies: the networks as functions of their parameters.
        """


@dataclass(frozen=True, kw_only=True)
class Policies:
    """The policies of all lifetimes, as functions of their parameters.

    Attributes:
        num_layers: of the network, the last one included.
        is_discrete: whether actions are discrete.
    """

    num_layers: int
    is_discrete: bool

    def outputs(self, parameters: Mapping[str, Tensor], obs: Float[Tensor, "L N O"]) -> Float[Tensor, "L N A"]:
        """Return means, or logits. Gradient: flows to the parameters."""
        return mlp(obs, parameters, "policy", self.num_layers)

    def values(self, parameters: Mapping[str, Tensor], obs: Float[Tensor, "L N O"]) -> Float[Tensor, "L N"]:
        """Return value estimates. Gradient: flows to the parameters."""
        return mlp(obs, parameters, "value", self.num_layers).squeeze(-1)


class Lifetimes:
    """L lifetimes in lockstep.

    Args:
        config: of each of them.
        spec: the spaces that they act in.
        objective: the loss.
        starts: initial parameters of each, from `draw_start`.
        dtype: of all tensors; float64 is for tests.
    """

    def __init__(
        self,
        config: LifetimeConfig,
        spec: SpaceSpec,
        objective: Objective,
        starts: Sequence[Mapping[str, np.ndarray]],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config, self.spec, self.num_lifetimes = config, spec, len(starts)
        self._objective, self.dtype = objective, dtype
        is_trained = {"memory": config.train_memory, "value": objective.has_value}
        self._layout = Layout(
            {name: part.shape for name, part in starts[0].items() if is_trained.get(name.partition(".")[0], True)}
        )
        self._policies = Policies(num_layers=len(config.hidden_sizes) + 1, is_discrete=spec.is_discrete)
        self._rows = torch.from_numpy(np.stack([self._layout.row(start) for start in starts])).to(dtype)
        self._first, self._second, self._num_adam_steps = torch.zeros_like(self._rows), torch.zeros_like(self._rows), 0
        self._num_broken = torch.zeros(self.num_lifetimes, dtype=torch.int64)
        weight, bias = (torch.from_numpy(np.stack([start[f"memory.{part}"] for start in starts])) for part in ("weight", "bias"))
        self._memory = memory_output({"memory.weight": weight, "memory.bias": bias}).to(dtype)
        obs_size, action_size = spec.obs_shape[0], spec.num_actions or spec.action_size
        self._buffer = Buffer(self.num_lifetimes, config.buffer_rows, obs_size, action_size, dtype)
        self._moments = Moments(self.num_lifetimes, obs_size + action_size, dtype)
        self._prepare_acting()

    def _prepare_acting(self) -> None:
        """Precompute the parameters that acting uses at every step."""
        obs_size = self.spec.obs_shape[0]
        parameters = self._layout.views(self._rows)
        self._acting = folded_mlp(parameters, "policy", self._policies.num_layers)
        self._mean = self._moments.mean[:, None, :obs_size]
        self._inverse_std = self._moments.inverse_std[:, None, :obs_size]
        self._std = None if self.spec.is_discrete else parameters["log_std"].exp().unsqueeze(1)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The trained parameters by name, [L, ...]."""
        return self._layout.views(self._rows)

    def is_finite(self) -> IsFinite:
        """Return whether data and parameters are finite; for the end of a lifetime, since it reads every parameter."""
        means, obs_size = self._moments.mean.isfinite(), self.spec.obs_shape[0]
        return IsFinite(
            observation=means[:, :obs_size].all(dim=1).numpy(),
            action=means[:, obs_size:].all(dim=1).numpy(),
            parameters=self._rows.isfinite().all(dim=1).numpy(),
            gradient=(2 * self._num_broken <= self._num_adam_steps).numpy(),
        )

    @torch.no_grad()
    def act(self, obs: Float[Tensor, "L E O"], noise: Float[Tensor, "L E A"]) -> Float[Tensor, "L E A"]:
        """Return actions for E observations of each lifetime.

        Args:
            obs: raw.
            noise: standard normal for continuous actions; for discrete ones uniform in [0, 1) with A = 1.

        Returns:
            The actions; discrete ones one-hot.
        """
        outputs = apply_mlp_to_few((obs - self._mean).mul_(self._inverse_std), self._acting)
        if self._std is not None:
            return torch.addcmul(outputs, self._std, noise)
        below = outputs.softmax(dim=-1).cumsum(dim=-1)[..., :-1] <= noise
        return torch.nn.functional.one_hot(below.sum(dim=-1), outputs.shape[-1]).to(outputs.dtype)

    def update(self, steps: Steps, order: Int[Tensor, "L K"]) -> None:
        """Update on the newest steps.

        Args:
            steps: the M steps since the last update.
            order: each lifetime's indices of them, shuffled again for each pass; cut into minibatches.
        """
        self._buffer.append(torch.cat((steps.obs, steps.action), dim=-1), steps.reward, steps.is_last)
        self._moments.add(self._buffer.filled())
        with torch.no_grad():
            update = Update(
                steps=steps,
                rows=self._buffer.normalised(self._moments),
                ends=self._buffer.ends,
                moments=self._moments,
                memory=self._memory,
            )
            loss = self._objective.begin(update, self.parameters, self._policies)
        for rows in torch.split(order, self.config.minibatch_rows, dim=1):
            leaves = {name: view.detach().requires_grad_() for name, view in self.parameters.items()}
            losses = loss(leaves, rows)
            grads = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
            self._adam(self._layout.rows(dict(zip(leaves, grads, strict=True))))
        self._prepare_acting()

    def _adam(self, grads: Float[Tensor, "L P"]) -> None:
        """Make a step of Adam; a tensor whose gradient is not finite stays unchanged, as in the released code.

        In place, and so not by `learners.ops.optimisers`, which takes two to four times as long for 16 to 32 lifetimes (232 against 103 us,
        831 against 188 us on one core): their rows leave the cache where every operation makes new ones.
        """
        self._num_adam_steps += 1
        broken = None if math.isfinite(float(grads.sum())) else self._broken(grads)
        before = None if broken is None else [kept.clone() for kept in (self._rows, self._first, self._second)]
        self._first.lerp_(grads, 1 - BETA1)
        self._second.mul_(BETA2).addcmul_(grads, grads, value=1 - BETA2)
        rate = self.config.learning_rate / (1 - BETA1**self._num_adam_steps)
        root = self._second.sqrt().div_(math.sqrt(1 - BETA2**self._num_adam_steps)).add_(EPSILON)
        self._rows.addcdiv_(self._first, root, value=-rate)
        if broken is not None and before is not None:
            self._num_broken += broken.any(dim=1)
            for kept, old in zip((self._rows, self._first, self._second), before, strict=True):
                kept.copy_(torch.where(broken, old, kept))

    def _broken(self, grads: Float[Tensor, "L P"]) -> Tensor:
        """Return [L, P], true for every element of a tensor whose gradient is not finite anywhere."""
        views = self._layout.views(grads).values()
        marks = [(~view.flatten(1).isfinite()).any(dim=1, keepdim=True).expand(-1, view[0].numel()) for view in views]
        return torch.cat(marks, dim=1)


def memory_output(parameters: Mapping[str, Tensor]) -> Float[Tensor, "L 32"]:
    """Return tanh(W 1 + b) of each lifetime's memory unit. Gradient: flows to both parameters."""
    return (parameters["memory.weight"].sum(dim=-1) + parameters["memory.bias"]).tanh()
