"""The progress display of a run: a live panel on a terminal, plain lines in a pipe, or events only.

    terminal   a panel redrawn in place: bar, speed, return with its recent curve, lag, and which side waits
    pipe       a line every few seconds, so that a log file stays readable
    quiet      events only

Colours follow the NO_COLOR convention (rich honours it).
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cluster.run.observer import Status

if TYPE_CHECKING:
    from cluster.algorithms import Row

log = logging.getLogger("metaray")

PLAIN_EVERY_S = 5.0
"""Seconds between plain lines: a run of an hour leaves 720 of them."""

PIPED_TABLE_WIDTH = 240

SPARK_WIDTH = 28
COUNTED = {"lives": "lifetimes"}
"""What the stored name of a count stands for, where that is another word."""
LABEL_STYLE = "dim"


class Terminal(Console):
    """Standard output, whose reader may close it (`| head -1`): the run continues, and nothing more is printed.

    Attributes:
        has_run: whether a run prints here, which is then said to continue; a table just ends.
    """

    has_run = True

    def on_broken_pipe(self) -> None:
        """Print nothing more; rich itself would end the program."""
        if self.has_run:
            log.warning("the reader of standard output has closed it; the run continues without progress")
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush at exit would fail again


def make_progress(
    row: Row, title: str, run: str, place: str, *, unit: str, quiet: bool, console: Console | None = None
) -> Progress:
    """Return the progress display that suits where the output goes.

    Args:
        row: of the algorithm; names the figures that are shown.
        title: what is trained, for the title.
        run: path of the run directory.
        place: where it runs, for the first line, since a start may take a while.
        unit: a unit of work, in words: `chunk`.
        quiet: show events only.
        console: where to print; standard output when None.
    """
    console = console or Terminal(highlight=False)
    drawing = Drawing(row, title, run, unit)
    if quiet:
        return Progress(console)
    if console.is_terminal and not console.is_dumb_terminal:
        return LivePanel(console, f"{title}: starting {place} ...", drawing)
    lines = PlainLines(console, drawing)
    lines.event(f"{title}: starting {place} -> {run}")
    return lines


def table_console() -> Console:
    """The console for a table: as wide as the terminal, and in a pipe wide enough that a row stays a line for `grep`."""
    console = Terminal(highlight=False)
    console.has_run = False
    if not console.is_terminal:
        console.width = max(console.width, PIPED_TABLE_WIDTH)
    return console


class Progress:
    """Shows a run as it goes; this one shows events only."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def update(self, status: Status) -> None:
        """Show the status."""

    def event(self, line: str) -> None:
        """Show a line that stays on the screen."""
        self._console.print(escape(line), soft_wrap=True)

    def close(self) -> None:
        """Show the cursor again, with the last state above it."""


class PlainLines(Progress):
    """A line every few seconds, and always one at the end."""

    def __init__(self, console: Console, drawing: Drawing) -> None:
        super().__init__(console)
        self._drawing = drawing
        self._next = 0.0
        self._unprinted: Status | None = None

    def update(self, status: Status) -> None:
        """Print it, if the last line is old enough."""
        self._unprinted = status
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_EVERY_S
            self.close()

    def close(self) -> None:
        """Print the last state, so that the log says where the run ended."""
        if self._unprinted is not None:
            self.event(self._drawing.line(self._unprinted))
            self._unprinted = None


class LivePanel(Progress):
    """A panel that is redrawn in place."""

    def __init__(self, console: Console, first: str, drawing: Drawing) -> None:
        super().__init__(console)
        self._drawing = drawing
        self._live = Live(Text(first), console=console, auto_refresh=False, transient=False)
        self._live.start(refresh=True)

    def update(self, status: Status) -> None:
        """Redraw."""
        self._live.update(self._drawing.panel(status), refresh=True)

    def event(self, line: str) -> None:
        """Print it above the panel."""
        self._console.print(Text(line, style="yellow"))

    def close(self) -> None:
        """Stop redrawing; the panel stays."""
        self._live.stop()


