"""Runs whose actors train policies through whole lifetimes, under losses that the learner evolves: journalled rounds of chunks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from actors.chunks import LifetimeCollector, LifetimeSetup, spaces_of
from actors.messages import Collector
from cluster import overrides
from cluster.algorithms import find
from cluster.backends.base import Handle
from cluster.backends.memory import keep_freed_memory
from cluster.config import EpgRunConfig
from cluster.run.assembly import Assembly, Payload
from cluster.run.evolution import Evolution
from cluster.run.keeper import Keeper
from cluster.run.loop import MakeSchedule
from cluster.run.recorder import warn
from cluster.run.replay import Epoch, Resumption, begin_journal, last_epoch, resume
from cluster.run.rounds import Rounds
from cluster.run.schedule import Schedule
from cluster.store import checkpoint as checkpoints
from cluster.store import journal as journals
from cluster.store import scaling
from cluster.store.checkpoint import CorruptCheckpointError
from cluster.store.journal import Journal
from cluster.store.loss_files import LossFiles
from cluster.store.run_directory import RunDirectory
from cluster.store.scaling import Scale
from cluster.store.summary import read_summary
from envs.errors import InvalidInputError
from learners.evolution import guidance_alpha, learning_rate
from learners.learned_loss.network import LossShape
from learners.trajectory import Snapshot

STORE_BYTES = 128 << 20
"""Phi is some hundred kilobytes, and nothing else travels by reference."""
SIZES = {"actors": "num_actors", "workers": "num_workers", "vectors": "num_vectors"}
EPOCH = "epoch"
"""In a payload: what the journal holds of the epoch to begin with."""


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


def _make_schedule(
    plan: Evolution,
    first_round: int,
    version: int,
    weights: Handle,
    put: Callable[[Snapshot], Handle],
    is_ending: Callable[[], bool],
) -> Schedule:
    return Rounds(
        plan, lag=0, version=version, weights={first_round: (version, weights)}, first_round=first_round, is_ending=is_ending
    )


@contextlib.contextmanager
def _parts(directory: RunDirectory, config: EpgRunConfig, payload: Payload | None) -> Iterator[tuple[MakeSchedule, Keeper]]:
    assert payload is not None
    scale = Scale(directory)
    scale.look()
    journal = Journal(directory.journal_file)
    epoch: Epoch | None = payload[EPOCH]
    try:
        keeper = Evolution(
            config,
            journal,
            scale,
            record=None if epoch is None else epoch.record,
            done={} if epoch is None else epoch.results,
            keep_losses=LossFiles(config, directory),
        )
        yield partial(_make_schedule, keeper, int(payload["first_round"])), keeper
    finally:
        journal.close()


def extend(directory: RunDirectory, config: EpgRunConfig, options: Mapping[str, str]) -> EpgRunConfig:
    """The run's config, with more epochs if asked for; another size is written down as wanted (`cluster.store.scaling`).

    Epochs asked for lift a time limit that is used up. Schedules stay laid over the epochs that they were begun with: laid anew over more,
    guidance and step size would rise again in the middle of the run.

    Raises:
        InvalidInputError: a value is not possible, or the run has nothing left to do.
    """
    summary, epochs = read_summary(directory), options.get("epochs", "")
    finished = last_epoch(directory.journal_file) if directory.journal_file.exists() else 0
    if epochs:
        begun = config.scheduled_epochs
        config = overrides.apply(config, {"num_epochs": epochs})
        config = replace(config, schedule_epochs=begun if config.num_epochs != begun else config.schedule_epochs)
        if config.num_epochs <= finished:
            raise InvalidInputError(f"--epochs {epochs}: the run {directory.path} has {finished:,} epochs already; give more")
    if summary is not None and summary["finished"]:
        if not epochs:
            raise InvalidInputError(
                f"the run {directory.path} is finished ({summary['reason']}, {finished:,} epochs): "
                f"`metaray resume {directory.path} --epochs E` goes on with it"
            )
        if summary["reason"] == "time limit":  # it would end it again at once
            config = replace(config, max_train_seconds=None)
    sizes = wanted(directory, config, options)
    if sizes:
        scaling.ask(directory, **sizes)
    if epochs:
        directory.write_config(config)
    return config


def wanted(directory: RunDirectory, config: EpgRunConfig, options: Mapping[str, str]) -> dict[str, int]:
    """The sizes among the options, checked together with those that stay.

    Raises:
        InvalidInputError: they are not possible.
    """
    changes: dict[str, Any] = {SIZES[name]: value for name, value in options.items() if name in SIZES}
    if not changes:
        return {}
    after = find(config.algorithm).check(overrides.apply(scaling.desired(directory).upon(config), changes))
    return {name: getattr(after, name) for name in changes}


def schedule_line(config: EpgRunConfig, epoch: int) -> str | None:
    """Say what the schedules come to in a run that is longer or shorter than them; None where they are as long.

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
        f"guidance and step size are laid over {over:,} epochs (schedule_epochs in config.json; null lays them over all {total:,}): "
        f"{now} at epoch {epoch:,}, {end} at the end"
    )


ASSEMBLY = Assembly(
    counts_env_steps=False,
    in_threads=False,
    learner_on_driver=True,
    unit="a chunk",
    stopping="stopping; all that was collected is in the journal",
    stopped="with all that was collected",
    preflight=check_lifetimes,
    collector=lambda config: partial(make_collector, config),
    spaces=lambda config: spaces_of(config.family),
    total=lambda config: int(config.scheduled_epochs),
    deadline_s=lambda config: float(config.chunk_deadline_s),
    num_cpus=lambda config: 1,
    store_bytes=lambda config: STORE_BYTES,
    restore=_restore,
    parts=_parts,
    extend=extend,
    schedule_line=schedule_line,
)
