"""A plain single-process PPO on EnvPool's C++ environments: seconds and steps of training to a return on HalfCheetah-v4.

Run under a Python that has `envpool` (docs/results/peers.md has the commands):

    python benchmarks/peers/envpool_ppo.py --stop-return 1500 --seed 0

It stands for what a lone learner on a C++ batch reaches: 64 environments, unrolls of 64, two passes of four minibatches, Adam at 3e-3, two
64-64 tanh networks, observations and rewards normalised. The clock starts at the first environment step. Prints one JSON line with the
curve: seconds, environment steps and the mean return of the last 100 finished episodes, a row a round from the hundredth episode on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from importlib.metadata import version
from typing import Any

import envpool
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal

NUM_ENVS, UNROLL, PASSES, MINIBATCHES = 64, 64, 2, 4
LEARNING_RATE, GAMMA, LAMBDA, CLIP = 3e-3, 0.99, 0.95, 0.2


def layer(inputs: int, outputs: int, gain: float) -> nn.Linear:
    """Orthogonal weights, no bias at the start."""
    made = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(made.weight, gain)
    nn.init.zeros_(made.bias)
    return made


class Net(nn.Module):
    """A policy and a value, each of two hidden layers."""

    def __init__(self, num_inputs: int, num_actions: int) -> None:
        super().__init__()
        self.policy, self.value = (
            nn.Sequential(layer(num_inputs, 64, 2**0.5), nn.Tanh(), layer(64, 64, 2**0.5), nn.Tanh(), layer(64, size, gain))
            for size, gain in ((num_actions, 0.01), (1, 1.0))
        )
        self.log_std = nn.Parameter(torch.zeros(num_actions))

    def forward(self, obs: Tensor) -> tuple[Normal, Tensor]:
        return Normal(self.policy(obs), self.log_std.exp(), validate_args=False), self.value(obs).squeeze(-1)


class Moments:
    """Running mean and variance over the rows of all batches."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.mean, self.var, self._count = np.zeros(shape), np.ones(shape), 1e-4

    def add(self, rows: np.ndarray) -> None:
        total, shift = self._count + len(rows), rows.mean(0) - self.mean
        squares = self.var * self._count + rows.var(0) * len(rows) + shift**2 * self._count * len(rows) / total
        self.mean, self.var, self._count = self.mean + shift * len(rows) / total, squares / total, total


class Acting:
    """The environments between rounds, and the returns of what has ended."""

    def __init__(self, seed: int, threads: int) -> None:
        self.env = envpool.make("HalfCheetah-v4", env_type="gymnasium", num_envs=NUM_ENVS, seed=seed, num_threads=threads)
        shape = self.env.observation_space.shape
        self.num_inputs, self.num_actions = shape[0], self.env.action_space.shape[0]
        self.moments, self.reward_moments = Moments(shape), Moments(())
        self.returns: deque[float] = deque(maxlen=100)
        self.episodes = 0
        self._running, self._discounted = np.zeros(NUM_ENVS), np.zeros(NUM_ENVS)
        self._ended = np.zeros(NUM_ENVS, bool)
        self.obs = self._normalised(self.env.reset()[0])

    def _normalised(self, obs: np.ndarray) -> Tensor:
        self.moments.add(obs)
        scaled = (obs - self.moments.mean) / np.sqrt(self.moments.var + 1e-8)
        return torch.from_numpy(np.clip(scaled, -10, 10).astype(np.float32))

    @torch.no_grad()
    def unroll(self, net: Net) -> dict[str, Tensor]:
        """One round: [UNROLL, NUM_ENVS, ...]; `weight` is 0 where EnvPool spends a step on a reset."""
        rows: dict[str, list[Tensor]] = {key: [] for key in ("obs", "action", "log_prob", "value", "reward", "done", "weight")}
        for _ in range(UNROLL):
            policy, value = net(self.obs)
            action = policy.sample()
            kept = self.obs, action, policy.log_prob(action).sum(-1), value, torch.from_numpy(~self._ended).float()
            for key, row in zip(("obs", "action", "log_prob", "value", "weight"), kept, strict=True):
                rows[key].append(row)
            obs, reward, terminated, truncated, _ = self.env.step(np.clip(action.numpy(), -1, 1).astype(np.float64))
            rows["reward"].append(torch.from_numpy(self._scaled(reward, ended=terminated | truncated)))
            rows["done"].append(torch.from_numpy(self._ended.astype(np.float32)))
            self.obs = self._normalised(obs)
        return {key: torch.stack(kept) for key, kept in rows.items()} | {"next_value": net(self.obs)[1]}

    def _scaled(self, reward: np.ndarray, *, ended: np.ndarray) -> np.ndarray:
        self._running += reward
        self.returns += self._running[ended].tolist()
        self.episodes += int(ended.sum())
        self._running[ended] = 0
        self._discounted = self._discounted * GAMMA * ~self._ended + reward
        self.reward_moments.add(self._discounted)
        self._ended = ended
        return np.clip(reward / np.sqrt(self.reward_moments.var + 1e-8), -10, 10).astype(np.float32)


