"""What is done a second: environment steps, and what else is counted in whole units, such as lives."""

from __future__ import annotations

import time
from collections import Counter, deque

from actors.messages import Report

WINDOW_S = 20.0
"""Rates are over so many seconds at least, or over the whole run while it is shorter: units of work come in bursts."""
NO_TIME = 1e-9


class Rates:
    """Counts what is collected, whether it is learned from already or not.

    Args:
        counts: sums so far, by metric name.
        env_steps: environment steps so far.
    """

    def __init__(self, counts: Counter[str], env_steps: int) -> None:
        self._collected = counts + Counter(env_steps=env_steps)
        self._seen = deque([(time.perf_counter(), Counter(self._collected))])

    def add(self, report: Report) -> None:
        """A unit of work counts."""
        self._collected.update(report.counts)
        self._collected["env_steps"] += report.env_steps

    def per_second(self) -> dict[str, float]:
        """The rates of the last seconds, by metric name."""
        now = time.perf_counter()
        self._seen.append((now, Counter(self._collected)))
        while len(self._seen) > 2 and now - self._seen[1][0] > WINDOW_S:
            self._seen.popleft()
        then, before = self._seen[0]
        seconds = max(now - then, NO_TIME)
        units = dict.fromkeys(["env_steps", *(name for name in self._collected if "/" not in name)])
        return {f"throughput/{name}_per_s": (self._collected[name] - before[name]) / seconds for name in units}
