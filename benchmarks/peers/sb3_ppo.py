"""stable-baselines3's PPO with rl-zoo3's settings on a MuJoCo task: return over steps, and action steps per second.

Run under a Python that has `stable-baselines3` (docs/results/peers.md has the commands):

    python benchmarks/peers/sb3_ppo.py --env HalfCheetah-v5 --steps 1000000 --seed 0

Prints one JSON line: the mean return of the last 100 training episodes every `--every` steps and at the end, the mean of 20 greedy
episodes, and the rate. The settings are those of rl-zoo3 2.9.2 for the same body's v4 (it has none for v5).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from importlib.metadata import version
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

_WIDE = {
    "log_std_init": -2,
    "ortho_init": False,
    "activation_fn": torch.nn.ReLU,
    "net_arch": {"pi": [256, 256], "vf": [256, 256]},
}

SETTINGS: dict[str, dict[str, Any]] = {
    "HalfCheetah-v5": {
        "batch_size": 64, "n_steps": 512, "gamma": 0.98, "learning_rate": 2.0633e-05, "ent_coef": 0.000401762, "clip_range": 0.1,
        "n_epochs": 20, "gae_lambda": 0.92, "max_grad_norm": 0.8, "vf_coef": 0.58096, "policy_kwargs": _WIDE,
    },
    "Hopper-v5": {
        "batch_size": 32, "n_steps": 512, "gamma": 0.999, "learning_rate": 9.80828e-05, "ent_coef": 0.00229519, "clip_range": 0.2,
        "n_epochs": 5, "gae_lambda": 0.99, "max_grad_norm": 0.7, "vf_coef": 0.835671, "policy_kwargs": _WIDE,
    },
    "Walker2d-v5": {
        "batch_size": 32, "n_steps": 512, "gamma": 0.99, "learning_rate": 5.05041e-05, "ent_coef": 0.000585045, "clip_range": 0.1,
        "n_epochs": 20, "gae_lambda": 0.95, "max_grad_norm": 1.0, "vf_coef": 0.871923,
    },
}  # fmt: skip


class Curve(BaseCallback):
    """Keep the mean return of the last 100 episodes every `every` steps."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self._every, self._returns = every, list[float]()
        self.points: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        self._returns += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        if self.num_timesteps % self._every == 0:
            self.points.append((self.num_timesteps, self.mean()))
        return True

    def mean(self) -> float:
        """Of the last 100 episodes."""
        return round(float(np.mean(self._returns[-100:])), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", choices=sorted(SETTINGS), required=True)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--every", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    env = VecNormalize(DummyVecEnv([lambda: Monitor(gymnasium.make(args.env))]), gamma=SETTINGS[args.env]["gamma"])
    env.seed(args.seed)
    model = PPO("MlpPolicy", env, seed=args.seed, device="cpu", **SETTINGS[args.env])
    curve, start = Curve(args.every), time.monotonic()
    model.learn(args.steps, callback=curve)
    seconds = time.monotonic() - start
    env.training = env.norm_reward = False
    greedy, _ = evaluate_policy(model, env, n_eval_episodes=20)
    line = {
        "peer": "sb3_ppo",
        "env": args.env,
        "seed": args.seed,
        "env_steps": model.num_timesteps,
        "env_steps_per_s": round(model.num_timesteps / seconds, 1),
        "train_seconds": round(seconds, 1),
        "return_mean_100": curve.mean(),
        "return_greedy_20": round(float(np.mean(greedy)), 1),
        "curve": curve.points,
        "versions": {name: version(name) for name in ("stable-baselines3", "torch", "gymnasium", "mujoco")},
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
