"""The units of one round, or of its evaluation: which wait, which are under way, which are done.

    waiting --take--> under way --done------> done
       ^                  |
       +-- given back ----+

A unit that names no actor may be done twice: where nothing waits, a straggler is given to a free worker as well.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from actors.messages import Work
from cluster.backends.base import Handle
from cluster.run.plan import RoundPlan
from cluster.run.schedule import Done

STRAGGLER_FACTOR = 2.0
"""A unit that takes so many times as long as the usual one is a straggler: idle workers are there only at the end of a round, and a
copy that begins too early would hold its worker at the next round's beginning."""
STRAGGLER_MIN_S = 1.0
"""Below this a second copy costs more than it saves."""
MIN_TIMES = 3
"""So many units say how long one usually takes."""
MAX_COPIES = 2


class Pace:
    """How long a unit usually takes for its size, from submission to answer."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=64)
        self._usual: float | None = None

    def add(self, seconds: float, size: int) -> None:
        """Take in a unit's time."""
        self._times.append(seconds / size)
        self._usual = None

    def patience(self, size: int) -> float:
        """Seconds after which a unit of this size is a straggler."""
        if len(self._times) < MIN_TIMES:
            return float("inf")
        if self._usual is None:  # asked for every unit under way, and changes with each answer only
            self._usual = statistics.median(self._times)
        return max(STRAGGLER_MIN_S, STRAGGLER_FACTOR * size * self._usual)


@dataclass(kw_only=True)
class _UnderWay:
    """A unit that somebody is at."""

    work: Work
    since: float
    copies: int = 1


class RoundUnits:
    """The units of one round, or of its evaluation: which wait, which are under way, which are done."""

    def __init__(self, plan: RoundPlan, version: int, weights: Handle) -> None:
        self.plan, self.version, self.weights = plan, version, weights
        self.waiting = deque(work for work in plan.works if work.index not in plan.done)
        self.under_way: dict[int, _UnderWay] = {}
        self.done: dict[int, Done] = {
            index: Done(work=plan.works[index], version=version, report=report) for index, report in plan.done.items()
        }
        self.failures: Counter[int] = Counter()

    def in_order(self, start: int = 0, count: int | None = None) -> tuple[Done, ...] | None:
        """Units from `start` on, by index and never by arrival; None while one of them is missing."""
        stop = len(self.plan.works) if count is None else start + count
        found = [self.done[index] for index in range(start, stop) if index in self.done]
        return tuple(found) if len(found) == stop - start else None

    def take(self, free: Sequence[int]) -> tuple[Work, int] | None:
        """A unit that waits, and who shall do it."""
        for work in self.waiting:
            if work.actor is None or work.actor in free:
                self.waiting.remove(work)
                self.under_way[work.index] = _UnderWay(work=work, since=time.monotonic())
                return work, free[0] if work.actor is None else work.actor
        return None

    def straggler(self, pace: Pace) -> Work | None:
        """The oldest unit that takes far too long and may be copied, counted as under way twice from now on."""
        now = time.monotonic()
        late = [
            one
            for one in self.under_way.values()
            if one.work.actor is None and one.copies < MAX_COPIES and now - one.since > pace.patience(one.work.size)
        ]
        if not late:
            return None
        oldest = min(late, key=lambda one: one.since)
        oldest.copies += 1
        return oldest.work

    def add(self, done: Done, pace: Pace) -> bool:
        """Take in a finished unit; False when it is the second of its kind."""
        index = done.work.index
        if index in self.done:
            return False
        if (under_way := self.under_way.pop(index, None)) is not None:
            pace.add(time.monotonic() - under_way.since, done.work.size)
        self.waiting = deque(work for work in self.waiting if work.index != index)
        self.done[index] = done
        return True

    def give_back(self, work: Work) -> None:
        """Let a unit wait again, unless a copy of it is under way."""
        under_way = self.under_way.get(work.index)
        if under_way is None:
            return
        under_way.copies -= 1
        if not under_way.copies:
            del self.under_way[work.index]
            self.waiting.appendleft(self.plan.works[work.index])
