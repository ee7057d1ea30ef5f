"""RLlib's IMPALA, end to end while it learns: action steps per second on HalfCheetah-v5 or Pong.

Run under a Python that has `ray[rllib]==2.60.0` (docs/results/peers.md has the commands):

    python benchmarks/peers/rllib_impala.py --env pong

Two EnvRunner actors feed one learner, in the driver by default (`--learners 0`; `--learners 1` gives it an actor of its own).
The networks are those of metaray's presets: an MLP 64-64 of tanh for HalfCheetah, IMPALA's shallow network for Pong.
"""

from __future__ import annotations

import argparse
import logging
import os
import warnings
from typing import Any

os.environ["RAY_worker_niceness"] = "0"  # Ray starts workers at nice 15; on a full machine the peer would starve
os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a cluster of this script's own, gone with it
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore")

import ray
import torch
from measure import ENVIRONMENTS, Counter, Schedule, open_counters, report, watch
from ray.rllib.algorithms.impala import IMPALAConfig
from ray.rllib.algorithms.impala.torch.impala_torch_learner import IMPALATorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.tune.registry import register_env
from torch import nn


class ShallowNetwork(TorchRLModule, ValueFunctionAPI):
    """16 8x8/4, 32 4x4/2, 256 units, a policy and a value head: the IMPALA paper's shallow network without its LSTM."""

    def setup(self) -> None:
        """Make the layers."""
        self.body = nn.Sequential(
            nn.Conv2d(4, 16, 8, 4),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 9 * 9, 256),
            nn.ReLU(),
        )
        self.policy = nn.Linear(256, self.action_space.n)
        self.value = nn.Linear(256, 1)

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        embeddings = self.body(batch[Columns.OBS].float() / 255)
        return {Columns.ACTION_DIST_INPUTS: self.policy(embeddings), Columns.EMBEDDINGS: embeddings}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Any:
        """V(s), from the embeddings of `_forward` where the caller has them."""
        if embeddings is None:
            embeddings = self.body(batch[Columns.OBS].float() / 255)
        return self.value(embeddings).squeeze(-1)


class CountingLearner(IMPALATorchLearner):
    """Count the samples that enter the loss: the rows of the mask, without RLlib's appended bootstrap rows."""

    def compute_loss_for_module(self, *, batch: dict[str, Any], **kwargs: Any) -> Any:
        """Count and pass on."""
        if not hasattr(self, "counter"):
            self.counter = Counter("trained")
        self.counter.add(int(batch[Columns.LOSS_MASK].sum()))
        return super().compute_loss_for_module(batch=batch, **kwargs)


def configure(args: argparse.Namespace) -> IMPALAConfig:
    """RLlib's IMPALA: its own loss settings, 16 environments a runner, unrolls of 20; options all, none searched over."""
    register_env(args.env, lambda _: ENVIRONMENTS[args.env]())
    if args.env == "pong":
        rl_module: dict[str, Any] = {"rl_module_spec": RLModuleSpec(module_class=ShallowNetwork)}
    else:
        rl_module = {"model_config": DefaultModelConfig(fcnet_hiddens=[64, 64], fcnet_activation="tanh")}
    return (
        IMPALAConfig()
        .environment(args.env)
        .env_runners(num_env_runners=args.env_runners, num_envs_per_env_runner=args.envs, rollout_fragment_length=args.unroll)
        .learners(num_learners=args.learners, learner_class=CountingLearner)
        .training(train_batch_size_per_learner=args.batch, lr=5e-4, grad_clip=40.0, entropy_coeff=0.01, vf_loss_coeff=0.5)
        .rl_module(**rl_module)
        .reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=0, min_train_timesteps_per_iteration=0)
        .debugging(log_level="ERROR", seed=args.seed)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", choices=sorted(ENVIRONMENTS), required=True)
    parser.add_argument("--env-runners", type=int, default=2)
    parser.add_argument("--envs", type=int, default=16, help="environments per EnvRunner")
    parser.add_argument("--unroll", type=int, default=20)
    parser.add_argument("--batch", type=int, default=640)
    parser.add_argument("--learners", type=int, default=0, help="0: the learner runs in the driver")
    parser.add_argument("--warmup", type=float, default=10.0)
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--window-seconds", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    folder = open_counters()
    torch.set_num_threads(1)
    ray.init(address="local", num_cpus=args.env_runners + args.learners + 1, include_dashboard=False, log_to_driver=False)
    algorithm = configure(args).build_algo()
    try:
        schedule = Schedule(warmup_s=args.warmup, windows=args.windows, window_s=args.window_seconds)
        rates = watch(schedule, poll=algorithm.train)
    finally:
        algorithm.stop()
        ray.shutdown()
        folder.cleanup()
    settings = {name: getattr(args, name) for name in ("env_runners", "envs", "unroll", "batch", "learners")}
    report("rllib-impala", args.env, settings, rates, ["ray", "torch", "gymnasium"])


if __name__ == "__main__":
    main()
