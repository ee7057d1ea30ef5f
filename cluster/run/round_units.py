"""The units of one round, or of its evaluation: waiting, running or done.

    waiting --take-->  running  --done------> done
       ^                  |
       +-- given back ----+

A unit without an actor may run twice: where nothing is waiting, a straggler is also given to a free worker.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from actors.messages import Report, Work
from cluster.backends.base import Handle
from cluster.run.schedule import Done
from learners.algorithm import Progress

STRAGGLER_FACTOR = 2.0
"""A unit that takes this many times the median is a straggler. Workers are idle at the end of a round only, and a copy that starts too
early would occupy its worker when the next round starts."""
STRAGGLER_MIN_S = 1.0
"""Seconds below which a copy costs more than it saves."""
MIN_TIMES = 3
"""Results before the median is used."""
MAX_COPIES = 2


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


class Pace:
    """The median time of a unit per size, from submission to result."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=64)
        self._usual: float | None = None

    def add(self, seconds: float, size: int) -> None:
        """Add the time of a unit."""
        self._times.append(seconds / size)
        self._usual = None

    def patience(self, size: int) -> float:
        """Seconds after which a unit of this size is a straggler."""
        if len(self._times) < MIN_TIMES:
            return float("inf")
        if self._usual is None:  # read for every running unit, and changed by results only
            self._usual = statistics.median(self._times)
        return max(STRAGGLER_MIN_S, STRAGGLER_FACTOR * size * self._usual)


@dataclass(kw_only=True)
class _Running:
    """A running unit."""

    work: Work
    since: float
    copies: int = 1


class RoundUnits:
    """The units of one round, or of its evaluation."""

    def __init__(self, plan: RoundPlan, version: int, weights: Handle) -> None:
        self.plan, self.version, self.weights = plan, version, weights
        self.waiting = deque(work for work in plan.works if work.index not in plan.done)
        self.running: dict[int, _Running] = {}
        self.done: dict[int, Done] = {
            index: Done(work=plan.works[index], version=version, report=report) for index, report in plan.done.items()
        }
        self.failures: Counter[int] = Counter()

    def in_order(self, start: int = 0, count: int | None = None) -> tuple[Done, ...] | None:
        """Units from `start` on, in order of their index; None while one of them is missing."""
        stop = len(self.plan.works) if count is None else start + count
        found = [self.done[index] for index in range(start, stop) if index in self.done]
        return tuple(found) if len(found) == stop - start else None

    def take(self, free: Sequence[int]) -> tuple[Work, int] | None:
        """A waiting unit, and the actor to run it; None where no free actor may."""
        for work in self.waiting:
            if work.actor is None or work.actor in free:
                self.waiting.remove(work)
                self.running[work.index] = _Running(work=work, since=time.monotonic())
                return work, free[0] if work.actor is None else work.actor
        return None

    def straggler(self, pace: Pace) -> Work | None:
        """The straggler that has run longest and may be copied; counts as running twice from now on."""
        now = time.monotonic()
        late = [
            one
            for one in self.running.values()
            if one.work.actor is None and one.copies < MAX_COPIES and now - one.since > pace.patience(one.work.size)
        ]
        if not late:
            return None
        oldest = min(late, key=lambda one: one.since)
        oldest.copies += 1
        return oldest.work

    def add(self, done: Done, pace: Pace) -> bool:
        """Add a finished unit; False for the second result of a unit."""
        index = done.work.index
        if index in self.done:
            return False
        if (running := self.running.pop(index, None)) is not None:
            pace.add(time.monotonic() - running.since, done.work.size)
        self.waiting = deque(work for work in self.waiting if work.index != index)
        self.done[index] = done
        return True

    def give_back(self, work: Work) -> None:
        """Queue a unit again, unless a copy of it is running."""
        running = self.running.get(work.index)
        if running is None:
            return
        running.copies -= 1
        if not running.copies:
            del self.running[work.index]
            self.waiting.appendleft(self.plan.works[work.index])
