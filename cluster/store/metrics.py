"""Metrics of a run: `metrics.jsonl` and TensorBoard events.

A line of `metrics.jsonl`:

    {"env_steps": 40960, "wall_s": 3.1, "return/mean_100": 12.5, "loss/policy": null, "histograms": {"lag/histogram": [[0, 1], [7, 1]]}}

A value that is not finite is null. A histogram is [lower edges, counts], and the last bin ends at the largest value; integers have one bin
per value. TensorBoard's own writer is used, which needs no torch.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

MAX_BINS = 32
"""Enough for the shape of a distribution, few enough for a line of text."""


class MetricsLog:
    """Appends metrics, one line and one event for each call.

    Args:
        file: the line-delimited log.
        tensorboard: folder for TensorBoard's events.
        resumed_at: environment steps of the checkpoint that the run resumes from, None for a new run; later rows are removed.
    """

    def __init__(self, file: Path, tensorboard: Path, resumed_at: int | None = None) -> None:
        kept = [] if resumed_at is None else [record for record in read_metrics(file) if record["env_steps"] <= resumed_at]
        self._wall_before = float(kept[-1]["wall_s"]) if kept else 0.0
        self._start = time.monotonic()
        if resumed_at is not None:
            temporary = file.with_name(f".{file.name}.tmp")
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept))
            temporary.replace(file)
        self._file = file.open("a", buffering=1)
        self._events = EventFileWriter(str(tensorboard), max_queue_size=100, flush_secs=5)
        if resumed_at is not None:  # makes TensorBoard discard later events
            log = SessionLog(status=SessionLog.START)
            self._events.add_event(Event(wall_time=time.time(), step=resumed_at + 1, session_log=log))

    @property
    def wall_s(self) -> float:
        """Wall time since the run began, in seconds, the processes before a resume included."""
        return self._wall_before + time.monotonic() - self._start

    def write(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        """Append scalars by name, and histograms of raw samples by name."""
        record: dict[str, Any] = {"env_steps": env_steps, "wall_s": round(self.wall_s, 3)}
        values: list[Summary.Value] = []
        for name, scalar in scalars.items():
            number = float(scalar)
            record[name] = number if math.isfinite(number) else None
            values.append(Summary.Value(tag=name, simple_value=number))
        binned = {name: _bins(samples) for name, samples in histograms.items() if np.size(samples)}
        if binned:
            record["histograms"] = {name: [edges[:-1].tolist(), counts.tolist()] for name, (edges, counts) in binned.items()}
        values += [Summary.Value(tag=name, histo=_histogram(histograms[name], *bins)) for name, bins in binned.items()]
        self._file.write(json.dumps(record, allow_nan=False) + "\n")
        self._events.add_event(Event(wall_time=time.time(), step=env_steps, summary=Summary(value=values)))

    def close(self) -> None:
        """Flush and close both."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            with contextlib.suppress(OSError):  # of a full disk, which has been reported
                self._file.close()
            self._events.close()


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """Read a log of metrics; a line that is truncated, as its writer was killed, is skipped."""
    if not file.exists():
        return []
    records: list[dict[str, Any]] = []
    for line in file.read_bytes().split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "env_steps" in record and "wall_s" in record:
            records.append(record)
    return records


def series(records: list[dict[str, Any]], name: str, x: str = "env_steps") -> tuple[np.ndarray, np.ndarray]:
    """Return the values of `x` and `name`, [R] each, of the records that have both."""
    pairs = [(record[x], record[name]) for record in records if record.get(name) is not None and record.get(x) is not None]
    steps, values = zip(*pairs, strict=True) if pairs else ((), ())
    return np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)


def _bins(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bin edges [K + 1] and counts [K] of the finite samples."""
    flat = np.asarray(samples).ravel()
    flat = flat[np.isfinite(flat)]
    if flat.size == 0:
        return np.zeros(1), np.zeros(0, dtype=np.int64)
    if np.issubdtype(flat.dtype, np.integer) and int(flat.max()) - int(flat.min()) < MAX_BINS:
        edges = np.arange(int(flat.min()), int(flat.max()) + 2)
        return edges, np.bincount(flat - flat.min(), minlength=edges.size - 1)
    counts, edges = np.histogram(flat.astype(np.float64), bins=MAX_BINS)
    return edges, counts


def _histogram(samples: np.ndarray, edges: np.ndarray, counts: np.ndarray) -> HistogramProto:
    flat = np.asarray(samples, dtype=np.float64).ravel()
    flat = flat[np.isfinite(flat)]
    low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.0, 0.0)
    # TensorBoard takes the upper edge of each bin; an empty bin in front gives the lower edge of the first.
    return HistogramProto(
        min=low,
        max=high,
        num=float(flat.size),
        sum=float(flat.sum()),
        sum_squares=float((flat**2).sum()),
        bucket_limit=edges.tolist(),
        bucket=[0.0, *counts.tolist()],
    )
