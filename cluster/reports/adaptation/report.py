"""The results of an adaptation: a table for the terminal, and the content of its JSON file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from actors.chunks import NotFinite
from actors.fresh_policies import AdaptedPolicy
from cluster.reports.adaptation.figures import Comparison, Curve, Group
from cluster.reports.adaptation.plot import NAMES, SIDES
from cluster.reports.bootstrap import Estimate
from cluster.run.display import number
from cluster.run.lifetime_checks import LOOK_FOR, MAX_SHARE, cut_line, in_words
from cluster.store.summary import finite
from learners.learned_loss.inner_loop import LifetimeConfig

INTERVALS = "95 %: means and differences studentised (the farther of Student's and the bootstrap's ends), shares Clopper-Pearson"
"""Written to the file, so that its intervals are not mistaken for others."""


def show(groups: Sequence[Group], comparisons: Sequence[Comparison], console: Console) -> None:
    """Print the final fitness of each group, and below it the comparisons."""
    table = Table(box=None, pad_edge=False)
    table.add_column("tasks")
    table.add_column("trained by")
    for heading in ("lifetimes", "final fitness", "95 % interval"):
        table.add_column(heading, justify="right")
    for group in groups:
        table.add_row(
            SIDES[group.split],
            NAMES[group.learner],
            _count(group),
            f"[bold]{number(group.fitness.value)}[/]",
            _interval(group.fitness, number),
        )
    console.print(table)
    for one in comparisons:
        won = f"{100 * one.share_won.value:.0f} % of {one.num_tasks} tasks won"
        console.print(
            f"[bold]{SIDES[one.split]}[/]: learned loss - PPO, paired by task, {_signed(one.difference.value)} "
            f"({_interval(one.difference, _signed)}); {won} ({_interval(one.share_won, _percent)})",
            soft_wrap=True,
        )


def _count(group: Group) -> str:
    """Number of lifetimes of a figure: `32`, or `30 of 32` where the others have no finite fitness."""
    finite = sum(math.isfinite(policy.fitness) for policy in group.policies)
    return str(finite) if finite == len(group.policies) else f"{finite} of {len(group.policies)}"


def is_failed(group: Group) -> bool:
    """Whether most lifetimes of a group are not finite, so that its figures are those of a minority."""
    return len(group.not_finite) > MAX_SHARE * len(group.policies)


def warnings(groups: Sequence[Group], cut_episodes: int, life: LifetimeConfig) -> list[str]:
    """Return warnings: a line for each group with lifetimes that are not finite, and one for truncated episodes.

    Args:
        groups: all of them.
        cut_episodes: number of truncated fitness episodes of all lifetimes.
        life: settings of the inner loop.
    """
    lines = []
    for group in groups:
        bad = [NotFinite(life=one.number, what=one.not_finite, task=str(one.task)) for one in group.not_finite if one.not_finite]
        if bad:
            name = f"{NAMES[group.learner]}, {SIDES[group.split]}"
            what = f"{name}: {len(bad)} of {len(group.policies)} lifetimes are not finite ({in_words(bad)})"
            failed = f"the adaptation failed: {what}; {LOOK_FOR}"
            lines.append(failed if is_failed(group) else f"{what}; they are left out of the figures")
    if cut_episodes:
        lines.append(cut_line(cut_episodes, life.max_episode_steps))
    return lines


def content(groups: Sequence[Group], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return the content of the JSON file; values that are not finite become null."""
    return {
        "intervals": INTERVALS,
        "groups": [
            {
                "tasks": group.split,
                "trained_by": group.learner,
                "num_lives": len(group.policies),
                "num_not_finite": len(group.not_finite),
                "fitness": _estimate(group.fitness),
                "curve": None if group.curve is None else _curve(group.curve),
            }
            for group in groups
        ],
        "comparisons": [
            {
                "tasks": one.split,
                "num_tasks": one.num_tasks,
                "difference": _estimate(one.difference),
                "share_won": _estimate(one.share_won),
            }
            for one in comparisons
        ],
        "lives": [_life(life) for group in groups for life in group.policies],
    }


def _life(life: AdaptedPolicy) -> dict[str, Any]:
    return {
        "tasks": life.split,
        "trained_by": life.learner,
        "life": life.number,
        "task": dict(life.task.params),
        "fitness": finite(life.fitness),
        "not_finite": life.not_finite,
        "episodes": {
            "end_step": [episode.end_step for episode in life.episodes],
            "return": [finite(episode.episode_return) for episode in life.episodes],
            "length": [episode.length for episode in life.episodes],
        },
    }


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "num_lives": curve.num_lifetimes,
        "steps": curve.steps.tolist(),
        **{name: [finite(value) for value in getattr(curve, name).tolist()] for name in ("mean", "low", "high")},
    }


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    return {name: finite(value) for name, value in dataclasses.asdict(estimate).items()}


def _interval(estimate: Estimate, form: Any) -> str:
    if estimate.low is None or estimate.high is None:
        return "none: too few, or all equal"
    return f"{form(estimate.low)} to {form(estimate.high)}"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value)}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def show_lines(console: Console, lines: dict[str, str]) -> None:
    """Print labelled lines, such as where the files are."""
    for name, text in lines.items():
        console.print(f"  {name:<9} {escape(text)}", soft_wrap=True)
