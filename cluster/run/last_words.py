"""What a person reads when a run has ended: how it went, where everything is, and what to type next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from cluster.reports.curves import draw_runs
from cluster.run.display import clock, number
from cluster.store.run_directory import RunDirectory
from envs.errors import InvalidInputError


def say_how_it_ended(directory: RunDirectory, summary: dict[str, Any], is_local: bool, console: Console | None = None) -> None:
    """Draw the learning curve and print the last lines of a run."""
    console = console or Console(highlight=False)
    run, wiring = escape(str(directory.path)), " --local" if is_local else ""
    final = summary["final_return"]
    mean = (
        "no episode ended"
        if final is None
        else f"[bold green]{number(final)}[/] (mean of the last {min(100, summary['episodes'])} episodes)"
    )
    ended = f"[bold]finished[/]: {summary['reason']}" if summary["finished"] else "[bold yellow]stopped[/] with a checkpoint"
    took = f"{summary['env_steps']:,} steps in {clock(summary['train_s'])}, {summary['env_steps_per_s']:,.0f} steps/s"
    lines = [f"{ended} - {took}, {summary['learner_updates']:,} updates", f"  return   {mean}"]
    if summary["lost_actors"]:
        lines.append(f"  lost     {summary['lost_actors']} actors, replaced (see {run}/log.txt)")
    picture = picture_of(directory, draw_runs)
    lines += [f"  picture  {escape(picture)}"] if picture else []
    lines += [f"  run      {run}", "next"]
    if not summary["finished"]:
        lines.append(f"  [cyan]metaray resume {run}{wiring}[/]  go on from here")
    lines += [
        f"  [cyan]metaray evaluate {run}[/]  play whole episodes of held-out tasks",
        f"  [cyan]metaray plot {run} ...[/]  compare it with other runs",
        f"  [cyan]tensorboard --logdir {run}/tb[/]  look at every metric",
    ]
    for line in lines:
        console.print(line, soft_wrap=True)


def picture_of(directory: RunDirectory, draw_runs: Callable[[Sequence[RunDirectory], Path], None]) -> str | None:
    """Draw the picture of a run and return where it is; None where the run was too short to have one."""
    try:
        draw_runs([directory], directory.picture)
    except InvalidInputError:
        return None
    return str(directory.picture)
