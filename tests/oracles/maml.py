"""The slow truth for MAML: one task after the other, the baseline step by step, the inner steps by double backward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from learners.maml import MamlConfig
from learners.networks.agent import Agent, NetworkInputs
from learners.trajectory import Trajectory

RIDGE = 1e-5


def phi(obs: np.ndarray, time: int) -> np.ndarray:
    """The features of one step."""
    clipped, t = np.clip(obs.astype(np.float64).ravel(), -10, 10), time / 100
    return np.concatenate([clipped, clipped**2, [t, t**2, t**3, 1.0]])


def episodes(it: Trajectory, env: int) -> list[list[int]]:
    """The steps of each episode of an environment, without resets; the unroll's end ends the last one."""
    found: list[list[int]] = [[]]
    for t in range(len(it.reward)):
        if it.is_first[t + 1, env]:  # the reset
            found.append([])
        else:
            found[-1].append(t)
    return [steps for steps in found if steps]


def returns(it: Trajectory, env: int, gamma: float) -> dict[int, float]:
    """The discounted return from each step on, to the end of its episode or of the unroll."""
    return {
        t: float(sum(gamma**k * it.reward[s, env] for k, s in enumerate(steps[i:])))
        for steps in episodes(it, env)
        for i, t in enumerate(steps)
    }


def values(it: Trajectory, envs: Sequence[int], gamma: float) -> dict[tuple[int, int], float]:
    """The baseline of a task at each of its steps (t, env): least squares with a row of its own for each penalty."""
    keys = steps_of(it, envs)
    times = {(t, env): i for env in envs for steps in episodes(it, env) for i, t in enumerate(steps)}
    rows = np.stack([phi(it.obs[t, env], times[t, env]) for t, env in keys])
    target = np.array([returns(it, env, gamma)[t] for t, env in keys])
    penalties = np.sqrt(RIDGE) * np.eye(rows.shape[1])
    beta, *_ = np.linalg.lstsq(np.vstack([rows, penalties]), np.concatenate([target, np.zeros(len(penalties))]), rcond=None)
    return {key: float(row @ beta) for key, row in zip(keys, rows, strict=True)}


def advantages(it: Trajectory, envs: Sequence[int], config: MamlConfig) -> dict[tuple[int, int], float]:
    """GAE over the baseline, a sum at each step, standardised over the task."""
    value, found = values(it, envs, config.gamma), {}
    for env in envs:
        for steps in episodes(it, env):
            after = [value[t, env] for t in steps[1:]] + [0.0]
            deltas = [it.reward[t, env] + config.gamma * v - value[t, env] for t, v in zip(steps, after, strict=True)]
            for i, t in enumerate(steps):
                found[t, env] = float(sum((config.gamma * config.lambda_) ** k * d for k, d in enumerate(deltas[i:])))
    if not config.normalise_advantages:
        return found
    numbers = np.array(list(found.values()))
    return {key: (one - numbers.mean()) / (numbers.std() + 1e-8) for key, one in found.items()}


def task_loss(
    agent: Agent, arrays: Mapping[str, Tensor], it: Trajectory, envs: Sequence[int], config: MamlConfig, old: Tensor | None = None
) -> Tensor:
    """-mean J A of one task; J is pi / old where the probabilities `old` are given, else what the surrogate says."""
    advantage = torch.tensor(list(advantages(it, envs, config).values()), dtype=torch.float64)
    log_prob = task_log_prob(agent, arrays, it, envs)
    if old is not None:
        return -((log_prob - old).exp() * advantage).mean()
    score = log_prob if config.surrogate == "log_prob" else (log_prob - log_prob.detach()).exp()
    return -(score * advantage).mean()


def steps_of(it: Trajectory, envs: Sequence[int]) -> list[tuple[int, int]]:
    """(t, env) of every step of a task, an environment after the other, without resets."""
    return [(t, env) for env in envs for steps in episodes(it, env) for t in steps]


def policy(agent: Agent, arrays: Mapping[str, Tensor], it: Trajectory, envs: Sequence[int]) -> Any:
    """What the agent itself, with one task's parameters, would do at each of its steps."""
    obs = torch.tensor(np.stack([it.obs[key] for key in steps_of(it, envs)]), dtype=torch.float64)[None]
    size = obs.shape[1]
    inputs = NetworkInputs(
        obs=obs,
        is_first=torch.zeros(1, size, dtype=torch.bool),
        previous_action=torch.zeros(1, size, *agent.spec.action_shape),
        previous_reward=torch.zeros(1, size),
        initial_state=(),
    )
    return agent.distribution(functional_call(agent, dict(arrays), (inputs,)).distribution_params[0])


def task_log_prob(agent: Agent, arrays: Mapping[str, Tensor], it: Trajectory, envs: Sequence[int]) -> Tensor:
    """log pi of what was done at each step of a task."""
    action = torch.tensor(np.stack([it.action[key] for key in steps_of(it, envs)]))
    log_prob: Tensor = policy(agent, arrays, it, envs).log_prob(action)
    return log_prob


def adapted(
    agent: Agent,
    theta: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    inner: Sequence[Trajectory],
    envs: Sequence[int],
    config: MamlConfig,
) -> dict[str, Tensor]:
    """theta' of one task."""
    params = dict(theta)
    for it in inner:
        loss = task_loss(agent, params | dict(buffers), it, envs, config)
        slopes = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        kept = [slope.detach() if config.first_order else slope for slope in slopes]
        named = zip(params.items(), kept, strict=True)
        params = {name: value - config.inner_learning_rate * slope for (name, value), slope in named}
    return params


def meta_gradient(
    agent: Agent,
    theta: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    unit: Sequence[Trajectory],
    tasks: Sequence[Sequence[int]],
    config: MamlConfig,
) -> dict[str, Tensor]:
    """The gradient of the mean outer loss, from each task's own graph."""
    leaves = {name: value.detach().requires_grad_() for name, value in theta.items()}
    total = {name: torch.zeros_like(value) for name, value in theta.items()}
    for envs in tasks:
        arrays = adapted(agent, leaves, buffers, unit[:-1], envs, config) | dict(buffers)
        loss = task_loss(agent, arrays, unit[-1], envs, config)
        loss = loss - config.entropy_cost * policy(agent, arrays, unit[-1], envs).entropy().mean()
        for name, slope in zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True):
            total[name] += slope / len(tasks)
    return total
