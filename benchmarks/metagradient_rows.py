"""The four rows of the meta-gradient paper's table side by side: eta = {}, {lambda}, {gamma}, {gamma, lambda}, at equal steps. The peer is
the first.

    python benchmarks/metagradient_rows.py [--preset hopper-single-pass] [--steps 3e6] [--seeds 3] [--out FOLDER] [--picture FILE]

In deterministic mode, in one process, so that a row depends on its seed only. Finished runs in FOLDER are not
repeated, so a stopped benchmark can be continued. Figures are the mean return over the last tenth of training (of the mean over 100
episodes) and where gamma and lambda ended. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from runs import ROOT, metrics, parser_of, print_line, train_once

ROWS = {"none": "", "lambda": "lambda", "gamma": "gamma", "gamma,lambda": "gamma,lambda"}


def run(preset: str, row: str, seed: int, options: argparse.Namespace) -> Path:
    """Train one row, unless it is finished; return its folder."""
    folder = Path(options.out) / f"{preset}-{row.replace(',', '-')}-s{seed}"
    settings = ["deterministic=true", f"eta={ROWS[row]}", "meta.batch_unrolls=32", *options.set]
    train_once(preset, "--local", "--seed", str(seed), "--steps", str(options.steps), "--set", *settings, out=folder)
    return folder


def figures(folder: Path) -> dict[str, float]:
    """Mean return over the last tenth of a run, and where its meta-parameters ended."""
    returns = metrics(folder, "return/mean_100")
    last = returns[-1][0]
    found = {"return": float(np.mean([value for steps, value in returns if steps >= 0.9 * last]))}
    for name in ("gamma", "lambda"):
        course = metrics(folder, f"eta/{name}")
        if course:
            found[name] = course[-1][1]
    return found


def picture(folders: dict[str, list[Path]], file: str) -> None:
    """Draw all rows into one picture, each row its seeds."""
    sys.path.insert(0, str(ROOT))
    from cluster.reports.curves import draw_runs
    from cluster.store.run_directory import open_run

    draw_runs([open_run(folder) for found in folders.values() for folder in found], Path(file))


def main() -> None:
    parser = parser_of(__doc__, "seeds", "set")
    parser.add_argument("--preset", default="hopper-single-pass")
    parser.add_argument("--steps", type=float, default=3e6)
    parser.add_argument("--out", default="runs/metagradient-rows", help="folder of the runs")
    parser.add_argument("--picture", metavar="FILE", help="draw the curves there")
    options = parser.parse_args()
    folders: dict[str, list[Path]] = {row: [] for row in ROWS}
    rows: dict[str, list[dict[str, float]]] = {row: [] for row in ROWS}
    for seed in range(options.seeds):
        for row in ROWS:
            folders[row].append(run(options.preset, row, seed, options))
            rows[row].append(figures(folders[row][-1]))
            print(f"{row}, seed {seed}: {rows[row][-1]}", file=sys.stderr, flush=True)
    summary: dict[str, Any] = {
        row: {name: [round(one[name], 4) for one in found] for name in found[0]}
        | {"mean_return": round(float(np.mean([one["return"] for one in found])), 1)}
        for row, found in rows.items()
    }
    if options.picture:
        picture(folders, options.picture)
    print_line("metagradient_rows", {"preset": options.preset, "steps": options.steps, "settings": options.set, "rows": summary})


if __name__ == "__main__":
    main()
