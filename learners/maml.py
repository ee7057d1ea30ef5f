"""MAML for reinforcement learning: an initialisation for fast adaptation by policy-gradient steps on a task's experience.

    theta'_i = theta - alpha grad L_i(theta; D_i),      D_i  unrolls of task i with theta                              (eq. 1, K times)
    theta   <- theta - beta grad_theta (1/N) sum_i L_i(theta'_i(theta); D'_i),      D'_i  unrolls of task i with theta'_i      (eq. 4)

    L_i(theta; D) = -mean_D  J(a | s) A(s, a),      J = pi_theta / stopgrad(pi_theta)  (`surrogate` lvc)   or   log pi_theta  (log_prob)

The gradient of the outer loss flows through the inner steps, so it has their second derivative. Both surrogates have the same first
derivative. The second derivative of log_prob lacks the product of scores, and so the credit of D' for the exploration of D: the
meta-gradient of MAML's released code has this bias. That of lvc keeps it (Rothfuss et al., 2019, eq. 4: formulation I, without the terms
whose bias vanishes near an optimum), and is the default. `first_order` treats the inner gradients as constants.

Reference: Finn, Abbeel and Levine (2017), "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", arXiv 1703.03400,
algorithm 3; Rothfuss et al. (2019), "ProMP: Proximal Meta-Policy Search", arXiv 1810.06784, section 5. Deviations:

    1. The outer step is one of Adam along the clipped gradient; the paper's is TRPO's.
    2. `surrogate` lvc by default; log_prob is the paper's.
    3. The inner step size is the same at every inner step; the released code halves it at test time after the first.
    4. A bonus for the entropy of the adapted policies may be added to the outer loss (`entropy_cost`; 0 is the paper's).

All parameters of the policy are adapted, the log standard deviation among them, without a clip. There is no value network: the baseline is
that of `learners.task_batch`. A unit of experience is the result of one unit of work; gradients are computed unit by unit, so that memory
is bounded by one unit and an update is the same for any number of actors.

Letters: N tasks of a unit, E environments of a task, K inner steps, R rows of a task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from msgspec import Meta
from torch import Tensor

from learners import actor_critic
from learners.actor_critic import LearnerState, descend, learning_rate, means, network_arrays
from learners.algorithm import Progress, Setup
from learners.networks.agent import Agent
from learners.networks.stacked_agent import policy_params, stacked
from learners.ops import optimisers
from learners.ops.distributions import Categorical, DiagonalGaussian, distribution
from learners.ops.normaliser import update as update_moments
from learners.ops.optimisers import OptimiserConfig
from learners.task_batch import TaskBatch, task_batch
from learners.trajectory import Trajectory

Surrogate = Literal["lvc", "log_prob"]


@dataclass(frozen=True, kw_only=True)
class MamlConfig:
    """Hyper-parameters of MAML; those of the inner step are the paper's for locomotion."""

    gamma: Annotated[float, Meta(ge=0, le=1, description="discount per step")] = 0.99
    lambda_: Annotated[float, Meta(ge=0, le=1, description="GAE's trace parameter; 1: returns less the baseline")] = 1.0
    num_inner_steps: Annotated[int, Meta(ge=1, le=16, description="K: inner steps, each on its own unrolls")] = 1
    inner_learning_rate: Annotated[float, Meta(ge=0, le=100, description="alpha: step size of an inner step")] = 0.1
    surrogate: Annotated[
        Surrogate,
        Meta(description="loss of the inner step: the ratio, for an unbiased meta-gradient, or log pi as published"),
    ] = "lvc"
    first_order: Annotated[bool, Meta(description="treat inner gradients as constants in the outer gradient")] = False
    normalise_advantages: Annotated[bool, Meta(description="standardise advantages within each task")] = True
    entropy_cost: Annotated[float, Meta(ge=0, description="weight of the adapted policies' entropy in the outer loss")] = 0.0
    learning_rate: Annotated[float, Meta(gt=0, le=1, description="beta: step size of the outer step at the start")] = 1e-3
    anneal: Annotated[
        bool, Meta(description="decay the outer step size linearly to 0 over schedule_env_steps, or else over total_env_steps")
    ] = False
    max_gradient_norm: Annotated[float, Meta(gt=0, description="clip of the global norm of the outer gradient")] = 1.0
    optimiser: OptimiserConfig = field(default_factory=lambda: OptimiserConfig(kind="adam", epsilon=1e-5))


