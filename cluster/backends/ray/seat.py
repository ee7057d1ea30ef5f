"""The place of one worker in a run on Ray: what it was asked, whether it answers, and what takes its place when it does not.

    seat:  pending --a node has room--> building --made ready--> up --asked--> up ...
             ^                                                      |
             +---- a new worker, when the old one died or hung <----+

No worker is restarted by Ray itself, which would run calls again in another order; a lost worker's seat gets a new one, and whoever asked
is told what was lost. An error raised by our own code on the far side is raised here, as it was there.

A worker is an actor with three calls: `place()` answers at once with a `Place`, `build()` makes it ready, and the third is what it is for.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cluster.backends.ray.calls import LostError, fetch, kill, named
from cluster.backends.ray.workers import Place
from cluster.backends.wiring import MAX_LOST_IN_A_ROW

log = logging.getLogger("metaray")

BUILD_DEADLINE_S = 300.0
"""For making a worker's environments, beside other workers that do the same on the same cores."""
OPTIONS: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
"""Of every worker that has a seat: never restarted by Ray, and on whichever node has most room."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A worker answered.

    Attributes:
        asked: what it was asked.
        value: the small part of its answer.
        rest: references to what else the call returns.
    """

    asked: Any
    value: Any
    rest: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A worker died or hung; a new one has its seat.

    Attributes:
        asked: what it was asked.
        reason: one line for the log.
    """

    asked: Any
    reason: str


class HopelessSeatError(RuntimeError):
    """One seat's workers are lost before they finish anything, time and again."""


class Seat:
    """One seat.

    Args:
        make: makes a worker of a given name.
        name: of the workers of this seat, in Ray.
        role: what a person calls the seat: `actor 3`.
        unit: what a worker is asked for, in words: `an unroll`.
        deadline_s: seconds after which a worker that was asked counts as hung.

    Attributes:
        stage: see the module's docstring.
        place: where the worker lives, once it is known.
        asked: what the worker is at; None when nothing.
    """

    def __init__(self, make: Callable[[str], Any], *, name: str, role: str, unit: str, deadline_s: float) -> None:
        self._make, self._name, self._role, self._unit, self._deadline_s = make, name, role, unit, deadline_s
        self._lost_in_a_row = 0
        self._fill()

    def _fill(self) -> None:
        """Ask for a new worker."""
        self._worker = named(self._make, self._name)
        self.stage: Literal["pending", "building", "up"] = "pending"
        self.place: Place | None = None
        self._since = time.monotonic()
        # calls to one worker are worked off in order, so both may be sent off, and what it is for behind them
        self._gates = deque([self._worker.place.remote(), self._worker.build.remote()])
        self.asked: Any = None
        self._refs: tuple[Any, ...] = ()

    @property
    def who(self) -> str:
        """The seat and its worker, for a person."""
        return f"{self._role} ({self.place or 'not up yet'})"

    def ask(self, what: Any, call: Callable[[Any], Any]) -> None:
        """Start `call(worker)`, whose first or only reference is the small part of the answer.

        A worker that is not up yet does it when it is.
        """
        refs = call(self._worker)
        self.asked, self._refs = what, tuple(refs) if isinstance(refs, list | tuple) else (refs,)
        if self.stage == "up":
            self._since = time.monotonic()

    def watched(self) -> list[Any]:
        """References that say something when they are ready."""
        return ([self._gates[0]] if self._gates else []) + list(self._refs[:1])

    def take_in(self, ref: Any) -> Answer | Loss | None:
        """Take in a reference that is ready.

        Raises:
            Exception: what our own code raised over there; the worker is well, and free again.
        """
        try:
            if self._gates and ref == self._gates[0]:
                self._pass_gate(fetch(ref, self.who))
                return None
            if not self._refs or ref != self._refs[0]:
                return None  # of a worker that is gone by now
            value = fetch(ref, self.who)
        except LostError as error:
            return self._replace(f"died: {error}")
        except Exception:
            self.asked, self._refs = None, ()
            raise
        asked, rest, self.asked, self._refs = self.asked, self._refs[1:], None, ()
        self._lost_in_a_row = 0
        return Answer(asked=asked, value=value, rest=rest)

    def _pass_gate(self, answer: Place | None) -> None:
        self._gates.popleft()
        self._since = time.monotonic()
        if answer is not None:
            self.place, self.stage = answer, "building"
        else:
            self.stage = "up"
            log.info("%s is up", self.who)

    def overdue(self, now: float) -> Loss | None:
        """Replace a worker that does not answer in time; one that waits for a node has all the time there is."""
        if self.stage == "building":
            late = now - self._since > max(BUILD_DEADLINE_S, self._deadline_s)
        else:
            late = self.stage == "up" and bool(self._refs) and now - self._since > self._deadline_s
        return self._replace(f"hung: no answer for {now - self._since:.0f} s") if late else None

    def _replace(self, reason: str) -> Loss | None:
        """Put a new worker into the seat.

        Returns:
            The loss, when there was something to lose.

        Raises:
            HopelessSeatError: it is of no use.
        """
        who, lost = self.who, self.asked
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= MAX_LOST_IN_A_ROW:
            raise HopelessSeatError(
                f"{who}: {MAX_LOST_IN_A_ROW} workers in a row were lost without finishing {self._unit}; the last one {reason}"
            )
        kill(self._worker)
        self._fill()
        line = f"{who} {reason}; a new one takes its place"
        if lost is None:  # it had nothing to do, so nothing is lost but time
            log.warning(line)
            return None
        return Loss(asked=lost, reason=line)

    def close(self) -> None:
        """End the worker."""
        kill(self._worker)
