"""Environment steps per second of IMPALA end to end, while it learns, beside the peers (RLlib, Sample Factory) and the ceiling.

    python benchmarks/throughput.py halfcheetah-throughput --rllib PYTHON [--sample-factory PYTHON] [--rounds 3] [--seconds 60]
    python benchmarks/throughput.py pong --rllib PYTHON --sample-factory PYTHON

In turn, round by round: the ceiling (the environment alone, random actions, 2 threads), metaray, then each peer under its own Python
(docs/results/peers.md has their installation). metaray's figure is environment steps over seconds of training, from `summary.json`;
the peers' are counted in their environments. Medians over rounds; prints one JSON line.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from runs import ROOT, child_json, driver, median, metrics, parser_of, print_line, train, where

sys.path.insert(0, str(ROOT))

PEERS = {
    "halfcheetah-throughput": {
        "rllib": ["rllib_impala.py", "--env", "halfcheetah"],
        "sample_factory": ["sample_factory_appo.py", "--env", "halfcheetah"],
    },
    "pong": {
        "rllib": ["rllib_impala.py", "--env", "pong"],
        "sample_factory": ["sample_factory_appo.py", "--env", "pong", "--network", "shallow"],
        "sample_factory_nature": ["sample_factory_appo.py", "--env", "pong", "--network", "nature"],
    },
}


def ceiling(preset: str, num_envs: int, seconds: float) -> float:
    """Steps per second of the environment alone: the rate that no agent on this machine can pass."""
    from envs.registry import resolve

    family = resolve("atari:pong" if preset == "pong" else preset)
    rng = np.random.default_rng(0)
    env = family.make(family.sample(num_envs, rng), num_threads=2)
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(16)]
    steps, started, i = 0, time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        info = env.step(actions[i % len(actions)])[4]
        steps, i = steps + num_envs - int(info["is_first"].sum()), i + 1
    rate = steps / (time.perf_counter() - started)
    env.close()
    return rate


def peer(python: str, arguments: list[str]) -> float:
    """Steps per second that a peer's script reports."""
    command = [python, str(Path(__file__).parent / "peers" / arguments[0]), *arguments[1:]]
    return float(child_json(command, 600)["env_steps_per_s"])


def ours(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One run: its rate over the whole of training, and its first mean return."""
    limits = [f"max_train_seconds={options.seconds}", *options.set]
    summary, folder = train(options.preset, "--seed", str(seed), *where(options), "--set", *limits)
    returns = metrics(folder, "return/mean_100")
    keys = ("env_steps_per_s", "final_return", "env_steps", "learner_utilisation", "actor_utilisation", "mean_lag", "max_lag")
    row = {key: round(summary[key], 3) if isinstance(summary[key], float) else summary[key] for key in keys}
    return row | {"train_s": round(summary["train_s"], 1), "first_return": round(returns[0][1], 1) if returns else None}


def main() -> None:
    parser = parser_of(__doc__, "local", "rounds", "set")
    parser.add_argument("preset", choices=sorted(PEERS))
    parser.add_argument("--rllib", metavar="PYTHON", help="an interpreter with ray[rllib]")
    parser.add_argument("--sample-factory", metavar="PYTHON", help="an interpreter with sample-factory")
    parser.add_argument("--skip", nargs="*", default=[], metavar="PEER", help="peers to leave out, such as sample_factory_nature")
    parser.add_argument("--seconds", type=float, default=60.0, help="training time of one of metaray's runs")
    options = parser.parse_args()
    pythons = {"rllib": options.rllib, "sample_factory": options.sample_factory, "sample_factory_nature": options.sample_factory}
    jobs = {
        name: (pythons[name], script)
        for name, script in PEERS[options.preset].items()
        if pythons[name] and name not in options.skip
    }
    num_envs = 256 if options.preset == "halfcheetah-throughput" else 64
    ceilings: list[float] = []
    runs: list[dict[str, Any]] = []
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    for seed in range(options.rounds):
        ceilings.append(ceiling(options.preset.removesuffix("-throughput"), num_envs, 10.0))
        runs.append(ours(options, seed))
        print(f"ceiling {ceilings[-1]:.0f}, metaray {runs[-1]}", file=sys.stderr, flush=True)
        for name, (python, script) in jobs.items():
            rates[name].append(peer(python, script))
            print(f"{name} {rates[name][-1]:.0f}", file=sys.stderr, flush=True)
    rate = median([run["env_steps_per_s"] for run in runs])
    print_line(
        "throughput",
        {
            "preset": options.preset,
            "driver": driver(options),
            "settings": options.set,
            "env_steps_per_s": rate,
            "ceiling": median(ceilings),
            "share_of_ceiling": median([run["env_steps_per_s"] / top for run, top in zip(runs, ceilings, strict=True)]),
            "peers": {name: median(found) for name, found in rates.items()},
            "times_peer": {
                name: median([run["env_steps_per_s"] / one for run, one in zip(runs, found, strict=True)])
                for name, found in rates.items()
            },
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
