"""The interface between the loop and the workers: threads and processes of this machine, or Ray.

    loop --submit(work, actor, weights)--> actor    --> Collected | Failed | Lost
    loop --learn(call, experience)-------> learner  --> Learned | CallLost
    loop --resize(n)---------------------> more actors, or fewer: at once

The loop (`cluster.run.loop`) submits work and reads events in the order in which they happen. It never sees a trajectory or a parameter:
it passes handles, which a backend makes and resolves (the object itself on one machine, an object reference on Ray). A backend replaces
actors that die or hang (`cluster.backends.fleet`) and never retries work by itself: the schedule decides that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from actors.messages import Collector, Report, Work
from learners.algorithm import Progress
from learners.trajectory import Snapshot

MakeCollector = Callable[[int], Collector]
"""Makes the collector of an actor, given its index; small and picklable, since it is called in the worker."""
Handle = Any
"""A payload or a snapshot, or a reference to one: only the backend that made it looks inside."""


@dataclass(frozen=True, kw_only=True)
class LearnCall:
    """A request to the learner: to learn from a round's experience, or to keep the best after its evaluation.

    Attributes:
        progress: of the run.
        score: of the evaluation; None for an update.
    """

    progress: Progress
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class LearnReport:
    """The report of one learner call, which may make several updates.

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
    """A unit of work is complete."""

    work: Work
    report: Report
    payload: Handle = None


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Our own code or an environment raised in a worker; the worker itself keeps running.

    Attributes:
        work: of the worker; None while its collector was made.
        error: what was raised, with the traceback of the worker as a note.
        worker: which one, in words.
    """

    work: Work | None
    error: Exception
    worker: str


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A worker died, hung past its deadline, or was removed on request. A lost one has been replaced already.

    Attributes:
        actor: its index.
        work: of the worker; None when it was idle.
        reason: one line for the log.
        is_wanted: it was removed by `resize`, so its work did not fail.
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
    """The oldest learner call made no update: a payload was lost with the machine that held it. The learner itself keeps running."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One line for the user, without an effect on the loop."""

    line: str


Event = Collected | Failed | Lost | Learned | CallLost | Notice


class Learner(Protocol):
    """The learner, in a thread or in a process of its own."""

    def learn(self, call: LearnCall, experience: Sequence[Any]) -> None:
        """Start a call on this experience, in this order; returns at once. Calls run in order."""

    def state(self) -> dict[str, Any]:
        """The learner's whole state (`learners.state_dict`); called while no learner call is running."""

    def close(self) -> None:
        """End it."""


class Backend(Protocol):
    """Actors and one learner, wherever they run. Its methods are called from the thread of the loop.

    A learner that fails is no event: `wait` raises its error, and the run ends with it.

    Attributes:
        num_actors: the requested number.
        learner: from its start on.
    """

    num_actors: int
    learner: Learner

    def start(self, learner_state: dict[str, Any] | None) -> tuple[LearnReport, Handle]:
        """Start the learner, from a checkpointed state if one is given, and the actors, which need not be up yet; return its weights."""

    def put(self, snapshot: Snapshot) -> Handle:
        """A handle for weights of a checkpoint."""

    def get(self, weights: Handle) -> Snapshot:
        """The weights behind a handle."""

    def free(self) -> list[int]:
        """The actors that are up and idle, the one idle for longest first."""

    def submit(self, work: Work, actor: int, weights: Handle) -> None:
        """Give work to a free actor; returns at once."""

    def wait(self, timeout_s: float) -> list[Event]:
        """Block until there is an event, at most `timeout_s`; return all events, in the order in which they happened."""

    def resize(self, num_actors: int) -> list[Event]:
        """Change the number of actors; return the unfinished work of removed ones as `Lost` with `is_wanted`."""

    def num_alive(self) -> int:
        """How many actors are up."""

    @property
    def must_drain(self) -> bool:
        """Whether work is running that cannot be interrupted, so that a loop that stops waits for it a moment."""

    def close(self) -> None:
        """Stop everything that this backend started."""
