"""The rounds of EPG: epochs of lifetimes in chunks, journalled, of a size that may change while it runs, with evaluations in between.

An epoch is the lifetimes under perturbed losses that one update of phi is made of; every `evaluate_every` epochs phi itself is evaluated.
Results are journalled before they are used, so a stop or a kill loses only the chunks in progress (`cluster.run.replay`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from actors.chunks import Chunk, ChunkResult, Kind, chunks_of
from actors.messages import Part, Report, Work
from cluster.algorithms import find
from cluster.config import EpgRunConfig
from cluster.run.keeper import Keeper
from cluster.run.lifetime_checks import LifetimeChecks
from cluster.run.observer import Status
from cluster.run.plan import RoundPlan
from cluster.run.schedule import RoundOver
from cluster.store.journal import EpochRecord, Journal, UpdateRecord
from cluster.store.loss_files import LossFiles
from cluster.store.scaling import Scale
from envs.errors import InvalidInputError
from learners import evolution
from learners.algorithm import Progress

PARTS: dict[Kind, Part] = {"perturbed": "train", "evaluation": "evaluate"}


class Evolution(Keeper):
    """Plan (`cluster.run.plan.Plan`) and keeper of a run of EPG.

    Args:
        config: of the run.
        journal: of all results; its `run` record is written already.
        first_round: the epoch to begin with.
        done: results of the first epoch that the journal holds already, by kind and index.
        record: of that epoch; None where it has not begun.
        scale: the requested size.
        keep_losses: called with the learner's state whenever its losses should be written to files.
    """

    logs_rounds = True
    is_journalled = True

    def __init__(
        self,
        config: EpgRunConfig,
        journal: Journal,
        scale: Scale,
        *,
        first_round: int,
        record: EpochRecord | None = None,
        done: Mapping[tuple[Kind, int], ChunkResult] | None = None,
        keep_losses: LossFiles | Callable[[dict[str, Any]], None] = lambda state: None,
    ) -> None:
        super().__init__(first_round=first_round, checkpoint_every_rounds=config.checkpoint_every_epochs)
        self.max_failures = config.max_chunk_failures
        self._config, self._journal, self._scale, self._keep_losses = config, journal, scale, keep_losses
        self._record, self._done = record, dict(done or {})
        self._problem: str | None = None
        self._checks = LifetimeChecks(config.family, config.life.max_episode_steps)

    def train(self, number: int) -> RoundPlan:
        """The next epoch, of the requested size."""
        record = self._record if self._record is not None and self._record.epoch == number else self._begin(number)
        self._record = record
        chunks = chunks_of("perturbed", number, record.num_workers, record.num_vectors, record.lives_per_chunk, record.alpha)
        return self._plan(number, chunks)

    def _begin(self, epoch: int) -> EpochRecord:
        sizes = self._config
        try:
            sizes = find(self._config.algorithm).check(self._scale.desired.upon(self._config))
        except InvalidInputError as error:  # edited by hand
            self._problem = f"the size that was asked for is not possible, so it stays: {error}"
        record = EpochRecord(
            epoch=epoch,
            num_workers=sizes.num_workers,
            num_vectors=sizes.num_vectors,
            lives_per_chunk=sizes.lives_per_chunk,
            alpha=evolution.guidance_alpha(self._config.evolution, epoch, self._config.scheduled_epochs),
            num_epochs=self._config.scheduled_epochs,
            chunks=-(-sizes.num_workers // sizes.lives_per_chunk),
        )
        self._journal.append([record])
        return record

    def evaluation(self, number: int, *, is_last: bool) -> RoundPlan | None:
        """Lifetimes with the unperturbed phi and without guidance."""
        config = self._config
        if not (is_last or number % config.evaluate_every == 0 or number >= config.num_epochs):
            return None
        return self._plan(
            number, chunks_of("evaluation", number, config.evaluation_lives, 1, config.evaluation_lives_per_chunk, 0.0)
        )

    def _plan(self, number: int, chunks: Sequence[Chunk]) -> RoundPlan:
        assert self._record is not None
        kind = chunks[0].kind
        works = tuple(
            Work(round=number, index=chunk.index, part=PARTS[kind], size=chunk.count, request=chunk) for chunk in chunks
        )
        done = {index: result for (its, index), result in self._done.items() if its == kind}
        self._done = {key: result for key, result in self._done.items() if key[0] != kind}
        progress = Progress(
            round=self._record.epoch, total=self._record.num_epochs, run_seed=self._config.seed, settings=self._record
        )
        return RoundPlan(works=works, progress=progress, done=done)

    def score(self, reports: Sequence[Report]) -> float:
        """The mean fitness of an evaluation."""
        fitness = np.concatenate([report.fitness for report in reports if isinstance(report, ChunkResult)])
        return evolution.fitness_figures(fitness)["fitness/mean"]

    def describe(self, work: Work) -> str:
        """See `cluster.run.keeper.Keeper`."""
        chunk: Chunk = work.request
        lifetimes = f"lifetimes {chunk.first} to {chunk.first + chunk.count - 1}"
        return f"chunk {chunk.index} of epoch {chunk.epoch} ({chunk.kind}, {lifetimes})"

    def sized(self, config: EpgRunConfig) -> EpgRunConfig:
        """See `cluster.run.keeper.Keeper`."""
        return self._scale.desired.upon(config)

    def wanted_actors(self, num_actors: int) -> tuple[int, str | None]:
        """See `cluster.run.keeper.Keeper`."""
        problem = self._scale.look() or self._problem
        self._problem = None
        return self._scale.desired.num_actors or self._config.num_actors, problem

    def collected(self, reports: Sequence[Report]) -> None:
        """See `cluster.run.keeper.Keeper`."""
        self._journal.append([report for report in reports if isinstance(report, ChunkResult)])

    def complete(self, part: Part, works: Sequence[Work], reports: Sequence[Report]) -> list[str]:
        """Warn about lifetimes that are not finite and episodes that were cut.

        Raises:
            NotFiniteError: most of them were NaN or infinite.
        """
        results = {report.index: report for report in reports if isinstance(report, ChunkResult)}
        return self._checks.look([work.request for work in works], results)

    def round_over(self, over: RoundOver, train_s: float, learner_state: Callable[[], dict[str, Any]]) -> None:
        """See `cluster.run.keeper.Keeper`."""
        update = UpdateRecord(epoch=over.round, sha256=over.report.digest, score=over.score, train_s=round(train_s, 3))
        self._journal.append([update])
        if over.score is not None:
            self._keep_losses(learner_state())

    def seen(self, status: Status) -> None:
        """See `cluster.run.keeper.Keeper`."""
        record = self._record
        self._scale.write(
            **{name: getattr(status, name) for name in ("actors_alive", "num_actors", "rounds", "total_rounds", "done", "total")},
            sizes={} if record is None else {"num_workers": record.num_workers, "num_vectors": record.num_vectors},
            rates={name: value for name, value in status.figures.items() if name.startswith("throughput/")},
        )

    def close(self, learner_state: Callable[[], dict[str, Any]]) -> None:
        """See `cluster.run.keeper.Keeper`."""
        self._keep_losses(learner_state())
