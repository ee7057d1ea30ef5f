"""A run from its config to its summary and exit code, for every algorithm.

    train:  log.txt --> restore --> loop, with StopFlag and Recorder --> summary.json --> picture and printed summary

What differs between algorithms comes from the row (`cluster.algorithms`) and from how experience is collected (`cluster.run.workload`).
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cluster.backends.fleet import RepeatedLossError
from cluster.backends.local import LocalBackend
from cluster.backends.ray.backend import RayBackend
from cluster.backends.ray.metrics import RayMetricsObserver
from cluster.run.display import make_progress
from cluster.run.lifetime_checks import NotFiniteError
from cluster.run.loop import Loop
from cluster.run.observer import RunObserver
from cluster.run.printed_summary import print_summary
from cluster.run.recorder import Recorder, logging_to
from cluster.run.stop_flag import StopFlag
from cluster.run.where import Where
from cluster.run.workload import Payload, Workload
from cluster.store.metrics import MetricsLog
from cluster.store.run_directory import RunDirectory, write_json
from cluster.store.summary import read_summary, write_summary
from envs.errors import EnvFaultError, InvalidInputError

log = logging.getLogger("metaray")

NO_TRACEBACK = (FloatingPointError, EnvFaultError, RepeatedLossError)
"""Errors whose traceback in this process does not help: numbers that are not finite, faults of an environment, workers that were lost."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run.

    Attributes:
        workload: its algorithm, its config and what its actors do.
        directory: its folder, made already, and locked by the caller.
        where: on this machine or on Ray.
        command: the command line, for log and summary.
        quiet: show no progress.
        changes: a line for each setting that has changed since the last start.
    """

    workload: Workload
    directory: RunDirectory
    where: Where
    command: str
    quiet: bool = False
    changes: Sequence[str] = ()


def train(run: Run, *, is_resumed: bool) -> int:
    """Train until a goal is reached or a signal arrives, and write every file of the run directory.

    Args:
        run: the run.
        is_resumed: continue it.

    Returns:
        The exit code: 0, 130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP, or 1 when the run failed.

    Raises:
        InvalidInputError: there is nothing to continue from, or something that the run needs is missing (such as the token).
    """
    directory, workload = run.directory, run.workload
    with logging_to(directory.log_file):
        log.info("%s: %s", "resume" if is_resumed else "start", run.command)
        payload = workload.restore(directory, is_resumed=is_resumed)
        said = read_summary(directory)
        directory.summary_file.unlink(missing_ok=True)  # it is out of date from here on
        resumed_at = None if payload is None or not is_resumed else int(payload["statistics"]["env_steps"])
        metrics = MetricsLog(directory.metrics_file, directory.tensorboard, resumed_at=resumed_at)
        stop = StopFlag()
        try:
            with contextlib.closing(metrics), _assembled(run, metrics, stop, payload) as loop:
                result = loop.run()
            summary = write_summary(directory, workload.config, result, metrics.wall_s, run.command)
        except InvalidInputError:  # training did not start, so the old summary holds
            if said is not None:
                write_json(directory.summary_file, said)
            raise
        except KeyboardInterrupt:
            how = "at once" if stop.has_begun else "before training began"
            print(f"metaray: stopped {how}{_resume_hint(directory)}", file=sys.stderr)
            return stop.exit_code or 128 + signal.SIGINT
        except Exception as error:
            return _failed(directory, error)
        log.info("end: %s, %d environment steps", summary["reason"], summary["env_steps"])
        print_summary(workload, directory, summary, is_local=run.where.is_local)
        return stop.exit_code


@contextlib.contextmanager
def _assembled(run: Run, metrics: MetricsLog, stop: StopFlag, payload: Payload | None) -> Iterator[Loop]:
    """The loop of a run, with a progress display that is always closed."""
    workload, directory, where = run.workload, run.directory, run.where
    row, config = workload.row, workload.config
    title = " - ".join(dict.fromkeys((config.algorithm, config.preset, config.family, f"seed {config.seed}")))
    place = where.in_words if workload.in_threads else where.with_actors(config.num_actors)
    progress = make_progress(row, title, str(directory.path), place, unit=workload.unit, quiet=run.quiet)
    try:
        with stop.installed(), workload.opened(directory, payload):
            exporter = RunObserver() if where.is_local else RayMetricsObserver(where.run_name, row)
            kept, stopping = config.keep_checkpoints, workload.stopping
            recorder = Recorder(directory, progress, metrics, stop, keep_checkpoints=kept, stopping=stopping, exporter=exporter)
            line = workload.schedule_line(workload.length_done(directory))
            for one in (*run.changes, *([] if line is None else [line])):
                recorder.on_event(one)
            backend = LocalBackend(workload) if where.is_local else RayBackend(workload, where)
            yield Loop(workload, backend, recorder, payload)
    finally:
        progress.close()


def _failed(directory: RunDirectory, error: Exception) -> int:
    log.error("the run failed", exc_info=error)
    if not isinstance(error, NO_TRACEBACK):
        traceback.print_exception(error)
    line = str(error) if isinstance(error, EnvFaultError) else f"the run failed: {type(error).__name__}: {error}"
    hint = "" if isinstance(error, NotFiniteError) else _resume_hint(directory)  # a resume would end in the same way
    print(f"metaray: {line} (details in {directory.log_file}){hint}", file=sys.stderr)
    return 1


def _resume_hint(directory: RunDirectory) -> str:
    return f"; `metaray resume {directory.path}` goes on from there" if directory.can_resume() else ""
