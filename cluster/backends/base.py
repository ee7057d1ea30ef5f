"""The border between the loop and whoever does its work: threads and processes of this machine, or Ray.

    loop --submit(work, actor, weights)--> actor    --> Collected | Failed | Lost
    loop --learn(call, experience)-------> learner  --> Learned | CallLost
    loop --resize(n)---------------------> more actors, or fewer: at once

The loop (`cluster.run.loop`) hands out work and reads events in the order they happen. It never sees a trajectory or a parameter: it passes
handles, which a backend makes and resolves (the object itself on one machine, an object reference on Ray). A backend replaces actors that
die or hang (`cluster.backends.fleet`) and gives no work out again by itself: what is done when is the schedule's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from actors.messages import Part, Report, Work
from learners.algorithm import Progress
from learners.trajectory import Snapshot

Handle = Any
"""A payload or a snapshot, or a reference to one: only the backend that made it looks inside."""


@dataclass(frozen=True, kw_only=True)
class LearnCall:
    """What the learner is asked.

    Attributes:
        part: learn from a round's experience, or keep the best after its evaluation.
        progress: where the run stands.
        score: of the evaluation; None for an update.
    """

    part: Part
    progress: Progress
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class LearnReport:
    """What the learner says of one call, which may hold several updates.

    Attributes:
        version: number of updates behind the weights after the call.
        num_updates: updates made by the call.
        busy_s: seconds spent on them.
        scalars: means over the call's updates, by metric name (`loss/policy`, `gradient/norm`, ...).
        digest: sha256 of the weights, for a run with a journal; empty otherwise.
    """

    version: int
    num_updates: int
    busy_s: float
    scalars: dict[str, float] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class Collected:
    """A unit of work is done."""

    work: Work
    report: Report
    payload: Handle = None


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Our own code or an environment raised in a worker, which is well.

    Attributes:
        work: what it was at; None while its collector was made.
        error: what was raised, with the far side's traceback as a note.
        worker: who, for a person.
    """

    work: Work | None
    error: Exception
    worker: str


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A worker died, hung past its deadline, or was taken away. Where it was lost a new one has its place already.

    Attributes:
        actor: its index.
        work: what it was at; None when nothing.
        reason: one line for the log.
        is_wanted: it was taken away by `resize`, so nothing is wrong with its work.
    """

    actor: int
    work: Work | None
    reason: str
    is_wanted: bool = False


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The learner finished a call."""

    report: LearnReport
    weights: Handle


@dataclass(frozen=True, kw_only=True)
class CallLost:
    """The oldest learner call made no update: a payload was lost with the machine that held it. The learner itself is well."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One line that a person should read, and that changes nothing for the loop."""

    line: str


Event = Collected | Failed | Lost | Learned | CallLost | Notice


class Backend(Protocol):
    """Actors and one learner, wherever they run. Its methods are called from the loop's own thread.

    A learner that fails is no event: `wait` raises its error, and the run ends with it.

    Attributes:
        num_actors: how many are wanted.
    """

    num_actors: int

    def start(self, learner_state: dict[str, Any] | None) -> tuple[LearnReport, Handle]:
        """Start the learner, from a checkpointed state if one is given, and actors, which may not answer yet; return its weights."""

    def put(self, snapshot: Snapshot) -> Handle:
        """A handle for weights that the loop holds itself (those of a checkpoint)."""

    def get(self, weights: Handle) -> Snapshot:
        """The weights behind a handle."""

    def free(self) -> list[int]:
        """The actors that are up and have nothing to do, the one that waits longest first."""

    def submit(self, work: Work, actor: int, weights: Handle) -> None:
        """Give work to a free actor; returns at once."""

    def learn(self, call: LearnCall, experience: Sequence[Handle]) -> None:
        """Start a learner call on this experience, in this order; returns at once. Calls are worked off in order."""

    def wait(self, timeout_s: float) -> list[Event]:
        """Block until something happened, at most `timeout_s`; return all that did, in the order in which it did."""

    def resize(self, num_actors: int) -> list[Event]:
        """Have so many actors; return what those that go leave behind, as `Lost` that is wanted."""

    def learner_state(self) -> dict[str, Any]:
        """The learner's whole state (`learners.state_dict`); asked for while no call is under way."""

    def num_alive(self) -> int:
        """How many actors are up and answer."""

    @property
    def must_drain(self) -> bool:
        """Whether work is under way that cannot be ended, so that a loop that stops waits for it a moment."""

    def close(self) -> None:
        """Stop everything that this backend started."""
