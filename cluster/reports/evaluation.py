"""Evaluation of a policy: the plan of its episodes, its figures, and its output.

Episodes of one sampled task are not independent, so standard error and interval are over tasks. Where a family has a single task, they are
over episodes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from cluster.reports.bootstrap import mean_estimate
from cluster.run.display import number
from envs.errors import InvalidInputError
from envs.registry import resolve
from learners.trajectory import Episode

MAX_SLOTS = 64
"""Environments in parallel, unless more tasks are requested: enough for the simulators' threads, few enough for Atari's memory."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The episodes of an evaluation.

    Attributes:
        num_draws: sampled tasks; for a family of a single task, the number of its copies.
        slots_per_draw: environments with the same task in parallel.
        per_slot: episodes of each environment.
        has_one_task: the family has a single task.
    """

    num_draws: int
    slots_per_draw: int
    per_slot: int
    has_one_task: bool

    @property
    def num_tasks(self) -> int:
        """Number of distinct tasks."""
        return 1 if self.has_one_task else self.num_draws

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return self.num_draws * self.slots_per_draw * self.per_slot

    def __str__(self) -> str:
        return f"{self.num_tasks} {'task' if self.num_tasks == 1 else 'tasks'}"


def plan_for(family: str, num_episodes: int, num_tasks: int | None) -> Plan:
    """Spread episodes over tasks, rounded up so that each environment has the same number.

    Args:
        family: task family.
        num_episodes: at least.
        num_tasks: at most `num_episodes`; None for one each, up to 64.

    Raises:
        InvalidInputError: a number of tasks is given, and the family has a single one.
    """
    has_one_task = not resolve(family).parameters
    if num_tasks is None:
        per_slot = -(-num_episodes // MAX_SLOTS)
        return Plan(num_draws=-(-num_episodes // per_slot), slots_per_draw=1, per_slot=per_slot, has_one_task=has_one_task)
    if has_one_task:
        raise InvalidInputError(f"--num-tasks {num_tasks}: {family} has a single task, so leave it out")
    per_task = -(-num_episodes // num_tasks)
    slots = max(count for count in range(1, max(1, MAX_SLOTS // num_tasks) + 1) if per_task % count == 0)
    return Plan(num_draws=num_tasks, slots_per_draw=slots, per_slot=per_task // slots, has_one_task=False)


def figures(episodes: Sequence[Episode], plan: Plan) -> dict[str, Any]:
    """Return the figures of episodes, which are sorted by task."""
    returns = np.array([episode.episode_return for episode in episodes])
    values = returns if plan.has_one_task else returns.reshape(plan.num_draws, -1).mean(axis=1)
    estimate = mean_estimate(values.tolist())
    low, median, high = (float(value) for value in np.percentile(returns, (0, 50, 100)))
    return {
        "num_cut": sum(episode.is_cut for episode in episodes),
        "mean_return": float(returns.mean()),
        "standard_error": float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else None,
        "interval_95": None if estimate.low is None else [estimate.low, estimate.high],
        "min_return": low,
        "median_return": median,
        "max_return": high,
        "mean_length": float(np.mean([episode.length for episode in episodes])),
    }


def row(episode: Episode) -> dict[str, Any]:
    """An episode as JSON."""
    found = {"task": dict(episode.task.params), "return": episode.episode_return, "length": episode.length}
    return found | {"cut": True} if episode.is_cut else found


def show(content: Mapping[str, Any], plan: Plan, written: str) -> None:
    """Print an evaluation and the file that it is `written` to; warn of truncated episodes on standard error."""
    if content["num_cut"]:
        print(
            f"metaray: {content['num_cut']} of {content['num_episodes']} episodes had not ended after "
            f"{content['max_episode_steps']:,} steps and count with their return so far; --max-episode-steps N sets another limit",
            file=sys.stderr,
        )
    ends, over = content["interval_95"], f"{content['num_episodes']} episodes" if plan.has_one_task else str(plan)
    interval = f"95 % interval {number(ends[0])} to {number(ends[1])}" if ends else "no interval: too few, or all equal"
    console = Console(highlight=False)
    for line in (
        f"[bold]{escape(content['family'])}[/], {content['tasks']} tasks, weights after {content['env_steps']:,} steps",
        f"  return   [bold green]{number(content['mean_return'])}[/] (mean over {over}; {interval})",
        f"  spread   {number(content['min_return'])} to {number(content['max_return'])}, median {number(content['median_return'])}",
        f"  episodes {content['num_episodes']} of {plan}, {content['mean_length']:,.0f} steps each",
        f"  written  {escape(written)}",
    ):
        console.print(line, soft_wrap=True)
