"""Whether the meta-gradient finds the optimal chain in the Discounting Chain, with an outer critic and without.

    python benchmarks/metagradient_chain.py --local
    python benchmarks/metagradient_chain.py --local --seeds 3 --out docs/metagradient_chain.png

    gamma 0.95, gamma 1    plain IMPALA with these discounts: what the start is worth, and what is possible
    outer                  the meta-gradient from 0.95 towards the undiscounted return, with an outer critic trained on that return
    inner                  the same with the critic of the discounted return: the form of 2018, biased towards short horizons

The first two have the preset's learner; the other two large batches and an RMSProp whose epsilon leaves small gradients small, so that
values are learned before the policy abandons the long chain. Their outer return has lambda-bar 0.95, so that the critic matters (at 1 a
wrong critic would only be a baseline, since an unroll is a whole episode).

The optimum is 1.1, by the chain of 30 steps; every other chain returns 1. Returns are means over the last 100 training episodes, and a run
has reached the optimum at 1.09. Prints one JSON line; --set goes to the meta-gradient's runs only; --out draws return and gamma.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter
from runs import ends, final_return, metrics, parser_of, print_line, two_panels, where

from cluster.reports.bootstrap import mean_estimate

START_GAMMA, OUTER_GAMMA, GAMMA_RANGE = 0.95, 1.0, "0.9,1.0"
"""Those of Bonnet, Midgley, Laterre (2022), "Debiasing Meta-Gradient Reinforcement Learning by Learning the Outer Value Function"."""

ENOUGH = (1 / 1.1) ** (1 / 29)
"""The gamma at which the chain of 30 steps is worth as much as that of one: 0.9967."""

REACHED = 1.09

_META = [
    f"learner.gamma={START_GAMMA}",
    "total_env_steps=15_000_000",
    "rollout.envs_per_actor=128",
    "batch_unrolls=128",
    "learner.optimiser.kind=rmsprop_inside_sqrt",
    "learner.optimiser.epsilon=10",
    "learner.learning_rate=0.05",
    "learner.reward_scale=0.5",
    "learner.policy_cost=0.3",
    "learner.baseline_cost=1.0",
    "learner.entropy_cost=0.001",
    "eta=gamma",
    f"meta.outer_gamma={OUTER_GAMMA}",
    "meta.outer_lambda=0.95",
    f"meta.gamma_range={GAMMA_RANGE}",
    "meta.learning_rate=0.2",
    "meta.batch_unrolls=128",
    "meta.normalise_advantages=true",
    "meta.max_gradient_norm=1e-5",
]

ROWS = {
    "gamma 0.95": ([f"learner.gamma={START_GAMMA}"], "#999999"),
    "gamma 1": ([f"learner.gamma={OUTER_GAMMA}"], "#000000"),
    "outer": ([*_META, "meta.outer_critic=outer"], "#0072B2"),
    # its gamma is at the bottom of the range, and its policy has settled, long before
    "inner": ([*_META, "meta.outer_critic=inner", "total_env_steps=5_000_000"], "#D55E00"),
}
"""Settings and colour (Okabe and Ito 2008) of each row."""


def folder_of(row: str, seed: int, options: argparse.Namespace) -> Path:
    """Where a run is kept."""
    folder: Path = options.runs / f"{row.replace(' ', '')}-s{seed}"
    return folder


def trained(row: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train all seeds of a row and return its figures."""
    settings, _ = ROWS[row]
    is_meta = row in ("outer", "inner")
    found, gammas = [], []
    for seed in range(options.seeds):
        out = folder_of(row, seed, options)
        extra = options.set if is_meta else []
        arguments = ("--seed", str(seed), *where(options), "--set", *settings, *extra)
        found.append(round(final_return(options.preset, *arguments, out=out), 4))
        if is_meta:
            gammas.append(round(metrics(out, "eta/gamma")[-1][1], 4))
    figures: dict[str, Any] = {
        "reached": f"{sum(one >= REACHED for one in found)} of {len(found)}",
        "mean_return": round(float(np.mean(found)), 4),
        "mean_return_95": ends(mean_estimate(found)),
        "returns": found,
    }
    return figures | ({"final_gamma": gammas, "settings": [*settings, *options.set]} if is_meta else {})


def draw(options: argparse.Namespace) -> None:
    """Draw return and gamma over the runs, one thin line a seed and a thick one for their mean."""
    with two_panels(options.out) as (left, right):
        for row, (_, colour) in ((row, ROWS[row]) for row in options.rows):
            folders = [folder_of(row, seed, options) for seed in range(options.seeds)]
            _draw_courses(left, [metrics(folder, "return/mean_100") for folder in folders], colour, row)
            if row in ("outer", "inner"):
                _draw_courses(right, [metrics(folder, "eta/gamma") for folder in folders], colour, f"{row} critic")
        left.axhline(1.1, color="#555555", linewidth=1.0, linestyle=":")
        right.axhline(ENOUGH, color="#555555", linewidth=1.0, linestyle=":")
        note = {"xytext": (-4, -4), "textcoords": "offset points", "ha": "right", "va": "top", "color": "#555555", "fontsize": 9}
        right.annotate("above: the best chain is worth most", (1.0, ENOUGH), xycoords=("axes fraction", "data"), **note)
        left.set_title(f"return, {options.seeds} seeds", loc="left", fontweight="bold", fontsize=11)
        right.set_title("gamma", loc="left", fontweight="bold", fontsize=11)
        for axes in (left, right):
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.set_xlim(left=0)
            axes.set_xlabel("environment steps")
            axes.legend(frameon=False, fontsize=9)


def _draw_courses(axes: Axes, courses: Sequence[list[tuple[float, float]]], colour: str, label: str) -> None:
    arrays = [np.array(course).T for course in courses if course]
    grid = np.linspace(max(steps[0] for steps, _ in arrays), min(steps[-1] for steps, _ in arrays), 300)
    for steps, values in arrays:
        axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.5)
    mean = np.mean([np.interp(grid, steps, values) for steps, values in arrays], axis=0)
    axes.plot(grid, mean, color=colour, linewidth=2.0, label=label)


def main() -> None:
    parser = parser_of(__doc__, "local", "set", "seeds", "kept")
    parser.add_argument(
        "--preset", choices=("discounting-chain", "discounting-chain-tabular"), default="discounting-chain-tabular"
    )
    parser.set_defaults(seeds=5)
    parser.add_argument("--rows", nargs="+", choices=sorted(ROWS), default=list(ROWS), help="which rows (default: all)")
    options = parser.parse_args()
    rows = {row: trained(row, options) for row in options.rows}
    if options.out is not None:
        draw(options)
    print_line(
        "metagradient_chain",
        {"preset": options.preset, "optimum": 1.1, "reached_at": REACHED, "seeds": options.seeds, "rows": rows},
    )


if __name__ == "__main__":
    main()
