"""Pong learned by Sample Factory's APPO with the settings of its own Atari example: return over seconds and steps.

Run under a Python that has `sample-factory==2.1.1` (docs/results/peers.md has the commands):

    python benchmarks/peers/sample_factory_pong.py --seconds 3600 --target 10 --seed 0
    python benchmarks/peers/sample_factory_pong.py --seconds 3600 -- --num_envs_per_worker=16

What follows `--` goes to Sample Factory, on top of its example (Nature convolutions, 4 epochs of 4 batches of 256, an annealed step size of
2.5e-4) and of asynchronous collection by two workers. Seconds count from its first report on; a step is an action, 4 frames. Prints one
JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore")

from measure import make_pong, open_counters

FRAMES_PER_STEP = 4
FRAMES = re.compile(r"Total num frames: (\d+)")
RETURN = re.compile(r"Avg episode reward: \[\(0, '(-?[\d.]+)'\)\]")
ARGUMENTS = [
    "--env=pong",
    "--device=cpu",
    "--async_rl=True",
    "--num_workers=2",
    "--num_envs_per_worker=8",
    "--set_workers_cpu_affinity=False",
    "--decorrelate_envs_on_one_worker=False",  # its random resets would count as short episodes
    "--train_for_env_steps=1000000000",
]


def make_env(*_: Any, **__: Any) -> Any:
    """What Sample Factory calls, by a name that its processes can import."""
    return make_pong()


def learn(arguments: list[str]) -> None:
    """Train in this process and its children."""
    from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
    from sample_factory.envs.env_utils import register_env
    from sample_factory.train import run_rl
    from sf_examples.atari.atari_params import atari_override_defaults

    register_env("pong", make_env)
    parser, _ = parse_sf_args(argv=arguments)
    atari_override_defaults("pong", parser)
    run_rl(parse_full_cfg(parser, arguments))


def watched(options: argparse.Namespace) -> dict[str, Any]:
    """Train in a process of its own, read its log, and end it at the target or the limit."""
    curve, begun, steps, first = list[tuple[float, int, float]](), 0.0, 0, 0
    with tempfile.TemporaryDirectory(prefix="metaray-peer-", ignore_cleanup_errors=True) as folder:
        flags = [*ARGUMENTS, f"--seed={options.seed}", f"--train_dir={folder}", *options.rest]
        command = [sys.executable, __file__, "--learn", *flags]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if options.verbose:
                    sys.stderr.write(line)
                if found := FRAMES.search(line):
                    steps = int(found[1]) // FRAMES_PER_STEP
                    if not begun:
                        begun, first = time.monotonic(), steps
                if found := RETURN.search(line):
                    curve.append((round(time.monotonic() - begun, 1), steps, float(found[1])))
                is_there = bool(curve) and options.target is not None and curve[-1][2] >= options.target
                if begun and (is_there or time.monotonic() - begun > options.seconds):
                    break
            else:
                sys.exit("the peer ended before its limit: see its log with --verbose")
            os.killpg(process.pid, signal.SIGKILL)  # its workers would go on without it
    seconds = time.monotonic() - begun
    kept = curve[:: max(1, len(curve) // 40)] + curve[-1:]
    return {
        "train_s": round(seconds, 1),
        "env_steps": steps,
        "env_steps_per_s": round((steps - first) / seconds, 1),
        "curve": kept,
    }


def main() -> None:
    """Print the figures."""
    if sys.argv[1:2] == ["--learn"]:
        learn(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600.0, help="limit, from the first report on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", type=float, help="end at this return")
    parser.add_argument("--verbose", action="store_true", help="show its log on stderr")
    parser.add_argument("rest", nargs="*", help="arguments of Sample Factory, after --")
    options = parser.parse_args()
    counters = open_counters()  # the environment counts its steps for the benchmarks of speed
    asked = {"peer": "sample_factory_pong", "seed": options.seed, "arguments": options.rest}
    found = watched(options)
    counters.cleanup()
    print(
        json.dumps(
            asked | found | {"versions": {name: version(name) for name in ("sample-factory", "torch", "gymnasium", "ale-py")}}
        )
    )


if __name__ == "__main__":
    main()
