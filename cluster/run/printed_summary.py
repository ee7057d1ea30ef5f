"""What is printed when a run has ended: its results, its files, and the next commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from cluster.run.display import COUNTED, Terminal, clock, number
from cluster.store.run_directory import RunDirectory
from envs.errors import InvalidInputError

if TYPE_CHECKING:
    from cluster.algorithms import Row
    from cluster.run.workload import Workload


def print_summary(
    workload: Workload, directory: RunDirectory, summary: Mapping[str, Any], *, is_local: bool, console: Console | None = None
) -> None:
    """Draw the picture of a run and print its summary."""
    console, row = console or Terminal(highlight=False), workload.row
    run = escape(str(directory.path))
    lines = [f"{_ended(workload, summary)} - {_took(row, summary)}"]
    for shown in row.headline:
        value = summary["figures"].get(shown.figure)
        text = "none yet" if value is None else f"[bold green]{number(value)}[/] ({shown.about})"
        lines.append(f"  {shown.label:<8} {text}")
    counts = summary["counts"]
    spoiled = {
        name.removesuffix("/not_finite"): count for name, count in counts.items() if name.endswith("/not_finite") and count
    }
    lines += [
        f"  {COUNTED.get(name, name):<8} {count:,} of {counts[name]:,} not finite (see {run}/log.txt)"
        for name, count in spoiled.items()
    ]
    if summary["lost_actors"]:
        lines.append(f"  lost     {summary['lost_actors']} actors, replaced (see {run}/log.txt)")
    picture = picture_of(directory)
    lines += [f"  picture  {escape(picture)}"] if picture else []
    lines += [f"  run      {run}", "next"]
    if not summary["finished"]:
        lines.append(f"  [cyan]metaray resume {run}{' --local' if is_local else ''}[/]  continue from here")
    lines += [f"  [cyan]{escape(command.format(run=directory.path))}[/]  {about}" for command, about in row.next_commands]
    lines.append(f"  [cyan]tensorboard --logdir {run}/tb[/]  look at every metric")
    for line in lines:
        console.print(line, soft_wrap=True)


def _ended(workload: Workload, summary: Mapping[str, Any]) -> str:
    if summary["finished"]:
        return f"[bold]finished[/]: {summary['reason']}"
    return f"[bold yellow]stopped[/] {workload.stopped}"


def _took(row: Row, summary: Mapping[str, Any]) -> str:
    rounds = [f"{summary['rounds']:,} {row.round_name}s"] if row.round_name else [f"{summary['learner_updates']:,} updates"]
    counts = [f"{count:,} {COUNTED.get(name, name)}" for name, count in summary["counts"].items() if "/" not in name]
    steps = f"{summary['env_steps']:,} steps in {clock(summary['train_s'])}, {summary['env_steps_per_s']:,.0f} steps/s"
    return ", ".join([*rounds, *counts, steps])


def picture_of(directory: RunDirectory) -> str | None:
    """Draw the picture of a run and return where it is; None where the run was too short to have one."""
    from cluster.reports.curves import draw_runs

    try:
        draw_runs([directory], directory.picture)
    except InvalidInputError:
        return None
    return str(directory.picture)
