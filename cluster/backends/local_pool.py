"""The pool of one machine without Ray: one actor is a thread of this process, more are processes of their own.

A single actor lives its chunks beside the driver, which so can show progress and hear Ctrl-C.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, wait

import numpy as np

from actors.chunks import Chunk
from cluster.backends.local_seats import LocalSeat, ProcessWorker, ThreadWorker, Worker
from cluster.backends.pool import ChunkDone, ChunkFailed, PoolEvent, WorkerLost
from cluster.backends.wiring import MAX_LOST_IN_A_ROW
from cluster.epg.lives import Recipe

log = logging.getLogger("metaray")


class LocalPool:
    """See `cluster.backends.pool.Pool`.

    Args:
        recipe: makes the runners.
        num_actors: how many.
        deadline_s: seconds after which a worker that was given a chunk counts as hung.
    """

    def __init__(self, recipe: Recipe, num_actors: int, deadline_s: float) -> None:
        self.num_actors = num_actors
        self._recipe, self._deadline_s = recipe, deadline_s
        self._seats: list[LocalSeat] = []
        self._phi = np.zeros(0, dtype=np.float32)

    @property
    def must_drain(self) -> bool:
        """See `cluster.backends.pool.Pool`: a thread cannot be ended."""
        return any(not seat.can_be_ended and seat.chunk is not None for seat in self._seats)

    def start(self) -> None:
        self._seats = [self._seat(index) for index in range(self.num_actors)]

    def _seat(self, index: int) -> LocalSeat:
        kind: Callable[[Recipe], Worker] = ThreadWorker if self.num_actors == 1 else ProcessWorker
        return LocalSeat(index, lambda: kind(self._recipe))

    def publish(self, version: int, phi: np.ndarray) -> None:
        self._phi = phi

    def free(self) -> int:
        return sum(seat.is_free for seat in self._seats)

    def submit(self, chunk: Chunk) -> None:
        next(seat for seat in self._seats if seat.is_free).submit(chunk, self._phi)

    def wait(self, timeout_s: float) -> list[PoolEvent]:
        """See `cluster.backends.pool.Pool`.

        Raises:
            Exception: what the making of a runner raised, or RuntimeError when a seat loses its workers time and again.
        """
        futures = {seat.future: seat for seat in self._seats if seat.future is not None}
        if not futures:
            time.sleep(min(timeout_s, 0.05))
            return []
        done, _ = wait(list(futures), timeout=timeout_s, return_when=FIRST_COMPLETED)
        events = [self._answer(futures[future]) for future in done]
        now = time.monotonic()
        events += [
            self._lost(seat, f"hung: no answer for {now - seat.since:.0f} s")
            for seat in self._seats
            if seat.chunk is not None and now - seat.since > self._deadline_s
        ]
        self._seats = [seat for seat in self._seats if not seat.is_leaving or seat.future is not None]
        return [event for event in events if event is not None]

    def _answer(self, seat: LocalSeat) -> PoolEvent | None:
        chunk = seat.chunk
        try:
            result = seat.answered()
        except (BrokenExecutor, CancelledError):
            seat.chunk = chunk
            return self._lost(seat, "died")
        except Exception as error:
            if chunk is None:  # its runner cannot be made
                raise
            return ChunkFailed(chunk=chunk, error=error, worker=str(seat))
        return None if result is None else ChunkDone(result=result)

    def _lost(self, seat: LocalSeat, reason: str) -> PoolEvent | None:
        """Put a new worker into a seat."""
        who, chunk = str(seat), seat.chunk
        seat.lost_in_a_row += 1
        if seat.lost_in_a_row >= MAX_LOST_IN_A_ROW:
            raise RuntimeError(
                f"{who}: {MAX_LOST_IN_A_ROW} workers in a row were lost without finishing a chunk; the last one {reason}"
            )
        seat.end()
        line = f"{who} {reason}; a new one takes its place"
        seat.fill()
        if chunk is None:
            log.warning(line)
            return None
        return WorkerLost(chunk=chunk, reason=line)

    def resize(self, num_actors: int) -> list[PoolEvent]:
        """See `cluster.backends.pool.Pool`."""
        before, self.num_actors = self.num_actors, num_actors
        events: list[PoolEvent] = []
        if before == num_actors:
            return events
        going = self._seats[num_actors:]
        if num_actors > 1:  # a thread beside processes would hold up the driver
            going += [seat for seat in self._seats[:num_actors] if not seat.can_be_ended]
        for seat in going:
            events += self._take_away(seat)
        taken = {seat.index for seat in self._seats if not seat.is_leaving}
        self._seats += [self._seat(index) for index in range(num_actors) if index not in taken]
        return events

    def _take_away(self, seat: LocalSeat) -> list[PoolEvent]:
        if not seat.can_be_ended and seat.future is not None:  # goes when its chunk is done
            seat.is_leaving = True
            return []
        self._seats.remove(seat)
        seat.end()
        if seat.chunk is None:
            return []
        return [WorkerLost(chunk=seat.chunk, reason=f"{seat} was taken away", is_wanted=True)]

    def num_alive(self) -> int:
        return sum(seat.is_up and not seat.is_leaving for seat in self._seats)

    def close(self) -> None:
        for seat in self._seats:
            seat.end()
        self._seats = []
