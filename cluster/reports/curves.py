"""Learning curves: a plot with the panels of the runs' algorithm (`cluster.reports.panels`).

Runs that differ in the seed alone form a group (`cluster.reports.groups`), shown as its mean or interquartile mean with the 95 % interval
over seeds (`cluster.reports.bootstrap`), and each run as a thin line. The mean ends where the first of them ends, which the legend says. A
single run is shown with the band of its panel.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import EngFormatter, MaxNLocator

from cluster import algorithms
from cluster.overrides import to_tree
from cluster.reports.atari.scores import interquartile_mean
from cluster.reports.bootstrap import grouped_estimate, mean_intervals
from cluster.reports.groups import Group, Run, grouped, settings_of
from cluster.reports.panels import Panel, Panels
from cluster.store.metrics import read_metrics, series
from cluster.store.run_directory import RunDirectory
from envs.errors import InvalidInputError

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito (2008): distinguishable with any colour vision, and in grey."""

GRID_POINTS = 400
"""Grid of the mean over seeds: finer than the resolution of the plot."""

MIN_IQM, IQM_RESAMPLES = 4, 1000
"""Seeds from which on an interquartile mean leaves any out, and resamples at each point: ends vary by 3 % of the interval's width."""

UNEVEN = 0.02
"""Share of the longest run by which another may be shorter without mention: runs end at the first unroll beyond their goal."""

MAX_CHARACTERS = 120
"""Characters in a line of the legend, which is as wide as the plot."""

STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
"""Style of every plot of the project."""

Series = tuple[np.ndarray, np.ndarray]
"""Positions on the horizontal axis and values of a run: [R], [R]."""


def read_run(directory: RunDirectory) -> Run:
    """Read the metrics of a run.

    Raises:
        InvalidInputError: the run has logged nothing yet.
    """
    records = read_metrics(directory.metrics_file)
    if not records:
        raise InvalidInputError(f"the run {directory.path} has no metrics yet: nothing to plot")
    config = algorithms.config_of_run(directory)
    return Run(
        name=directory.path.name,
        family=config.family,
        preset=config.preset,
        seed=config.seed,
        settings=settings_of(to_tree(config), algorithms.find(config.algorithm).panels),
        records=records,
    )


def draw_runs(
    directories: Sequence[RunDirectory], file: Path, *, x: Literal["steps", "seconds"] = "steps", iqm: bool = False
) -> None:
    """Plot runs of one algorithm and family to `file`, whose suffix is the format.

    Args:
        directories: of the runs.
        file: the plot.
        x: horizontal axis: steps of the algorithm, or seconds since the run began.
        iqm: show the interquartile mean over seeds in place of the mean.

    Raises:
        InvalidInputError: they have no axis in common, one has no metrics yet, the folder does not exist, or the format is unknown.
    """
    _check_alike(directory.algorithm for directory in directories)
    runs = [read_run(directory) for directory in directories]
    _check_alike(run.family for run in runs)
    panels = algorithms.find(directories[0].algorithm).panels
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its stub has a literal for each of 300 keys
        figure = _figure(runs, panels, ("wall_s", "seconds since the run began") if x == "seconds" else panels.axis, iqm)
        try:
            figure.savefig(file, dpi=150)
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"cannot write the plot {file}: {error}") from None


def _check_alike(names: Iterable[str]) -> None:
    found = sorted({*names})
    if len(found) > 1:
        raise InvalidInputError(f"runs of {' and '.join(found)} cannot share an axis: plot them separately")


