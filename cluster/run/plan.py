"""The units of a round: the interface between the synchronous schedule and what an algorithm collects."""

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
        progress: an argument of its update.
        units_per_call: units of one learner call; 0 for all.
        done: reports that exist already, by index (from the journal of a resumed run).
    """

    works: tuple[Work, ...]
    progress: Progress
    units_per_call: int = 0
    done: Mapping[int, Report] = field(default_factory=dict)


class Plan(Protocol):
    """Makes the rounds of a run.

    Attributes:
        is_journalled: results are journalled, so that a stop need not wait for the end of a round.
        max_failures: a unit that fails so often, by an exception or its worker's death, ends the run.
    """

    is_journalled: bool
    max_failures: int

    def train(self, number: int) -> RoundPlan:
        """The round with this number."""

    def evaluation(self, number: int, *, is_last: bool) -> RoundPlan | None:
        """The evaluation after this many rounds; None where none is due."""

    def score(self, reports: Sequence[Report]) -> float:
        """The score of an evaluation."""

    def describe(self, work: Work) -> str:
        """A unit of work in words."""
