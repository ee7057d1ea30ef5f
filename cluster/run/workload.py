"""What the actors of a run do, by how its experience is collected: the base of `cluster.run.unrolls`, `.adaptation` and `.lifetimes`.

A workload knows no algorithm: learner and headline come from the row, the rest from config fields that all runs with that collection share.
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from actors.messages import Report, Work
from cluster.backends.base import Handle, MakeCollector
from cluster.run.observer import Status
from cluster.run.round_units import RoundPlan
from cluster.run.schedule import RoundOver, Schedule
from cluster.store.run_directory import RunDirectory
from learners.networks.spaces import SpaceSpec
from learners.trajectory import Snapshot

if TYPE_CHECKING:
    from cluster.algorithms import Row

ALWAYS = ("max_train_seconds", "keep_checkpoints", "log_every_s")
"""Settings that may change in every resumed run."""
Payload = dict[str, Any]
"""Of a checkpoint: `learner`, `statistics`, and what the schedule needs."""


class Workload(ABC):
    """The work of one run: its units and rounds, what its workers need, and what is stored besides checkpoints.

    Methods with a body in here are those of a run that stores nothing and evaluates nothing.

    Args:
        row: the algorithm.
        config: of the run.

    Attributes:
        length, length_unit: the setting of how long a run is, and what it counts, in words.
        schedule_length: the setting of the length of schedules; null for that of the run.
        sizes: the settings that a driver follows while it runs (`cluster.store.scaling`).
        in_threads: on one machine its actors are threads; else more than one are processes.
        learner_on_driver: its learner takes so little that on Ray it is a thread of the driver.
        unit: a unit of work, in words: `unroll`.
        stopping, stopped: what a stop does and did, in words.
        logs_rounds: write metrics after each round, not by the clock.
        is_journalled: results are journalled, so that a stop need not wait for the end of a round.
        max_failures: a unit that fails so often, by an exception or its worker's death, ends the run.
        checkpoint_every_s: seconds between checkpoints of a stream.
        checkpoint_every_rounds: rounds between those of rounds; None for a stream.
        deadline_s: seconds after which an actor that was given work counts as hung.
        num_cpus: logical CPUs of an actor.
    """

    length: str
    length_unit: str
    schedule_length: str
    sizes: tuple[str, ...] = ()
    in_threads = False
    learner_on_driver = False
    unit: str
    stopping: str
    stopped: str
    logs_rounds = False
    is_journalled = False
    max_failures = 1
    checkpoint_every_s = math.inf
    checkpoint_every_rounds: int | None = None
    deadline_s: float
    num_cpus = 1

    def __init__(self, row: Row, config: Any) -> None:
        self.row, self.config = row, config

    @property
    def scheduled(self) -> int:
        """The length of schedules."""
        length = getattr(self.config, self.schedule_length)
        return int(getattr(self.config, self.length) if length is None else length)

    @abstractmethod
    def schedule_line(self, done: int) -> str | None:
        """Return a line about the schedules of a run that is longer or shorter than they are; None in any other.

        Args:
            done: how much of its length the run has behind it.
        """

    @abstractmethod
    def may_change(self) -> tuple[str, ...]:
        """The settings that may change when a run is resumed (`cluster.run.resuming`)."""

    @abstractmethod
    def length_done(self, directory: RunDirectory) -> int:
        """How much of its length a run has behind it."""

    @abstractmethod
    def preflight(self, *, is_local: bool) -> None:
        """Check the config against the family and the machine, before any process starts.

        Raises:
            InvalidInputError: names the settings, and what would do.
        """

    @abstractmethod
    def collector(self) -> MakeCollector:
        """What makes the collectors."""

    @abstractmethod
    def spaces(self) -> SpaceSpec:
        """The spaces that the learner acts in."""

    @abstractmethod
    def store_bytes(self) -> int:
        """Bytes of shared memory for what travels on Ray."""

    @abstractmethod
    def restore(self, directory: RunDirectory, *, is_resumed: bool) -> Payload | None:
        """Where the run continues; None at its beginning."""

    @contextlib.contextmanager
    def opened(self, directory: RunDirectory, payload: Payload | None) -> Iterator[None]:
        """Keep open what the run stores, for as long as the block takes; `payload` is what it continues from."""
        self._payload = payload
        yield

    @abstractmethod
    def schedule(
        self, version: int, weights: Handle, put: Callable[[Snapshot], Handle], is_ending: Callable[[], bool]
    ) -> Schedule:
        """Make the schedule of an opened run.

        Args:
            version: of the learner at its start.
            weights: its weights.
            put: makes a handle of weights.
            is_ending: whether a goal is reached.
        """

    @abstractmethod
    def train(self, number: int) -> RoundPlan:
        """The round with this number."""

    def evaluation(self, number: int, *, is_last: bool) -> RoundPlan | None:
        """The evaluation after this many rounds; None where none is due."""
        return None

    def score(self, reports: Sequence[Report]) -> float:
        """The score of an evaluation."""
        return math.nan

    @abstractmethod
    def describe(self, work: Work) -> str:
        """A unit of work in words."""

    @property
    def num_actors(self) -> int:
        """The number of actors that is requested now."""
        return int(self.config.num_actors)

    def look(self) -> str | None:
        """Look whether another size is requested; return a warning to show, if any."""
        return None

    def collected(self, reports: Sequence[Report]) -> None:
        """Store results, before anything uses them."""

    def complete(self, works: Sequence[Work], reports: Sequence[Report]) -> list[str]:
        """Check what a learner call is about to learn from; return warnings, or raise to end the run."""
        return []

    def round_over(self, over: RoundOver, train_s: float, learner_state: Callable[[], dict[str, Any]]) -> None:
        """Store the end of a round."""

    def seen(self, status: Status) -> None:
        """Store the status of the run, for other processes."""

    def close(self, learner_state: Callable[[], dict[str, Any]]) -> None:
        """The run has reached a goal, or was stopped."""
