"""Proximal policy optimisation (PPO), for every network and every space.

    L = -mean min(rho A, clip(rho, 1 - eps, 1 + eps) A)  +  value_cost mean 1/2 max((V - R)^2, (V_clipped - R)^2)  -  entropy_cost mean H

with A by GAE and R = A + V, both from the values at the start of the round, rho = pi / mu, and mu the behaviour policy. Each round makes
several passes over its unrolls in shuffled minibatches, each a step of Adam. Where the network has a core, a minibatch is whole unrolls of
some environments, each from its initial state; otherwise single steps.

Reference: Schulman et al. (2017), arXiv 1707.06347: eq. 7, 9, 11-12, algorithm 1. The defaults, and the details that the paper leaves out,
are those of CleanRL's ppo_continuous_action (Huang et al. 2022, "The 37 implementation details of PPO"): the clipped value, advantages
standardised in each minibatch, rewards divided by the standard deviation of their discounted return, Adam's epsilon 1e-5, step size
annealed to zero.

Numbered deviations from that code:
    1. A truncated step bootstraps from the value of its final observation; resets of next-step autoreset have weight zero.
    2. All rewards of a round are divided by one standard deviation, that of all returns up to its end, not each by that of its step. The
       running return restarts with each episode.
    3. The standard deviation of a minibatch's advantages divides by N and not by N - 1.
    4. The KL stop uses the mean over a pass, not its last minibatch.
    5. Observations may be normalised by running moments that are updated after the passes, as in IMPALA: learner and actors normalise
       alike.

Letters: T time, N rows: steps, or environments where there is a core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from envs.errors import InvalidInputError
from learners import actor_critic
from learners.actor_critic import Anneal, LearnerCompile, LearnerPrecision, LearnerState, RewardClip
from learners.algorithm import Progress, Setup
from learners.batch import batch_of
from learners.compiled import Compiled, blank
from learners.networks.agent import Agent
from learners.on_policy import RewardScale, Rows, rows_of
from learners.ops import optimisers
from learners.ops.clip import clip_by_global_norm
from learners.ops.flat import flatten, unflatten
from learners.ops.losses import clipped_surrogate, clipped_value_error
from learners.ops.masks import cleared, standardised
from learners.ops.normaliser import RunningMoments
from learners.ops.optimisers import OptimiserConfig, OptimiserState
from learners.seeds import Stream, generator
from learners.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """Hyper-parameters of PPO; the defaults are CleanRL's for continuous control."""

    gamma: Annotated[float, Meta(ge=0, le=1, description="discount per step")] = 0.99
    lambda_: Annotated[float, Meta(ge=0, le=1, description="trace parameter of the advantages (GAE)")] = 0.95
    passes: Annotated[int, Meta(ge=1, le=1000, description="passes over a round's experience, at most")] = 10
    num_minibatches: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="minibatches of a pass, each a step of Adam; of environments where there is a core"),
    ] = 32
    clip: Annotated[float, Meta(gt=0, lt=1, description="epsilon: clip of the probability ratio")] = 0.2
    value_clip: Annotated[float, Meta(ge=0, description="clip of the change of a value in a round; 0: not clipped")] = 0.2
    target_kl: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="stop after a pass whose mean KL(old || new) is above this; null: all passes"),
    ] = None
    value_cost: Annotated[float, Meta(ge=0, description="weight of the value loss")] = 0.5
    entropy_cost: Annotated[float, Meta(ge=0, description="weight of the entropy bonus")] = 0.0
    normalise_advantages: Annotated[bool, Meta(description="standardise advantages in each minibatch")] = True
    normalise_rewards: Annotated[
        bool,
        Meta(description="divide rewards by the running standard deviation of their discounted return, and clip to [-10, 10]"),
    ] = True
    reward_scale: Annotated[float, Meta(gt=0, description="rewards are multiplied by it, before clipping and normalising")] = 1.0
    reward_clip: RewardClip = 0.0
    learning_rate: Annotated[float, Meta(gt=0, le=1, description="step size at the start")] = 3e-4
    anneal: Anneal = True
    max_gradient_norm: Annotated[float, Meta(gt=0, description="clip of the global norm of the gradient")] = 0.5
    optimiser: OptimiserConfig = field(default_factory=lambda: OptimiserConfig(kind="adam", epsilon=1e-5))
    precision: LearnerPrecision = "fp32"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Config of the algorithm."""

    learner_compile: LearnerCompile = False
    learner: LearnerConfig = field(default_factory=LearnerConfig)


@dataclass(frozen=True, kw_only=True)
class State:
    """The state of the learner.

    Attributes:
        learner: network, optimiser and counters; the optimiser's step counts minibatches, the version rounds.
        rewards: the reward scale; None without reward normalisation.
    """

    learner: LearnerState
    rewards: RewardScale | None = field(
        metadata={"misfit": "checkpoint does not fit the config: one of them normalises rewards, the other does not"}
    )

    @property
    def version(self) -> int:
        """Number of rounds learned from."""
        return self.learner.version


def check(config: Config) -> None:
    """Check fields against each other: nothing to check. See `learners.algorithm`."""


def init(config: Config, setup: Setup) -> tuple[Agent, State]:
    """Return the agent module and the initial state."""
    if config.learner_compile and setup.network.core != "none":
        raise InvalidInputError(
            "learner_compile = true is allowed with network.core = none only: a core cuts its unrolls where episodes end"
        )
    agent, learner = actor_critic.init(setup.spec, setup.network, config.learner.optimiser, setup.run_seed, setup.device)
    rewards = RewardScale(moments=RunningMoments.empty(()).to(setup.device)) if config.learner.normalise_rewards else None
    return agent, State(learner=learner, rewards=rewards)


def weights(config: Config, state: State, progress: Progress) -> dict[str, Tensor]:
    """Return the network's parameters and buffers."""
    return actor_critic.network_arrays(state.learner)


