"""One run of an outer loop from its config to its summary: the journal, the pool, the loop, and everything that watches it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cluster.backends.pool import Pool
from cluster.epg.config import EpgRunConfig
from cluster.epg.life_checks import NotFiniteError
from cluster.epg.lives import Recipe, first_phi, recipe_of
from cluster.epg.loop import EpgLoop
from cluster.epg.loss_files import LossFiles
from cluster.epg.observer import EpgResult, EpgStatus
from cluster.epg.progress import EpgDrawing
from cluster.epg.replay import Resumption, first_state, phi_sha256, resume
from cluster.epg.summary import say_how_it_ended, write_summary
from cluster.overrides import to_tree
from cluster.run import driving
from cluster.run.display import progress_of
from cluster.run.driving import Play, Recorder, StopFlag, warn
from cluster.run.observer import RunObserver
from cluster.run.where import Where
from cluster.store import checkpoint as checkpoints
from cluster.store import journal as journals
from cluster.store.checkpoint import CorruptCheckpointError
from cluster.store.journal import Journal, RunRecord
from cluster.store.metrics import MetricsLog
from cluster.store.run_directory import RunDirectory
from cluster.store.scaling import Scale
from cluster.store.versions import library_versions


def pool_of(config: EpgRunConfig, recipe: Recipe, where: Where) -> Pool:
    """Build the pool; only this one imports what it needs."""
    if where.is_local:
        from cluster.backends.local_pool import LocalPool

        return LocalPool(recipe, config.num_actors, config.chunk_deadline_s)
    from cluster.backends.ray.chunk_pool import RayPool

    return RayPool(config, recipe, address=where.address, insecure=where.is_insecure, run_name=where.run_name)


def begin_journal(path: Path, config: EpgRunConfig) -> None:
    """Write the first record of a run that has none."""
    phi = first_phi(config)
    record = RunRecord(config=to_tree(config), num_parameters=int(phi.size), sha256=phi_sha256(phi), versions=library_versions())
    journal = Journal(path)
    journal.append([record])
    journal.close()


def drive(
    config: EpgRunConfig, directory: RunDirectory, where: Where, *, command: str, is_resumed: bool, quiet: bool = False
) -> int:
    """Evolve until a goal or a signal. See `cluster.run.driving.drive`.

    Args:
        config: the run.
        directory: its folder, made already, and locked by the caller.
        where: on this machine alone or on Ray.
        command: what was typed, for the summary.
        is_resumed: go on from the journal.
        quiet: show no progress.

    Returns:
        The exit code: 0, 130 after SIGINT, 143 after SIGTERM, or 1 when the run failed.

    Raises:
        InvalidInputError: the journal cannot be gone on from, or the cluster cannot be had.
    """
    path = journals.path_of(directory)
    resumption: Resumption | None = None
    is_hopeless = False

    def restore() -> int:
        nonlocal resumption
        if not path.exists():  # it was ended before its first record
            begin_journal(path, config)
        journals.mend(path, warn)
        resumption = resume(path, _newest_checkpoint(directory))
        return resumption.env_steps

    def train(metrics: MetricsLog, stop: StopFlag) -> EpgResult:
        nonlocal resumption, is_hopeless
        if resumption is None:
            begin_journal(path, config)
            resumption = Resumption(state=first_state(path))
        try:
            return _train(config, directory, where, metrics, stop, resumption, quiet=quiet)
        except NotFiniteError:  # the journal has the lives that it ended with
            is_hopeless = True
            raise

    play = Play(
        restore=restore,
        train=train,
        summarise=lambda result, wall_s: write_summary(directory, config, result, wall_s, command),
        say=lambda summary: say_how_it_ended(directory, summary, where.is_local),
        can_resume=lambda: directory.has_something() and not is_hopeless,
    )
    return driving.drive(directory, play, command=command, is_resumed=is_resumed)


def _newest_checkpoint(directory: RunDirectory) -> Any | None:
    """Payload of the newest valid checkpoint; None where there is none, for the journal is enough."""
    for path in reversed(checkpoints.saved(directory.checkpoints)):
        try:
            return checkpoints.read(path).payload
        except CorruptCheckpointError as error:
            warn(f"corrupt checkpoint passed over: {path.name} ({error})")
    return None


def _train(
    config: EpgRunConfig,
    directory: RunDirectory,
    where: Where,
    metrics: MetricsLog,
    stop: StopFlag,
    resumption: Resumption,
    *,
    quiet: bool,
) -> EpgResult:
    """Run the loop under a progress display; display and journal are closed however it ends."""
    scale = Scale(directory)
    scale.look()
    title = " - ".join(dict.fromkeys(("epg", config.preset, config.family, f"seed {config.seed}")))
    run, place = str(directory.path), where.with_actors(config.num_actors)
    progress = progress_of(EpgDrawing(title, run), title, run, place, quiet=quiet)
    journal = Journal(journals.path_of(directory))
    try:
        with stop.installed():
            stopping = "stopping; all that was lived is in the journal"
            recorder: RunObserver[EpgStatus] = Recorder(
                directory, progress, metrics, stop, keep_checkpoints=config.keep_checkpoints, stopping=stopping
            )
            if not where.is_local:
                from cluster.backends.ray.chunk_metrics import EpgMetricsObserver

                recorder = EpgMetricsObserver(recorder, where.run_name)
            pool = pool_of(scale.desired.upon(config), recipe_of(config), where)
            keep_loss = LossFiles(config, directory)
            loop = EpgLoop(config, pool, recorder, journal=journal, resumption=resumption, scale=scale, keep_loss=keep_loss)
            return loop.run()
    finally:
        journal.close()
        progress.close()
