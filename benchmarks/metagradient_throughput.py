"""End-to-end throughput with the meta-gradient against without it (its peer), where actors are the bottleneck.

    python benchmarks/metagradient_throughput.py [--preset halfcheetah-throughput] [--rounds 3] [--seconds 40] [--local]

One actor on one core, the learner on another: the same preset without eta and with eta = {gamma, lambda}, in turn, round by round. The
rate is environment steps over seconds of training, from `summary.json`; utilisations show which side waited. Prints one JSON line with
medians.
"""

from __future__ import annotations

import sys
from typing import Any

from runs import driver, median, parser_of, print_line, train, where

CASES = {"none": "eta=", "gamma,lambda": "eta=gamma,lambda"}


def main() -> None:
    parser = parser_of(__doc__, "local", "rounds", "set")
    parser.add_argument("--preset", default="halfcheetah-throughput")
    parser.add_argument("--seconds", type=float, default=40.0, help="training time of a run")
    options = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {case: [] for case in CASES}
    for seed in range(options.rounds):
        for case, eta in CASES.items():
            settings = [f"max_train_seconds={options.seconds}", "num_actors=1", "meta.outer_gamma=0.99", *options.set, eta]
            summary, _ = train(options.preset, "--seed", str(seed), *where(options), "--set", *settings)
            keys = ("env_steps_per_s", "learner_utilisation", "actor_utilisation", "mean_lag", "learner_updates")
            runs[case].append({key: summary[key] for key in keys})
            print(f"{case}: {runs[case][-1]}", file=sys.stderr, flush=True)
    ratios = [
        tuned["env_steps_per_s"] / plain["env_steps_per_s"]
        for tuned, plain in zip(runs["gamma,lambda"], runs["none"], strict=True)
    ]
    print_line(
        "metagradient_throughput",
        {
            "preset": options.preset,
            "driver": driver(options),
            "settings": options.set,
            "share_kept": median(ratios),
            "env_steps_per_s": {case: median([one["env_steps_per_s"] for one in found]) for case, found in runs.items()},
            "learner_utilisation": {case: median([one["learner_utilisation"] for one in found]) for case, found in runs.items()},
            "actor_utilisation": {case: median([one["actor_utilisation"] for one in found]) for case, found in runs.items()},
            "rounds": [round(ratio, 4) for ratio in ratios],
        },
    )


if __name__ == "__main__":
    main()
