"""The border between the main loop and whatever carries its work: threads in this process, or Ray.

The loop (`cluster.loop`) hands out unrolls and updates and reads events in the order they finish. It never sees a trajectory or a parameter:
it passes handles, which a wiring makes and resolves (the object itself in one process, an object reference on Ray).

    loop --unroll(UnrollRequest, weights)--> actor i  --> Unrolled(report, trajectory handle) | ActorLost
    loop --learn(trajectory handles)-------> learner  --> Learned(report, weights handle)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from learners.trajectory import Episode

Handle = Any
"""A trajectory or a snapshot, or a reference to one: only the wiring that made it looks inside."""


@dataclass(frozen=True, kw_only=True)
class UnrollRequest:
    """One unit of acting: unroll number `round` of one actor.

    Attributes:
        actor: index of the actor.
        round: counts the unrolls of this actor from 0; with the run's seed it names every random draw of the unroll.
        policy_version: version of the weights sent along.
        wants_state: return what the actor's future depends on, taken after this unroll, for a checkpoint.
    """

    actor: int
    round: int
    policy_version: int
    wants_state: bool = False


@dataclass(frozen=True, kw_only=True)
class UnrollReport:
    """The small part of a finished unroll, read by the loop.

    Attributes:
        env_steps: environment steps taken (resets are none).
        episodes: episodes that ended in it.
        busy_s: seconds spent in policy and environment.
        where: host and process, for a person.
        state: the actor's state after the unroll, when the request wanted it.
    """

    actor: int
    round: int
    policy_version: int
    env_steps: int
    episodes: tuple[Episode, ...]
    busy_s: float
    where: str
    state: dict[str, Any] | None = None


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


Event = Unrolled | Learned | ActorLost


class Wiring(Protocol):
    """A fleet of actors and one learner, wherever they run.

    A learner that fails is no event: `wait` raises its error, and the run ends with it.
    """

    num_actors: int

    def initial_weights(self) -> Handle:
        """The learner's weights before its first update of this process."""

    def unroll(self, request: UnrollRequest, weights: Handle) -> None:
        """Start an unroll; returns at once. At most one is under way per actor."""

    def learn(self, trajectories: Sequence[Handle]) -> None:
        """Start a learner call on these trajectories, in this order; returns at once. Calls are worked off in order."""

    def wait(self, timeout_s: float) -> list[Event]:
        """Block until something finished, at most `timeout_s`; return all that finished, in the order it finished."""

    def learner_state(self) -> dict[str, Any]:
        """The learner's whole state as `learners.impala.state_to_arrays` gives it, after every call started so far."""

    def close(self) -> None:
        """Stop everything that this wiring started."""
