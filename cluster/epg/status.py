"""Where an outer loop stands, put together for whoever watches."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.backends.pool import Pool
from cluster.epg.config import EpgRunConfig
from cluster.epg.observer import EpgStatus
from cluster.epg.round import Round
from cluster.epg.statistics import EpgStatistics
from cluster.store.journal import EpochRecord
from learners.evolution import OuterState


@dataclass(kw_only=True)
class Newest:
    """The newest figures of a run; None before the first.

    Attributes:
        fitness_mean, fitness_std: of the newest finished epoch, over its lives that are finite.
        score: of the newest evaluation.
        learning_rate: of the newest update.
        event: newest line that a person should read.
    """

    fitness_mean: float | None = None
    fitness_std: float | None = None
    score: float | None = None
    learning_rate: float | None = None
    event: str = ""


def status_of(
    config: EpgRunConfig,
    round_: Round,
    record: EpochRecord,
    *,
    state: OuterState,
    statistics: EpgStatistics,
    pool: Pool,
    newest: Newest,
) -> EpgStatus:
    """Return where the run stands in the middle of `round_`, of the epoch that began with `record`."""
    lives_per_s, env_steps_per_s = statistics.rates()
    is_perturbed = round_.chunks[0].kind == "perturbed"
    limit = config.max_train_seconds
    left = (config.num_epochs - state.epoch) * record.num_workers
    left -= sum(len(result.fitness) for result in round_.results.values()) if is_perturbed else 0
    times = [left / lives_per_s] if lives_per_s > 0 else []
    times += [max(0.0, limit - statistics.train_s)] if limit is not None else []
    return EpgStatus(
        epoch=state.epoch,
        num_epochs=config.num_epochs,
        phase="lives" if is_perturbed else "evaluation",
        chunks_done=len(round_.results),
        chunks=len(round_.chunks),
        num_workers=record.num_workers,
        num_vectors=record.num_vectors,
        env_steps=statistics.env_steps,
        lives=statistics.lives,
        lives_per_s=lives_per_s,
        env_steps_per_s=env_steps_per_s,
        fitness_mean=newest.fitness_mean,
        fitness_std=newest.fitness_std,
        score=newest.score,
        best_score=state.best_score,
        alpha=record.alpha,
        learning_rate=newest.learning_rate,
        actors_alive=pool.num_alive(),
        num_actors=pool.num_actors,
        lost_actors=statistics.lost_actors,
        elapsed_s=statistics.elapsed_s,
        eta_s=min(times, default=None),
        time_share=0.0 if limit is None else statistics.train_s / limit,
        last_event=newest.event,
    )