def loss(agent: Agent, config: LearnerConfig, arrays: dict[str, Tensor], rows: Rows) -> tuple[Tensor, list[Tensor]]:
    """PPO's loss on a minibatch, and what is to log, by `WATCHED`. Gradient: flows to `arrays`."""
    output = actor_critic.forward(agent, arrays, rows, config.precision)
    distribution = agent.distribution(output.distribution_params)
    # everything that is averaged is finite: a batch is, except behaviour_log_prob at resets
    share = rows.weight / rows.weight.sum().clamp(min=1.0)
    log_ratio = cleared(distribution.log_prob(rows.action) - rows.log_prob, rows.weight)
    advantage = standardised(rows.advantage, rows.weight) if config.normalise_advantages else rows.advantage
    gain = (clipped_surrogate(log_ratio, advantage, config.clip) * share).sum()
    error = (clipped_value_error(output.value, rows.value, rows.target, config.value_clip) * share).sum()
    entropy = (distribution.entropy() * share).sum()
    total = config.value_cost * error - gain - config.entropy_cost * entropy
    with torch.no_grad():
        away = log_ratio.expm1()  # rho - 1; mean of rho - 1 - log rho: a KL(old || new) estimate without negative samples
        divergence = ((away - log_ratio) * share).sum()
        clipped = ((away.abs() > config.clip) * share).sum()
    return total, [total, -gain, error, entropy, divergence, clipped]


WATCHED = ("loss/total", "loss/policy", "loss/value", "policy/entropy", "policy/kl", "policy/clip_fraction", "gradient/norm")
_KL = WATCHED.index("policy/kl")


