"""The observer of a real run, and its log: progress on the terminal, metrics, events, checkpoints."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cluster.run.display import Progress
from cluster.run.observer import RunObserver, Status
from cluster.run.stop_flag import StopFlag
from cluster.store import checkpoint as checkpoints
from cluster.store.metrics import MetricsLog
from cluster.store.run_directory import RunDirectory

log = logging.getLogger("metaray")


class Recorder(RunObserver):
    """Shows progress and writes metrics, log and checkpoints. See `cluster.run.observer.RunObserver`.

    Args:
        directory: of the run.
        progress: the display.
        metrics: the files of metrics.
        stop: set by signals.
        keep_checkpoints: how many.
        stopping: what a stop does, in words: `saving a checkpoint and stopping`.
        exporter: gets status and metrics as well.
    """

    def __init__(
        self,
        directory: RunDirectory,
        progress: Progress,
        metrics: MetricsLog,
        stop: StopFlag,
        *,
        keep_checkpoints: int,
        stopping: str,
        exporter: RunObserver,
    ) -> None:
        self._directory, self._keep, self._stopping = directory, keep_checkpoints, stopping
        self._progress, self._metrics, self._stop, self._exporter = progress, metrics, stop, exporter
        self._has_said_stop = False

    def on_status(self, status: Status) -> None:
        """See `cluster.run.observer.RunObserver`."""
        self._progress.update(status)
        self._exporter.on_status(status)

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        """See `cluster.run.observer.RunObserver`."""
        self._metrics.write(env_steps, scalars, histograms)
        self._exporter.on_metrics(env_steps, scalars, histograms)

    def on_event(self, line: str) -> None:
        """See `cluster.run.observer.RunObserver`."""
        log.warning(line)
        self._progress.event(line)

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        """See `cluster.run.observer.RunObserver`."""
        path = checkpoints.save(self._directory.checkpoints, step, payload, keep=self._keep)
        log.info("checkpoint %s", path.name)

    def stop_requested(self) -> bool:
        """See `cluster.run.observer.RunObserver`; announces a stop once."""
        self._stop.has_begun = True  # the loop asks once training has started
        if self._stop.signal_number is None:
            return False
        if not self._has_said_stop:
            self._has_said_stop = True
            name = signal.Signals(self._stop.signal_number).name
            self._progress.event(f"{name}: {self._stopping} (once more to stop at once)")
        return True


def warn(line: str) -> None:
    """Print one line on standard error, and write it to the log if there is one."""
    if log.hasHandlers():  # else logging would print it as well
        log.warning(line)
    print(f"metaray: {line}", file=sys.stderr)


class _LogFile(logging.FileHandler):
    """A log that prints nothing when its disk is full: the run fails with that reason anyway."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, named by the standard library
        """Drop the line."""


@contextlib.contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """Send all logging of this process, warnings included, to `file`."""
    handler = _LogFile(file, encoding="utf-8", errors="backslashreplace")
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
