"""Speed of the batched MuJoCo environments: the whole environment step against the physics alone, and against envpool.

    python benchmarks/env_speed.py [--envpool-python /path/to/python]

Four loops run in turn, again and again, so that a slower machine affects all of them; medians of the rounds are reported.

    ours      `MujocoBatchedEnv.step`: physics, observation, reward, ends, resets and time limits
    bare      `Batch.step` alone on the same model, actions and frame skip, never reset (a hopper then lies on the floor, with contacts)
    replay    `Batch.step` alone from the very states that ours stepped from: the same physical work as ours
    envpool   peer: envpool's environment of the same name (C++), if a Python that has envpool is named; its own process, idle between turns

Steps that reset a slot are not counted, for ours or envpool. Prints one JSON line; `ratio` is of rates, above 1 where ours is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ENVPOOL_IDS = {"halfcheetah": "HalfCheetah-v5", "hopper": "Hopper-v5", "ant": "Ant-v5"}
NUM_ACTIONS = {"halfcheetah": 6, "hopper": 3, "ant": 8}
WARM_UP_STEPS = 100
"""Long enough for hoppers to fall at different times."""


def draw_actions(family: str, num_envs: int, steps: int) -> np.ndarray:
    """The same uniform actions [steps, B, A] for every loop."""
    return np.random.default_rng(0).uniform(-1, 1, size=(steps, num_envs, NUM_ACTIONS[family])).astype(np.float32)


class Ours:
    """The environment, and the two loops of bare physics beside it."""

    def __init__(self, family: str, num_envs: int, num_threads: int, steps: int) -> None:
        import mujoco.batch

        from envs.mujoco import MUJOCO_FAMILIES
        from envs.mujoco.engine import MujocoBatchedEnv

        made = MUJOCO_FAMILIES[family]()
        env = made.make(made.sample(num_envs, np.random.default_rng(0)), num_threads=num_threads)
        assert isinstance(env, MujocoBatchedEnv)
        self.env = env
        self.num_envs = num_envs
        self.frame_skip = made.robot.frame_skip  # type: ignore[attr-defined]
        self.actions = draw_actions(family, num_envs, steps)
        self.bare_batch, self.replay_batch = (mujoco.batch.Batch(env.batch.model, num_envs, num_threads) for _ in range(2))
        self.states: list[np.ndarray] = []
        env.reset(seed=0)
        self.bare_batch.state[:] = env.batch.state
        for t in range(WARM_UP_STEPS):
            env.step(self.actions[t % steps])
            self._advance(self.bare_batch, self.actions[t % steps])

    def _advance(self, batch: Any, action: np.ndarray) -> None:
        batch.ctrl[...] = action
        batch.step(nstep=self.frame_skip)

    def ours(self) -> float:
        """Environment steps per second."""
        saved = self.env.save()
        num_steps, start = 0, time.perf_counter()
        for action in self.actions:
            info = self.env.step(action)[4]
            num_steps += len(action) - int(info["is_first"].sum())
        rate = num_steps / (time.perf_counter() - start)
        self._record(saved)
        return rate

    def _record(self, saved: dict[str, Any]) -> None:
        """Go through the same steps again, untimed, and keep the state before each."""
        self.env.restore(saved)
        self.states = []
        for action in self.actions:
            self.states.append(self.env.batch.state.copy())
            self.env.step(action)

    def bare(self) -> float:
        """Steps per second of the physics alone, never reset."""
        start = time.perf_counter()
        for action in self.actions:
            self._advance(self.bare_batch, action)
        return len(self.actions) * self.num_envs / (time.perf_counter() - start)

    def replay(self) -> float:
        """Steps per second of the physics alone, on the states that ours stepped from."""
        seconds = 0.0
        for action, state in zip(self.actions, self.states):
            self.replay_batch.state[:] = state
            start = time.perf_counter()
            self._advance(self.replay_batch, action)
            seconds += time.perf_counter() - start
        return len(self.actions) * self.num_envs / seconds


def serve_envpool(num_envs: int, num_threads: int, steps: int) -> None:
    """Run in a Python that has envpool: answer each family's name on a line with steps per second on a line."""
    import envpool

    print(version("envpool"), flush=True)
    made: dict[str, tuple[Any, np.ndarray]] = {}
    for line in sys.stdin:
        family = line.strip()
        if family not in made:
            env = envpool.make(ENVPOOL_IDS[family], env_type="gymnasium", num_envs=num_envs, num_threads=num_threads, seed=0)
            env.reset()
            actions = draw_actions(family, num_envs, steps).astype(np.float64)
            for t in range(WARM_UP_STEPS):
                env.step(actions[t % steps])
            made[family] = env, actions
        env, actions = made[family]
        num_steps, start = 0, time.perf_counter()
        for action in actions:
            info = env.step(action)[4]
            num_steps += len(action) - int((info["elapsed_step"] == 0).sum())
        print(num_steps / (time.perf_counter() - start), flush=True)


class Envpool:
    """The peer, in its own interpreter."""

    def __init__(self, python: str, options: argparse.Namespace) -> None:
        sizes = ["--num-envs", options.num_envs, "--num-threads", options.num_threads, "--steps", options.steps]
        self._process = subprocess.Popen(
            [python, __file__, "--serve-envpool", *map(str, sizes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise SystemExit("the envpool process ended; its error is above")
        return line

    def rate(self, family: str) -> float:
        """Steps per second."""
        assert self._process.stdin is not None
        print(family, file=self._process.stdin, flush=True)
        return float(self._read())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(family: str, options: argparse.Namespace, peer: Envpool | None) -> dict[str, Any]:
    """Run the loops in turn and return median rates and the median over rounds of their ratios."""
    loops = Ours(family, options.num_envs, options.num_threads, options.steps)
    rates: dict[str, list[float]] = {"ours": [], "bare": [], "replay": []}
    for _ in range(options.rounds):
        rates["ours"].append(loops.ours())
        rates["bare"].append(loops.bare())
        rates["replay"].append(loops.replay())
        if peer is not None:
            rates.setdefault("envpool", []).append(peer.rate(family))
    ratios = {f"ours_to_{name}": _ratio(rates["ours"], other) for name, other in rates.items() if name != "ours"}
    return {"steps_per_s": {name: round(statistics.median(values)) for name, values in rates.items()}, "ratio": ratios}


def _ratio(ours: list[float], other: list[float]) -> float:
    """The median over rounds of the ratio within a round."""
    return round(statistics.median(mine / theirs for mine, theirs in zip(ours, other)), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(ENVPOOL_IDS), choices=list(ENVPOOL_IDS))
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--num-threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100, help="steps of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--envpool-python", help="an interpreter that has envpool 1.2")
    parser.add_argument("--serve-envpool", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_envpool:
        serve_envpool(options.num_envs, options.num_threads, options.steps)
        return
    peer = Envpool(options.envpool_python, options) if options.envpool_python else None
    families = {family: measure(family, options, peer) for family in options.families}
    versions = {name: version(name) for name in ("mujoco", "gymnasium", "numpy")} | {"python": platform.python_version()}
    if peer is not None:
        versions["envpool"] = peer.version
        peer.close()
    sizes = {"num_envs": options.num_envs, "num_threads": options.num_threads, "steps": options.steps, "rounds": options.rounds}
    print(json.dumps({"benchmark": "env_speed", **sizes, "cpus": os.cpu_count(), "families": families, "versions": versions}))


if __name__ == "__main__":
    main()
