"""Messages between the loop and an actor: a unit of work, and its report.

loop --Work, weights--> collector --Report--> loop        small; journalled where a run has a journal
                                  --payload-> learner     a `Trajectory`, say: the loop passes it on by reference and never opens it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from learners.trajectory import Episode, Snapshot

Part = Literal["train", "evaluate"]
"""Part of a round: what its update learns from, or the evaluation of the weights after it."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One unit of work.

    Attributes:
        round: which round; with `index` and the run's seed it names every random draw of the unit.
        index: which unit of its round.
        actor: index of the actor whose state it continues; None where any actor may do it, or two of them.
        part: which part of its round.
        size: how long it takes, relative to other units of a run (such as lifetimes in lockstep).
        request: further input of its collector.
        wants_state: return the actor's state after this unit.
        state: restore this state first: a replacement or a resumed run continues from where another actor stopped.
    """

    round: int
    index: int
    actor: int | None = None
    part: Part = "train"
    size: int = 1
    request: Any = None
    wants_state: bool = False
    state: dict[str, Any] | None = None

    @property
    def key(self) -> tuple[Part, int, int]:
        """Names it within its run."""
        return self.part, self.round, self.index


@dataclass(frozen=True, kw_only=True)
class Report:
    """The small part of a finished unit of work.

    Attributes:
        env_steps: environment steps taken (resets are none).
        busy_s: seconds spent in policy, environment and, where the actor learns, updates.
        episodes: of training that ended in it, where their returns are the run's.
        settled: returns in order of their episodes' starts (see `actors.episodes`): what a mean may be taken of.
        counts: what is added up over a run, by metric name.
        figures: what is averaged over the units of a round, by metric name.
        samples: what a histogram is drawn of, by metric name.
        state: the actor's state after the unit, where its work wanted it.
    """

    env_steps: int
    busy_s: float
    episodes: tuple[Episode, ...] = ()
    settled: tuple[float, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    state: dict[str, Any] | None = None


class Collector(Protocol):
    """Does the work of one actor. An algorithm's units are a pure function of what made it, the work (with its state) and the weights."""

    def collect(self, work: Work, weights: Snapshot) -> tuple[Report, Any]:
        """Do a unit of work; return its report and its payload (None where the report is all that is learned from)."""

    def stop(self) -> None:
        """End the unit under way soon, with an error; called from another thread. A collector that cannot may do nothing."""

    def close(self) -> None:
        """Free the environments."""
