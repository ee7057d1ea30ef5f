"""Seconds of training to a return, for several seeds. Its peers are the scripts of benchmarks/peers.

    python benchmarks/learning_speed.py --preset cartpole --target 475 --seeds 5 --limit 30 --local
    python benchmarks/learning_speed.py --preset hopper --target 1500 --seeds 3 --limit 600

The return is the mean over the last 100 training episodes, sampled actions and all. Seconds are those of training: start-up is not in them.
Prints one JSON line; `reached` counts the seeds that met the target within the limit.
"""

from __future__ import annotations

from runs import driver, median, parser_of, print_line, train, where


def main() -> None:
    parser = parser_of(__doc__, "local", "seeds")
    parser.add_argument("--preset", required=True)
    parser.add_argument("--target", type=float, required=True, help="mean return over 100 episodes")
    parser.add_argument("--limit", type=float, required=True, help="seconds of training allowed")
    options = parser.parse_args()
    rows = []
    for seed in range(options.seeds):
        goal = ["--set", f"stop_return={options.target}", f"max_train_seconds={options.limit}"]
        summary, _ = train(options.preset, "--seed", str(seed), *where(options), *goal)
        row = {key: summary[key] for key in ("reason", "final_return", "env_steps", "env_steps_per_s")}
        rows.append({"seed": seed, "train_s": round(summary["train_s"], 1), **row})
        print(rows[-1], flush=True)
    reached = [row for row in rows if row["reason"] == "return reached"]
    print_line(
        "learning_speed",
        {
            "preset": options.preset,
            "target": options.target,
            "limit_s": options.limit,
            "driver": driver(options),
            "reached": f"{len(reached)} of {len(rows)}",
            "median_train_s": median([row["train_s"] for row in rows]),
            "seeds": rows,
        },
    )


if __name__ == "__main__":
    main()
