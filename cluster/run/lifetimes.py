"""Runs whose actors train policies through whole lifetimes, under losses that the learner evolves: journalled rounds of chunks.

An epoch is the lifetimes under perturbed losses that one update of phi is made of; every `evaluate_every` epochs phi itself is evaluated.
Its size may change while it runs. Results are journalled before they are used, so a stop or a kill loses only the chunks in progress
(`cluster.run.replay`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from actors.chunks import Chunk, ChunkResult, Kind, LifetimeCollector, LifetimeSetup, chunks_of, spaces_of
from actors.messages import Collector, Part, Report, Work
from cluster.backends.base import Handle, MakeCollector
from cluster.backends.memory import keep_freed_memory
from cluster.config import EpgRunConfig
from cluster.run.lifetime_checks import LifetimeChecks
from cluster.run.observer import Status
from cluster.run.recorder import warn
from cluster.run.replay import Epoch, begin_journal, last_epoch, resume
from cluster.run.round_units import RoundPlan
from cluster.run.rounds import Rounds
from cluster.run.schedule import RoundOver
from cluster.run.workload import ALWAYS, Payload, Workload
from cluster.store import checkpoint as checkpoints
from cluster.store import journal as journals
from cluster.store import scaling
from cluster.store.checkpoint import CorruptCheckpointError
from cluster.store.journal import EpochRecord, Journal, UpdateRecord
from cluster.store.loss_files import LossFiles
from cluster.store.run_directory import RunDirectory
from cluster.store.scaling import Scale
from envs.errors import InvalidInputError
from learners import evolution
from learners.algorithm import Progress
from learners.learned_loss.network import LossShape
from learners.networks.spaces import SpaceSpec
from learners.trajectory import Snapshot

if TYPE_CHECKING:
    from cluster.algorithms import Row

STORE_BYTES = 128 << 20
"""Phi is some hundred kilobytes, and nothing else travels by reference."""
CHANGEABLE = (
    "num_epochs",
    "schedule_epochs",
    "lives_per_chunk",
    "max_chunk_failures",
    "chunk_deadline_s",
    "checkpoint_every_epochs",
    *scaling.SIZES,
)
"""Settings that do not change phi, or are recorded for each epoch: the journal is replayed with the settings that the run began with."""
PARTS: dict[Kind, Part] = {"perturbed": "train", "evaluation": "evaluate"}


class Lifetimes(Workload):
    """The work of a run of EPG. See `cluster.run.workload.Workload`."""

    config: EpgRunConfig
    length, length_unit = "num_epochs", "epochs"
    schedule_length = "schedule_epochs"
    sizes = scaling.SIZES
    learner_on_driver = True
    unit = "chunk"
    stopping, stopped = "stopping; all that was collected is in the journal", "with all that was collected"
    logs_rounds = True
    is_journalled = True

    def __init__(self, row: Row, config: EpgRunConfig) -> None:
        super().__init__(row, config)
        self.max_failures, self.deadline_s = config.max_chunk_failures, config.chunk_deadline_s
        self.checkpoint_every_rounds = config.checkpoint_every_epochs
        self._scale, self._problem = Scale(None), ""
        self._record: EpochRecord | None = None
        self._done: Mapping[tuple[Kind, int], ChunkResult] = {}
        self._checks = LifetimeChecks(config.family, config.life.max_episode_steps)

    def preflight(self, *, is_local: bool) -> None:
        """Make sure that lifetimes can be spent in the family, and that a learned loss can read what is seen there.

        Raises:
            InvalidInputError: such as images, or an engine without restarts.
        """
        LossShape.of(self.config.loss, self.spaces())

    def spaces(self) -> SpaceSpec:
        """See `cluster.run.workload.Workload`."""
        return spaces_of(self.config.family)

    def collector(self) -> MakeCollector:
        """See `cluster.run.workload.Workload`."""
        return partial(make_collector, self.config)

    def store_bytes(self) -> int:
        """See `cluster.run.workload.Workload`."""
        return STORE_BYTES

    def restore(self, directory: RunDirectory, *, is_resumed: bool) -> Payload:
        """From the journal, which a new run begins; a checkpoint spares replaying what is before it."""
        path = directory.journal_file
        if not path.exists():
            begin_journal(path, self.config)
        journals.repair(path, warn)
        return resume(path, _newest_checkpoint(directory) if is_resumed else None)

    def length_done(self, directory: RunDirectory) -> int:
        """The epochs in the journal."""
        return last_epoch(directory.journal_file) if directory.journal_file.exists() else 0

    def may_change(self) -> tuple[str, ...]:
        """See `cluster.run.workload.Workload`."""
        return (*ALWAYS, *CHANGEABLE)

    def schedule_line(self, done: int) -> str | None:
        """See `cluster.run.workload.Workload`."""
        over, total, settings = self.scheduled, self.config.num_epochs, self.config.evolution
        if over == total:
            return None
        now, end = (
            f"alpha {evolution.guidance_alpha(settings, at, over):.2g}, lr {evolution.learning_rate(settings, at, over):.2g}"
            for at in (done, total)
        )
        return (
            f"the schedules of guidance and step size last {over:,} epochs (schedule_epochs; null for all {total:,}): "
            f"{now} at epoch {done:,}, {end} at the end"
        )

    @contextlib.contextmanager
    def opened(self, directory: RunDirectory, payload: Payload | None) -> Iterator[None]:
        """Keep the journal open, and follow the requested size."""
        assert payload is not None
        epoch: Epoch | None = payload["epoch"]
        self._first_round = int(payload["first_round"])
        self._record = None if epoch is None else epoch.record
        self._done = {} if epoch is None else epoch.results
        self._keep_losses = LossFiles(self.config, directory)
        self._scale = Scale(directory)
        self._scale.look()
        with contextlib.closing(Journal(directory.journal_file)) as self._journal:
            yield

    def schedule(self, version: int, weights: Handle, put: Callable[[Snapshot], Handle], is_ending: Callable[[], bool]) -> Rounds:
        """See `cluster.run.workload.Workload`."""
        start, first = {self._first_round: (version, weights)}, self._first_round
        return Rounds(self, lag=0, version=version, weights=start, first_round=first, is_ending=is_ending)

    def train(self, number: int) -> RoundPlan:
        """The next epoch, of the requested size."""
        record = self._record if self._record is not None and self._record.epoch == number else self._begin(number)
        self._record = record
        chunks = chunks_of("perturbed", number, record.num_workers, record.num_vectors, record.lives_per_chunk, record.alpha)
        return self._plan(number, chunks)

    def _begin(self, epoch: int) -> EpochRecord:
        sizes = self.config
        try:
            sizes = self.row.check(self._scale.desired.upon(self.config))
        except InvalidInputError as error:  # edited by hand
            self._problem = f"the size that was asked for is not possible, so it stays: {error}"
        record = EpochRecord(
            epoch=epoch,
            num_workers=sizes.num_workers,
            num_vectors=sizes.num_vectors,
            lives_per_chunk=sizes.lives_per_chunk,
            alpha=evolution.guidance_alpha(self.config.evolution, epoch, self.scheduled),
            num_epochs=self.scheduled,
            chunks=-(-sizes.num_workers // sizes.lives_per_chunk),
        )
        self._journal.append([record])
        return record

    def evaluation(self, number: int, *, is_last: bool) -> RoundPlan | None:
        """Lifetimes with the unperturbed phi and without guidance."""
        config = self.config
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
            round=self._record.epoch, total=self._record.num_epochs, run_seed=self.config.seed, settings=self._record
        )
        return RoundPlan(works=works, progress=progress, done=done)

    def score(self, reports: Sequence[Report]) -> float:
        """The mean fitness of an evaluation."""
        fitness = np.concatenate([report.fitness for report in reports if isinstance(report, ChunkResult)])
        return evolution.fitness_figures(fitness)["fitness/mean"]

    def describe(self, work: Work) -> str:
        """See `cluster.run.workload.Workload`."""
        chunk: Chunk = work.request
        lifetimes = f"lifetimes {chunk.first} to {chunk.first + chunk.count - 1}"
        return f"chunk {chunk.index} of epoch {chunk.epoch} ({chunk.kind}, {lifetimes})"

    @property
    def num_actors(self) -> int:
        """See `cluster.run.workload.Workload`."""
        return self._scale.desired.num_actors or self.config.num_actors

    def look(self) -> str | None:
        """See `cluster.run.workload.Workload`."""
        problem, self._problem = self._scale.look() or self._problem, ""
        return problem or None

    def collected(self, reports: Sequence[Report]) -> None:
        """See `cluster.run.workload.Workload`."""
        self._journal.append([report for report in reports if isinstance(report, ChunkResult)])

    def complete(self, works: Sequence[Work], reports: Sequence[Report]) -> list[str]:
        """Warn about lifetimes that are not finite and episodes that were cut.

        Raises:
            NotFiniteError: most of them were NaN or infinite.
        """
        results = {report.index: report for report in reports if isinstance(report, ChunkResult)}
        return self._checks.look([work.request for work in works], results)

    def round_over(self, over: RoundOver, train_s: float, learner_state: Callable[[], dict[str, Any]]) -> None:
        """See `cluster.run.workload.Workload`."""
        update = UpdateRecord(epoch=over.round, sha256=over.report.digest, score=over.score, train_s=round(train_s, 3))
        self._journal.append([update])
        if over.score is not None:
            self._keep_losses(learner_state())

    def seen(self, status: Status) -> None:
        """See `cluster.run.workload.Workload`."""
        record = self._record
        self._scale.write(
            **{name: getattr(status, name) for name in ("actors_alive", "num_actors", "rounds", "total_rounds", "done", "total")},
            sizes={} if record is None else {"num_workers": record.num_workers, "num_vectors": record.num_vectors},
            rates={name: value for name, value in status.figures.items() if name.startswith("throughput/")},
        )

    def close(self, learner_state: Callable[[], dict[str, Any]]) -> None:
        """See `cluster.run.workload.Workload`."""
        self._keep_losses(learner_state())


def make_collector(config: EpgRunConfig, actor: int) -> Collector:
    """What collects for any actor: its work says everything else."""
    keep_freed_memory()
    setup = LifetimeSetup(
        family=config.family, run_seed=config.seed, life=config.life, loss=config.loss, evolution=config.evolution
    )
    return LifetimeCollector(setup)


def _newest_checkpoint(directory: RunDirectory) -> Any | None:
    """Payload of the newest valid checkpoint; None where there is none, for the journal is enough."""
    for path in reversed(checkpoints.saved(directory.checkpoints)):
        try:
            return checkpoints.read(path).payload
        except CorruptCheckpointError as error:
            warn(f"corrupt checkpoint skipped: {path.name} ({error})")
    return None
