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
from cluster.epg.config import EpgRunConfig, check
from cluster.epg.journal import ChunkRecord, EpochRecord, Journal, UpdateRecord
from cluster.epg.observer import EpgReason, EpgResult, EpgStatus
from cluster.epg.pool import ChunkDone, ChunkFailed, Pool, PoolEvent, WorkerLost
from cluster.epg.replay import Lived, Resumption, advance, phi_sha256, state_to_arrays
from cluster.epg.round import Pace, Round
from cluster.epg.scaling import Scale
from cluster.epg.statistics import EpgStatistics
from cluster.observer import RunObserver
from cluster.wiring import Notice
from envs.errors import InvalidInputError
from learners import epg
from learners.epg import OuterState

log = logging.getLogger("metaray")

WAIT_S = 0.25
"""Longest wait for a result before the clocks (status, wishes, Ctrl-C) are looked at again."""


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
        self._fitness: np.ndarray | None = None
        self._score: float | None = None
        self._learning_rate: float | None = None
        self._last_event = ""
        self._next_status = 0.0
        self._sizes = config

    def run(self) -> EpgResult:
        """Evolve until a goal of the config is reached or a stop is asked for, and return how it went."""
        try:
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
            self._end_epoch(fitness, None if evaluation is None else self._score, scalars, record.alpha)
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
            alpha=epg.guidance_alpha(self._config.evolution, epoch, self._config.num_epochs),
            num_epochs=self._config.num_epochs,
            chunks=-(-W // K),
        )
        self._journal.append([record])
        return Lived(record=record)

    def _evaluate(self, lived: Lived) -> Round:
        """Live with phi as it is and without guidance, as it will be used; keep it if it is the best so far."""
        lives, together = self._config.evaluation_lives, self._config.evaluation_lives_per_chunk
        round_ = self._live(chunks_of("evaluation", self._state.epoch, lives, 1, together, 0.0), lived)
        self._score = float(round_.fitness.mean())
        self._state = epg.judge(self._state, self._score)
        return round_

    def _end_epoch(self, fitness: np.ndarray, score: float | None, scalars: dict[str, float], alpha: float) -> None:
        epoch, statistics = self._state.epoch, self._statistics
        sha256, train_s = phi_sha256(self._state.phi), round(statistics.train_s, 3)
        self._journal.append([UpdateRecord(epoch=epoch, sha256=sha256, score=score, train_s=train_s)])
        self._fitness = fitness
        self._learning_rate = next((value for name, value in scalars.items() if name.endswith("learning_rate")), None)
        metrics = statistics.epoch(fitness) | scalars | {"epoch": float(epoch), "alpha": alpha}
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
        """Have chunks lived, those that are not yet, and return their round, complete."""
        round_ = Round(chunks, lived.of(chunks[0].kind), self._pace, self._config.max_chunk_failures)
        self._pool.publish(self._state.epoch, self._state.phi)
        while not round_.is_complete:
            self._look(round_)
            self._hand_out(round_)
            self._take_in(round_, lived, self._pool.wait(WAIT_S))
            if time.monotonic() >= self._next_status:
                self._report(round_, lived)
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
            while self._pool.must_drain:  # what cannot be ended is waited for, and what comes of it kept
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
        self._last_event = line
        self._observer.on_event(line)

    def _report(self, round_: Round, lived: Lived) -> None:
        self._next_status = time.monotonic() + self._config.log_every_s
        status = self._status(round_, lived.record)
        self._observer.on_status(status)
        names = ("actors_alive", "num_actors", "epoch", "num_epochs", "chunks_done", "chunks", "num_workers", "num_vectors")
        self._scale.write(
            lives_per_s=status.lives_per_s,
            env_steps_per_s=status.env_steps_per_s,
            **{name: getattr(status, name) for name in names},
        )

    def _status(self, round_: Round, record: EpochRecord) -> EpgStatus:
        config, statistics, fitness = self._config, self._statistics, self._fitness
        lives_per_s, env_steps_per_s = statistics.rates()
        is_perturbed = round_.chunks[0].kind == "perturbed"
        limit = config.max_train_seconds
        left = (config.num_epochs - self._state.epoch) * record.num_workers
        left -= sum(len(result.fitness) for result in round_.results.values()) if is_perturbed else 0
        times = [left / lives_per_s] if lives_per_s > 0 else []
        times += [max(0.0, limit - statistics.train_s)] if limit is not None else []
        return EpgStatus(
            epoch=self._state.epoch,
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
            fitness_mean=None if fitness is None else float(fitness.mean()),
            fitness_std=None if fitness is None else float(fitness.std()),
            score=self._score,
            best_score=self._state.best_score,
            alpha=record.alpha,
            learning_rate=self._learning_rate,
            actors_alive=self._pool.num_alive(),
            num_actors=self._pool.num_actors,
            lost_actors=statistics.lost_actors,
            elapsed_s=statistics.elapsed_s,
            eta_s=min(times, default=None),
            time_share=0.0 if limit is None else statistics.train_s / limit,
            last_event=self._last_event,
        )

    def _result(self, reason: EpgReason) -> EpgResult:
        self._statistics.tick(self._pool.num_alive())
        return EpgResult(
            reason=reason,
            epochs=self._state.epoch,
            phi=self._state.phi,
            best_score=self._state.best_score,
            score=self._score,
            fitness_mean=None if self._fitness is None else float(self._fitness.mean()),
            **self._statistics.figures(),
        )
