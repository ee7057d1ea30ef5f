"""One run from its config to its summary: the run directory, the wiring, the loop, and everything that watches it."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster import checkpoint as checkpoints
from cluster.closing import say_how_it_ended
from cluster.config import RunConfig
from cluster.metrics import MetricsLog
from cluster.observer import LoopResult, RunObserver, Status
from cluster.progress import Progress, make_progress
from cluster.run_directory import RunDirectory, write_json
from cluster.summary import read_summary, write_summary
from envs.errors import InvalidInputError

if TYPE_CHECKING:
    from cluster.wiring import Wiring

log = logging.getLogger("metaray")


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where a run takes place.

    Attributes:
        is_local: in this process, without Ray.
        address: the Ray cluster to attach to; None starts one on this machine.
        is_insecure: without Ray's token authentication.
        run_name: what the actors are named after.
    """

    is_local: bool
    address: str | None = None
    is_insecure: bool = False
    run_name: str = "run"

    @property
    def in_words(self) -> str:
        """Where, for a person."""
        if self.is_local:
            return "in this process"
        return f"on the Ray cluster at {self.address}" if self.address else "a Ray cluster on this machine"

    def wiring(self, config: RunConfig) -> Wiring:
        """Build the wiring; only this one imports what it needs."""
        if self.is_local:
            from cluster.local_wiring import LocalWiring

            return LocalWiring(config)
        from cluster.ray_wiring import RayWiring

        return RayWiring(config, address=self.address, insecure=self.is_insecure, run_name=self.run_name)


class StopFlag:
    """Set by the first SIGINT or SIGTERM; the second one raises KeyboardInterrupt wherever the program is.

    Before training has begun there is nothing to save and the first one raises: a cluster may take a minute to start.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.has_begun = False

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Listen for both signals inside of the block."""
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_urgent = self.signal_number is not None or not self.has_begun
        self.signal_number = number  # no word here: the signal may have come in the middle of a print
        if is_urgent:
            raise KeyboardInterrupt

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that a signal ended; 0 when there was none."""
        return 0 if self.signal_number is None else 128 + self.signal_number


class Recorder:
    """The observer of a real run: shows progress and writes metrics, log and checkpoints."""

    def __init__(
        self, config: RunConfig, directory: RunDirectory, progress: Progress, metrics: MetricsLog, stop: StopFlag
    ) -> None:
        self._config, self._directory = config, directory
        self._progress, self._metrics, self._stop = progress, metrics, stop
        self._last_event = ""
        self._has_said_stop = False

    def on_status(self, status: Status) -> None:
        """See `cluster.observer.RunObserver`."""
        self._progress.update(status if status.last_event else replace(status, last_event=self._last_event))

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        """See `cluster.observer.RunObserver`."""
        self._metrics.write(env_steps, scalars, histograms)

    def on_event(self, line: str) -> None:
        """See `cluster.observer.RunObserver`."""
        self._last_event = line
        log.warning(line)
        self._progress.event(line)

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        """See `cluster.observer.RunObserver`."""
        path = checkpoints.save(self._directory.checkpoints, step, payload, keep=self._config.keep_checkpoints)
        log.info("checkpoint %s", path.name)

    def stop_requested(self) -> bool:
        """See `cluster.observer.RunObserver`; says so once."""
        self._stop.has_begun = True  # the loop asks only once it is under way
        if self._stop.signal_number is None:
            return False
        if not self._has_said_stop:
            self._has_said_stop = True
            name = signal.Signals(self._stop.signal_number).name
            self._progress.event(f"{name}: saving a checkpoint and stopping (once more to stop at once)")
        return True


def drive(
    config: RunConfig, directory: RunDirectory, where: Where, *, command: str, is_resumed: bool, quiet: bool = False
) -> int:
    """Train until a goal or a signal, and leave everything that the run directory promises.

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
    with _logging_to(directory.log_file):
        log.info("%s: %s", "resume" if is_resumed else "start", command)
        loaded = checkpoints.load_newest(directory.checkpoints, warn) if is_resumed else None
        said = read_summary(directory)
        directory.summary_file.unlink(missing_ok=True)  # what it said is about to become untrue
        metrics = MetricsLog(directory.metrics_file, directory.tensorboard, resumed_at=loaded.step if loaded else None)
        stop = StopFlag()
        try:
            with contextlib.closing(metrics):
                result = _train(config, directory, where, metrics, stop, loaded.payload if loaded else None, quiet=quiet)
            summary = write_summary(directory, config, result, metrics.wall_s, command)
        except InvalidInputError:  # it did not begin, so what was said of it holds
            if said is not None:
                write_json(directory.summary_file, said)
            raise
        except KeyboardInterrupt:
            how = "at once" if stop.has_begun else "before training began"
            print(f"metaray: stopped {how}{_resume_hint(directory)}", file=sys.stderr)
            return stop.exit_code or 128 + signal.SIGINT
        except Exception as error:
            return _failed(directory, error)
        log.info("end: %s, %d environment steps, final return %s", result.reason, result.env_steps, result.final_return)
        say_how_it_ended(directory, summary, where.is_local)
        return stop.exit_code


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
    from cluster.loop import Loop

    title = " - ".join(dict.fromkeys((config.preset, config.family, f"seed {config.seed}")))
    progress = make_progress(title, str(directory.path), where.in_words, quiet=quiet)
    try:
        with stop.installed():
            observer: RunObserver = Recorder(config, directory, progress, metrics, stop)
            if not where.is_local:
                from cluster.ray_metrics import RayMetricsObserver

                observer = RayMetricsObserver(observer, where.run_name)
            return Loop(config, where.wiring(config), observer, checkpoint=payload).run()
    finally:
        progress.close()


def _failed(directory: RunDirectory, error: Exception) -> int:
    log.error("the run failed", exc_info=error)
    traceback.print_exception(error)
    line = f"the run failed: {type(error).__name__}: {error} (details in {directory.log_file})"
    print(f"metaray: {line}{_resume_hint(directory)}", file=sys.stderr)
    return 1


def _resume_hint(directory: RunDirectory) -> str:
    if not checkpoints.saved(directory.checkpoints):
        return ""
    return f"; `metaray resume {directory.path}` goes on from the newest checkpoint"


def warn(line: str) -> None:
    """Tell a person one line, on the terminal and in the log."""
    log.warning(line)
    print(f"metaray: {line}", file=sys.stderr)


class _LogFile(logging.FileHandler):
    """A log that does not complain on the terminal when its disk is full: what made the run fail is said there already."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, named by the standard library
        """Go on without this line."""


@contextlib.contextmanager
def _logging_to(file: Path) -> Iterator[None]:
    """Send all logging of this process, warnings included, to `file`."""
    handler = _LogFile(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(level)
        root.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()
