"""PPO's settings for a family, found on training tasks: what `learners.learned_loss.ppo_baseline.TUNED` holds.

    python benchmarks/epg_ppo_tuning.py --family pendulum
    python benchmarks/epg_ppo_tuning.py --family point-goal --learning-rates 1e-3 3e-3 1e-2 --passes 4 8 16 --seeds 32

Every setting of the grid trains on the same training tasks from the same initial parameters, with the same noise. A lifetime has as many
samples, and as many an update, as under a learned loss (`--set` changes them); PPO chooses how to use them. What is compared is the mean
fitness: whole episodes with the final policy. The best of a grid is biased upwards, mostly by lifetimes that fail, so the finalists are
evaluated again on other training tasks: the best over both is selected, and the figure to report is that of the second evaluation. Prints a
line for each setting while it goes, then one JSON line.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from runs import ends, parser_of, print_line

from actors.fresh_policies import AdaptationSetup, chunks_for
from cluster.overrides import apply, parse_assignments
from cluster.reports.adaptation.config import AdaptConfig
from cluster.reports.adaptation.workers import adapt_all
from cluster.reports.bootstrap import mean_estimate
from learners.learned_loss.ppo_baseline import BaselineConfig
from learners.learned_loss.ppo_loss import PpoConfig

AGAIN = 1
"""Added to the seed of the finalists' second evaluation."""


def grid(options: argparse.Namespace, base: BaselineConfig) -> list[BaselineConfig]:
    """All settings to try."""
    axes = (options.learning_rates, options.passes, options.minibatches, options.gammas, options.reward_scales)
    return [
        replace(
            base,
            learning_rate=learning_rate,
            passes=passes,
            minibatch_rows=minibatch,
            ppo=replace(base.ppo, gamma=gamma, reward_scale=scale),
        )
        for learning_rate, passes, minibatch, gamma, scale in itertools.product(*axes)
    ]


def fitness_of(options: argparse.Namespace, config: AdaptConfig, baseline: BaselineConfig, seed: int) -> list[float]:
    """Fitness of each lifetime under PPO with these settings."""
    setup = AdaptationSetup(family=options.family, seed=seed, life=config.life, loss=config.loss, baseline=baseline, phi=None)
    chunks = chunks_for("ppo", "train", options.seeds, config.lives_per_chunk)
    results = adapt_all(setup, chunks, num_actors=options.actors, on_progress=lambda _: None)
    return [policy.fitness for chunk in results for policy in chunk.policies]


def row(baseline: BaselineConfig, fitness: list[float]) -> dict[str, Any]:
    """Figures of a setting."""
    estimate = mean_estimate(fitness)
    return {
        "learning_rate": baseline.learning_rate,
        "passes": baseline.passes,
        "minibatch_rows": baseline.minibatch_rows,
        "gamma": baseline.ppo.gamma,
        "reward_scale": baseline.ppo.reward_scale,
        "fitness": round(estimate.value, 3),
        "fitness_95": ends(estimate),
        "worst": round(float(np.min(fitness)), 3),
    }


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--family", required=True, help="task family, whose training tasks are used")
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[1e-3, 3e-3, 1e-2])
    parser.add_argument("--passes", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--minibatches", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--gammas", type=float, nargs="+", default=[PpoConfig().gamma])
    parser.add_argument("--reward-scales", type=float, nargs="+", default=[BaselineConfig().ppo.reward_scale])
    parser.add_argument("--seeds", type=int, default=16, help="lifetimes of each setting, each on another task")
    parser.add_argument("--finalists", type=int, default=3, help="best settings, evaluated again on other tasks")
    parser.add_argument("--seed", type=int, default=1000, help="root of every draw; `metaray adapt` begins at 0")
    parser.add_argument("--actors", type=int, default=1, help="processes")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the inner loop, such as life.num_updates=32"
    )
    options = parser.parse_args()
    config = apply(AdaptConfig(), parse_assignments(options.set))
    tried = []
    for baseline in grid(options, config.baseline):
        tried.append((baseline, fitness_of(options, config, baseline, options.seed)))
        print(row(*tried[-1]), flush=True)
    tried.sort(key=lambda one: -float(np.mean(one[1])))
    finals = []
    for baseline, first in tried[: options.finalists]:
        second = fitness_of(options, config, baseline, options.seed + AGAIN)
        finals.append((float(np.mean(first + second)), baseline, second))
        print({"again": row(baseline, second)}, flush=True)
    _, best, again = max(finals, key=lambda one: one[0])
    print_line(
        "epg_ppo_tuning",
        {
            "family": options.family,
            "steps_per_lifetime": config.life.num_steps,
            "samples_per_update": config.life.update_every,
            "lifetimes": options.seeds,
            "grid": [row(*one) for one in tried],
            "finalists_on_other_tasks": [row(baseline, second) for _, baseline, second in finals],
            "best": asdict(best),
            "best_on_other_tasks": row(best, again),
        },
    )


if __name__ == "__main__":
    main()
