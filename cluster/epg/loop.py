"""The synchronous outer loop: an epoch's lives are given out as chunks, gathered by their number, and phi is updated from all of them.

    epoch:  lives of phi + sigma eps --> fitness [W] --> update --> (every so often: lives of phi itself --> score) --> journal

Phi is the same bit for bit wherever the chunks were lived and in whatever order they came, for fitness is put together by the number of the
life and never by arrival; what dies is lived again, what was lived is in the journal before anything depends on it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

from actors.chunks import Chunk, chunks_of
from cluster.backends.pool import ChunkDone, ChunkFailed, Pool, PoolEvent, WorkerLost
from cluster.backends.wiring import Notice
from cluster.epg.config import EpgRunConfig, check, schedule_line
from cluster.epg.life_checks import LifeChecks
from cluster.epg.observer import EpgReason, EpgResult, EpgStatus
from cluster.epg.replay import Lived, Resumption, advance, phi_sha256, state_to_arrays
from cluster.epg.round import Pace, Round
from cluster.epg.statistics import EpgStatistics
from cluster.epg.status import Newest, status_of
from cluster.run.observer import RunObserver
from cluster.store.journal import ChunkRecord, EpochRecord, Journal, UpdateRecord
from cluster.store.scaling import Scale
from envs.errors import InvalidInputError
from learners import evolution as epg
from learners.evolution import OuterState

log = logging.getLogger("metaray")

WAIT_S = 0.25
"""Longest wait for a result before the clocks (status, wishes, Ctrl-C) are looked at again."""

STOP_PATIENCE_S = 2.0
"""A stop gives a chunk that cannot be ended so long to finish; a chunk of long lives takes minutes, and a person waits."""


class _Stopped(Exception):  # noqa: N818, no error
    """A stop was asked for; what was lived so far is in the journal."""


class EpgLoop:
    """One run, or what is left of one.

    Args:
        config: the run.
        pool: where the chunks go; the loop starts and closes it.
        observer: who watches.
        journal: where everything that was lived is kept; its `run` record is in it.
        resumption: where the run goes on, for a new run its beginning.
        scale: what size is wanted.
        keep_loss: is given the state whenever its losses should be kept for others.
    """

    def __init__(
        self,
        config: EpgRunConfig,
        pool: Pool,
        observer: RunObserver[EpgStatus],
        *,
        journal: Journal,
        resumption: Resumption,
        scale: Scale,
        keep_loss: Callable[[OuterState], None] = lambda state: None,
    ) -> None:
        self._config, self._pool, self._observer = config, pool, observer
        self._journal, self._scale, self._keep_loss = journal, scale, keep_loss
        self._state, self._resumption = resumption.state, resumption
        self._statistics = EpgStatistics(resumption)
        self._pace = Pace()
        self._newest = Newest()
        self._checks = LifeChecks(config.family, config.life.max_episode_steps)
        self._next_status = 0.0
        self._sizes = config

    def run(self) -> EpgResult:
        """Evolve until a goal of the config is reached or a stop is asked for, and return how it went.

        Raises:
            NotFiniteError: most lives of a round were NaN or infinite.
        """
        try:
            if (line := schedule_line(self._config, self._state.epoch)) is not None:
                self._say(line)
            self._pool.start()
            self._await_first()
            self._statistics.begin()
            return self._result(self._evolve())
        except _Stopped:
            self._keep_loss(self._state)
            return self._result("stopped by signal")
        finally:
            self._pool.close()

    def _await_first(self) -> None:
        """Wait until a worker answers, so that training's clock does not count their start; a stop now has nothing to keep."""
        while not self._pool.free():
            self._take_in(None, None, self._pool.wait(WAIT_S))

    def _evolve(self) -> EpgReason:
        lived = self._resumption.lived
        while (reason := self._goal_reached()) is None:
            lived = lived or self._begin_epoch()
            record = lived.record
            chunks = chunks_of(
                "perturbed", record.epoch, record.num_workers, record.num_vectors, record.lives_per_chunk, record.alpha
            )
            fitness = self._live(chunks, lived).fitness
            before = self._state
            self._state, scalars = advance(self._config, before, lived)
            evaluation = self._evaluate(lived) if self._is_evaluation_due() else None
            self._end_epoch(fitness, None if evaluation is None else self._newest.score, scalars, record.alpha)
            if evaluation is not None:  # who watches shall see the verdict, also of the last one
                self._report(evaluation, lived)
            lived = None
        return reason

    def _goal_reached(self) -> EpgReason | None:
        if self._state.epoch >= self._config.num_epochs:
            return "total epochs"
        limit = self._config.max_train_seconds
        return "time limit" if limit is not None and self._statistics.train_s >= limit else None

    def _is_evaluation_due(self) -> bool:
        return self._state.epoch % self._config.evaluate_every == 0 or self._goal_reached() is not None

    def _begin_epoch(self) -> Lived:
        """Open the next epoch, of the size that is wanted by now."""
        try:
            self._sizes = check(self._scale.desired.upon(self._config))
        except InvalidInputError as error:  # somebody wrote it by hand
            self._say(f"what is wanted is not possible, so the size stays: {error}")
        sizes, epoch = self._sizes, self._state.epoch
        W, K = sizes.num_workers, sizes.lives_per_chunk
        record = EpochRecord(
            epoch=epoch,
            num_workers=W,
            num_vectors=sizes.num_vectors,
            lives_per_chunk=K,
            alpha=epg.guidance_alpha(self._config.evolution, epoch, self._config.scheduled_epochs),
            num_epochs=self._config.scheduled_epochs,
            chunks=-(-W // K),
        )
        self._journal.append([record])
        return Lived(record=record)

    def _evaluate(self, lived: Lived) -> Round:
        """Live with phi as it is and without guidance, as it will be used; keep it if it is the best so far."""
        lives, together = self._config.evaluation_lives, self._config.evaluation_lives_per_chunk
        round_ = self._live(chunks_of("evaluation", self._state.epoch, lives, 1, together, 0.0), lived)
        self._newest.score = epg.fitness_figures(round_.fitness)["fitness/mean"]
        self._state = epg.judge(self._state, self._newest.score)
        return round_

    def _end_epoch(self, fitness: np.ndarray, score: float | None, scalars: dict[str, float], alpha: float) -> None:
        epoch, statistics = self._state.epoch, self._statistics
        sha256, train_s = phi_sha256(self._state.phi), round(statistics.train_s, 3)
        self._journal.append([UpdateRecord(epoch=epoch, sha256=sha256, score=score, train_s=train_s)])
        newest = self._newest
        newest.fitness_mean, newest.fitness_std = scalars["fitness/mean"], scalars["fitness/std"]
        newest.learning_rate = scalars["evolution/learning_rate"]
        metrics = statistics.epoch() | scalars | {"epoch": float(epoch), "alpha": alpha}
        if score is not None:
            metrics["evaluation/score"] = score
        if self._state.best_score is not None:
            metrics["evaluation/best"] = self._state.best_score
        self._observer.on_metrics(statistics.env_steps, metrics, {"fitness/histogram": fitness})
        if epoch % self._config.checkpoint_every_epochs == 0 or self._goal_reached() is not None:
            self._observer.on_checkpoint(statistics.env_steps, state_to_arrays(self._state))
        if score is not None:
            self._keep_loss(self._state)

    def _live(self, chunks: Sequence[Chunk], lived: Lived) -> Round:
        """Have chunks lived, those that are not yet, and return their round, complete and looked at."""
        round_ = Round(chunks, lived.of(chunks[0].kind), self._pace, self._config.max_chunk_failures)
        self._pool.publish(self._state.epoch, self._state.phi)
        while not round_.is_complete:
            self._look(round_)
            self._hand_out(round_)
            self._take_in(round_, lived, self._pool.wait(WAIT_S))
            if time.monotonic() >= self._next_status:
                self._report(round_, lived)
        for line in self._checks.look(chunks, round_.results):
            self._say(line)
        self._report(round_, lived)
        self._statistics.reissued += round_.reissued
        return round_

    def _hand_out(self, round_: Round) -> None:
        for _ in range(self._pool.free()):
            chunk = round_.next()
            if chunk is None:
                return
            self._statistics.submitted(chunk.kind, chunk.epoch, chunk.index)
            self._pool.submit(chunk)

    def _look(self, round_: Round) -> None:
        """Look whether a person wants something."""
        if self._observer.stop_requested():
            until = time.monotonic() + STOP_PATIENCE_S
            while self._pool.must_drain and time.monotonic() < until:  # what comes of it is kept
                self._take_in(round_, None, self._pool.wait(WAIT_S))
            raise _Stopped
        problem = self._scale.look()
        if problem is not None:
            self._say(problem)
        wanted = self._scale.desired.num_actors or self._config.num_actors
        if wanted != self._pool.num_actors:
            self._say(f"{wanted} actors from now on, {self._pool.num_actors} before")
            self._take_in(round_, None, self._pool.resize(wanted))
        self._statistics.tick(self._pool.num_alive())

    def _take_in(self, round_: Round | None, lived: Lived | None, events: Sequence[PoolEvent]) -> None:
        """Take in what happened: first what was lived, into the journal, then what went wrong."""
        results = [event.result for event in events if isinstance(event, ChunkDone)]
        for _ in results:
            self._statistics.back()
        counted = [result for result in results if round_ is not None and round_.take_in(result)]
        self._journal.append([ChunkRecord.of(result) for result in counted])
        for result in counted:
            self._statistics.lived(result)
            if lived is not None:
                lived.results[result.kind, result.index] = result
        for event in events:
            match event:
                case ChunkFailed(chunk=chunk, error=error, worker=worker):
                    log.warning("a chunk failed", exc_info=error)
                    self._say(f"{worker}: chunk {chunk.index} of epoch {chunk.epoch} failed: {type(error).__name__}: {error}")
                    self._give_back(round_, chunk, error)
                case WorkerLost(chunk=chunk, reason=reason, is_wanted=is_wanted):
                    self._statistics.lost_actors += not is_wanted
                    self._say(reason)
                    self._give_back(round_, chunk, None if is_wanted else reason)
                case Notice(line=line):
                    self._say(line)

    def _give_back(self, round_: Round | None, chunk: Chunk | None, why: Exception | str | None) -> None:
        if chunk is not None:
            self._statistics.back()
            if round_ is not None:
                round_.give_back(chunk, why)

    def _say(self, line: str) -> None:
        self._newest.event = line
        self._observer.on_event(line)

    def _report(self, round_: Round, lived: Lived) -> None:
        self._next_status = time.monotonic() + self._config.log_every_s
        status = status_of(
            self._config,
            round_,
            lived.record,
            state=self._state,
            statistics=self._statistics,
            pool=self._pool,
            newest=self._newest,
        )
        self._observer.on_status(status)
        names = ("actors_alive", "num_actors", "epoch", "num_epochs", "chunks_done", "chunks", "num_workers", "num_vectors")
        self._scale.write(
            lives_per_s=status.lives_per_s,
            env_steps_per_s=status.env_steps_per_s,
            **{name: getattr(status, name) for name in names},
        )

    def _result(self, reason: EpgReason) -> EpgResult:
        self._statistics.tick(self._pool.num_alive())
        return EpgResult(
            reason=reason,
            epochs=self._state.epoch,
            phi=self._state.phi,
            best_score=self._state.best_score,
            score=self._newest.score,
            fitness_mean=self._newest.fitness_mean,
            **self._statistics.figures(),
        )