@dataclass(frozen=True, kw_only=True)
class Config:
    """Config of the algorithm."""

    tasks_per_round: Annotated[
        int, Meta(ge=1, le=100_000, description="tasks of an outer step; a multiple of rollout.envs_per_actor / envs_per_task")
    ] = 20
    envs_per_task: Annotated[
        int, Meta(ge=1, le=65_536, description="environments of each task; must divide rollout.envs_per_actor")
    ] = 16
    evaluate_every: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="rounds between evaluations: the return after the inner steps on held-out tasks; null: never"),
    ] = None
    evaluation_tasks: Annotated[
        int, Meta(ge=1, le=100_000, description="tasks of an evaluation; a multiple of rollout.envs_per_actor / envs_per_task")
    ] = 40
    learner: MamlConfig = field(default_factory=MamlConfig)


def check(config: Config) -> None:
    """Check fields against each other: nothing to check. See `learners.algorithm`."""


def init(config: Config, setup: Setup) -> tuple[Agent, LearnerState]:
    """Return the agent module and the initial state: the policy's parameters, without those of the value."""
    agent, state = actor_critic.init(setup.spec, setup.network, config.learner.optimiser, setup.run_seed, setup.device)
    params = {name: value for name, value in state.params.items() if not name.startswith("value_")}
    return agent, replace(state, params=params, optimiser=optimisers.init(config.learner.optimiser, params))


def weights(config: Config, state: LearnerState, progress: Progress) -> dict[str, Tensor]:
    """Return the policy's parameters theta and its buffers."""
    return network_arrays(state)


def adapt(agent: Agent, config: Config, weights: Mapping[str, Tensor], trajectories: Sequence[Trajectory]) -> dict[str, Tensor]:
    """Return the weights of N tasks after an inner step on each of the trajectories.

    Args:
        agent: the agent module, used for its structure.
        config: of the algorithm.
        weights: theta and the buffers, as `weights` returned them.
        trajectories: of N * E environments, task by task: the first acted with theta, each later one with the parameters after the inner
            steps before it.

    Returns:
        Parameters and buffers by name, with the tasks as first axis.
    """
    theta, buffers = _theta_and_buffers(agent, weights)
    unit = [_batch(agent, config, trajectory) for trajectory in trajectories]
    params, _ = adapted(agent, config.learner, theta, buffers, unit, create_graph=False)
    found = params | stacked(buffers, unit[0].num_tasks)
    return {name: value.detach() for name, value in found.items()}


def update(
    agent: Agent, config: Config, state: LearnerState, experience: Sequence[Sequence[Trajectory]], progress: Progress
) -> tuple[LearnerState, dict[str, Tensor]]:
    """Make one outer step.

    Args:
        agent: the agent module, used for its structure.
        config: of the algorithm.
        state: not modified.
        experience: for each unit of work its K + 1 trajectories, in order; each unit has as many tasks as any other.
        progress: position of the run.
    """
    rate = learning_rate(config.learner, state.env_steps, progress.total)
    gradients, watched, moments = [], [], state.moments
    for unit in experience:
        batches = [_batch(agent, config, trajectory) for trajectory in unit]
        gradient, found = meta_gradient(agent, config.learner, network_arrays(state), batches)
        gradients.append(gradient)
        watched.append(found)
        for batch in batches:
            moments = None if moments is None else update_moments(moments, batch.obs, batch.weight)
    mean = {name: torch.stack([gradient[name] for gradient in gradients]).mean(dim=0) for name in state.params}
    after, norm = descend(config.learner, state, mean, rate)
    env_steps = sum(trajectory.env_steps for unit in experience for trajectory in unit)
    after = replace(after, moments=moments, version=state.version + 1, env_steps=state.env_steps + env_steps)
    return after, means(watched) | {"gradient/norm": norm, "learning_rate": torch.as_tensor(rate)}


