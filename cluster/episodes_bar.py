"""The bar that an evaluation shows while its episodes are played."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextlib.contextmanager
def episodes_bar(total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of `total` episodes on standard error; the block is given what to tell the number of finished ones."""
    columns = (TextColumn("evaluate"), BarColumn(), MofNCompleteColumn(), TextColumn("episodes"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task("evaluate", total=total)
        yield lambda finished: bar.update(shown, completed=finished)
