"""What depends on how a run collects: its schedule, and what it stores besides checkpoints (journal, requested size, best weights)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from actors.messages import Part, Report, Work
from cluster.backends.base import Handle
from cluster.run.observer import Status
from cluster.run.plan import RoundPlan
from cluster.run.rounds import Rounds
from cluster.run.schedule import RoundOver, Schedule
from learners.trajectory import Snapshot


class Keeper:
    """Base: stores nothing, and evaluates nothing. Each way of collecting has a subclass; it is the plan of its rounds as well.

    Args:
        first_round: the round to begin with.

    Attributes:
        is_journalled, max_failures: see `cluster.run.plan.Plan`.
        checkpoint_every_s: seconds between checkpoints of a stream.
        checkpoint_every_rounds: rounds between those of rounds; None for a stream.
        logs_rounds: write metrics after each round, not by the clock.
    """

    logs_rounds = False
    is_journalled = False
    max_failures = 1

    def __init__(
        self, *, first_round: int = 0, checkpoint_every_s: float = math.inf, checkpoint_every_rounds: int | None = None
    ) -> None:
        self.checkpoint_every_s, self.checkpoint_every_rounds = checkpoint_every_s, checkpoint_every_rounds
        self._first_round = first_round

    def schedule(
        self, version: int, weights: Handle, put: Callable[[Snapshot], Handle], is_ending: Callable[[], bool]
    ) -> Schedule:
        """Make the schedule of the run.

        Args:
            version: of the learner at its start.
            weights: its weights.
            put: makes a handle of weights.
            is_ending: whether a goal is reached.
        """
        start, first = {self._first_round: (version, weights)}, self._first_round
        return Rounds(self, lag=0, version=version, weights=start, first_round=first, is_ending=is_ending)

    def train(self, number: int) -> RoundPlan:
        """See `cluster.run.plan.Plan`."""
        raise NotImplementedError

    def evaluation(self, number: int, *, is_last: bool) -> RoundPlan | None:
        """See `cluster.run.plan.Plan`."""
        return None

    def score(self, reports: Sequence[Report]) -> float:
        """See `cluster.run.plan.Plan`."""
        return math.nan

    def sized(self, config: Any) -> Any:
        """The config with the requested size."""
        return config

    def wanted_actors(self, num_actors: int) -> tuple[int, str | None]:
        """The requested number of actors, and a warning to show, if any."""
        return num_actors, None

    def collected(self, reports: Sequence[Report]) -> None:
        """Store results, before anything uses them."""

    def complete(self, part: Part, works: Sequence[Work], reports: Sequence[Report]) -> list[str]:
        """Check what a learner call is about to learn from; return warnings, or raise to end the run."""
        return []

    def round_over(self, over: RoundOver, train_s: float, learner_state: Callable[[], dict[str, Any]]) -> None:
        """Store the end of a round."""

    def seen(self, status: Status) -> None:
        """Store the status of the run, for other processes."""

    def describe(self, work: Work) -> str:
        """A unit of work in words."""
        return f"unroll {work.round} of actor {work.index}"

    def close(self, learner_state: Callable[[], dict[str, Any]]) -> None:
        """The run has reached a goal, or was stopped."""
