"""What a run keeps between events, besides its checkpoints: its schedule, a journal, its size, the best weights."""

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
    """Keeps nothing, in rounds that nothing evaluates; each way of collecting has one of its own.

    Args:
        first_round: the round to begin with.

    Attributes:
        is_journalled, max_failures: see `cluster.run.plan.Plan`.
        checkpoint_every_s: seconds between checkpoints of a stream.
        checkpoint_every_rounds: rounds between those of rounds; None for a stream.
        logs_rounds: a line of metrics for each round, and not by the clock.
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
        """The config with the size that is wanted at the start."""
        return config

    def wanted_actors(self, num_actors: int) -> tuple[int, str | None]:
        """How many actors a person wants by now, and a line to say."""
        return num_actors, None

    def collected(self, reports: Sequence[Report]) -> None:
        """Keep what was collected, before anything is done that depends on it."""

    def complete(self, part: Part, works: Sequence[Work], reports: Sequence[Report]) -> list[str]:
        """Look at what a learner call is about to learn from; return lines to say, or raise what ends the run."""
        return []

    def round_over(self, over: RoundOver, train_s: float, learner_state: Callable[[], dict[str, Any]]) -> None:
        """Keep how a round ended."""

    def seen(self, status: Status) -> None:
        """Note where the run stands, for others to see."""

    def describe(self, work: Work) -> str:
        """A unit of work in words, for a person."""
        return f"unroll {work.round} of actor {work.index}"

    def close(self, learner_state: Callable[[], dict[str, Any]]) -> None:
        """The run has ended well, or was stopped."""
