"""Return on held-out tasks after training against before (its peer).

    python benchmarks/generalisation.py --preset hopper-dynamics --limit 600 --tasks 64

One training run of at most `--limit` seconds, then one whole episode of each of the same 64 held-out tasks with the trained weights
and with the weights before the first update. Prints one JSON line; `factor` is the ratio of the two means.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runs import metaray, parser_of, print_line, train, where


def evaluated(folder: Path, tasks: int, *flags: str) -> dict[str, Any]:
    """Evaluate a run on held-out tasks and return what it wrote."""
    before = set(folder.glob("evaluation-*.json"))
    metaray("evaluate", str(folder), "--episodes", str(tasks), "--tasks", "test", *flags)
    (file,) = set(folder.glob("evaluation-*.json")) - before
    written: dict[str, Any] = json.loads(file.read_text())
    return written


def main() -> None:
    parser = parser_of(__doc__, "local")
    parser.add_argument("--preset", default="hopper-dynamics")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of training")
    parser.add_argument("--tasks", type=int, default=64, help="held-out tasks, one episode each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    summary, folder = train(
        options.preset, "--seed", str(options.seed), *where(options), "--set", f"max_train_seconds={options.limit}"
    )
    trained, untrained = evaluated(folder, options.tasks), evaluated(folder, options.tasks, "--untrained")
    mean = {"trained": _mean(trained), "untrained": _mean(untrained)}
    print_line(
        "generalisation",
        {
            "preset": options.preset,
            "tasks": options.tasks,
            "seed": options.seed,
            "mean_return": mean,
            "factor": round(mean["trained"] / mean["untrained"], 2),
            "train_s": round(summary["train_s"], 1),
            "env_steps": summary["env_steps"],
            "env_steps_per_s": summary["env_steps_per_s"],
        },
    )


def _mean(written: dict[str, Any]) -> float:
    returns = [float(row["return"]) for row in written["episodes"]]
    return round(sum(returns) / len(returns), 1)


if __name__ == "__main__":
    main()
