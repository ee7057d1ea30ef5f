"""How wall time divides into work, transport and waiting.

    actor's time = collecting + transport (a result or the next work is in transit) + driver (no work is in progress: an update, the
                   journal) + waiting for the last units of a round

Work in progress is counted while it runs, and not when it ends: a unit may take longer than an interval.
"""

from __future__ import annotations

import time

from cluster.run.observer import WallShares


class Clocks:
    """The times of one interval, or of a whole run; `restarted` starts the next interval with the work in progress."""

    def __init__(self) -> None:
        self.started = self._ticked = self._nothing_since = time.perf_counter()
        self._alive = 0
        self._actor_s = self._busy_s = self._transport_s = self._driver_s = self._learner_s = 0.0
        self._under_way: dict[object, list[float]] = {}

    def restarted(self) -> Clocks:
        """Return the clocks of an interval that starts now."""
        after = Clocks()
        after._alive = self._alive
        after._under_way = {key: [after.started] * len(since) for key, since in self._under_way.items()}
        return after

    @property
    def elapsed_s(self) -> float:
        """Seconds since the interval started."""
        return time.perf_counter() - self.started

    def tick(self, alive: int) -> None:
        """Add the time since the last tick, with this many actors from now on."""
        now = time.perf_counter()
        self._actor_s += (now - self._ticked) * self._alive
        self._alive, self._ticked = alive, now

    def submitted(self, key: object) -> None:
        """A unit was started; the copy of a straggler has the same key."""
        now = time.perf_counter()
        if not self._under_way:
            self._driver_s += (now - self._nothing_since) * self._alive
        self._under_way.setdefault(key, []).append(now)

    def returned(self, key: object, busy_s: float) -> None:
        """A unit ended, after this many seconds of work (0 without a result)."""
        now, since = time.perf_counter(), self._under_way.get(key, [])
        took = now - since.pop(0) if since else 0.0
        if not since:
            self._under_way.pop(key, None)
        self._busy_s += min(busy_s, took)
        self._transport_s += took - min(busy_s, took)
        if not self._under_way:
            self._nothing_since = now

    def learned(self, busy_s: float) -> None:
        """The learner was busy for this long."""
        self._learner_s += busy_s

    def shares(self) -> WallShares:
        """The shares so far."""
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
