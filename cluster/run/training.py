"""One run of a central learner from its config to its summary: the wiring, the loop, and everything that watches it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.config import RunConfig
from cluster.run import driving
from cluster.run.closing import say_how_it_ended
from cluster.run.display import make_progress
from cluster.run.driving import Play, Recorder, StopFlag, warn
from cluster.run.observer import LoopResult, RunObserver, Status
from cluster.run.resuming import schedule_line
from cluster.run.where import Where
from cluster.store import checkpoint as checkpoints
from cluster.store.metrics import MetricsLog
from cluster.store.run_directory import RunDirectory
from cluster.store.summary import write_summary

if TYPE_CHECKING:
    from cluster.backends.wiring import Wiring


def wiring_of(config: RunConfig, where: Where) -> Wiring:
    """Build the wiring; only this one imports what it needs."""
    if where.is_local:
        from cluster.backends.local_wiring import LocalWiring

        return LocalWiring(config)
    from cluster.backends.ray.wiring import RayWiring

    return RayWiring(config, address=where.address, insecure=where.is_insecure, run_name=where.run_name)


def drive(
    config: RunConfig, directory: RunDirectory, where: Where, *, command: str, is_resumed: bool, quiet: bool = False
) -> int:
    """Train until a goal or a signal. See `cluster.run.driving.drive`.

    Args:
        config: the run.
        directory: its folder, made already, and locked by the caller.
        where: in this process or on Ray.
        command: what was typed, for the summary.
        is_resumed: go on from the newest valid checkpoint.
        quiet: show no progress.

    Returns:
        The exit code: 0, 130 after SIGINT, 143 after SIGTERM, or 1 when the run failed.

    Raises:
        InvalidInputError: there is no valid checkpoint, or the wiring cannot be had (a wrong token, say).
    """
    payload: dict[str, Any] | None = None

    def restore() -> int:
        nonlocal payload
        loaded = checkpoints.load_newest(directory.checkpoints, warn)
        payload = loaded.payload
        return loaded.step

    def train(metrics: MetricsLog, stop: StopFlag) -> LoopResult:
        return _train(config, directory, where, metrics, stop, payload, quiet=quiet)

    play = Play(
        restore=restore,
        train=train,
        summarise=lambda result, wall_s: write_summary(directory, config, result, wall_s, command),
        say=lambda summary: say_how_it_ended(directory, summary, where.is_local),
        can_resume=lambda: bool(checkpoints.saved(directory.checkpoints)),
    )
    return driving.drive(directory, play, command=command, is_resumed=is_resumed)


def _train(
    config: RunConfig,
    directory: RunDirectory,
    where: Where,
    metrics: MetricsLog,
    stop: StopFlag,
    payload: dict[str, Any] | None,
    *,
    quiet: bool,
) -> LoopResult:
    """Run the loop under a progress display, which is closed however it ends."""
    from cluster.run.loop import Loop

    title = " - ".join(dict.fromkeys((config.preset, config.family, f"seed {config.seed}")))
    progress = make_progress(title, str(directory.path), where.in_words, quiet=quiet)
    try:
        with stop.installed():
            observer: RunObserver[Status] = Recorder(directory, progress, metrics, stop, keep_checkpoints=config.keep_checkpoints)
            if not where.is_local:
                from cluster.backends.ray.metrics import RayMetricsObserver

                observer = RayMetricsObserver(observer, where.run_name)
            if (line := schedule_line(config, payload["statistics"]["env_steps"] if payload else 0)) is not None:
                observer.on_event(line)
            return Loop(config, wiring_of(config, where), observer, checkpoint=payload).run()
    finally:
        progress.close()
