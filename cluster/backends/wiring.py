"""The border between the main loop and whatever carries its work: threads in this process, or Ray.

The loop (`cluster.run.loop`) hands out unrolls and updates and reads events in the order they finish. It never sees a trajectory or a
parameter: it passes handles, which a wiring makes and resolves (the object itself in one process, an object reference on Ray).

    loop --unroll(UnrollRequest, weights)--> actor i  --> Unrolled(report, trajectory handle) | ActorLost | ActorFailed
    loop --learn(trajectory handles)-------> learner  --> Learned(report, weights handle) | CallLost
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from actors.messages import UnrollReport, UnrollRequest
from learners.trajectory import Snapshot

Handle = Any
"""A trajectory or a snapshot, or a reference to one: only the wiring that made it looks inside."""

MAX_LOST_IN_A_ROW = 5
"""Workers that one seat may lose with nothing finished in between; then it is no accident."""


@dataclass(frozen=True, kw_only=True)
class LearnReport:
    """What the learner says of one call, which may hold several updates.

    Attributes:
        version: number of updates behind the weights after the call.
        num_updates: updates made by the call.
        busy_s: seconds spent on them.
        scalars: means over the call's updates, by metric name (`loss/policy`, `gradient_norm`, ...).
    """

    version: int
    num_updates: int
    busy_s: float
    scalars: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Unrolled:
    """An actor finished an unroll."""

    report: UnrollReport
    trajectory: Handle


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The learner finished a call."""

    report: LearnReport
    weights: Handle


@dataclass(frozen=True, kw_only=True)
class ActorLost:
    """An actor died, or hung past its deadline; a fresh one stands in its place already, with nothing to do.

    Attributes:
        actor: its index.
        lost: the request that died with it; the loop issues it again.
        reason: one line for the log, with the actor's id.
    """

    actor: int
    lost: UnrollRequest
    reason: str


@dataclass(frozen=True, kw_only=True)
class ActorFailed:
    """An actor's own code, or that of its environments, raised: the run ends with it, and the loop saves the learner first.

    Attributes:
        error: what was raised.
    """

    error: Exception


@dataclass(frozen=True, kw_only=True)
class CallLost:
    """The oldest learner call made no update: a trajectory of its was lost with the machine that held it. The learner itself is well.

    Attributes:
        reason: one line for the log.
    """

    reason: str


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that a person should read, and that changes nothing for the loop.

    Attributes:
        line: for the log.
    """

    line: str


Event = Unrolled | Learned | ActorLost | ActorFailed | CallLost | Notice


class Wiring(Protocol):
    """A fleet of actors and one learner, wherever they run.

    A learner that fails is no event: `wait` raises its error, and the run ends with it.
    """

    num_actors: int

    def start(self, learner_state: dict[str, Any] | None) -> tuple[int, Handle]:
        """Start actors and learner, the learner from a checkpointed state if one is given.

        Returns:
            The learner's version (number of updates behind its weights), and the weights.
        """

    def weights_of(self, snapshot: Snapshot) -> Handle:
        """A handle for weights that the loop holds itself (those of a checkpoint)."""

    def snapshot_of(self, weights: Handle) -> Snapshot:
        """The weights behind a handle."""

    def unroll(self, request: UnrollRequest, weights: Handle) -> None:
        """Start an unroll; returns at once. At most one is under way per actor."""

    def learn(self, trajectories: Sequence[Handle]) -> None:
        """Start a learner call on these trajectories, in this order; returns at once. Calls are worked off in order."""

    def wait(self, timeout_s: float) -> list[Event]:
        """Block until something finished, at most `timeout_s`; return all that finished, in the order it finished."""

    def learner_state(self) -> dict[str, Any]:
        """The learner's whole state (`learners.state_dict`), after every call started so far."""

    def actors_alive(self) -> int:
        """How many actors are up and answer."""

    def close(self) -> None:
        """Stop everything that this wiring started."""