def advantages(round_: dict[str, Tensor]) -> Tensor:
    """GAE, [UNROLL, NUM_ENVS]."""
    value = torch.cat((round_["value"], round_["next_value"][None]))
    found, running = torch.zeros_like(round_["value"]), torch.zeros(NUM_ENVS)
    for t in reversed(range(UNROLL)):
        goes_on = 1 - round_["done"][t]
        error = round_["reward"][t] + GAMMA * value[t + 1] * goes_on - value[t]
        found[t] = running = error + GAMMA * LAMBDA * goes_on * running
    return found


def learn(net: Net, optimiser: torch.optim.Optimizer, round_: dict[str, Tensor]) -> None:
    """Pass over a round in minibatches."""
    advantage = advantages(round_)
    rows = round_ | {"advantage": advantage, "return": advantage + round_["value"]}
    flat = {key: rows_.flatten(0, 1) for key, rows_ in rows.items() if key != "next_value"}
    for _ in range(PASSES):
        for index in torch.randperm(UNROLL * NUM_ENVS).chunk(MINIBATCHES):
            batch = {key: rows_[index] for key, rows_ in flat.items()}
            policy, value = net(batch["obs"])
            ratio = (policy.log_prob(batch["action"]).sum(-1) - batch["log_prob"]).exp()
            gain = (batch["advantage"] - batch["advantage"].mean()) / (batch["advantage"].std() + 1e-8)
            surrogate = torch.min(gain * ratio, gain * ratio.clamp(1 - CLIP, 1 + CLIP))
            loss = ((0.5 * (value - batch["return"]) ** 2 - surrogate) * batch["weight"]).mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            optimiser.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stop-return", type=float, default=1500.0)
    parser.add_argument("--seconds", type=float, default=90.0, help="of training, at most")
    parser.add_argument("--threads", type=int, default=2, help="of the environments and of torch, each")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    acting = Acting(args.seed, args.threads)
    net = Net(acting.num_inputs, acting.num_actions)
    optimiser = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, eps=1e-5)
    curve: list[tuple[float, int, float]] = []
    start, steps = time.monotonic(), 0
    while not curve or (curve[-1][0] < args.seconds and curve[-1][2] < args.stop_return):
        learn(net, optimiser, acting.unroll(net))
        steps += UNROLL * NUM_ENVS
        if acting.episodes >= acting.returns.maxlen:  # type: ignore[operator]
            mean = float(np.mean(acting.returns))
            curve.append((round(time.monotonic() - start, 2), steps, round(mean, 1)))
    print(json.dumps(line(args, curve)), flush=True)


def line(args: argparse.Namespace, curve: list[tuple[float, int, float]]) -> dict[str, Any]:
    """What is printed."""
    seconds, steps, reached = curve[-1]
    is_there = reached >= args.stop_return
    return {
        "peer": "envpool_ppo",
        "env": "HalfCheetah-v4",
        "seed": args.seed,
        "stop_return": args.stop_return,
        "seconds_to_return": seconds if is_there else None,
        "steps_to_return": steps if is_there else None,
        "env_steps_per_s": round(steps / seconds, 1),
        "curve": curve,
        "versions": {name: version(name) for name in ("envpool", "torch", "numpy")},
    }


if __name__ == "__main__":
    main()
