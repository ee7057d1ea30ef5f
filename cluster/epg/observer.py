"""What an outer loop tells of itself: where it stands, and how it ended. Who watches is as for every loop (`cluster.run.observer`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

EpgReason = Literal["total epochs", "time limit", "stopped by signal"]
"""Why a run ended. After `stopped by signal` there is something left to resume; the others are goals that the run reached."""


@dataclass(frozen=True, kw_only=True)
class EpgStatus:
    """Where a run stands.

    Attributes:
        epoch, num_epochs: finished, and asked for.
        phase: what is lived now: the perturbed lives of an epoch, or an evaluation.
        chunks_done, chunks: of the round under way.
        num_workers, num_vectors: W and V of the epoch under way.
        env_steps, lives: so far, those before a resume included.
        lives_per_s, env_steps_per_s: over the last seconds.
        fitness_mean, fitness_std: over the lives of the newest finished epoch that are finite; None before the first.
        score, best_score: newest and best evaluation; None before the first.
        alpha: weight of PPO's guidance.
        learning_rate: of the newest update of phi; None before the first.
        actors_alive, num_actors: actors that answer, and those asked for.
        lost_actors: that died or hung and were replaced.
        elapsed_s: wall time of training in this process.
        eta_s: seconds to the end at the present rate, or to the time limit; None while neither is known.
        time_share: part of the time limit that has passed, 0 where there is none.
        last_event: newest line given to `on_event`, empty before the first.
    """

    epoch: int
    num_epochs: int
    phase: str
    chunks_done: int
    chunks: int
    num_workers: int
    num_vectors: int
    env_steps: int
    lives: int
    lives_per_s: float
    env_steps_per_s: float
    fitness_mean: float | None
    fitness_std: float | None
    score: float | None
    best_score: float | None
    alpha: float
    learning_rate: float | None
    actors_alive: int
    num_actors: int
    lost_actors: int
    elapsed_s: float
    eta_s: float | None
    time_share: float = 0.0
    last_event: str = ""

    @property
    def share(self) -> float:
        """How much of the run is done, by epochs or by time, whichever ends it first."""
        epochs = self.epoch + (self.chunks_done / max(1, self.chunks) if self.phase == "lives" else 0)
        return min(1.0, max(epochs / self.num_epochs, self.time_share))


@dataclass(frozen=True, kw_only=True)
class EpgResult:
    """How a run ended; with the run directory it makes `summary.json`.

    Attributes:
        reason: why.
        epochs, env_steps, lives: over the whole run, those before a resume included.
        not_finite: of these lives, those in which something was NaN or infinite.
        cut_episodes: of the fitness of these lives, those that had not ended when they were cut.
        train_s: seconds of training over the whole run, start-up left out.
        phi: parameters of the loss after the last finished epoch [P].
        best_score: best evaluation; None where there was none.
        score: last evaluation.
        fitness_mean: of the last epoch that this process finished; None where it finished none.
        actor_utilisation: share of the actors' time spent in lives, in this process.
        driver_share: share of their time that they waited for the driver or for transport, in this process.
        lost_actors: that died or hung and were replaced, in this process.
        reissued_chunks: stragglers that were given to a second actor, in this process.
        rates: (lives, environment steps) per second of training, in this process.
    """

    reason: EpgReason
    epochs: int
    env_steps: int
    lives: int
    not_finite: int
    cut_episodes: int
    train_s: float
    phi: np.ndarray
    best_score: float | None
    score: float | None
    fitness_mean: float | None
    actor_utilisation: float
    driver_share: float
    lost_actors: int
    reissued_chunks: int
    rates: tuple[float, float]
