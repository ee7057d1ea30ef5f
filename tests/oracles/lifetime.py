"""One lifetime of Evolved Policy Gradients, one step after the other, for reading: from the paper and the released code.

Nothing is stacked, cached or skipped: the loss network convolves whole rows with `conv1d` at every minibatch, PPO is computed by loops over
steps, and every tensor has an Adam of its own. Only the names of random numbers and the environments are shared with the code under test.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, leaky_relu

from actors.bounds import ActionBounds
from actors.lifetimes import LifetimeSeed
from envs.family import TaskFamily
from envs.task import Task
from learners.learned_loss.inner_loop import LifetimeConfig, draw_start
from learners.learned_loss.network import LossConfig, LossShape
from learners.networks.spaces import SpaceSpec


class Agent:
    """Policy, value and memory of one lifetime."""

    def __init__(self, start: dict[str, np.ndarray], dtype: torch.dtype) -> None:
        self.weights = {name: nn.Parameter(torch.from_numpy(np.array(array)).to(dtype)) for name, array in start.items()}

    def net(self, prefix: str, x: Tensor) -> Tensor:
        depth = sum(name.startswith(prefix) and name.endswith("weight") for name in self.weights)
        for layer in range(depth):
            x = x @ self.weights[f"{prefix}.{layer}.weight"] + self.weights[f"{prefix}.{layer}.bias"]
            x = torch.tanh(x) if layer < depth - 1 else x
        return x

    def memory(self) -> Tensor:
        ones = torch.ones(64, dtype=self.weights["memory.weight"].dtype)
        return torch.tanh(self.weights["memory.weight"] @ ones + self.weights["memory.bias"])


class Normaliser:
    """Running sums with a prior of 0.01 observations of mean 0 and variance 1."""

    def __init__(self, size: int) -> None:
        self.count, self.total, self.squares = 0.01, np.zeros(size), np.full(size, 0.01)

    def add(self, row: np.ndarray) -> None:
        self.count += 1
        self.total += row
        self.squares += row**2

    def __call__(self, row: np.ndarray) -> np.ndarray:
        mean = self.total / self.count
        std = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0.01))
        return (row - mean) / std


class OneLife:
    """A lifetime on one task, from its seed to its fitness."""

    def __init__(
        self,
        family: TaskFamily,
        task: Task,
        seed: LifetimeSeed,
        life: LifetimeConfig,
        loss: LossConfig,
        phi: np.ndarray,
        alpha: float,
    ) -> None:
        self.dtype = torch.float64
        self.family, self.task, self.seed, self.life, self.loss, self.alpha = family, task, seed, life, loss, alpha
        self.env = family.make([task])
        self.spec = SpaceSpec.of(self.env)
        self.shape = LossShape.of(loss, self.spec)
        views = self.shape.layout.views(torch.from_numpy(phi.astype(np.float64))[None])
        self.phi = {name: view[0] for name, view in views.items()}
        self.agent = Agent(draw_start(life, self.spec, seed.start), self.dtype)
        trained = [name for name in self.agent.weights if self.is_trained(name)]
        self.optimisers = {name: torch.optim.Adam([self.agent.weights[name]], lr=life.learning_rate) for name in trained}
        self.action_size = self.spec.num_actions or self.spec.action_size
        self.normaliser = Normaliser(self.spec.obs_shape[0] + self.action_size)
        self.buffer: list[dict[str, Any]] = []
        self.bounds = ActionBounds(self.env.single_action_space)

    def is_trained(self, name: str) -> bool:
        if name.startswith("memory"):
            return self.life.train_memory
        return self.alpha > 0 if name.startswith("value") else True

    # -- acting ------------------------------------------------------------------------------------------------------------------

    def normal_obs(self, obs: np.ndarray) -> Tensor:
        row = np.concatenate([obs, np.zeros(self.action_size)])
        return torch.from_numpy(self.normaliser(row)[: len(obs)])

    @torch.no_grad()
    def act(self, obs: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, Any]:
        output = self.agent.net("policy", self.normal_obs(obs))
        if self.spec.is_discrete:
            chosen = int((torch.softmax(output, 0).cumsum(0)[:-1].numpy() <= noise[0]).sum())
            return np.eye(self.action_size)[chosen], chosen
        action = (output + self.agent.weights["log_std"].exp() * torch.from_numpy(noise)).numpy()
        return action, self.bounds.apply(action[None])[0]

    def noise(self, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return rng.random((*shape, 1)) if self.spec.is_discrete else rng.standard_normal((*shape, self.action_size))

    def run(self) -> float:
        self.env.seed_slots([self.seed.episodes])
        obs = self.env.reset()[0][0]
        for _ in range(self.life.num_updates):
            noise, newest = self.noise(self.seed.noise, (self.life.update_every, 1)), []
            for step in range(self.life.update_every):
                action, given = self.act(obs, noise[step, 0])
                next_obs, reward, terminated, truncated, _ = self.env.step(np.array([given]))
                ends = {"terminated": bool(terminated[0]), "truncated": bool(truncated[0])}
                newest.append({"obs": obs, "action": action, "reward": reward[0], "next_obs": next_obs[0], **ends})
                obs = self.env.restart(np.array([0]))[0] if terminated[0] or truncated[0] else next_obs[0]
            self.update(newest)
        return self.fitness()

    def fitness(self) -> float:
        returns, episodes = [], self.life.fitness_episodes
        starts = self.seed.final_episodes.spawn(episodes)
        noise = self.noise(self.seed.final_noise, (64, episodes))
        while len(noise) < 2000:
            noise = np.concatenate([noise, self.noise(self.seed.final_noise, (64, episodes))])
        for episode in range(episodes):
            env = self.family.make([self.task])
            env.seed_slots([starts[episode]])
            obs, total, is_over, step = env.reset()[0][0], 0.0, False, 0
            while not is_over:
                _, given = self.act(obs, noise[step, episode])
                following, reward, terminated, truncated, _ = env.step(np.array([given]))
                obs, total, is_over, step = following[0], total + reward[0], bool(terminated[0] or truncated[0]), step + 1
            returns.append(total)
        return float(np.mean(returns))

    # -- learning ----------------------------------------------------------------------------------------------------------------

    def update(self, newest: list[dict[str, Any]]) -> None:
        self.buffer = (self.buffer + newest)[-self.life.buffer_rows :]
        for step in self.buffer:
            self.normaliser.add(np.concatenate([step["obs"], step["action"]]))
        frozen = Agent({name: weight.detach().numpy() for name, weight in self.agent.weights.items()}, self.dtype)
        judged = self.judged(newest, frozen) if self.alpha > 0 else None
        orders = [self.seed.order.permutation(self.life.update_every) for _ in range(self.life.passes)]
        order = np.concatenate(orders)
        first_context = self.context(self.rows(self.agent), self.agent).detach()
        for start in range(0, len(order), self.life.minibatch_rows):
            rows = order[start : start + self.life.minibatch_rows]
            loss = torch.zeros((), dtype=self.dtype)
            if self.alpha < 1:
                loss = loss + (1 - self.alpha) * self.learned_loss(rows, first_context)
            if judged is not None:
                loss = loss + self.alpha * self.ppo_loss(newest, rows, frozen, *judged)
            for optimiser in self.optimisers.values():
                optimiser.zero_grad()
            loss.backward()
            for name, optimiser in self.optimisers.items():
                gradient = self.agent.weights[name].grad
                if gradient is None:  # torch's Adam would pass it over; a gradient of zero still moves the moments
                    self.agent.weights[name].grad = torch.zeros_like(self.agent.weights[name])
                elif not gradient.isfinite().all():
                    continue
                optimiser.step()

    def rows(self, agent: Agent, *, with_memory_gradient: bool = False) -> Tensor:
        """[N, D]: all rows of the buffer as the policy sees them now, zeros at the old end while it is not full."""
        size, padding = self.spec.obs_shape[0], self.life.buffer_rows - len(self.buffer)
        memory = agent.memory() if with_memory_gradient else agent.memory().detach()
        rows = []
        for index in range(-padding, len(self.buffer)):
            if index < 0:
                obs, static = np.zeros(size), np.zeros(self.shape.static_size)
            else:
                step = self.buffer[index]
                normal = self.normaliser(np.concatenate([step["obs"], step["action"]]))
                obs, extras = normal[:size], []
                if self.loss.reward_input:
                    extras.append(step["reward"])
                if self.loss.architecture == "release":
                    extras.append(0.0)  # the count bonus, which the released code switched off
                extras.append(float(step["terminated"] or step["truncated"]))
                static = np.concatenate([normal, extras])
            output = agent.net("policy", torch.from_numpy(obs))
            policy = torch.softmax(output, 0) if self.spec.is_discrete else torch.cat([output, agent.weights["log_std"]])
            rows.append(torch.cat([torch.from_numpy(static), policy, memory]))
        return torch.stack(rows)

    def context(self, rows: Tensor, agent: Agent) -> Tensor:
        (stride1, stride2) = self.shape.convolutions.strides
        x = rows.T[None]  # conv1d wants [batch, channels, time]
        weight1, weight2 = (self.phi[f"context.conv{i}.weight"].permute(2, 1, 0) for i in (1, 2))
        x = leaky_relu(conv1d(x, weight1, self.phi["context.conv1.bias"], stride=stride1), 0.2)
        x = leaky_relu(conv1d(x, weight2, self.phi["context.conv2.bias"], stride=stride2), 0.2)
        return x[0].mean(dim=1) @ self.phi["context.dense.weight"] + self.phi["context.dense.bias"]

    def learned_loss(self, rows: np.ndarray, first_context: Tensor) -> Tensor:
        context = self.context(self.rows(self.agent), self.agent)
        if self.loss.context_once:
            context = first_context
        elif not self.loss.context_gradient:
            context = context.detach()
        newest = self.rows(self.agent, with_memory_gradient=True)[-self.life.update_every :][rows]
        inputs = torch.cat([newest, context.expand(len(rows), -1)], dim=1)
        hidden = leaky_relu(inputs @ self.phi["head.hidden.weight"] + self.phi["head.hidden.bias"], 0.2)
        return (hidden @ self.phi["head.output.weight"] + self.phi["head.output.bias"]).mean()

    @torch.no_grad()
    def judged(self, newest: list[dict[str, Any]], agent: Agent) -> tuple[np.ndarray, np.ndarray]:
        """Standardised advantages and value targets, step by step from the last."""
        ppo, advantage, raw = self.life.ppo, 0.0, []
        for step in reversed(newest):
            value = float(agent.net("value", self.normal_obs(step["obs"])))
            next_value = 0.0 if step["terminated"] else float(agent.net("value", self.normal_obs(step["next_obs"])))
            delta = ppo.reward_scale * step["reward"] + ppo.gamma * next_value - value
            carried = 0.0 if step["terminated"] or step["truncated"] else ppo.gamma * ppo.lambda_ * advantage
            advantage = delta + carried
            raw.append((advantage, advantage + value))
        advantages, targets = np.array(raw[::-1]).T
        return (advantages - advantages.mean()) / (advantages.std() + 1e-8), targets

    def log_prob(self, agent: Agent, step: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """log pi(a|s), and the parameters of the distribution."""
        output = agent.net("policy", self.normal_obs(step["obs"]))
        action = torch.from_numpy(np.asarray(step["action"]))
        if self.spec.is_discrete:
            log_probs = torch.log_softmax(output, 0)
            return (log_probs * action).sum(), log_probs
        std = agent.weights["log_std"].exp()
        density = torch.distributions.Normal(output, std)
        return density.log_prob(action).sum(), torch.stack([output, std])

    def ppo_loss(
        self, newest: list[dict[str, Any]], rows: np.ndarray, old: Agent, advantages: np.ndarray, targets: np.ndarray
    ) -> Tensor:
        ppo, total = self.life.ppo, torch.zeros((), dtype=self.dtype)
        for row in rows:
            step = newest[row]
            new_log_prob, new = self.log_prob(self.agent, step)
            old_log_prob, was = self.log_prob(old, step)
            ratio = torch.exp(new_log_prob - old_log_prob.detach())
            gain = min(ratio * advantages[row], ratio.clamp(1 - ppo.clip, 1 + ppo.clip) * advantages[row])
            if self.spec.is_discrete:
                divergence, entropy = (was.detach().exp() * (was.detach() - new)).sum(), -(new.exp() * new).sum()
            else:
                before = torch.distributions.Normal(was[0].detach(), was[1].detach())
                after = torch.distributions.Normal(new[0], new[1])
                divergence, entropy = torch.distributions.kl_divergence(before, after).sum(), after.entropy().sum()
            value = self.agent.net("value", self.normal_obs(step["obs"]))[0]
            total = total - gain + ppo.kl_cost * divergence + ppo.value_cost * (value - targets[row]) ** 2
            total = total - ppo.entropy_cost * entropy
        assert math.isfinite(float(total.detach()))
        return total / len(rows)