class Drawing:
    """Draws the status of a run as a line or a panel; keeps the curve of its headline figure.

    Args:
        row: the algorithm.
        title: what is trained.
        run: path of the run directory.
        unit: a unit of work, in words.
    """

    def __init__(self, row: Row, title: str, run: str, unit: str) -> None:
        self._row, self._title, self._run, self._unit = row, title, run, unit
        self._course: list[float] = []

    def line(self, status: Status) -> str:
        """One line of a status, the parts in fixed places."""
        left = f"  {clock(status.eta_s)} left" if status.eta_s is not None and self._row.round_name else ""
        parts = [f"{clock(status.elapsed_s):>7}", self._done(status), speed(status.figures)]
        parts += [f"{shown.label} {shown.text(status.figures):>8}" for shown in (*self._row.headline, *self._row.shown)]
        parts += [f"actors {status.actors_alive}/{status.num_actors}", status.waiting.in_words()]
        tuned = tuned_in_words(status.figures)
        return "  ".join(part for part in (*parts, tuned) if part) + left

    def _done(self, status: Status) -> str:
        if not self._row.round_name:
            return f"{status.env_steps:>12,} steps {status.share:4.0%}"
        rounds = f"{self._row.round_name} {status.rounds:>5}/{status.total_rounds} {status.share:4.0%}"
        return rounds + (f"  {self._units(status)} {status.done}/{status.total}" if status.part else "")

    def _units(self, status: Status) -> str:
        """The name of the units in progress: of a round, or of its evaluation."""
        return f"evaluation {self._unit}s" if status.part == "evaluate" else f"{self._unit}s"

    def panel(self, status: Status) -> Panel:
        """A panel of a status, with the curve of its first headline figure."""
        row, figures = self._row, status.figures
        if row.headline[0].figure in figures:
            self._course.append(figures[row.headline[0].figure])
        total = f"{status.total_rounds:,} {row.round_name}s" if row.round_name else ""
        of = f"{row.round_name} {status.rounds:,} of {total}" if row.round_name else f"{short(status.env_steps)} steps"
        head = bar(status.share, f"[bold]{status.share:.0%}[/]  {of}")
        rows = two_by_two()
        left = f", {clock(status.eta_s)} left" if status.eta_s is not None else ""
        rows.add_row("speed", speed(figures), "time", clock(status.elapsed_s) + left)
        course = Text(sparkline(self._course, SPARK_WIDTH), style="green")
        first, *others = (*row.headline, *row.shown)
        rows.add_row(first.label, f"[bold green]{escape(first.text(figures))}[/]", "curve", course)
        for one, other in zip(others[::2], [*others[1::2], None], strict=False):
            second = ("", "") if other is None else (other.label, other.text(figures))
            rows.add_row(one.label, one.text(figures), *second)
        missing = "" if status.actors_alive == status.num_actors else "[bold red]"
        lost = f", {status.lost_actors} lost and replaced" if status.lost_actors else ""
        at_work = f"actors {status.waiting.actors:.0%}, learner {status.waiting.learner:.0%}"
        rows.add_row("actors", f"{missing}{status.actors_alive} of {status.num_actors}{lost}", "at work", at_work)
        units = f"{self._units(status)} {status.done} of {status.total}" if status.part else ""
        rows.add_row("waiting", status.waiting.in_words(), "under way" if units else "", units)
        if tuned := tuned_in_words(figures):
            rows.add_row("tuned", tuned)
        return framed(head, rows, status.last_event, self._title, f"{self._run} - Ctrl-C saves and stops")


def speed(figures: Mapping[str, float]) -> str:
    """Rates: `3.2 lifetimes/s, 28,968 steps/s`."""
    rates = {name[11:-6]: value for name, value in figures.items() if name.startswith("throughput/") and name.endswith("_per_s")}
    steps = f"{rates.pop('env_steps', 0.0):,.0f} steps/s"
    return ", ".join([*(f"{value:,.2f} {COUNTED.get(name, name)}/s" for name, value in rates.items()), steps])


def tuned_in_words(figures: Mapping[str, float]) -> str:
    """Write meta-parameters: `gamma 0.9812, lambda 0.95`."""
    tuned = {name[4:]: value for name, value in figures.items() if name.startswith("eta/")}
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in tuned.items())


def bar(share: float, text: str) -> Table:
    """The head of a panel: how much is done, and what that is."""
    head = Table.grid(padding=(0, 1), expand=True)
    head.add_column(ratio=1)
    head.add_column(no_wrap=True)
    head.add_row(ProgressBar(total=1.0, completed=share, complete_style="cyan", finished_style="green"), text)
    return head


def two_by_two() -> Table:
    """The body of a panel: rows of label, value, label, value."""
    rows = Table.grid(padding=(0, 2))
    for style in (LABEL_STYLE, "", LABEL_STYLE, ""):
        rows.add_column(style=style, no_wrap=True, min_width=7 if style else 24)
    return rows


def framed(head: Table, rows: Table, last_event: str, title: str, foot: str) -> Panel:
    """The whole panel."""
    parts: list[Table | Text] = [head, rows]
    if last_event:
        parts.append(Text(last_event, style="yellow", no_wrap=True, overflow="ellipsis"))
    return Panel(
        Group(*parts),
        title=f"[bold]{escape(title)}[/]",
        title_align="left",
        subtitle=f"[dim]{escape(foot)}[/]",
        subtitle_align="left",
        border_style="blue",
    )


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw `values` in at most `width` characters, from their smallest to their largest."""
    if not values:
        return ""
    groups = min(width, len(values))
    means = [
        sum(part) / len(part)
        for i in range(groups)
        if (part := values[i * len(values) // groups : (i + 1) * len(values) // groups])
    ]
    low, high = min(means), max(means)
    bars = "▁▂▃▄▅▆▇█"
    return "".join(bars[min(7, int((mean - low) / (high - low) * 8))] if high > low else bars[0] for mean in means)


def clock(seconds: float) -> str:
    """Write a time: `0:41`, `12:05`, `1:02:03`."""
    minutes, second = divmod(int(max(0.0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def short(count: int) -> str:
    """Write a count in few characters: `950`, `12.3k`, `4.00M`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if count >= limit:
            scaled = count / (1e3 if unit == "k" else limit)
            return f"{scaled:.2f}{unit}" if scaled < 10 else f"{scaled:.1f}{unit}"
    return str(count)


def number(value: float) -> str:
    """Write a return: four figures where it is small, thousands set apart where it is large."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
