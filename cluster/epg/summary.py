"""How an outer loop's run ended: `summary.json`, and the last words on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from cluster.epg.config import EpgRunConfig
from cluster.epg.observer import EpgResult
from cluster.epg.replay import phi_sha256
from cluster.reports.curves import draw_runs
from cluster.run.closing import picture_of
from cluster.run.display import clock, number
from cluster.store.run_directory import RunDirectory, write_json
from cluster.store.summary import finite
from cluster.store.versions import library_versions


def write_summary(
    directory: RunDirectory, config: EpgRunConfig, result: EpgResult, wall_s: float, command: str
) -> dict[str, Any]:
    """Write the summary of a run and return it.

    Args:
        directory: the run.
        config: what it was asked to do.
        result: what the loop says.
        wall_s: wall time of the whole run, start-up and the processes before a resume included, in seconds.
        command: what was typed.
    """
    lives_per_s, env_steps_per_s = result.rates
    summary = {
        "preset": config.preset,
        "family": config.family,
        "algorithm": config.algorithm,
        "seed": config.seed,
        "finished": result.reason != "stopped by signal",
        "reason": result.reason,
        "epochs": result.epochs,
        "num_epochs": config.num_epochs,
        "env_steps": result.env_steps,
        "lives": result.lives,
        "lives_not_finite": result.not_finite,
        "cut_episodes": result.cut_episodes,
        "wall_s": round(wall_s, 3),
        "train_s": round(result.train_s, 3),
        "lives_per_s": round(lives_per_s, 3),
        "env_steps_per_s": round(env_steps_per_s, 1),
        "actor_utilisation": round(result.actor_utilisation, 4),
        "driver_share": round(result.driver_share, 4),
        "fitness_mean": finite(result.fitness_mean),
        "score": finite(result.score),
        "best_score": finite(result.best_score),
        "lost_actors": result.lost_actors,
        "reissued_chunks": result.reissued_chunks,
        "num_parameters": int(result.phi.size),
        "parameters_sha256": phi_sha256(result.phi),
        "versions": library_versions(),
        "command": command,
    }
    write_json(directory.summary_file, summary)
    return summary


def say_how_it_ended(directory: RunDirectory, summary: dict[str, Any], is_local: bool, console: Console | None = None) -> None:
    """Draw the picture and print the last lines of a run."""
    console = console or Console(highlight=False)
    run, where = escape(str(directory.path)), " --local" if is_local else ""
    ended = (
        f"[bold]finished[/]: {summary['reason']}"
        if summary["finished"]
        else "[bold yellow]stopped[/], all that was lived is kept"
    )
    took = (
        f"{summary['epochs']:,} epochs, {summary['lives']:,} lives, {summary['env_steps']:,} steps in {clock(summary['train_s'])}"
    )
    best = summary["best_score"]
    score = "no evaluation yet" if best is None else f"[bold green]{number(best)}[/] (best evaluation)"
    lines = [f"{ended} - {took}", f"  score    {score}"]
    lines += [f"  speed    {summary['lives_per_s']:,.2f} lives/s, {summary['env_steps_per_s']:,.0f} steps/s"]
    if summary["lives_not_finite"]:
        lines.append(f"  lives    {summary['lives_not_finite']:,} of {summary['lives']:,} not finite (see {run}/log.txt)")
    if summary["lost_actors"]:
        lines.append(f"  lost     {summary['lost_actors']} actors, replaced (see {run}/log.txt)")
    picture = picture_of(directory, draw_runs)
    lines += [f"  picture  {escape(picture)}"] if picture else []
    lines += [f"  run      {run}", "next"]
    if not summary["finished"]:
        lines.append(f"  [cyan]metaray resume {run}{where}[/]  go on from here")
    lines += [
        f"  [cyan]metaray adapt {run}[/]  train fresh policies with the evolved loss on held-out tasks, and PPO beside them",
        f"  [cyan]metaray journal {run} --verify[/]  make phi again from the journal and compare",
        f"  [cyan]tensorboard --logdir {run}/tb[/]  look at every metric",
    ]
    for line in lines:
        console.print(line, soft_wrap=True)
