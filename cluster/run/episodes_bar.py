"""The progress bar of a command that runs episodes or lifetimes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextlib.contextmanager
def episodes_bar(total: int, what: str = "evaluate", unit: str = "episodes") -> Iterator[Callable[[int], None]]:
    """Show a bar of `total` units on standard error; the block is given a function that sets the number of finished ones."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    console = Console(stderr=True)
    # in a pipe it would leave an empty line behind
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task(what, total=total)
        yield lambda finished: bar.update(shown, completed=finished)
