"""Lifetimes in lockstep: steps per second of a core against one lifetime per process, and the share of physics in an epoch.

    python benchmarks/epg_lifetimes.py [--family random-hopper] [--lifetimes 32] [--rounds 3] [--updates 128]

    lockstep   `LifetimeCollector` on one thread, a chunk of `--lifetimes` lifetimes
    single     peer: the same code on a chunk of one lifetime, as with one worker per lifetime
    physics    the time that the lockstep epoch spent inside `Batch.step`: the bare physics of the very same steps, in the same run

Both are processes of their own, pinned to one core and run in turn; medians over rounds. Steps are environment steps, those of the fitness
included. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

import numpy as np
from runs import ROOT, child_json, median, parser_of, print_line

sys.path.insert(0, str(ROOT))


class TimedBatch:
    """`mujoco.batch.Batch` with a clock around its `step`."""

    def __init__(self, batch: Any) -> None:
        self._batch, self.seconds, self.steps = batch, 0.0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def step(self, ids: Any = None, **options: Any) -> None:
        """Step, on the clock."""
        began = time.perf_counter()
        self._batch.step(ids, **options)
        self.seconds += time.perf_counter() - began
        self.steps += self._batch.nsim if ids is None else len(ids)


def run_chunk(family: str, num_lifetimes: int, num_updates: int, seed: int) -> dict[str, float]:
    """Run one chunk on this process's thread."""
    from actors.chunks import LifetimeCollector, LifetimeSetup, chunks_of, spaces_of
    from learners.evolution import EvolutionConfig
    from learners.learned_loss.inner_loop import LifetimeConfig
    from learners.learned_loss.network import LossConfig, LossShape, draw_phi
    from learners.seeds import Stream, generator

    config = LifetimeConfig(num_updates=num_updates)
    setup = LifetimeSetup(family=family, run_seed=seed, life=config, loss=LossConfig(), evolution=EvolutionConfig())
    shape = LossShape.of(setup.loss, spaces_of(family))
    runner, phi = LifetimeCollector(setup), draw_phi(shape, generator(seed, Stream.LOSS)).astype(np.float32)
    envs = runner.envs_of(num_lifetimes)
    clocks = [_on_the_clock(env._env) for env in (envs.training, envs.final)]
    workers = max(2, num_lifetimes)
    chunk = chunks_of("perturbed", 0, num_workers=workers, num_vectors=workers, lives_per_chunk=num_lifetimes, alpha=0.0)[0]
    began = time.perf_counter()
    result = runner.run(chunk, phi)
    wall = time.perf_counter() - began
    physics = sum(clock.seconds for clock in clocks if clock is not None)
    return {
        "env_steps": result.env_steps,
        "steps_per_s": result.env_steps / wall,
        "us_per_step": 1e6 * wall / result.env_steps,
        "physics_us_per_step": 1e6 * physics / result.env_steps,
        "physics_share": physics / wall,
        "lifetime_s": wall / num_lifetimes,
    }


def _on_the_clock(env: Any) -> TimedBatch | None:
    if not hasattr(env, "batch"):
        return None
    clock = env.batch = TimedBatch(env.batch)
    return clock


def in_a_process(family: str, num_lifetimes: int, num_updates: int, seed: int) -> dict[str, float]:
    """Run one chunk in a process of its own, pinned to one core."""
    command = [sys.executable, __file__, "--child", "--family", family, "--updates", str(num_updates)]
    command += ["--lifetimes", str(num_lifetimes), "--seed", str(seed)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    timings: dict[str, float] = child_json(command, env=environment)
    return timings


def main() -> None:
    parser = parser_of(__doc__, "rounds")
    parser.add_argument("--family", default="random-hopper")
    parser.add_argument("--lifetimes", type=int, default=32)
    parser.add_argument("--updates", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        print(json.dumps(run_chunk(options.family, options.lifetimes, options.updates, options.seed)))
        return
    rows: dict[str, list[dict[str, float]]] = {"lockstep": [], "single": []}
    for seed in range(options.rounds):
        for name, num_lifetimes in (("lockstep", options.lifetimes), ("single", 1)):
            rows[name].append(in_a_process(options.family, num_lifetimes, options.updates, seed))
            print(name, {key: round(value, 3) for key, value in rows[name][-1].items()}, file=sys.stderr, flush=True)
    ratios = np.array([one["steps_per_s"] / other["steps_per_s"] for one, other in zip(*rows.values(), strict=True)])
    print_line(
        "epg_lifetimes",
        {
            "family": options.family,
            "lifetimes": options.lifetimes,
            "updates": options.updates,
            "lockstep_over_single": median(ratios.tolist()),
            "physics_share": median([row["physics_share"] for row in rows["lockstep"]]),
            "lockstep_us_per_step": median([row["us_per_step"] for row in rows["lockstep"]]),
            "single_us_per_step": median([row["us_per_step"] for row in rows["single"]]),
            "rounds": rows,
        },
    )


if __name__ == "__main__":
    main()
