"""How far our V-trace is from two public implementations on identical random inputs.

    python benchmarks/vtrace_agreement.py [--length 20] [--num-envs 256] [--trials 20] [--seed 0]

    rllib     `ray.rllib.algorithms.impala.torch.vtrace_torch_v2.vtrace_torch` (pip install "ray[rllib]==2.60.0")
    torchrl   `torchrl.objectives.value.functional.vtrace_advantage_estimate` (pip install --no-deps torchrl==0.14.1 tensordict==0.15.3,
              beside torch==2.13.0, then pip install cloudpickle importlib_metadata orjson packaging pyvers)

Both know lambda = 1 only. Three cases:

    termination   clips of 1, episodes that terminate inside the unroll
    wide_clips    the same with rho_bar = 2
    truncation    next-step autoreset with reset rows, compared where the weight is 1; torchrl only, RLlib's function has no argument for it

A peer that is not installed is skipped by name. Prints one JSON line: the largest absolute differences over all trials, and the largest
absolute value among the outputs, to hold them against.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from runs import ROOT, parser_of, print_line
from torch import Tensor

sys.path.insert(0, str(ROOT))

from learners.ops.vtrace import vtrace

GAMMA = 0.99
END_PROBABILITY = 0.08

Outputs = tuple[Tensor, Tensor]
"""Value targets and advantages [T, B]."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """One random unroll [T, B]; `value` has T + 1 rows."""

    log_pi: Tensor
    log_mu: Tensor
    reward: Tensor
    value: Tensor
    terminated: Tensor
    truncated: Tensor
    weight: Tensor
    clip_rho: float


def draw(case: str, length: int, num_envs: int, generator: torch.Generator, dtype: torch.dtype) -> Inputs:
    """Draw an unroll whose ratios lie on both sides of every clip."""

    def normal(rows: int) -> Tensor:
        return torch.randn(rows, num_envs, generator=generator, dtype=torch.float64).to(dtype)

    ended = torch.rand(length, num_envs, generator=generator) < END_PROBABILITY
    truncated = torch.zeros_like(ended)
    weight = torch.ones(length, num_envs, dtype=dtype)
    if case == "truncation":
        for t in range(1, length):  # the row after an end is a reset, which ends nothing
            ended[t] &= ~ended[t - 1]
        truncated = ended & (torch.rand(length, num_envs, generator=generator) < 0.5)
        weight[1:][ended[:-1]] = 0.0
    return Inputs(
        log_pi=normal(length) - 1,
        log_mu=normal(length) - 1,
        reward=normal(length),
        value=5 * normal(length + 1),
        terminated=ended & ~truncated,
        truncated=truncated,
        weight=weight,
        clip_rho=2.0 if case == "wide_clips" else 1.0,
    )


def ours(it: Inputs, clip_pg_rho: float) -> Outputs:
    """`learners.ops.vtrace`."""
    got = vtrace(
        log_rho_t=it.log_pi - it.log_mu,
        reward_t=it.reward,
        discount_t=GAMMA * (~it.terminated).to(it.reward.dtype),
        value_t=it.value[:-1],
        value_tp1=it.value[1:],
        lambda_=torch.ones((), dtype=it.reward.dtype),
        weight_t=it.weight,
        clip_rho=it.clip_rho,
        clip_pg_rho=clip_pg_rho,
    )
    return got.value_target, got.advantage


def load_rllib() -> Callable[[Inputs], Outputs]:
    """RLlib's function; its clip of c is 1 always, that of the policy gradient its own."""
    from ray.rllib.algorithms.impala.torch.vtrace_torch_v2 import vtrace_torch

    def run(it: Inputs) -> Outputs:
        target, advantage = vtrace_torch(
            target_action_log_probs=it.log_pi,
            behaviour_action_log_probs=it.log_mu,
            discounts=GAMMA * (~it.terminated).to(it.reward.dtype),
            rewards=it.reward,
            values=it.value[:-1],
            bootstrap_values=it.value[-1],
            clip_rho_threshold=it.clip_rho,
            clip_pg_rho_threshold=1.0,
        )
        return target, advantage

    return run


def load_torchrl() -> Callable[[Inputs], Outputs]:
    """The function of torchrl; it clips the ratio of the policy gradient at rho_bar."""
    vtrace_advantage_estimate = importlib.import_module("torchrl.objectives.value.functional").vtrace_advantage_estimate

    def run(it: Inputs) -> Outputs:
        def batch_major(rows: Tensor) -> Tensor:
            return rows.t().unsqueeze(-1)

        advantage, target = vtrace_advantage_estimate(
            GAMMA,
            batch_major(it.log_pi),
            batch_major(it.log_mu),
            batch_major(it.value[:-1]),
            batch_major(it.value[1:]),
            batch_major(it.reward),
            done=batch_major(it.terminated | it.truncated),
            terminated=batch_major(it.terminated),
            rho_thresh=it.clip_rho,
            c_thresh=1.0,
        )
        return target.squeeze(-1).t(), advantage.squeeze(-1).t()

    return run


def compare(case: str, peer: str, run: Callable[[Inputs], Outputs], args: argparse.Namespace) -> dict[str, Any]:
    """Return the largest differences of one case in single and double precision."""
    figures: dict[str, Any] = {}
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)  # torchrl holds gamma in the default type
        generator = torch.Generator().manual_seed(args.seed)
        worst = {"value_target": 0.0, "advantage": 0.0, "largest_value": 0.0}
        for _ in range(args.trials):
            it = draw(case, args.length, args.num_envs, generator, dtype)
            counts = it.weight > 0
            mine = ours(it, clip_pg_rho=it.clip_rho if peer == "torchrl" else 1.0)
            for name, own, theirs in zip(("value_target", "advantage"), mine, run(it), strict=True):
                difference = float((own - theirs)[counts].abs().max())
                worst[name] = math.nan if math.isnan(difference) else max(worst[name], difference)
                worst["largest_value"] = max(worst["largest_value"], float(own[counts].abs().max()))
        figures[str(dtype).removeprefix("torch.")] = worst
    return figures


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--length", type=int, default=20, help="steps of an unroll")
    parser.add_argument("--num-envs", type=int, default=256, help="environments of an unroll")
    parser.add_argument("--trials", type=int, default=20, help="unrolls drawn per case")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        **vars(args),
        "peers": {},
        "skipped": {},
    }
    for peer, package, load in (("rllib", "ray", load_rllib), ("torchrl", "torchrl", load_torchrl)):
        try:
            run = load()
        except ImportError as error:
            result["skipped"][peer] = str(error).splitlines()[0]
            continue
        cases = ("termination", "wide_clips") if peer == "rllib" else ("termination", "wide_clips", "truncation")
        result["peers"][peer] = {"version": version(package)} | {case: compare(case, peer, run, args) for case in cases}
    print_line("vtrace_agreement", result)


if __name__ == "__main__":
    main()
