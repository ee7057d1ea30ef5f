"""The effect of lag on learning: return over steps and seconds for several lags. Its peer is lag 0.

    python benchmarks/lag.py --preset cartpole --seeds 10 --limit-steps 4e5
    python benchmarks/lag.py --preset hopper --seeds 3 --lags 0 1 4 free --limit-steps 2e6 --points 5e5 1e6 2e6

A number is a deterministic run that acts so many rounds ahead; `free` is the preset as it is. Every run is in this process alone, one after
the other. Of a run that has a return to reach: steps and seconds to it. Of every run: the mean return at `--points` steps, the best and the
last, and the number of collapse warnings. Prints a line for each run, then one JSON line.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from runs import median, metrics, parser_of, print_line, train


def settings(lag: str) -> list[str]:
    """The settings that a lag stands for."""
    return [] if lag == "free" else ["deterministic=true", f"lag={lag}"]


def course(folder: Path, points: list[float]) -> dict[str, Any]:
    """The mean return at the first line of metrics from each of `points` steps on; None where the run had ended."""
    returns = metrics(folder, "return/mean_100")
    at = {f"{point:g}": next((round(value, 1) for steps, value in returns if steps >= point), None) for point in points}
    return {"return_at": at, "best": round(max((value for _, value in returns), default=float("nan")), 1)}


def row(options: argparse.Namespace, lag: str, seed: int) -> dict[str, Any]:
    """Train once and return the figures of the run."""
    changes = [*options.set, *settings(lag), f"total_env_steps={options.limit_steps:.0f}"]
    summary, folder = train(options.preset, "--seed", str(seed), "--local", "--set", *changes)
    collapsed = (folder / "log.txt").read_text().count("may have collapsed")
    kept = {name: summary[name] for name in ("reason", "env_steps", "final_return", "env_steps_per_s", "mean_lag", "max_lag")}
    return {"lag": lag, "seed": seed, "train_s": round(summary["train_s"], 2), **kept, "collapsed": collapsed} | course(
        folder, options.points
    )


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of the runs of one lag."""
    reached = [one for one in rows if one["reason"] == "return reached"]
    finals = [one["final_return"] for one in rows if one["final_return"] is not None]
    return {
        "reached": f"{len(reached)} of {len(rows)}",
        "median_steps": median([one["env_steps"] for one in reached]) if reached else None,
        "median_s": median([one["train_s"] for one in reached]) if reached else None,
        "slowest_s": max((one["train_s"] for one in reached), default=None),
        "median_final": median(finals) if finals else None,
        "lowest_final": round(min(finals), 1) if finals else None,
        "collapsed": sum(one["collapsed"] > 0 for one in rows),
        "mean_lag": round(float(np.mean([one["mean_lag"] for one in rows])), 2),
        "env_steps_per_s": median([one["env_steps_per_s"] for one in rows]),
    }


def main() -> None:
    parser = parser_of(__doc__, "set", "seeds")
    parser.add_argument("--preset", required=True)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--lags", nargs="+", default=["0", "1", "2", "4", "free"])
    parser.add_argument("--limit-steps", type=float, required=True, help="steps of a run that reaches no goal before")
    parser.add_argument("--points", type=float, nargs="+", default=[], help="steps at which to read the mean return")
    options = parser.parse_args()
    rows = []
    for seed in range(
        options.first_seed, options.first_seed + options.seeds
    ):  # in turn, so that a drift of the machine affects all
        for lag in options.lags:
            rows.append(row(options, lag, seed))
            print(rows[-1], flush=True)
    by_lag = {lag: figures([one for one in rows if one["lag"] == lag]) for lag in options.lags}
    print_line("lag", {"preset": options.preset, "set": options.set, "by_lag": by_lag, "runs": rows})


if __name__ == "__main__":
    main()
