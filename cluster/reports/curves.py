"""Learning curves as a picture: return over environment steps, beneath it each meta-parameter that was tuned, throughput and policy lag.

Runs of one preset, family and eta stand together as seeds of one experiment: their mean, each of them as a thin line, and a band from the
lowest seed to the highest. A single run has a band from the 10th to the 90th percentile of its last 100 episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from cluster.store.metrics import read_metrics, series
from cluster.store.run_directory import RunDirectory, read_json
from envs.errors import InvalidInputError

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito (2008): told apart with any kind of colour vision, and in grey."""

GRID_POINTS = 400
"""Points at which the curves of several seeds are compared: finer than a picture shows."""

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
"""Of every picture of the project."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The course of one run.

    Attributes:
        name: name of its folder.
        group: the experiment that it is a seed of.
        seed: its seed.
        records: its metrics.
    """

    name: str
    group: str
    seed: int
    records: list[dict[str, Any]]

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Environment steps and values [R] of the metric `name`."""
        return series(self.records, name)


def read_curve(directory: RunDirectory) -> Curve:
    """Read the course of a run.

    Raises:
        InvalidInputError: the run has logged nothing yet.
    """
    records = read_metrics(directory.metrics_file)
    if not records:
        raise InvalidInputError(f"the run {directory.path} has no metrics yet: nothing to plot")
    config = read_json(directory.config_file)
    preset, family = config.get("preset", "custom"), config.get("family", "")
    group = family if preset in (family, "custom") else f"{family}, preset {preset}"
    if config.get("eta"):
        group += f", eta = {{{', '.join(config['eta'])}}}"
    return Curve(name=directory.path.name, group=group, seed=int(config.get("seed", 0)), records=records)


def draw_runs(directories: Sequence[RunDirectory], file: Path) -> None:
    """Draw the learning curves of runs; see `draw`."""
    draw([read_curve(directory) for directory in directories], file)


def draw(curves: Sequence[Curve], file: Path) -> None:
    """Draw all `curves` into one picture at `file`; the ending of its name says which format.

    Raises:
        InvalidInputError: the folder is not there or the format is unknown.
    """
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.group, []).append(curve)
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its stub wants a literal for each of 300 keys
        etas = _etas(curves)
        num_eta_rows = (len(etas) + 1) // 2
        figure = Figure(figsize=(8.5, 6.0 + 1.8 * num_eta_rows), layout="constrained")
        rows = figure.add_gridspec(2 + num_eta_rows, 2, height_ratios=(3, *[1.2] * num_eta_rows, 1))
        top, speed, lag = figure.add_subplot(rows[0, :]), figure.add_subplot(rows[-1, 0]), figure.add_subplot(rows[-1, 1])
        cells = [rows[1 + i // 2, i % 2] if i + 1 < len(etas) or i % 2 else rows[1 + i // 2, :] for i in range(len(etas))]
        tuned = {name: figure.add_subplot(cell) for name, cell in zip(etas, cells, strict=True)}
        for (group, members), colour in zip(groups.items(), _colours(len(groups)), strict=True):
            _draw_returns(top, group, members, colour)
            for member in members:
                for name, axes in tuned.items():
                    axes.plot(*member.series(name), color=colour, linewidth=1.3)
                _draw_small(speed, member, "throughput/env_steps_per_s", colour)
                _draw_small(lag, member, "lag/mean", colour)
        for name, axes in tuned.items():
            _label_axes(axes, name.removeprefix("eta/").replace("_", " "))
        _label(top, speed, lag, groups)
        try:
            figure.savefig(file, dpi=150)
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"cannot write the picture {file}: {error}") from None


def _etas(curves: Sequence[Curve]) -> list[str]:
    """Names of the tuned meta-parameters' metrics, in the order of their first appearance."""
    return list(dict.fromkeys(name for curve in curves for name in curve.records[-1] if name.startswith("eta/")))


def _draw_returns(axes: Axes, group: str, members: Sequence[Curve], colour: str) -> None:
    courses = [course for member in members if (course := member.series("return/mean_100"))[0].size]
    if not courses:
        return
    if len(courses) == 1:
        steps, values = courses[0]
        _draw_percentiles(axes, members, colour)
        axes.plot(steps, values, color=colour, linewidth=1.8, label=group)
        last_step, last = steps[-1], values[-1]
    else:
        # from where every seed has a value to where the first of them ended
        grid = np.linspace(max(steps[0] for steps, _ in courses), min(steps[-1] for steps, _ in courses), GRID_POINTS)
        on_grid = np.stack([np.interp(grid, *course) for course in courses])
        axes.fill_between(grid, on_grid.min(axis=0), on_grid.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        for steps, values in courses:
            axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.5)
        axes.plot(grid, on_grid.mean(axis=0), color=colour, linewidth=2.0, label=f"{group}: mean of {len(courses)} seeds")
        last_step, last = grid[-1], on_grid[:, -1].mean()
    axes.plot([last_step], [last], marker="o", markersize=4, color=colour)
    axes.annotate(
        f"{last:,.0f}" if abs(last) >= 100 else f"{last:.3g}",
        (last_step, last),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        fontweight="bold",
        annotation_clip=False,
    )


def _draw_percentiles(axes: Axes, members: Sequence[Curve], colour: str) -> None:
    for member in members:
        steps, low = member.series("return/p10_100")
        high_steps, high = member.series("return/p90_100")
        if steps.size and np.array_equal(steps, high_steps):
            axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def _draw_small(axes: Axes, curve: Curve, name: str, colour: str) -> None:
    """Draw a noisy metric: as it was, thin, and its running mean over it."""
    steps, values = curve.series(name)
    if not steps.size:
        return
    width = min(values.size, max(1, values.size // 20))
    padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
    axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.35)
    axes.plot(steps, np.convolve(padded, np.full(width, 1 / width), mode="valid"), color=colour, linewidth=1.3)


def _label(top: Axes, speed: Axes, lag: Axes, groups: dict[str, list[Curve]]) -> None:
    top.set_ylabel("return (mean of the last 100 episodes)")
    speed.set_ylabel("steps/s")
    lag.set_ylabel("lag (updates)")
    for axes in (top, speed, lag):
        _label_axes(axes, axes.get_ylabel())
    speed.yaxis.set_major_formatter(EngFormatter(sep=""))
    speed.set_ylim(bottom=0)
    lag.set_ylim(bottom=0)
    if not top.lines:
        top.text(0.5, 0.5, "no episode has ended yet", transform=top.transAxes, ha="center", color="grey")
    members = [member for group in groups.values() for member in group]
    if len(members) == 1:
        band = ", band: 10th to 90th percentile" if members[0].series("return/p10_100")[0].size else ""
        top.set_title(members[0].group)
        top.text(1, 1.02, f"seed {members[0].seed}{band}", transform=top.transAxes, ha="right", color="#555555", fontsize=9)
        return
    if len(groups) == 1:
        top.set_title(next(iter(groups)))
        top.text(
            1,
            1.02,
            f"{len(members)} seeds: mean, lowest to highest",
            transform=top.transAxes,
            ha="right",
            color="#555555",
            fontsize=9,
        )
        return
    top.set_title("Learning curves")
    top.legend(loc="best")


def _label_axes(axes: Axes, name: str) -> None:
    axes.set_ylabel(name)
    axes.set_xlabel("environment steps")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)


def _colours(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]
