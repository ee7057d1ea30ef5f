"""PPO's settings for a family, found on training tasks: what `learners.learned_loss.ppo_baseline.TUNED` holds.

    python benchmarks/epg_ppo_tuning.py --family pendulum
    python benchmarks/epg_ppo_tuning.py --family point-goal --learning-rates 1e-3 3e-3 1e-2 --passes 4 8 16 --seeds 32

Every setting of the grid lives the same training tasks from the same first weights, with the same noise. A life has as many samples, and as
many an update, as under a learned loss (`--set` changes them); PPO chooses how to use them. What is compared is the mean fitness: whole
episodes with the final policy. The winner of a grid is flattered by its luck, and lives that fail altogether make for much of it, so the
finalists are lived again on other training tasks: the best over both is taken, and the figure to quote is that of the second time.
Prints a line for each setting while it goes, then one JSON line.
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
"""Added to the seed where the finalists are lived again."""


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
    """Fitness of each life under PPO with these settings."""
    setup = AdaptationSetup(family=options.family, seed=seed, life=config.life, loss=config.loss, baseline=baseline, phi=None)
    chunks = chunks_for("ppo", "train", options.seeds, config.lives_per_chunk)
    lived = adapt_all(setup, chunks, num_actors=options.actors, on_progress=lambda _: None)
    return [life.fitness for chunk in lived for life in chunk.policies]


def row(baseline: BaselineConfig, fitness: list[float]) -> dict[str, Any]:
    """What a setting came to."""
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
    parser.add_argument("--family", required=True, help="task family; its training tasks are lived")
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[1e-3, 3e-3, 1e-2])
    parser.add_argument("--passes", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--minibatches", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--gammas", type=float, nargs="+", default=[PpoConfig().gamma])
    parser.add_argument("--reward-scales", type=float, nargs="+", default=[BaselineConfig().ppo.reward_scale])
    parser.add_argument("--seeds", type=int, default=16, help="lives of each setting, each on a task of its own")
    parser.add_argument("--finalists", type=int, default=3, help="best settings that are lived again on other tasks")
    parser.add_argument("--seed", type=int, default=1000, help="root of every draw; `metaray adapt` begins at 0")
    parser.add_argument("--actors", type=int, default=1, help="processes")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the lives, such as life.num_updates=32"
    )
    options = parser.parse_args()
    config = apply(AdaptConfig(), parse_assignments(options.set))
    lived = []
    for baseline in grid(options, config.baseline):
        lived.append((baseline, fitness_of(options, config, baseline, options.seed)))
        print(row(*lived[-1]), flush=True)
    lived.sort(key=lambda one: -float(np.mean(one[1])))
    finals = []
    for baseline, first in lived[: options.finalists]:
        second = fitness_of(options, config, baseline, options.seed + AGAIN)
        finals.append((float(np.mean(first + second)), baseline, second))
        print({"again": row(baseline, second)}, flush=True)
    _, best, again = max(finals, key=lambda one: one[0])
    print_line(
        "epg_ppo_tuning",
        {
            "family": options.family,
            "steps_of_a_life": config.life.num_steps,
            "samples_per_update": config.life.update_every,
            "lives": options.seeds,
            "grid": [row(*one) for one in lived],
            "finalists_on_other_tasks": [row(baseline, second) for _, baseline, second in finals],
            "best": asdict(best),
            "best_on_other_tasks": row(best, again),
        },
    )


if __name__ == "__main__":
    main()
