"""What all peers share: the environments, counters of steps where they happen, and how a rate is measured.

A peer's own counters are not trusted: some report frames for steps, some count a batch once per epoch. Here every environment counts its
`step` calls, and every learner the samples that it differentiates, in eight bytes of a mapped file; the measuring process adds them up.
Imported by the scripts beside it, under the peer's own Python: numpy and gymnasium, nothing of metaray.
"""

from __future__ import annotations

import json
import mmap
import os
import platform
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np

COUNTERS = "METARAY_PEER_COUNTERS"
"""Environment variable with the folder of the counter files; every process that a peer starts inherits it."""

What = Literal["stepped", "trained"]


class Counter:
    """A number in a mapped file of its own: one writer, any reader, no lock."""

    def __init__(self, what: What) -> None:
        folder = os.environ[COUNTERS]
        file, _ = tempfile.mkstemp(prefix=f"{what}-{os.getpid()}-", dir=folder)
        os.truncate(file, 8)
        self._map = mmap.mmap(file, 8)
        os.close(file)
        self._total = 0

    def add(self, amount: int) -> None:
        """Add `amount`, seen by `total` at once."""
        self._total += amount
        self._map[:8] = struct.pack("<q", self._total)


def total(what: What) -> int:
    """The sum over all counters of this kind, of all processes."""
    files = Path(os.environ[COUNTERS]).glob(f"{what}-*")
    return sum(struct.unpack("<q", raw)[0] for file in files if len(raw := file.read_bytes()) == 8)


class CountSteps(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Count the `step` calls of one environment."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._counter = Counter("stepped")

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Count and pass on."""
        self._counter.add(1)
        return self.env.step(action)


def make_halfcheetah() -> gymnasium.Env[Any, Any]:
    """HalfCheetah-v5 with float32 observations."""
    return CountSteps(gymnasium.wrappers.DtypeObservation(gymnasium.make("HalfCheetah-v5"), np.float32))


def make_pong() -> gymnasium.Env[Any, Any]:
    """Pong as DQN and IMPALA preprocess it: frame skip 4, maximum of two frames, 84 x 84 grey, four frames stacked [4, 84, 84] uint8.

    Gymnasium's wrapper asks the emulator for grey frames, which is quicker than the colour pipelines that the peers bring along.
    """
    import ale_py

    gymnasium.register_envs(ale_py)
    env = gymnasium.make("ALE/Pong-v5", frameskip=1, repeat_action_probability=0.0, full_action_space=False)
    env = gymnasium.wrappers.AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84, terminal_on_life_loss=True)
    env = CountSteps(env)  # one count per action, not per frame
    env = gymnasium.wrappers.TransformReward(env, lambda reward: float(np.sign(float(reward))))
    return gymnasium.wrappers.FrameStackObservation(env, 4)


ENVIRONMENTS: dict[str, Callable[[], gymnasium.Env[Any, Any]]] = {"halfcheetah": make_halfcheetah, "pong": make_pong}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long to wait and to look.

    Attributes:
        warmup_s: seconds after the learner's first update that are not looked at.
        windows: number of windows; the median window is the figure.
        window_s: seconds of a window.
        start_s: a peer that has not trained once by then has failed.
    """

    warmup_s: float = 10.0
    windows: int = 5
    window_s: float = 8.0
    start_s: float = 120.0


def watch(schedule: Schedule, poll: Callable[[], None] = lambda: time.sleep(0.02)) -> dict[str, Any]:
    """Wait for the first update and for the warm-up, then take the windows.

    Args:
        schedule: how long.
        poll: what keeps the peer going while time passes, called again and again; sleeps for a peer that runs by itself.

    Returns:
        The median window's rate of steps, the rate of trained samples over all windows (updates come in lumps), and every window.

    Raises:
        RuntimeError: nothing was trained within `start_s`, or while it was measured: such a peer's step rate means nothing.
    """
    deadline = time.monotonic() + schedule.start_s
    while not total("trained"):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the peer's learner made no update within {schedule.start_s:g} s")
        poll()
    warm = time.monotonic() + schedule.warmup_s
    while time.monotonic() < warm:
        poll()
    begin, samples, stepped = time.monotonic(), total("trained"), []
    for _ in range(schedule.windows):
        start, steps = time.monotonic(), total("stepped")
        while time.monotonic() < start + schedule.window_s:
            poll()
        stepped.append((total("stepped") - steps) / (time.monotonic() - start))
    trained = total("trained") - samples
    if not trained:
        raise RuntimeError("the peer's learner stopped training while it was measured")
    return {
        "env_steps_per_s": round(statistics.median(stepped), 1),
        "trained_steps_per_s": round(trained / (time.monotonic() - begin), 1),
        "windows_env_steps_per_s": [round(rate, 1) for rate in stepped],
    }


def open_counters() -> tempfile.TemporaryDirectory[str]:
    """Make the counters' folder and name it to every process to come; keep the object for as long as it is needed."""
    folder = tempfile.TemporaryDirectory(prefix="metaray-peer-", ignore_cleanup_errors=True)
    os.environ[COUNTERS] = folder.name
    return folder


def report(peer: str, env: str, settings: dict[str, Any], rates: dict[str, Any], packages: list[str]) -> None:
    """Print the one JSON line."""
    line = {
        "peer": peer,
        "env": env,
        **rates,
        "settings": settings,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "cpus": os.cpu_count(),
    }
    print(json.dumps(line), flush=True)