def meta_gradient(
    agent: Agent, config: MamlConfig, arrays: Mapping[str, Tensor], unit: Sequence[TaskBatch]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the gradient of the outer loss by theta on one unit of experience, and what is to log.

    Args:
        agent: the agent module, used for its structure.
        config: hyper-parameters.
        arrays: theta and the buffers.
        unit: the batches of the K inner steps and that of the outer loss, in order.
    """
    theta, buffers = _theta_and_buffers(agent, arrays)
    *inner, outer = unit
    params, inner_norm = adapted(agent, config, theta, buffers, inner, create_graph=not config.first_order)
    policy = _policy(agent, params | stacked(buffers, outer.num_tasks), outer)
    entropy = outer.mean(policy.entropy()).mean()
    loss = policy_loss(config.surrogate, policy.log_prob(outer.action), outer).mean()
    slopes = torch.autograd.grad(loss - config.entropy_cost * entropy, list(theta.values()))
    # the loss itself is not logged: advantages over the fitted baseline have mean zero
    return dict(zip(theta, slopes, strict=True)), {"gradient/inner": inner_norm, "policy/entropy": entropy.detach()}


def adapted(
    agent: Agent,
    config: MamlConfig,
    theta: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    inner: Sequence[TaskBatch],
    *,
    create_graph: bool,
) -> tuple[dict[str, Tensor], Tensor]:
    """Return theta'_i after an inner step on each batch, [N, *shape] by name, and the mean norm of the tasks' first inner gradients.

    The tasks' losses are summed: no parameter is shared between tasks, so the gradient of the sum is that of each.

    Gradient: flows to `theta`, and with `create_graph` through the inner gradients as well.
    """
    params = stacked(theta, inner[0].num_tasks)
    fixed, norms = stacked(buffers, inner[0].num_tasks), []
    for batch in inner:
        log_prob = _policy(agent, params | fixed, batch).log_prob(batch.action)
        loss = policy_loss(config.surrogate, log_prob, batch)
        slopes = torch.autograd.grad(loss.sum(), list(params.values()), create_graph=create_graph)
        norms.append(torch.cat([slope.detach().flatten(1) for slope in slopes], dim=1).norm(dim=1).mean())
        named = zip(params.items(), slopes, strict=True)
        params = {name: value - config.inner_learning_rate * slope for (name, value), slope in named}
    return params, norms[0]


def policy_loss(surrogate: Surrogate, log_prob: Float[Tensor, "N R"], batch: TaskBatch) -> Float[Tensor, " N"]:
    """Return -mean J A of each task. See the module's docstring.

    Gradient: flows to `log_prob`; with lvc its second derivative has the product of scores in addition to the curvature of log pi.
    """
    score = (log_prob - log_prob.detach()).exp() if surrogate == "lvc" else log_prob
    return -batch.mean(score * batch.advantage)


def _policy(agent: Agent, arrays: Mapping[str, Tensor], batch: TaskBatch) -> Categorical | DiagonalGaussian:
    """Each task's policy on its rows [N, R]."""
    return distribution(agent.spec, policy_params(agent.spec, agent.config, arrays, batch.obs))


def _batch(agent: Agent, config: Config, trajectory: Trajectory) -> TaskBatch:
    own = config.learner
    return task_batch(
        trajectory,
        config.envs_per_task,
        gamma=own.gamma,
        lambda_=own.lambda_,
        normalises=own.normalise_advantages,
        like=agent.policy_head.weight,
    )


def _theta_and_buffers(agent: Agent, arrays: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Theta, as leaves to differentiate by, and the buffers."""
    names = {name for name, _ in agent.named_parameters()}
    theta = {name: array.detach().requires_grad_() for name, array in arrays.items() if name in names}
    return theta, {name: array for name, array in arrays.items() if name not in names}
