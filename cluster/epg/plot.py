"""An outer loop as a picture: fitness over epochs with its spread, the evaluations of phi as it is, and how fast lives were lived."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cluster.reports.curves import COLOURS, STYLE
from cluster.store.metrics import read_metrics
from cluster.store.run_directory import RunDirectory, read_json
from envs.errors import InvalidInputError


def draw_runs(directories: Sequence[RunDirectory], file: Path) -> None:
    """Draw runs into one picture at `file`; the ending of its name says which format.

    Raises:
        InvalidInputError: a run has no epoch yet, the folder is not there, or the format is unknown.
    """
    runs = [(directory, _records(directory)) for directory in directories]
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its stub wants a literal for each of 300 keys
        figure = Figure(figsize=(8.5, 6.0), layout="constrained")
        rows = figure.add_gridspec(2, 2, height_ratios=(3, 1))
        top, speed, step = figure.add_subplot(rows[0, :]), figure.add_subplot(rows[1, 0]), figure.add_subplot(rows[1, 1])
        for number, (directory, records) in enumerate(runs):
            _draw(top, directory, records, COLOURS[number % len(COLOURS)], is_alone=len(runs) == 1)
            colour = COLOURS[number % len(COLOURS)]
            speed.plot(*_series(records, "throughput/lives_per_s"), color=colour, linewidth=1.3)
            step.plot(*_series(records, "alpha"), color=colour, linewidth=1.3)
        for axes, name in ((top, "fitness (return with the final policy)"), (speed, "lives/s"), (step, "guidance (alpha)")):
            axes.set_ylabel(name)
            axes.set_xlabel("epochs")
            axes.set_xlim(left=0)
        speed.set_ylim(bottom=0)
        step.set_ylim(0, 1.05)
        config = read_json(directories[0].config_file)
        top.set_title(f"{config['family']}, preset {config['preset']}" if len(runs) == 1 else "Evolved policy gradients")
        top.legend(loc="best")
        try:
            figure.savefig(file, dpi=150)
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"cannot write the picture {file}: {error}") from None


def _records(directory: RunDirectory) -> list[dict[str, Any]]:
    records = [record for record in read_metrics(directory.metrics_file) if record.get("epoch") is not None]
    if not records:
        raise InvalidInputError(f"the run {directory.path} has finished no epoch yet: nothing to plot")
    return records


def _series(records: Sequence[dict[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and values [R] of the records in which `name` has a value."""
    pairs = [(record["epoch"], record[name]) for record in records if record.get(name) is not None]
    epochs, values = zip(*pairs, strict=True) if pairs else ((), ())
    return np.asarray(epochs, dtype=np.float64), np.asarray(values, dtype=np.float64)


def _draw(axes: Axes, directory: RunDirectory, records: Sequence[dict[str, Any]], colour: str, *, is_alone: bool) -> None:
    label = "perturbed lives: mean, band: one deviation" if is_alone else directory.path.name
    epochs, mean = _series(records, "fitness/mean")
    spread_epochs, spread = _series(records, "fitness/std")
    if epochs.size and np.array_equal(epochs, spread_epochs):
        axes.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    axes.plot(epochs, mean, color=colour, linewidth=1.3, label=label)
    at, scores = _series(records, "evaluation/score")
    if at.size:
        name = "phi itself, without guidance (evaluation)" if is_alone else None
        axes.plot(at, scores, color="black" if is_alone else colour, marker="o", markersize=4, linewidth=1.0, label=name)
