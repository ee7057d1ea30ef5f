"""Runs whose actors train policies through whole lifetimes, under losses that the learner evolves: journalled rounds of chunks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

from actors.chunks import LifetimeCollector, LifetimeSetup, spaces_of
from actors.messages import Collector
from cluster.backends.memory import keep_freed_memory
from cluster.config import EpgRunConfig
from cluster.run.assembly import ALWAYS, Assembly, Payload
from cluster.run.evolution import Evolution
from cluster.run.keeper import Keeper
from cluster.run.recorder import warn
from cluster.run.replay import Epoch, Resumption, begin_journal, last_epoch, resume
from cluster.store import checkpoint as checkpoints
from cluster.store import journal as journals
from cluster.store import scaling
from cluster.store.checkpoint import CorruptCheckpointError
from cluster.store.journal import Journal
from cluster.store.loss_files import LossFiles
from cluster.store.run_directory import RunDirectory
from cluster.store.scaling import Scale
from learners.evolution import guidance_alpha, learning_rate
from learners.learned_loss.network import LossShape

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
EPOCH = "epoch"
"""In a payload: the journal's results of the epoch to start with."""


def make_collector(config: EpgRunConfig, actor: int) -> Collector:
    """What collects for any actor: its work says everything else."""
    keep_freed_memory()
    setup = LifetimeSetup(
        family=config.family, run_seed=config.seed, life=config.life, loss=config.loss, evolution=config.evolution
    )
    return LifetimeCollector(setup)


def check_lifetimes(config: EpgRunConfig, is_local: bool) -> None:
    """Make sure that lifetimes can be spent in the family, and that a learned loss can read what is seen there.

    Raises:
        InvalidInputError: such as images, or an engine without restarts.
    """
    LossShape.of(config.loss, spaces_of(config.family))


def _restore(directory: RunDirectory, config: EpgRunConfig, is_resumed: bool) -> Payload | None:
    path = directory.journal_file
    if not path.exists():
        begin_journal(path, config)
    journals.repair(path, warn)
    resumption: Resumption = resume(path, _newest_checkpoint(directory) if is_resumed else None)
    return resumption.payload | {EPOCH: resumption.epoch}


def _newest_checkpoint(directory: RunDirectory) -> Any | None:
    """Payload of the newest valid checkpoint; None where there is none, for the journal is enough."""
    for path in reversed(checkpoints.saved(directory.checkpoints)):
        try:
            return checkpoints.read(path).payload
        except CorruptCheckpointError as error:
            warn(f"corrupt checkpoint skipped: {path.name} ({error})")
    return None


@contextlib.contextmanager
def _keeper(directory: RunDirectory, config: EpgRunConfig, payload: Payload | None) -> Iterator[Keeper]:
    assert payload is not None
    scale = Scale(directory)
    scale.look()
    journal = Journal(directory.journal_file)
    epoch: Epoch | None = payload[EPOCH]
    try:
        yield Evolution(
            config,
            journal,
            scale,
            first_round=int(payload["first_round"]),
            record=None if epoch is None else epoch.record,
            done={} if epoch is None else epoch.results,
            keep_losses=LossFiles(config, directory),
        )
    finally:
        journal.close()


def schedule_line(config: EpgRunConfig, epoch: int) -> str | None:
    """Return a line about the schedules of a run that is longer or shorter than them; None where they have the same length.

    Args:
        config: the run.
        epoch: epochs finished.
    """
    over, total = config.scheduled_epochs, config.num_epochs
    if over == total:
        return None
    now, end = (
        f"alpha {guidance_alpha(config.evolution, at, over):.2g}, lr {learning_rate(config.evolution, at, over):.2g}"
        for at in (epoch, total)
    )
    return (
        f"the schedules of guidance and step size last {over:,} epochs (schedule_epochs; null for all {total:,}): "
        f"{now} at epoch {epoch:,}, {end} at the end"
    )


ASSEMBLY = Assembly(
    length="num_epochs",
    schedule="schedule_epochs",
    length_unit="epochs",
    in_threads=False,
    learner_on_driver=True,
    unit="chunk",
    stopping="stopping; all that was collected is in the journal",
    stopped="with all that was collected",
    preflight=check_lifetimes,
    collector=lambda config: partial(make_collector, config),
    spaces=lambda config: spaces_of(config.family),
    deadline_s=lambda config: float(config.chunk_deadline_s),
    num_cpus=lambda config: 1,
    store_bytes=lambda config: STORE_BYTES,
    restore=_restore,
    keeper=_keeper,
    may_change=lambda config: (*ALWAYS, *CHANGEABLE),
    sizes=scaling.SIZES,
    length_done=lambda directory: last_epoch(directory.journal_file) if directory.journal_file.exists() else 0,
    schedule_line=schedule_line,
)