def update(
    agent: Agent, config: Config, state: State, experience: Sequence[Trajectory], progress: Progress
) -> tuple[State, dict[str, Tensor | float]]:
    """Update on the unrolls of a round, concatenated; scalars are means over the minibatches."""
    batch = batch_of(experience, slice(None), actor_critic.device_of(agent))
    rows, rewards = rows_of(agent, config.learner, state.learner, state.rewards, batch)
    order = generator(progress.run_seed, Stream.MINIBATCHES, progress.round)
    rate = actor_critic.learning_rate(config.learner, state.learner.env_steps, progress.total)
    learner, watched = passes(agent, config, state.learner, rows, rate, order, config.learner.passes)
    scalars: dict[str, Tensor | float] = dict(zip(WATCHED, watched.mean(dim=(0, 1)), strict=True))
    mean_value = (rows.value * rows.weight).sum() / rows.weight.sum().clamp(min=1.0)
    scalars |= {"value/mean": mean_value, "learning_rate": rate, "ppo/passes": float(len(watched))}
    return State(learner=actor_critic.counted(learner, batch), rewards=rewards), scalars


def passes(
    agent: Agent, config: Config, state: LearnerState, rows: Rows, rate: float, order: np.random.Generator, most: int
) -> tuple[LearnerState, Tensor]:
    """Make at most `most` passes over the rows in shuffled minibatches, fewer where the KL stop applies.

    Returns:
        The state after them, and `WATCHED` of each pass and minibatch, [passes, minibatches, 7].
    """
    learner, params = config.learner, {name: state.params[name] for name, _ in agent.named_parameters()}
    buffers = {name: array for name, array in actor_critic.network_arrays(state).items() if name not in params}
    step = _step(agent, learner, is_compiled=config.learner_compile)
    # all parameters in one vector: calls on fifteen small tensors would cost more than their arithmetic
    vector, optimiser, watched = flatten(params.values()), optimisers.flattened(state.optimiser, params), list[Tensor]()
    for _ in range(most):
        seen, which = list[Tensor](), torch.from_numpy(order.permutation(rows.size)).to(vector.device)
        for part in rows.minibatches(which, learner.num_minibatches):
            vector, optimiser, found = step(buffers, vector, optimiser, rate, part)
            seen.append(found)
        watched.append(torch.stack(seen))
        if learner.target_kl is not None and float(watched[-1][:, _KL].mean()) > learner.target_kl:
            break
    # a compiled step returns its number of steps as a tensor
    optimiser = optimisers.unflattened(replace(optimiser, step=int(optimiser.step)), params)
    return replace(state, params=unflatten(vector, params), optimiser=optimiser), torch.stack(watched)


Tensors = dict[str, Tensor]
Step = Callable[[Tensors, Tensor, OptimiserState, float | Tensor, Rows], tuple[Tensor, OptimiserState, Tensor]]
"""(buffers, parameters, optimiser, rate, rows) -> parameters and optimiser after a step along the rows' gradient, and `WATCHED`."""


@lru_cache(maxsize=2)
def _step(agent: Agent, config: LearnerConfig, *, is_compiled: bool) -> Step:
    like = dict(agent.named_parameters())

    def step(
        buffers: Tensors, vector: Tensor, optimiser: OptimiserState, rate: float | Tensor, rows: Rows
    ) -> tuple[Tensor, OptimiserState, Tensor]:
        params = {name: view.detach().requires_grad_() for name, view in unflatten(vector, like).items()}
        total, watched = loss(agent, config, buffers | params, rows)
        gradient = {"all": flatten(torch.autograd.grad(total, list(params.values())))}
        clipped, norm = clip_by_global_norm(gradient, config.max_gradient_norm)
        moved, optimiser = optimisers.apply(config.optimiser, optimiser, {"all": vector}, clipped, rate)
        return moved["all"], optimiser, torch.stack([*(one.detach() for one in watched), norm])

    return Compiled(step) if is_compiled else step


def prepare(agent: Agent, config: Any, state: State) -> None:
    """Compile the step for the batch shapes of this run's config, if `learner_compile` is set."""
    if config.learner_compile:
        batch = blank(agent, config.rollout.unroll_length, config.num_actors * config.rollout.envs_per_actor)
        rows, _ = rows_of(agent, config.learner, state.learner, None, batch)
        passes(agent, config, state.learner, rows, 0.0, np.random.default_rng(0), most=1)