def _figure(runs: Sequence[Run], panels: Panels, axis: tuple[str, str], iqm: bool) -> Figure:
    main, *below = _expanded(panels.panels, runs)
    num_rows = (len(below) + 1) // 2
    figure = Figure(figsize=(8.5, 4.5 + 1.6 * num_rows), layout="constrained")
    cells = figure.add_gridspec(1 + num_rows, 2, height_ratios=(3, *[1] * num_rows))
    is_odd, groups = len(below) % 2, grouped(runs)
    for index, panel in enumerate([main, *below]):
        cell = index + is_odd - 1  # of an odd number the first is as wide as a row
        is_wide = index == 0 or (index == 1 and is_odd)
        row = 0 if index == 0 else 1 + cell // 2
        axes = figure.add_subplot(cells[row, :] if is_wide else cells[row, cell % 2])
        for number, group in enumerate(groups):
            colour, line = COLOURS[number % len(COLOURS)], ("-", "--", ":")[number // len(COLOURS) % 3]
            if index == 0:
                _draw_group(axes, panel, group, axis[0], colour, line, is_alone=len(groups) == 1, iqm=iqm)
            else:
                for run in group.runs:
                    width = 1.3 if len(group.runs) == 1 else 0.8
                    _draw_small(axes, panel, series(run.records, panel.metric, axis[0]), colour, line, width)
        _label(axes, panel, axis[1])
        if index == 0:
            _name(figure, axes, panel, runs)
    return figure


def _expanded(panels: Sequence[Panel], runs: Sequence[Run]) -> list[Panel]:
    """The panels, one that stands for several metrics as a panel for each."""
    logged = list(dict.fromkeys(name for run in runs for name in run.records[-1]))
    found = []
    for panel in panels:
        start = panel.metric.removesuffix("*")
        metrics = [name for name in logged if name.startswith(start)] if panel.metric.endswith("*") else [panel.metric]
        labels = [panel.label or name.removeprefix(start).replace("_", " ") for name in metrics]
        found += [Panel(**vars(panel) | {"metric": name, "label": label}) for name, label in zip(metrics, labels, strict=True)]
    return found


def _draw_group(axes: Axes, panel: Panel, group: Group, x: str, colour: str, line: str, *, is_alone: bool, iqm: bool) -> None:
    """Draw a group in the large panel."""
    curves = [one for run in group.runs if (one := series(run.records, panel.metric, x))[0].size]
    name, band = f"{group.name}: " if group.name else "", ""
    if len(curves) == 1:
        steps, values = curves[0]
        if is_alone and _draw_band(axes, panel, group.runs[0], x, colour):
            band = f", band: {panel.band_label}"
        axes.plot(steps, values, line, color=colour, linewidth=1.8, label=f"{name}{group.seeds}{band}")
    elif curves:
        for steps, values in curves:
            axes.plot(steps, values, line, color=colour, linewidth=0.6, alpha=0.45)
        steps, values, low, high, until = _mean(curves, iqm)
        axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
        band = ", band: 95 % interval" if np.isfinite(low).any() else ""
        what = "IQM" if iqm and len(curves) >= MIN_IQM else "mean"
        axes.plot(steps, values, line, color=colour, linewidth=2.0, label=f"{name}{what} of {group.seeds}{until}{band}")
    if curves and steps.size:
        _annotate(axes, steps[-1], values[-1], colour)
    for run in group.runs if panel.points else ():
        points = series(run.records, panel.points, x)
        label = panel.points_label if is_alone and run is group.runs[0] else None
        axes.plot(*points, color="black" if is_alone else colour, marker="o", markersize=4, linewidth=0.8, label=label)


def _draw_band(axes: Axes, panel: Panel, run: Run, x: str, colour: str) -> bool:
    """Draw the band of a single run where its metrics have it; return whether they do."""
    found = [series(run.records, name, x) for name in (panel.metric, *panel.band)]
    if len(found) < 2 or not found[0][0].size or not all(np.array_equal(found[0][0], steps) for steps, _ in found):
        return False
    steps, middle = found[0]
    low, high = (middle - found[1][1], middle + found[1][1]) if len(found) == 2 else (found[1][1], found[2][1])
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    return True


def _mean(curves: Sequence[Series], iqm: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, str]:
    """The grid on which all runs have a value, [X], the mean and its interval on it, and a note where a run ended early."""
    begin, end, last = max(one[0][0] for one in curves), min(one[0][-1] for one in curves), max(one[0][-1] for one in curves)
    grid = np.linspace(begin, end, GRID_POINTS) if begin <= end else np.zeros(0)
    values = np.stack([np.interp(grid, *one) for one in curves])
    found = mean_intervals(values)
    if iqm and len(curves) >= MIN_IQM:
        estimates = [grouped_estimate(interquartile_mean, [column[None]], num_resamples=IQM_RESAMPLES) for column in values.T]
        found = np.array([(one.value, one.low, one.high) for one in estimates], np.float64).T.reshape(3, -1)
    until = f" up to {EngFormatter(sep='')(float(f'{end:.3g}'))}, where the first ends" if end < (1 - UNEVEN) * last else ""
    return grid, *found, until


def _draw_small(axes: Axes, panel: Panel, curve: Series, colour: str, line: str, width: float) -> None:
    """Draw a run in a small panel; a noisy metric as a thin line under its running mean."""
    steps, values = curve
    if panel.is_noisy and steps.size:
        axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.35)
        size = max(1, values.size // 20)
        padded = np.pad(values, (size // 2, size - 1 - size // 2), mode="edge")
        values = np.convolve(padded, np.full(size, 1 / size), mode="valid")
    axes.plot(steps, values, line, color=colour, linewidth=width, marker="o" if steps.size == 1 else "", markersize=4)


def _annotate(axes: Axes, x: float, y: float, colour: str) -> None:
    """Write the last value beside its point."""
    axes.plot([x], [y], marker="o", markersize=4, color=colour)
    text = f"{y:,.0f}" if abs(y) >= 100 else f"{y:.3g}"
    at, point = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}, (x, y)
    axes.annotate(text, point, color=colour, fontweight="bold", annotation_clip=False, **at)  # type: ignore[arg-type]


def _label(axes: Axes, panel: Panel, x: str) -> None:
    """Label the axes and set their limits, with a margin for values at a limit."""
    (low, high), (shown_low, shown_high) = panel.limits, axes.get_ylim()
    low, high = shown_low if low is None else low, shown_high if high is None else high
    margin = 0.04 * (high - low)
    axes.set(xlabel=x, ylabel=panel.label, xlim=(0, None), ylim=(low - margin, high + margin))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for side in (axes.xaxis, axes.yaxis):
        if max(map(abs, side.get_view_interval())) >= 1e4:
            side.set_major_formatter(EngFormatter(sep=""))


def _name(figure: Figure, axes: Axes, panel: Panel, runs: Sequence[Run]) -> None:
    """Write the title and the legend."""
    presets = {run.preset for run in runs} - {runs[0].family, "custom"}
    title = runs[0].family + (f", preset {presets.pop()}" if len(presets) == 1 else "")
    lines, names = axes.get_legend_handles_labels()
    if lines:
        legend = figure.legend(
            lines, [textwrap.fill(name, MAX_CHARACTERS) for name in names], loc="outside upper left", fontsize=9
        )
        legend.set_title(title, FontProperties(weight="bold", size=12))
        legend.set_alignment("left")
    else:
        axes.set_title(title)
        axes.text(0.5, 0.5, panel.absent, transform=axes.transAxes, ha="center", color="grey")
