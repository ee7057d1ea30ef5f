"""What the rounds of a synchronous run are made of: the border between the schedule and what an algorithm collects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from actors.messages import Report, Work
from learners.algorithm import Progress


@dataclass(frozen=True, kw_only=True)
class RoundPlan:
    """What makes up a round, or its evaluation.

    Attributes:
        works: its units, by index.
        progress: what its update is told.
        units_per_call: units of a learner call; all of them where 0.
        done: reports that are there already, by index (of a run that was resumed from a journal).
    """

    works: tuple[Work, ...]
    progress: Progress
    units_per_call: int = 0
    done: Mapping[int, Report] = field(default_factory=dict)


class Plan(Protocol):
    """What the rounds of a run are made of.

    Attributes:
        is_journalled: what was collected is kept by the plan, so that a stop need not wait for a round's end.
        max_failures: a unit that fails so often, by an exception or its worker's death, ends the run.
    """

    is_journalled: bool
    max_failures: int

    def train(self, number: int) -> RoundPlan:
        """The round that is to begin."""

    def evaluation(self, number: int, *, is_last: bool) -> RoundPlan | None:
        """The evaluation of the weights after so many rounds; None where none is due."""

    def score(self, reports: Sequence[Report]) -> float:
        """What an evaluation says of the weights."""

    def describe(self, work: Work) -> str:
        """A unit of work in words, for a person."""
