"""Rounds of PPO for reading: one environment and one step at a time, with torch's own distributions, autograd and Adam."""

from __future__ import annotations

import numpy as np
import torch
from oracles.returns import generalised_advantage
from torch import Tensor, nn
from torch.func import functional_call

from learners.batch import Batch
from learners.networks.agent import Agent, NetworkInputs
from learners.ppo import LearnerConfig

Step = tuple[int, int]
"""t and b."""


class SlowPpo:
    """A learner; `params` are its parameters after every round so far."""

    def __init__(self, agent: Agent, config: LearnerConfig, params: dict[str, Tensor], *, is_normalised: bool) -> None:
        self.agent, self.config, self.is_normalised = agent, config, is_normalised
        self.params = {name: nn.Parameter(tensor.clone()) for name, tensor in params.items()}
        adam = config.optimiser
        self.adam = torch.optim.Adam(self.params.values(), betas=(adam.beta1, adam.beta2), eps=adam.epsilon)
        self.returns: list[float] = []
        self.running: list[float] | None = None
        self.observations: list[np.ndarray] = []
        self.num_value_clips = self.num_ratio_clips = 0
        self.divergences: list[float] = []

    def arrays(self) -> dict[str, Tensor]:
        if not self.is_normalised:
            return dict(self.params)
        shape = self.agent.spec.obs_shape
        mean, std = np.zeros(shape), np.ones(shape)
        if self.observations:
            seen = np.stack(self.observations).astype(np.float64)
            mean, std = seen.mean(0), np.sqrt(seen.var(0) + 1e-8)
        return self.params | {
            "observation_mean": torch.from_numpy(mean).float(),
            "observation_std": torch.from_numpy(std).float(),
        }

    def answers(self, batch: Batch, env: int) -> list[tuple[Tensor, Tensor]]:
        """Distribution parameters and value of every row of an environment, each by a call of its own."""
        state, found, arrays = tuple(one[env : env + 1] for one in batch.initial_state), [], self.arrays()
        for t in range(len(batch.obs)):
            row = slice(t, t + 1), slice(env, env + 1)
            names = ("obs", "is_first", "previous_action", "previous_reward")
            inputs = NetworkInputs(**{name: getattr(batch, name)[row] for name in names}, initial_state=state)
            output = functional_call(self.agent, arrays, (inputs,))
            state = output.state
            found.append((output.distribution_params[0, 0], output.value[0, 0]))
        return found

    def distribution(self, params: Tensor) -> torch.distributions.Distribution:
        if self.agent.spec.is_discrete:
            return torch.distributions.Categorical(logits=params)
        mean, log_std = params.chunk(2)
        return torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)

    def rewards(self, batch: Batch) -> np.ndarray:
        """Scaled, clipped, and divided by the deviation of every discounted return that was ever seen."""
        config, reward = self.config, batch.reward.numpy() * self.config.reward_scale
        if config.reward_clip:
            reward = np.clip(reward, -config.reward_clip, config.reward_clip)
        if not config.normalise_rewards:
            return reward
        running = self.running or [0.0] * batch.num_envs
        for env in range(batch.num_envs):
            for t in range(len(reward)):
                if batch.is_first[t, env]:
                    running[env] = 0.0
                if not batch.is_first[t + 1, env]:
                    running[env] = reward[t, env] + config.gamma * running[env]
                    self.returns.append(running[env])
        self.running = running
        return np.clip(reward / np.sqrt(np.var(self.returns) + 1e-8), -10, 10)

    def round(self, batch: Batch, truncated: np.ndarray, rate: float, order: np.random.Generator) -> None:
        config, experience = self.config, [(t, b) for t, b in np.ndindex(batch.reward.shape) if not batch.is_first[t + 1, b]]
        reward, value, target, advantage = self.rewards(batch), {}, {}, {}
        for env in range(batch.num_envs):
            with torch.no_grad():
                values = np.array([float(one) for _, one in self.answers(batch, env)])
            terminated = batch.terminated[:, env].numpy()
            discount, ended = config.gamma * (1.0 - terminated), terminated | truncated[:, env]
            for t, b in experience:
                if b == env:
                    value[t, b] = values[t]
                    advantage[t, b] = generalised_advantage(
                        reward[:, env], discount, values[:-1], values[1:], ended, config.lambda_, t
                    )
                    target[t, b] = advantage[t, b] + values[t]
        self.passes(batch, experience, value, target, advantage, rate, order)
        self.observations += [batch.obs[step].numpy() for step in experience]

    def passes(
        self,
        batch: Batch,
        experience: list[Step],
        value: dict[Step, float],
        target: dict[Step, float],
        advantage: dict[Step, float],
        rate: float,
        order: np.random.Generator,
    ) -> None:
        length, num_envs = batch.reward.shape
        rows: list[list[Step]] = (
            [[step] for step in np.ndindex(length, num_envs)]
            if self.agent.core is None
            else [[(t, env) for t in range(length)] for env in range(num_envs)]
        )
        for _ in range(self.config.passes):
            shuffled, divergences = order.permutation(len(rows)), []
            for part in np.array_split(shuffled, self.config.num_minibatches):
                steps = [step for row in part for step in rows[row] if step in set(experience)]
                divergences.append(self.minibatch(batch, steps, value, target, advantage, rate))
            self.divergences.append(float(np.mean(divergences)))
            if self.config.target_kl is not None and self.divergences[-1] > self.config.target_kl:
                return

    def minibatch(
        self,
        batch: Batch,
        steps: list[Step],
        value: dict[Step, float],
        target: dict[Step, float],
        advantage: dict[Step, float],
        rate: float,
    ) -> float:
        """One step of Adam; returns the estimate of KL(old || new) before it."""
        loss, divergences = self.loss(batch, steps, value, target, advantage)
        slopes = torch.autograd.grad(loss, list(self.params.values()), allow_unused=True, materialize_grads=True)
        norm = float(torch.sqrt(sum((slope**2).sum() for slope in slopes)))
        for parameter, slope in zip(self.params.values(), slopes, strict=True):
            parameter.grad = slope * min(1.0, self.config.max_gradient_norm / norm)
        self.adam.param_groups[0]["lr"] = rate
        self.adam.step()
        return float(np.mean(divergences))

    def loss(
        self,
        batch: Batch,
        steps: list[Step],
        value: dict[Step, float],
        target: dict[Step, float],
        advantage: dict[Step, float],
    ) -> tuple[Tensor, list[float]]:
        config, terms, divergences = self.config, [], []
        drawn = np.array([advantage[step] for step in steps])
        mean, std = (drawn.mean(), drawn.std()) if config.normalise_advantages else (0.0, 1.0)
        answers = {env: self.answers(batch, env) for env in {b for _, b in steps}}
        for t, b in steps:
            params, new_value = answers[b][t]
            distribution = self.distribution(params)
            ratio = torch.exp(distribution.log_prob(batch.action[t, b]) - batch.behaviour_log_prob[t, b])
            scaled = (advantage[t, b] - mean) / std
            held = torch.clamp(ratio, 1 - config.clip, 1 + config.clip)
            gain = min(ratio * scaled, held * scaled, key=Tensor.item)
            self.num_ratio_clips += int(held.item() != ratio.item())
            error = (new_value - target[t, b]) ** 2
            if config.value_clip:
                old = value[t, b]
                near = old + torch.clamp(new_value - old, -config.value_clip, config.value_clip)
                clipped = (near - target[t, b]) ** 2
                self.num_value_clips += int(clipped.item() > error.item() + 1e-12)
                error = max(error, clipped, key=Tensor.item)
            terms.append(config.value_cost * error / 2 - gain - config.entropy_cost * distribution.entropy())
            divergences.append((ratio - 1 - ratio.log()).item())
        return torch.stack(terms).mean(), divergences
