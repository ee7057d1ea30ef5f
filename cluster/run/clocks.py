"""Whose time goes where.

    actor's time = at work (collecting) + transport (an answer or the next work is on its way) + driver (nothing is given out: an update,
                   the journal) + waiting for the last units of a round

What is under way counts as work while it is, and not only once it is done: a unit may take longer than the interval that is looked at.
"""

from __future__ import annotations

import time

from cluster.run.observer import WallShares


class Clocks:
    """The times of one interval, or of a whole run; `restarted` begins the next interval with what is under way now."""

    def __init__(self) -> None:
        self.started = self._ticked = self._nothing_since = time.perf_counter()
        self._alive = 0
        self._actor_s = self._busy_s = self._transport_s = self._driver_s = self._learner_s = 0.0
        self._under_way: dict[object, list[float]] = {}

    def restarted(self) -> Clocks:
        """Return the clocks of the interval that begins now."""
        after = Clocks()
        after._alive = self._alive
        after._under_way = {key: [after.started] * len(since) for key, since in self._under_way.items()}
        return after

    @property
    def elapsed_s(self) -> float:
        """Seconds since the interval began."""
        return time.perf_counter() - self.started

    def tick(self, alive: int) -> None:
        """Time passed with so many actors."""
        now = time.perf_counter()
        self._actor_s += (now - self._ticked) * self._alive
        self._alive, self._ticked = alive, now

    def submitted(self, key: object) -> None:
        """A unit was given out; a straggler's copy has the same key."""
        now = time.perf_counter()
        if not self._under_way:
            self._driver_s += (now - self._nothing_since) * self._alive
        self._under_way.setdefault(key, []).append(now)

    def returned(self, key: object, busy_s: float) -> None:
        """A unit is not under way any more, after so many seconds of work (0 where nothing came of it)."""
        now, since = time.perf_counter(), self._under_way.get(key, [])
        took = now - since.pop(0) if since else 0.0
        if not since:
            self._under_way.pop(key, None)
        self._busy_s += min(busy_s, took)
        self._transport_s += took - min(busy_s, took)
        if not self._under_way:
            self._nothing_since = now

    def learned(self, busy_s: float) -> None:
        """The learner was at work for so long."""
        self._learner_s += busy_s

    def shares(self) -> WallShares:
        """Whose time went where so far."""
        now = time.perf_counter()
        actor_s = max(self._actor_s + (now - self._ticked) * self._alive, 1e-9)
        at_work = self._busy_s + sum(now - since for copies in self._under_way.values() for since in copies)
        idle = self._driver_s + (0.0 if self._under_way else (now - self._nothing_since) * self._alive)
        return WallShares(
            actors=min(1.0, at_work / actor_s),
            learner=min(1.0, self._learner_s / max(now - self.started, 1e-9)),
            transport=min(1.0, self._transport_s / actor_s),
            driver=min(1.0, idle / actor_s),
        )
