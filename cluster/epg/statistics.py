"""The counters of an outer loop: lives and steps, rates, and whose time went where.

    actor's time = at work (in lives) + transport (an answer or the next chunk is on its way) + driver (nothing is given out: the
                   update, the journal) + waiting for the last chunks of a round

The first comes with each result, the second is the rest of the time between a chunk's submission and its answer, the third is the time in
which no chunk is under way.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np

from actors.chunks import ChunkResult
from cluster.epg.replay import Resumption

WINDOW_S = 20.0
"""Rates are over so many seconds at least, or over the whole run while it is shorter: chunks come in bursts."""


class EpgStatistics:
    """Counts what one process's loop does.

    Args:
        resumption: what was there before.
    """

    def __init__(self, resumption: Resumption) -> None:
        self.env_steps, self.lives = resumption.env_steps, resumption.lives
        self.not_finite: int = resumption.not_finite
        self.cut_episodes: int = resumption.cut_episodes
        self._train_s_before, self._not_finite_before = resumption.train_s, resumption.not_finite
        if resumption.lived is not None:
            self.env_steps += resumption.lived.env_steps
            self.lives += sum(len(result.fitness) for result in resumption.lived.results.values())
            self.not_finite += sum(result.num_not_finite for result in resumption.lived.results.values())
            self.cut_episodes += sum(result.cut_episodes for result in resumption.lived.results.values())
        self._first_counts = (self.lives, self.env_steps)
        self.lost_actors = self.reissued = 0
        self.started = time.perf_counter()
        self._rates: deque[tuple[float, int, int]] = deque([(self.started, self.lives, self.env_steps)])
        self._submitted: dict[tuple[str, int, int], float] = {}
        self._busy_s = self._transport_s = self._driver_s = self._actor_s = 0.0
        self._alive, self._ticked, self._nothing_since = 0, self.started, self.started
        self._under_way = 0
        self._scalars: list[dict[str, float]] = []

    @property
    def elapsed_s(self) -> float:
        """Seconds since training began in this process."""
        return time.perf_counter() - self.started

    @property
    def train_s(self) -> float:
        """Seconds of training over the whole run."""
        return self._train_s_before + self.elapsed_s

    def begin(self) -> None:
        """Training begins: some worker is up."""
        self.started = self._ticked = self._nothing_since = time.perf_counter()
        self._rates = deque([(self.started, self.lives, self.env_steps)])

    def tick(self, alive: int) -> None:
        """Time passed with so many actors."""
        now = time.perf_counter()
        self._actor_s += (now - self._ticked) * self._alive
        self._alive, self._ticked = alive, now

    def submitted(self, kind: str, epoch: int, index: int) -> None:
        """A chunk was given out."""
        now = time.perf_counter()
        if not self._under_way:
            self._driver_s += (now - self._nothing_since) * self._alive
        self._under_way += 1
        self._submitted[kind, epoch, index] = now

    def back(self) -> None:
        """A chunk is not under way any more, whatever came of it."""
        self._under_way -= 1
        if not self._under_way:
            self._nothing_since = time.perf_counter()

    def lived(self, result: ChunkResult) -> None:
        """A result came that counts."""
        now = time.perf_counter()
        self.env_steps += result.env_steps
        self.lives += len(result.fitness)
        self.not_finite += result.num_not_finite
        self.cut_episodes += result.cut_episodes
        self._busy_s += result.busy_s
        took = now - self._submitted.pop((result.kind, result.epoch, result.index), now)
        self._transport_s += max(0.0, took - result.busy_s)
        if result.kind == "perturbed" and result.scalars:
            self._scalars.append(result.scalars)

    def rates(self) -> tuple[float, float]:
        """Lives and environment steps a second, over the last seconds."""
        now = time.perf_counter()
        self._rates.append((now, self.lives, self.env_steps))
        while len(self._rates) > 2 and now - self._rates[1][0] > WINDOW_S:
            self._rates.popleft()
        then, lives, steps = self._rates[0]
        seconds = max(now - then, 1e-9)
        return (self.lives - lives) / seconds, (self.env_steps - steps) / seconds

    def whole_rates(self) -> tuple[float, float]:
        """The same over the whole of this process's training."""
        seconds = max(self.elapsed_s, 1e-9)
        return (self.lives - self._first_counts[0]) / seconds, (self.env_steps - self._first_counts[1]) / seconds

    def shares(self) -> dict[str, float]:
        """Whose time went where, as shares of the actors' time in [0, 1]."""
        whole = max(self._actor_s, 1e-9)
        parts = {"actors": self._busy_s, "transport": self._transport_s, "driver": self._driver_s}
        return {name: min(1.0, seconds / whole) for name, seconds in parts.items()}

    def epoch(self) -> dict[str, float]:
        """Metrics of an epoch that is over; the means of its chunks' scalars among them."""
        names = list(dict.fromkeys(name for scalars in self._scalars for name in scalars))
        means = {name: float(np.mean([one[name] for one in self._scalars if name in one])) for name in names}
        self._scalars = []
        not_finite, self._not_finite_before = self.not_finite - self._not_finite_before, self.not_finite
        lives, steps = self.rates()
        return means | {
            "lives/not_finite": float(not_finite),
            "throughput/lives_per_s": lives,
            "throughput/env_steps_per_s": steps,
            "actors/alive": float(self._alive),
            "actors/lost": float(self.lost_actors),
            "chunks/reissued": float(self.reissued),
            **{f"utilisation/{name}": share for name, share in self.shares().items()},
        }

    def figures(self) -> dict[str, Any]:
        """What the summary says of this process."""
        shares = self.shares()
        return {
            "env_steps": self.env_steps,
            "lives": self.lives,
            "not_finite": self.not_finite,
            "cut_episodes": self.cut_episodes,
            "train_s": self.train_s,
            "actor_utilisation": shares["actors"],
            "driver_share": min(1.0, shares["driver"] + shares["transport"]),
            "lost_actors": self.lost_actors,
            "reissued_chunks": self.reissued,
            "rates": self.whole_rates(),
        }
