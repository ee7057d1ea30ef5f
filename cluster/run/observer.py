"""The border between the main loop and everything that a person sees of it: progress, metrics, events, checkpoints, Ctrl-C.

The loop (`cluster.run.loop`) computes and tells; an observer shows and writes, and is asked one thing, `stop_requested`.

    loop --status, metrics, events, checkpoints--> observer --> terminal, metrics.jsonl, TensorBoard, log.txt, checkpoints/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

StatusT = TypeVar("StatusT", contravariant=True)
"""Where a run stands; each kind of loop has a status of its own."""

StopReason = Literal["total steps", "return reached", "time limit", "stopped by signal"]
"""Why a run ended. After `stopped by signal` there is something left to resume; the others are goals that the run reached."""


@dataclass(frozen=True, kw_only=True)
class WallShares:
    """Who was at work, as shares of wall time since the last status, each in [0, 1].

    Attributes:
        actors: mean over actors of the share spent in policy and environment.
        learner: share spent in updates.
        transport: share in which neither worked: trajectories and weights were on their way.
    """

    actors: float = 0.0
    learner: float = 0.0
    transport: float = 0.0

    def in_words(self) -> str:
        """Say who waits for whom: the side that is less at work waits for the other, or both for transport."""
        actors_idle, learner_idle = 1 - self.actors, 1 - self.learner
        if self.transport >= 0.5 and self.transport >= max(self.actors, self.learner):
            return f"both wait for transport {self.transport:.0%}"
        if learner_idle >= actors_idle:
            return f"learner waits for actors {max(learner_idle, 0):.0%}"
        return f"actors wait for learner {max(actors_idle, 0):.0%}"


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a run stands.

    Attributes:
        env_steps, total_env_steps: environment steps taken and asked for, those before a resume included.
        env_steps_per_s: over the last few seconds.
        learner_updates: updates behind the newest weights.
        mean_return: mean over the last 100 finished episodes; None before the first one ended.
        best_return: highest `mean_return` so far.
        mean_lag, max_lag: age of the trajectories learned from since the last status, in learner updates.
        actors_alive, num_actors: actors that answer, and those asked for.
        waiting: who was at work since the last status.
        elapsed_s: wall time of training in this process.
        eta_s: seconds to `total_env_steps` at the present rate, or to the time limit; None while neither is known.
        time_share: part of the time limit that has passed, 0 where there is none.
        tuned: the meta-parameters and where the newest update left them; empty where none is tuned.
        last_event: newest line given to `on_event`, empty before the first.
    """

    env_steps: int
    total_env_steps: int
    env_steps_per_s: float
    learner_updates: int
    mean_return: float | None
    best_return: float | None = None
    mean_lag: float = 0.0
    max_lag: int = 0
    actors_alive: int
    num_actors: int
    waiting: WallShares = field(default_factory=WallShares)
    elapsed_s: float
    eta_s: float | None = None
    time_share: float = 0.0
    tuned: Mapping[str, float] = field(default_factory=dict)
    last_event: str = ""

    @property
    def share(self) -> float:
        """How much of the run is done, by steps or by time, whichever ends it first."""
        return min(1.0, max(self.env_steps / self.total_env_steps, self.time_share))


@dataclass(frozen=True, kw_only=True)
class LoopResult:
    """How a run of the loop ended; with the run directory it makes `summary.json`.

    Attributes:
        env_steps, learner_updates, num_episodes: over the whole run, those before a resume included.
        train_s: seconds of training over the whole run: from the first request to the last update, start-up left out.
        learner_utilisation, actor_utilisation: shares of this process's training time spent at work, in [0, 1].
        mean_lag, max_lag: age of the trajectories learned from, in learner updates.
        final_return: mean over the last 100 episodes; None when none ended.
        dropped_trajectories: those older than the bound on lag, and those left over at the end.
        lost_actors: actors that died or hung and were replaced.
        reason: why the run ended.
        parameters: the learner's final parameters by name.
    """

    env_steps: int
    train_s: float
    learner_updates: int
    learner_utilisation: float
    actor_utilisation: float
    mean_lag: float
    max_lag: int
    final_return: float | None
    num_episodes: int
    dropped_trajectories: int
    lost_actors: int
    reason: StopReason
    parameters: dict[str, np.ndarray]


class RunObserver(Protocol[StatusT]):
    """Whoever watches a run. Every method returns soon and is called from the loop's own thread."""

    def on_status(self, status: StatusT) -> None:
        """Show where the run stands; called about every `log_every_s` seconds."""

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        """Record metrics at `env_steps`.

        Args:
            env_steps: environment steps so far, the x axis of every plot.
            scalars: by name, such as `return/mean_100`, `throughput/env_steps_per_s`, `lag/mean`, `loss/policy`.
            histograms: raw samples by name (`lag/histogram`: one lag per trajectory); binned by whoever writes them.
        """

    def on_event(self, line: str) -> None:
        """Log one line that a person should read, such as the loss of an actor with its id."""

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        """Write a checkpoint and return when it is safe on disk.

        Args:
            step: environment steps at the checkpoint; names it and orders it among its kind.
            payload: nested dicts, lists and tuples of arrays and plain values (see `cluster.store.checkpoint.pack`).
        """

    def stop_requested(self) -> bool:
        """Whether a person or the system asked for an end; the loop then checkpoints and returns."""


class SilentObserver:
    """Shows and writes nothing, and never stops a run: for benchmarks and for tests of the loop."""

    def on_status(self, status: object) -> None:
        """Ignore it."""

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        """Ignore them."""

    def on_event(self, line: str) -> None:
        """Ignore it."""

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        """Ignore it."""

    def stop_requested(self) -> bool:
        """Never."""
        return False
