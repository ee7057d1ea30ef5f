"""The chunks of one round (the perturbed lives of an epoch, or an evaluation): which wait, which are under way, which are done.

    waiting --next--> under way --done------> done
       ^                  |
       +-- failed, lost --+                     three times: the run ends with it

A chunk is a pure function of what it is made of, so it may be lived twice: where no chunk waits, a straggler is given to an idle worker as
well, and the first answer counts. What comes second, or of an earlier round, is dropped.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from actors.chunks import Chunk, ChunkResult
from cluster.epg.replay import in_order

STRAGGLER_FACTOR = 2.0
"""A chunk that takes so many times as long as the usual one is a straggler: idle workers are there only at the end of a round, and a
copy that begins too early would hold its worker at the next round's beginning."""
STRAGGLER_MIN_S = 1.0
"""Below this a second copy costs more than it saves."""
MIN_TIMES = 3
"""So many chunks say how long one usually takes."""
MAX_COPIES = 2


class ChunkLostError(RuntimeError):
    """A chunk was lost time and again, with its worker each time."""


class Pace:
    """How long a life of a chunk usually takes, from submission to answer; shared by the rounds of a run."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=64)
        self._usual: float | None = None

    def add(self, seconds: float, lives: int) -> None:
        """Take in a chunk's time."""
        self._times.append(seconds / lives)
        self._usual = None

    def patience(self, lives: int) -> float:
        """Seconds after which a chunk of so many lives is a straggler."""
        if len(self._times) < MIN_TIMES:
            return float("inf")
        if self._usual is None:  # asked for every chunk under way, and changes with each answer only
            self._usual = statistics.median(self._times)
        return max(STRAGGLER_MIN_S, STRAGGLER_FACTOR * lives * self._usual)


@dataclass(kw_only=True)
class _UnderWay:
    """A chunk that somebody is at."""

    chunk: Chunk
    since: float
    copies: int = 1


class Round:
    """One round.

    Args:
        chunks: all of its chunks, by index.
        done: results that are there already, by index (of a run that was resumed).
        pace: how long chunks usually take.
        max_failures: a chunk that fails so often ends the run.

    Attributes:
        results: by index of the chunk.
        reissued: how many stragglers were given out again.
    """

    def __init__(self, chunks: Sequence[Chunk], done: Mapping[int, ChunkResult], pace: Pace, max_failures: int) -> None:
        self.chunks, self._pace, self._max_failures = chunks, pace, max_failures
        self.results = dict(done)
        self.reissued = 0
        self._waiting = deque(chunk for chunk in chunks if chunk.index not in done)
        self._under_way: dict[int, _UnderWay] = {}
        self._failures: dict[int, int] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every chunk is done."""
        return len(self.results) == len(self.chunks)

    @property
    def fitness(self) -> np.ndarray:
        """Fitness [W] by life; all chunks are done."""
        return in_order(self.results, len(self.chunks))

    def next(self) -> Chunk | None:
        """A chunk for a worker that is free, counted as under way from now on; None when there is nothing to do."""
        now = time.monotonic()
        if self._waiting:
            chunk = self._waiting.popleft()
            self._under_way[chunk.index] = _UnderWay(chunk=chunk, since=now)
            return chunk
        late = [one for one in self._under_way.values() if one.copies < MAX_COPIES and now - one.since > self._patience(one)]
        if not late:
            return None
        oldest = min(late, key=lambda one: one.since)
        oldest.copies += 1
        self.reissued += 1
        return oldest.chunk

    def _patience(self, one: _UnderWay) -> float:
        return self._pace.patience(one.chunk.count)

    def take_in(self, result: ChunkResult) -> bool:
        """Take in a result; False when it is not wanted any more: of an earlier round, or the second of its chunk."""
        if not self._is_ours(result) or result.index in self.results:
            return False
        under_way = self._under_way.pop(result.index, None)
        if under_way is not None:
            self._pace.add(time.monotonic() - under_way.since, under_way.chunk.count)
        self._waiting = deque(chunk for chunk in self._waiting if chunk.index != result.index)
        self.results[result.index] = result
        return True

    def give_back(self, chunk: Chunk, why: Exception | str | None) -> None:
        """Take back a chunk that its worker did not finish.

        Args:
            chunk: which.
            why: what it raised, or how its worker was lost; None when its worker was taken away, which is nobody's fault.

        Raises:
            Exception: what it raised, the third time.
            ChunkLostError: its worker was lost, the third time.
        """
        if not self._is_ours(chunk) or chunk.index in self.results:
            return
        if why is not None:
            self._failures[chunk.index] = count = self._failures.get(chunk.index, 0) + 1
            if count >= self._max_failures:
                self._give_up(chunk, count, why)
        under_way = self._under_way.get(chunk.index)
        if under_way is None:
            return
        under_way.copies -= 1
        if not under_way.copies:
            del self._under_way[chunk.index]
            self._waiting.appendleft(chunk)

    def _give_up(self, chunk: Chunk, count: int, why: Exception | str) -> None:
        what = (
            f"chunk {chunk.index} of epoch {chunk.epoch} ({chunk.kind}, lives {chunk.first} to {chunk.first + chunk.count - 1})"
        )
        times = "once" if count == 1 else f"{count} times"
        if isinstance(why, Exception):
            why.add_note(f"{what} failed {times}")
            raise why
        raise ChunkLostError(f"{what} failed {times}, the last time because {why}")

    def _is_ours(self, one: Chunk | ChunkResult) -> bool:
        first = self.chunks[0]
        return (one.kind, one.epoch) == (first.kind, first.epoch)


def spread(values: Iterable[float]) -> tuple[float, float]:
    """Mean and standard deviation of what is finite; zeros where there is nothing."""
    array = np.fromiter((value for value in values if math.isfinite(value)), dtype=np.float64)
    return (float(array.mean()), float(array.std())) if array.size else (0.0, 0.0)
