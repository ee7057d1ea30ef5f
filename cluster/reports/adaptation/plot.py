"""Plot of return over the steps of a lifetime: the learned loss and PPO, on training tasks, held-out tasks, or both.

colour   learner                       line    solid for held-out tasks, dashed for training tasks
band     95 % interval of the mean     point   fitness: whole episodes with the final policy, beyond the last step

The band has a gap where all lifetimes have the same value, which has no interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from cluster.reports.adaptation.figures import Group
from cluster.reports.curves import COLOURS, STYLE
from envs.errors import InvalidInputError

NAMES = {"learned": "learned loss", "ppo": "PPO"}
SIDES = {"train": "training tasks", "test": "held-out tasks"}
_COLOURS = {"learned": COLOURS[0], "ppo": COLOURS[1]}
_LINES = {"train": "--", "test": "-"}

FIRST_POINT, POINT_GAP = 1.03, 0.022
"""Horizontal positions of the fitness points beyond the last step, in lengths of a lifetime."""


def draw(groups: Sequence[Group], file: Path, *, title: str) -> None:
    """Plot all `groups` to `file`, whose suffix is the format.

    Raises:
        InvalidInputError: the folder does not exist or the format is unknown.
    """
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its stub has a literal for each of 300 keys
        figure = Figure(figsize=(8.5, 5.0), layout="constrained")
        axes = figure.add_subplot()
        for index, group in enumerate(groups):
            _draw_group(axes, group, index, name_of(group, groups))
        _label(axes, groups, title)
        try:
            figure.savefig(file, dpi=150)
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"cannot write the plot {file}: {error}") from None


def name_of(group: Group, groups: Sequence[Group]) -> str:
    """The label of a group: its learner, and its tasks where there are both."""
    has_both = len({other.split for other in groups}) > 1
    return NAMES[group.learner] + (f", {SIDES[group.split]}" if has_both else "")


def _draw_group(axes: Axes, group: Group, index: int, name: str) -> None:
    colour, line = _COLOURS[group.learner], _LINES[group.split]
    if group.curve is not None:
        curve = group.curve
        axes.fill_between(curve.steps, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
        # a curve of one border is a point: a marker shows it
        axes.plot(
            curve.steps, curve.mean, line, color=colour, linewidth=2.0, marker="o" if curve.steps.size == 1 else "", label=name
        )
    fitness = group.fitness
    at = group.num_steps * (FIRST_POINT + POINT_GAP * index)
    if fitness.low is not None and fitness.high is not None:
        axes.plot([at, at], [fitness.low, fitness.high], color=colour, linewidth=1.5)
    fill = colour if group.split == "test" else "white"
    label = name if group.curve is None else "_nolegend_"
    axes.plot([at], [fitness.value], "o", color=colour, markerfacecolor=fill, markersize=6, label=label)


def _label(axes: Axes, groups: Sequence[Group], title: str) -> None:
    axes.set_title(title)
    counts = sorted({len(group.policies) for group in groups})
    tasks = f"{' and '.join(map(str, counts))} tasks, " if counts else ""
    note = f"{tasks}95 % intervals; points: whole episodes at the end"
    axes.text(1, 1.01, note, transform=axes.transAxes, ha="right", va="bottom", color="#555555", fontsize=9)
    sides = {group.split for group in groups}
    where = SIDES[next(iter(sides))] if len(sides) == 1 else "training and held-out tasks"
    axes.set_xlabel(f"environment steps of a lifetime, {where}")
    axes.set_ylabel("episode return")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
    end = max(group.num_steps for group in groups)
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= end])  # no ticks where only the points are
    axes.legend(loc="best")
