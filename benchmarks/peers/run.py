"""All peers in turn, several rounds (A B C, A B C, ...), each under a Python of its own; one JSON line with the medians.

    python benchmarks/peers/run.py --rllib ~/peers/rllib/bin/python --sample-factory ~/peers/sf/bin/python

In turn, because a shared machine drifts by more than the peers differ: compare figures of one call, not of two days.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

JOBS = {
    "rllib-halfcheetah": ("rllib", ["rllib_impala.py", "--env", "halfcheetah"]),
    "rllib-pong": ("rllib", ["rllib_impala.py", "--env", "pong"]),
    "sample-factory-halfcheetah": ("sample_factory", ["sample_factory_appo.py", "--env", "halfcheetah"]),
    "sample-factory-pong": ("sample_factory", ["sample_factory_appo.py", "--env", "pong", "--network", "shallow"]),
    "sample-factory-pong-nature": ("sample_factory", ["sample_factory_appo.py", "--env", "pong", "--network", "nature"]),
}
"""Name -> whose Python, and the script with its arguments."""


def measure(python: str, arguments: list[str], timeout_s: float) -> dict[str, Any]:
    """Run one peer and return its line; a peer that prints none ends the measurement with the end of its output."""
    command = [python, str(HERE / arguments[0]), *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"peer"')]
    if done.returncode or not lines:
        sys.exit(f"{' '.join(command)} failed with exit code {done.returncode}:\n{lines or done.stderr[-2000:]}")
    line: dict[str, Any] = json.loads(lines[-1])
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rllib", metavar="PYTHON", help="an interpreter with ray[rllib]")
    parser.add_argument("--sample-factory", metavar="PYTHON", help="an interpreter with sample-factory")
    parser.add_argument("--only", nargs="+", choices=sorted(JOBS), help="default: all whose interpreter is given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one peer, once")
    args = parser.parse_args()
    pythons = {"rllib": args.rllib, "sample_factory": args.sample_factory}
    jobs = {
        name: (pythons[owner], script) for name, (owner, script) in JOBS.items() if name in (args.only or JOBS) and pythons[owner]
    }
    if not jobs:
        parser.error("nothing to measure: give --rllib or --sample-factory")
    lines: dict[str, list[dict[str, Any]]] = {name: [] for name in jobs}
    for _ in range(args.rounds):
        for name, (python, script) in jobs.items():
            lines[name].append(measure(python, script, args.timeout))
            print(f"{name}: {lines[name][-1]['env_steps_per_s']} steps/s", file=sys.stderr, flush=True)
    peers = {
        name: {
            "env_steps_per_s": statistics.median(line["env_steps_per_s"] for line in rounds),
            "rounds": [line["env_steps_per_s"] for line in rounds],
            "trained_steps_per_s": statistics.median(line["trained_steps_per_s"] for line in rounds),
            "settings": rounds[-1]["settings"],
            "versions": rounds[-1]["versions"],
        }
        for name, rounds in lines.items()
    }
    print(json.dumps({"benchmark": "peers", "peers": peers}), flush=True)


if __name__ == "__main__":
    main()
