"""What a person sees of a run while it trains: a live panel on a terminal, plain lines in a pipe, or nothing.

    terminal   a panel redrawn in place: bar, speed, return with its recent course, lag, and who waits for whom
    pipe       a line every few seconds, so that a log file stays readable
    quiet      events only

Colours follow the NO_COLOR convention (rich honours it).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cluster.run.observer import Status

PLAIN_EVERY_S = 5.0
"""Seconds between plain lines: a run of an hour leaves 720 of them."""

PIPED_TABLE_WIDTH = 240

SPARK_WIDTH = 28
LABEL_STYLE = "dim"


StatusT = TypeVar("StatusT")
SeenT = TypeVar("SeenT", contravariant=True)


class Drawing(Protocol[SeenT]):
    """How the status of one kind of loop looks."""

    def line(self, status: SeenT) -> str:
        """As one line, the parts in fixed places."""

    def panel(self, status: SeenT) -> Panel:
        """As a panel; may keep what it has seen, to show a course."""


class Progress(Protocol[SeenT]):
    """Shows a run as it goes."""

    def update(self, status: SeenT) -> None:
        """Show where the run stands."""

    def event(self, line: str) -> None:
        """Show one line that stays."""

    def close(self) -> None:
        """Leave the terminal as a program should: cursor shown, the last state above it."""


def make_progress(title: str, run: str, place: str, *, quiet: bool, console: Console | None = None) -> Progress[Status]:
    """Return the progress display of a central learner; see `progress_of`."""
    return progress_of(LearnerDrawing(title, run), title, run, place, quiet=quiet, console=console)


def progress_of(
    drawing: Drawing[StatusT], title: str, run: str, place: str, *, quiet: bool, console: Console | None = None
) -> Progress[StatusT]:
    """Return the progress display that suits where the output goes.

    Args:
        drawing: how a status looks.
        title: what is trained, for the panel's head.
        run: path of the run directory, for its foot.
        place: where it runs, for the first line: starting may take a while.
        quiet: show events only.
        console: where to; the process's standard output when None.
    """
    console = console or Console(highlight=False)
    if quiet:
        return Quiet(console)
    if console.is_terminal and not console.is_dumb_terminal:
        return LivePanel(console, f"{title}: starting {place} ...", drawing)
    console.print(escape(f"{title}: starting {place} -> {run}"), soft_wrap=True)
    return PlainLines(console, drawing)


def table_console() -> Console:
    """The console for a table: as wide as the terminal, and in a pipe wide enough that a row stays a line for `grep`."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPED_TABLE_WIDTH)
    return console


class Quiet:
    """Events only."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def update(self, status: object) -> None:
        """Show nothing."""

    def event(self, line: str) -> None:
        """Print it."""
        self._console.print(escape(line), soft_wrap=True)

    def close(self) -> None:
        """Nothing to put back."""


class PlainLines(Quiet, Generic[StatusT]):
    """A line every few seconds, and always one at the end."""

    def __init__(self, console: Console, drawing: Drawing[StatusT]) -> None:
        super().__init__(console)
        self._drawing = drawing
        self._next = 0.0
        self._unprinted: StatusT | None = None

    def update(self, status: StatusT) -> None:  # type: ignore[override]  # what is quiet takes any
        """Print it, if the last line is old enough."""
        self._unprinted = status
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_EVERY_S
            self._print()

    def close(self) -> None:
        """Print the last state, so that the log says where the run ended."""
        self._print()

    def _print(self) -> None:
        if self._unprinted is not None:
            self._console.print(escape(self._drawing.line(self._unprinted)), soft_wrap=True)
            self._unprinted = None


class LivePanel(Generic[StatusT]):
    """A panel that is redrawn in place."""

    def __init__(self, console: Console, first: str, drawing: Drawing[StatusT]) -> None:
        self._drawing = drawing
        self._live = Live(Text(first), console=console, auto_refresh=False, transient=False)
        self._live.start(refresh=True)

    def update(self, status: StatusT) -> None:
        """Redraw."""
        self._live.update(self._drawing.panel(status), refresh=True)

    def event(self, line: str) -> None:
        """Print it above the panel."""
        self._live.console.print(Text(line, style="yellow"))

    def close(self) -> None:
        """Stop redrawing; the panel stays."""
        self._live.stop()


class LearnerDrawing:
    """How a central learner's status looks."""

    def __init__(self, title: str, run: str) -> None:
        self._title, self._run = title, run
        self._returns: list[float] = []

    def line(self, status: Status) -> str:
        """See `Drawing`."""
        return plain_line(status)

    def panel(self, status: Status) -> Panel:
        """See `Drawing`."""
        if status.mean_return is not None:
            self._returns.append(status.mean_return)
        return panel(status, self._returns, self._title, self._run)


def panel(status: Status, returns: Sequence[float], title: str, run: str) -> Panel:
    """Draw the panel of a status, with the course of the mean return so far."""
    share = status.share
    head = bar(share, f"[bold]{share:.0%}[/]  {short(status.env_steps)} of {short(status.total_env_steps)} steps")
    rows = two_by_two()
    left = f", {clock(status.eta_s)} left" if status.eta_s is not None else ""
    rows.add_row("speed", f"[bold]{status.env_steps_per_s:,.0f}[/] steps/s", "time", clock(status.elapsed_s) + left)
    mean = "no episode yet" if status.mean_return is None else f"[bold green]{number(status.mean_return)}[/]"
    best = "" if status.best_return is None else f"  [dim]best {number(status.best_return)}[/]"
    rows.add_row("return", mean + best, "course", Text(sparkline(returns, SPARK_WIDTH), style="green"))
    rows.add_row("lag", f"{status.mean_lag:.1f} mean, {status.max_lag} max", "updates", f"{status.learner_updates:,}")
    missing = "" if status.actors_alive == status.num_actors else "[bold red]"
    busy = status.waiting
    at_work = f"actors {busy.actors:.0%}, learner {busy.learner:.0%}"
    rows.add_row("actors", f"{missing}{status.actors_alive} of {status.num_actors}", "at work", at_work)
    rows.add_row("waiting", busy.in_words())
    if status.tuned:
        rows.add_row("tuned", in_words(status.tuned))
    return framed(head, rows, status.last_event, title, f"{run} - Ctrl-C saves a checkpoint and stops")


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


def plain_line(status: Status) -> str:
    """One line of a status, the parts in fixed places."""
    share = status.share
    mean = "-" if status.mean_return is None else number(status.mean_return)
    return (
        f"{clock(status.elapsed_s):>7}  {status.env_steps:>12,} steps {share:4.0%}  {status.env_steps_per_s:>9,.0f} steps/s  "
        f"return {mean:>8}  lag {status.mean_lag:4.1f} (max {status.max_lag})  "
        f"actors {status.actors_alive}/{status.num_actors}  {status.waiting.in_words()}"
        + (f"  {in_words(status.tuned)}" if status.tuned else "")
    )


def in_words(tuned: Mapping[str, float]) -> str:
    """Write meta-parameters: `gamma 0.9812, lambda 0.95`."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in tuned.items())


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw the course of `values` in at most `width` characters, from their smallest to their largest."""
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
    """Write a time as people read it: `0:41`, `12:05`, `1:02:03`."""
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
