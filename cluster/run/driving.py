"""What driving a run comes to, whatever it trains: signals, log, summary, exit code, and who watches.

    drive:  log.txt on --> restore --> train, under StopFlag and Recorder --> summary.json --> last words

An algorithm brings the four steps that are its own, as a `Play`.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

import numpy as np

from cluster.run.display import Progress
from cluster.store import checkpoint as checkpoints
from cluster.store.metrics import MetricsLog
from cluster.store.run_directory import RunDirectory, write_json
from cluster.store.summary import read_summary
from envs.errors import EnvFaultError, InvalidInputError

log = logging.getLogger("metaray")

StatusT = TypeVar("StatusT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, kw_only=True)
class Play(Generic[ResultT]):
    """What an algorithm does when it is driven.

    Attributes:
        restore: for a run that is resumed: read where it goes on and return its environment steps.
        train: run the loop and return its result.
        summarise: (result, wall time in seconds) -> summary, written.
        say: print the last words, given the summary.
        can_resume: whether there is anything to go on from.
    """

    restore: Callable[[], int]
    train: Callable[[MetricsLog, StopFlag], ResultT]
    summarise: Callable[[ResultT, float], dict[str, Any]]
    say: Callable[[dict[str, Any]], None]
    can_resume: Callable[[], bool]


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


class Recorder(Generic[StatusT]):
    """The observer of a real run: shows progress and writes metrics, log and checkpoints.

    Args:
        directory: of the run.
        progress: what a person sees.
        metrics: where they go.
        stop: the signals.
        keep_checkpoints: how many.
        stopping: what a stop does, in words: `saving a checkpoint and stopping`.
    """

    def __init__(
        self,
        directory: RunDirectory,
        progress: Progress[StatusT],
        metrics: MetricsLog,
        stop: StopFlag,
        *,
        keep_checkpoints: int,
        stopping: str = "saving a checkpoint and stopping",
    ) -> None:
        self._directory, self._keep, self._stopping = directory, keep_checkpoints, stopping
        self._progress, self._metrics, self._stop = progress, metrics, stop
        self._has_said_stop = False

    def on_status(self, status: StatusT) -> None:
        """See `cluster.run.observer.RunObserver`."""
        self._progress.update(status)

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        """See `cluster.run.observer.RunObserver`."""
        self._metrics.write(env_steps, scalars, histograms)

    def on_event(self, line: str) -> None:
        """See `cluster.run.observer.RunObserver`."""
        log.warning(line)
        self._progress.event(line)

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        """See `cluster.run.observer.RunObserver`."""
        path = checkpoints.save(self._directory.checkpoints, step, payload, keep=self._keep)
        log.info("checkpoint %s", path.name)

    def stop_requested(self) -> bool:
        """See `cluster.run.observer.RunObserver`; says so once."""
        self._stop.has_begun = True  # the loop asks only once it is under way
        if self._stop.signal_number is None:
            return False
        if not self._has_said_stop:
            self._has_said_stop = True
            name = signal.Signals(self._stop.signal_number).name
            self._progress.event(f"{name}: {self._stopping} (once more to stop at once)")
        return True


def drive(directory: RunDirectory, play: Play[ResultT], *, command: str, is_resumed: bool) -> int:
    """Train until a goal or a signal, and leave everything that the run directory promises.

    Args:
        directory: the run's folder, made already, and locked by the caller.
        play: what the algorithm does.
        command: what was typed, for the log.
        is_resumed: go on with it.

    Returns:
        The exit code: 0, 130 after SIGINT, 143 after SIGTERM, or 1 when the run failed.

    Raises:
        InvalidInputError: there is nothing to go on from, or what the run needs cannot be had (a wrong token, say).
    """
    with _logging_to(directory.log_file):
        log.info("%s: %s", "resume" if is_resumed else "start", command)
        resumed_at = play.restore() if is_resumed else None
        said = read_summary(directory)
        directory.summary_file.unlink(missing_ok=True)  # what it said is about to become untrue
        metrics = MetricsLog(directory.metrics_file, directory.tensorboard, resumed_at=resumed_at)
        stop = StopFlag()
        try:
            with contextlib.closing(metrics):
                result = play.train(metrics, stop)
            summary = play.summarise(result, metrics.wall_s)
        except InvalidInputError:  # it did not begin, so what was said of it holds
            if said is not None:
                write_json(directory.summary_file, said)
            raise
        except KeyboardInterrupt:
            how = "at once" if stop.has_begun else "before training began"
            print(f"metaray: stopped {how}{_resume_hint(directory, play)}", file=sys.stderr)
            return stop.exit_code or 128 + signal.SIGINT
        except Exception as error:
            return _failed(directory, play, error)
        log.info("end: %s, %d environment steps", summary["reason"], summary["env_steps"])
        play.say(summary)
        return stop.exit_code


def _failed(directory: RunDirectory, play: Play[ResultT], error: Exception) -> int:
    log.error("the run failed", exc_info=error)
    # what is not finite, or not in our code: where in the program it was seen helps nobody
    if not isinstance(error, FloatingPointError | EnvFaultError):
        traceback.print_exception(error)
    line = str(error) if isinstance(error, EnvFaultError) else f"the run failed: {type(error).__name__}: {error}"
    print(f"metaray: {line} (details in {directory.log_file}){_resume_hint(directory, play)}", file=sys.stderr)
    return 1


def _resume_hint(directory: RunDirectory, play: Play[ResultT]) -> str:
    return f"; `metaray resume {directory.path}` goes on from there" if play.can_resume() else ""


def warn(line: str) -> None:
    """Tell a person one line, on the terminal and in the log if there is one."""
    if log.hasHandlers():  # else logging itself would print it too
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
