"""The interface between the main loop and what shows or stores it: progress, metrics, events, checkpoints, Ctrl-C.

The loop (`cluster.run.loop`) calls the observer, which shows and writes; `stop_requested` is the only answer that it gives.

    loop --status, metrics, events, checkpoints--> observer --> terminal, metrics.jsonl, TensorBoard, log.txt, checkpoints/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from cluster.run.counters import Counters

StopReason = Literal["total steps", "total epochs", "return reached", "time limit", "stopped by signal"]
"""Why a run ended. After `stopped by signal` it can be resumed; the others are goals of the config."""


@dataclass(frozen=True, kw_only=True)
class WallShares:
    """Shares of wall time since the last status, each in [0, 1].

    Attributes:
        actors: mean over actors of the share spent collecting.
        learner: share spent in updates.
        transport: mean over actors of the share in which work or its result was in transit.
        driver: mean over actors of the share in which no work was in progress.
    """

    actors: float = 0.0
    learner: float = 0.0
    transport: float = 0.0
    driver: float = 0.0

    def in_words(self) -> str:
        """Which side waits: the one that is less busy waits for the other, or both wait for transport."""
        actors_idle, learner_idle = 1 - self.actors, 1 - self.learner
        if self.transport >= 0.5 and self.transport >= max(self.actors, self.learner):
            return f"both wait for transport {self.transport:.0%}"
        if learner_idle >= actors_idle:
            return f"learner waits for actors {max(learner_idle, 0):.0%}"
        return f"actors wait for learner {max(actors_idle, 0):.0%}"


@dataclass(frozen=True, kw_only=True)
class Status:
    """The status of a run.

    Attributes:
        env_steps: environment steps learned from, those before a resume included.
        share: share of the run that is done, in [0, 1], by the limit that ends it first.
        rounds, total_rounds: finished and in all; 0 where a run does not count them.
        part, done, total: part of the current round, its units done and in all.
        figures: the newest value of every metric, by name.
        actors_alive, num_actors: actors that are up, and the requested number.
        lost_actors: actors that died or hung and were replaced.
        waiting: shares of wall time since the last status.
        elapsed_s: wall time of training in this process.
        eta_s: seconds to the end at the present rate; None while unknown.
        last_event: newest line of `on_event`; empty before the first.
    """

    env_steps: int
    share: float = 0.0
    rounds: int = 0
    total_rounds: int = 0
    part: str = ""
    done: int = 0
    total: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)
    actors_alive: int
    num_actors: int
    lost_actors: int = 0
    waiting: WallShares = field(default_factory=WallShares)
    elapsed_s: float
    eta_s: float | None = None
    last_event: str = ""


@dataclass(kw_only=True)
class LoopResult(Counters):
    """How a run of the loop ended, and its counters; with the run directory it makes `summary.json`.

    Attributes:
        reason: why the run ended.
        learner_updates: over the whole run, those before a resume included.
        shares: shares of wall time, over the training of this process.
        dropped, reissued: units that were discarded; copies of stragglers that were started.
        figures: the newest value of every metric, by name.
        parameters: the final weights by name.
    """

    reason: StopReason
    learner_updates: int
    shares: WallShares
    dropped: int
    reissued: int
    figures: Mapping[str, float]
    parameters: dict[str, np.ndarray]


class RunObserver:
    """Base: does nothing. Every method returns soon and is called from the thread of the loop."""

    def on_status(self, status: Status) -> None:
        """Show the status; called about every `log_every_s` seconds."""

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        """Record metrics at `env_steps`.

        Args:
            env_steps: environment steps so far, the x axis of every plot.
            scalars: by name, such as `return/mean_100`, `throughput/env_steps_per_s`, `lag/mean`, `loss/policy`.
            histograms: raw samples by name (`lag/histogram`: one lag per trajectory); binned by the writer.
        """

    def on_event(self, line: str) -> None:
        """Log one line for the user, such as the loss of an actor."""

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        """Write a checkpoint and return when it is safe on disk.

        Args:
            step: environment steps at the checkpoint; its name, and its order among checkpoints.
            payload: nested dicts, lists and tuples of arrays and plain values (see `cluster.store.checkpoint.save`).
        """

    def stop_requested(self) -> bool:
        """Whether the user or the system requested a stop; the loop then checkpoints and returns."""
        return False
