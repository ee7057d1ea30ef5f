"""The share of the loss from a bad discount that the meta-gradient recovers, on the family `delayed-reward`. Peers: fixed discounts.

    python benchmarks/metagradient_control.py --local
    python benchmarks/metagradient_control.py --local --set meta.learning_rate=0.02 --out docs/metagradient_control.png

Fixed discounts on a grid, and the meta-gradient on gamma that starts from the bad one (the first of the grid), with the same preset,
steps and seeds. Returns are means over the last 100 training episodes.

    recovered = (R_meta - R_bad) / (R_best - R_bad)          means over seeds; R_best is that of the best fixed gamma of the grid

Its 95 % interval draws the seeds of every row again (10,000 times), and with them which gamma is best, and allows for how few seeds there
are. Prints one JSON line; --set goes to the meta-gradient's runs only; --out draws the grid, and the gamma of each seed over its run.
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

from cluster.reports.bootstrap import grouped_estimate, mean_estimate

FIXED, META = "#0072B2", "#D55E00"
"""Of Okabe and Ito (2008)."""


def returns(name: str, settings: Sequence[str], options: argparse.Namespace) -> list[float]:
    """Final returns of all seeds under `settings`."""
    steps = ["--steps", options.steps] if options.steps else []
    arguments = [*where(options), *steps, "--set", *settings]
    return [
        final_return("delayed-reward", "--seed", str(seed), *arguments, out=options.runs / f"{name}-s{seed}")
        for seed in range(options.seeds)
    ]


def recovered(rows: Sequence[np.ndarray]) -> np.ndarray:
    """The share of the gap between the bad and the best fixed discount that the meta-gradient closes.

    Args:
        rows: returns of the meta-gradient, of the bad discount, and of the others, arrays [R, S] of S seeds in each of R resamples.
    """
    meta, bad, *fixed = (row.mean(axis=1) for row in rows)
    return np.asarray((meta - bad) / (np.maximum.reduce([bad, *fixed]) - bad))


def draw(fixed: dict[float, list[float]], meta: list[float], folders: Sequence[Path], outer_gamma: float, file: Path) -> None:
    """Draw final return over fixed gamma beside the meta-gradient's, and gamma over the run."""
    with two_panels(file) as (left, right):
        _draw_returns(left, fixed, meta)
        _draw_gamma(right, folders, next(iter(fixed)), outer_gamma)


def _draw_returns(axes: Axes, fixed: dict[float, list[float]], meta: list[float]) -> None:
    places, names = np.arange(len(fixed)), [f"{gamma:g}" for gamma in fixed]
    axes.plot(places, [np.mean(row) for row in fixed.values()], color=FIXED, linewidth=2.0)
    for place, row in zip(places, fixed.values(), strict=True):
        axes.scatter([place] * len(row), row, s=16, color=FIXED, alpha=0.6, linewidths=0)
    axes.scatter([len(fixed)] * len(meta), meta, s=16, color=META, alpha=0.8, linewidths=0)
    axes.axhline(float(np.mean(meta)), color=META, linewidth=1.4, linestyle="--")
    axes.set_xticks([*places, len(fixed)], [*names, f"meta,\nfrom {names[0]}"])
    axes.set_xlabel("fixed gamma")
    axes.set_title(f"final return, {len(meta)} seeds each", loc="left", fontweight="bold", fontsize=11)
    axes.set_ylim(bottom=0)


def _draw_gamma(axes: Axes, folders: Sequence[Path], start: float, outer_gamma: float) -> None:
    for folder in folders:
        steps, gamma = zip(*metrics(folder, "eta/gamma"), strict=True)
        axes.plot([0, *steps], [start, *gamma], color=META, linewidth=1.2, alpha=0.8)
    axes.axhline(outer_gamma, color="#555555", linewidth=1.0, linestyle=":")
    name = "gamma of the outer objective"
    axes.annotate(name, (0, outer_gamma), xytext=(4, -4), textcoords="offset points", va="top", color="#555555", fontsize=9)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
    axes.set_xlabel("environment steps")
    axes.set_title("gamma, one line a seed", loc="left", fontweight="bold", fontsize=11)


def main() -> None:
    parser = parser_of(__doc__, "local", "set", "seeds", "kept")
    parser.add_argument(
        "--gammas", type=float, nargs="+", default=[0.8, 0.9, 0.95, 0.99, 1.0], help="fixed ones, the bad one first"
    )
    parser.add_argument("--outer-gamma", type=float, default=0.99, help="discount of the outer objective")
    parser.set_defaults(seeds=5)
    parser.add_argument("--steps", default="", help="environment steps of a run (default: the preset's)")
    options = parser.parse_args()
    fixed = {gamma: returns(f"gamma{gamma:g}", [f"learner.gamma={gamma}"], options) for gamma in options.gammas}
    bad = options.gammas[0]
    settings = [f"learner.gamma={bad}", "eta=gamma", f"meta.outer_gamma={options.outer_gamma}", *options.set]
    meta = returns("meta", settings, options)
    folders = [options.runs / f"meta-s{seed}" for seed in range(options.seeds)]
    if options.out is not None:
        draw(fixed, meta, folders, options.outer_gamma, options.out)
    others = [row for gamma, row in fixed.items() if gamma != bad]
    estimate = grouped_estimate(recovered, [np.array(row)[None] for row in (meta, fixed[bad], *others)])
    means = {gamma: float(np.mean(row)) for gamma, row in fixed.items()}
    print_line(
        "metagradient_control",
        {
            "recovered": round(estimate.value, 3),
            "recovered_95": ends(estimate),
            "seeds": options.seeds,
            "bad_gamma": bad,
            "best_gamma": max(means, key=means.__getitem__),
            "fixed": {f"{gamma:g}": _row(row) for gamma, row in fixed.items()},
            "meta": _row(meta)
            | {"settings": settings, "final_gamma": [round(metrics(one, "eta/gamma")[-1][1], 4) for one in folders]},
        },
    )


def _row(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean_return": round(float(np.mean(values)), 2),
        "mean_return_95": ends(mean_estimate(values)),
        "returns": [round(one, 2) for one in values],
    }


if __name__ == "__main__":
    main()
