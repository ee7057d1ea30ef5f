"""Seconds of training to a return, for several seeds, presets in turn, and beside them a plain PPO on EnvPool.

    python benchmarks/learning_speed.py --preset impala:cartpole ppo:cartpole --target 475 --seeds 5 --limit 30 --local
    python benchmarks/learning_speed.py --preset ppo:halfcheetah impala:halfcheetah --target 1500 --seeds 5 --limit 90 --local \
        --envpool ~/peers/envpool/bin/python --out seconds.png

The return is the mean over the last 100 training episodes, sampled actions and all. Seconds are those of training, from the first
environment step on: start-up is not in them, nor is compilation. The peer is `benchmarks/peers/envpool_ppo.py`, on HalfCheetah-v4.
Prints one JSON line; `reached` counts the seeds that met the target within the limit.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from runs import child_json, driver, median, parser_of, print_line, train, two_panels, where

ENVPOOL = "envpool"


def trained(options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """One run of ours: `seconds` and `env_steps` to the target, None where it was not met, and its curve."""
    algorithm, _, preset = name.rpartition(":")
    goal = ["--set", f"stop_return={options.target}", f"max_train_seconds={options.limit}", *options.set]
    summary, folder = train(preset, "--seed", str(seed), *where(options), *goal, algorithm=algorithm or "impala")
    is_reached = summary["reason"] == "return reached"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        "seconds": round(summary["train_s"], 1) if is_reached else None,
        "env_steps": summary["env_steps"] if is_reached else None,
        "env_steps_per_s": summary["env_steps_per_s"],
        "final_return": summary["final_return"],
        "curve": [(row["wall_s"], row["env_steps"], row["return/mean_100"]) for row in rows if "return/mean_100" in row],
    }


def of_peer(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One run of the peer."""
    script = str(Path(__file__).resolve().parent / "peers" / "envpool_ppo.py")
    limits = ["--stop-return", str(options.target), "--seconds", str(options.limit), "--seed", str(seed)]
    line = child_json([options.envpool, script, *limits])
    return {
        "seconds": line["seconds_to_return"],
        "env_steps": line["steps_to_return"],
        "env_steps_per_s": line["env_steps_per_s"],
        "final_return": line["curve"][-1][2],
        "curve": line["curve"],
    }


def draw(found: dict[str, list[dict[str, Any]]], file: Path) -> None:
    """Draw every seed over seconds and over steps, one colour a preset."""
    with two_panels(file) as panels:
        for number, (name, rows) in enumerate(found.items()):
            for seed, row in enumerate(rows):
                for panel, column in zip(panels, (0, 1), strict=True):
                    label = name if seed == 0 else None
                    panel.plot(
                        [point[column] for point in row["curve"]], [point[2] for point in row["curve"]], f"C{number}", label=label
                    )
        panels[0].set(xlabel="seconds of training", ylabel="return, mean of 100 episodes")
        panels[1].set(xlabel="environment steps")
        panels[0].legend(frameon=False)


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians over seeds, None where half of them did not meet the target, and every seed."""
    reached = [row for row in rows if row["seconds"] is not None]
    by = {key: sorted(float("inf") if row[key] is None else row[key] for row in rows) for key in ("seconds", "env_steps")}
    medians = {key: median(of) if median(of) < float("inf") else None for key, of in by.items()}
    seeds = [{key: value for key, value in row.items() if key != "curve"} for row in rows]
    return {
        "reached": f"{len(reached)} of {len(rows)}",
        **{f"median_{key}": value for key, value in medians.items()},
        "median_env_steps_per_s": median([row["env_steps_per_s"] for row in rows]),
        "seeds": seeds,
    }


def main() -> None:
    parser = parser_of(__doc__, "local", "seeds", "set")
    parser.add_argument(
        "--preset", required=True, nargs="+", metavar="ALGORITHM:PRESET", help="run in turn; impala where not said"
    )
    parser.add_argument("--target", type=float, required=True, help="mean return over 100 episodes")
    parser.add_argument("--limit", type=float, required=True, help="seconds of training allowed")
    parser.add_argument("--envpool", metavar="PYTHON", help="an interpreter with envpool: its PPO on HalfCheetah-v4 runs in turn")
    parser.add_argument("--out", type=Path, help="file of the picture")
    options = parser.parse_args()
    names = [*options.preset, *([ENVPOOL] if options.envpool else [])]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for seed in range(options.seeds):
        for name in names:
            row = of_peer(options, seed) if name == ENVPOOL else trained(options, name, seed)
            found[name].append(row)
            print({"run": name, "seed": seed} | {key: value for key, value in row.items() if key != "curve"}, flush=True)
    if options.out:
        draw(found, options.out)
    results = {name: figures(rows) for name, rows in found.items()}
    print_line("learning_speed", {"target": options.target, "limit_s": options.limit, "driver": driver(options), "runs": results})


if __name__ == "__main__":
    main()
