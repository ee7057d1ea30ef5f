"""What passes between the main loop and an actor: a request for one unroll, and the small part of its answer.

The large part of the answer is the `Trajectory`, which the loop never opens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from learners.trajectory import Episode


@dataclass(frozen=True, kw_only=True)
class UnrollRequest:
    """One unit of acting: unroll number `round` of one actor.

    Attributes:
        actor: index of the actor.
        round: counts the unrolls of this actor from 0; with the run's seed it names every random draw of the unroll.
        policy_version: version of the weights sent along.
        wants_state: return what the actor's future depends on, taken after this unroll.
        state: go on from this state first: a replacement or a resumed run takes up where another actor stopped.
    """

    actor: int
    round: int
    policy_version: int
    wants_state: bool = False
    state: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class UnrollReport:
    """The small part of a finished unroll.

    Attributes:
        env_steps: environment steps taken (resets are none).
        episodes: episodes that ended in it.
        busy_s: seconds spent in policy and environment.
        where: host and process, for a person.
        settled: returns of episodes of which every one that began before them has ended too, in order of their starts
            (`actors.settled`): what a mean may be taken of.
        state: the actor's state after the unroll, when the request wanted it.
    """

    actor: int
    round: int
    policy_version: int
    env_steps: int
    episodes: tuple[Episode, ...]
    busy_s: float
    where: str
    settled: tuple[float, ...] = ()
    state: dict[str, Any] | None = None
