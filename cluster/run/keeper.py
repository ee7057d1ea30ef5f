"""What a run keeps between events, besides its checkpoints: a journal, its size, the best weights. Most runs keep nothing (`Keeper`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from actors.messages import Part, Report, Work
from cluster.run.observer import Status
from cluster.run.schedule import RoundOver


class Keeper:
    """Keeps nothing; an algorithm whose results are journalled has one of its own.

    Attributes:
        checkpoint_every_s: seconds between checkpoints of a stream.
        checkpoint_every_rounds: rounds between those of rounds; None for a stream.
        logs_rounds: a line of metrics for each round, and not by the clock.
    """

    logs_rounds = False

    def __init__(self, *, checkpoint_every_s: float = math.inf, checkpoint_every_rounds: int | None = None) -> None:
        self.checkpoint_every_s, self.checkpoint_every_rounds = checkpoint_every_s, checkpoint_every_rounds

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
