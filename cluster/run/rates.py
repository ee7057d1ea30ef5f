"""Rates per second: of environment steps, and of other counts, such as lifetimes."""

from __future__ import annotations

import time
from collections import Counter, deque

from actors.messages import Report

WINDOW_S = 20.0
"""Seconds that rates are taken over at least (the whole run while it is shorter): results come in bursts."""
NO_TIME = 1e-9


class Rates:
    """Counts what is collected, learned from or not.

    Args:
        counts: sums so far, by metric name.
        env_steps: environment steps so far.
    """

    def __init__(self, counts: Counter[str], env_steps: int) -> None:
        self._collected = counts + Counter(env_steps=env_steps)
        self._seen = deque([(time.perf_counter(), Counter(self._collected))])

    def add(self, report: Report) -> None:
        """Add the counts of a result."""
        self._collected.update(report.counts)
        self._collected["env_steps"] += report.env_steps

    def per_second(self) -> dict[str, float]:
        """The present rates, by metric name."""
        now = time.perf_counter()
        self._seen.append((now, Counter(self._collected)))
        while len(self._seen) > 2 and now - self._seen[1][0] > WINDOW_S:
            self._seen.popleft()
        then, before = self._seen[0]
        seconds = max(now - then, NO_TIME)
        units = dict.fromkeys(["env_steps", *(name for name in self._collected if "/" not in name)])
        return {f"throughput/{name}_per_s": (self._collected[name] - before[name]) / seconds for name in units}
