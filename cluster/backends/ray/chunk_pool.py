"""The pool of a Ray cluster: plain actors on any node with room, each in a seat that is filled again when its worker is lost.

    driver --live(chunk, version, [phi ref])--> worker i     fitness and counts to the driver, some numbers a life

Phi is put once a version. More actors than the cluster has CPUs wait for a place and are used when a node comes; no placement group, for a
group has one size. A chunk at a time for each worker: it takes seconds, and handing out the next one a millisecond.

No Ray is imported with this module: `cluster.backends.ray.session` settles the authentication first.
"""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from actors.chunks import Chunk
from cluster.backends.pool import ChunkDone, ChunkFailed, PoolEvent, WorkerLost
from cluster.backends.ray.session import RaySession
from cluster.backends.wiring import Notice
from cluster.epg.config import EpgRunConfig
from cluster.epg.lives import Recipe

if TYPE_CHECKING:
    from cluster.backends.ray.seat import Answer, Loss, Seat

STORE_BYTES = 128 << 20
"""Phi is some hundred kilobytes, and nothing else is put."""
PENDING_NOTICE_S = 30.0
"""After so long, actors that found no room are mentioned, once for each size of the pool."""


class RayPool:
    """See `cluster.backends.pool.Pool`.

    Args:
        config: the run.
        recipe: makes the runners.
        run_name: what the processes are called by: `<run_name>/inner-3`.
        address: cluster to attach to; None for RAY_ADDRESS, or a new one on this machine for the time of the run.
        insecure: without Ray's token authentication.
    """

    must_drain = False

    def __init__(
        self, config: EpgRunConfig, recipe: Recipe, *, run_name: str, address: str | None = None, insecure: bool = False
    ) -> None:
        self.num_actors = config.num_actors
        self._config, self._recipe, self._run_name = config, recipe, run_name
        self._address, self._insecure = address, insecure
        self._session: RaySession | None = None
        self._seats: list[Seat] = []
        self._version = -1
        self._phi: Any = None
        self._resized = math.inf

    def start(self) -> None:
        """See `cluster.backends.pool.Pool`.

        Raises:
            InvalidInputError: there is no cluster.
        """
        # a cluster of our own has room to grow into the machine, and for as many more as were asked for
        num_cpus = max(self.num_actors, os.cpu_count() or 1)
        self._session = RaySession(
            self._address, insecure=self._insecure, num_cpus=num_cpus, store_bytes=STORE_BYTES, family=self._config.family
        )
        self._folder = os.getcwd()
        self._fill()

    def _fill(self) -> None:
        """Have a seat for each actor."""
        self._seats += [self._seat(index) for index in range(len(self._seats), self.num_actors)]
        self._resized = time.monotonic()

    def _seat(self, index: int) -> Seat:
        from cluster.backends.ray.chunk_worker import RemoteInnerWorker
        from cluster.backends.ray.seat import OPTIONS, Seat

        def make(name: str) -> Any:
            options = RemoteInnerWorker.options(name=name, num_cpus=1, **OPTIONS)
            return options.remote(self._recipe, self._run_name, index, self._folder)

        name, deadline_s = f"{self._run_name}/inner-{index}", self._config.chunk_deadline_s
        return Seat(make, name=name, role=f"actor {index}", unit="a chunk", deadline_s=deadline_s)

    def publish(self, version: int, phi: np.ndarray) -> None:
        import ray

        if version != self._version:
            self._version, self._phi = version, ray.put(phi)

    def free(self) -> int:
        return sum(seat.stage == "up" and seat.asked is None for seat in self._seats)

    def submit(self, chunk: Chunk) -> None:
        seat = next(seat for seat in self._seats if seat.stage == "up" and seat.asked is None)
        seat.ask(chunk, lambda worker: worker.live.remote(chunk, self._version, [self._phi]))

    def wait(self, timeout_s: float) -> list[PoolEvent]:
        """See `cluster.backends.pool.Pool`.

        Raises:
            Exception: what the making of a runner raised, or HopelessSeatError.
        """
        from cluster.backends.ray.calls import first_ready

        owners = {ref: seat for seat in self._seats for ref in seat.watched()}
        events = [self._take_in(owners[ref], ref) for ref in first_ready(list(owners), timeout_s)]
        now = time.monotonic()
        events += [_event(seat.overdue(now)) for seat in self._seats]
        return [event for event in (*events, self._pending_notice(now)) if event is not None]

    def _take_in(self, seat: Seat, ref: Any) -> PoolEvent | None:
        from cluster.backends.ray.seat import HopelessSeatError

        chunk = seat.asked
        try:
            return _event(seat.take_in(ref))
        except HopelessSeatError:
            raise
        except Exception as error:
            if chunk is None:  # its runner cannot be made
                raise
            return ChunkFailed(chunk=chunk, error=error, worker=seat.who)

    def _pending_notice(self, now: float) -> Notice | None:
        if now - self._resized < PENDING_NOTICE_S:
            return None
        self._resized = math.inf  # once
        pending = sum(seat.stage == "pending" for seat in self._seats)
        if not pending:
            return None
        from cluster.backends.ray.calls import pending_line

        return Notice(line=f"{pending_line(pending, self.num_actors)}; those that come later join in")

    def resize(self, num_actors: int) -> list[PoolEvent]:
        """See `cluster.backends.pool.Pool`."""
        self.num_actors = num_actors
        going, self._seats = self._seats[num_actors:], self._seats[:num_actors]
        events: list[PoolEvent] = []
        for seat in going:
            if seat.asked is not None:
                events.append(WorkerLost(chunk=seat.asked, reason=f"{seat.who} was taken away", is_wanted=True))
            seat.close()
        self._fill()
        return events

    def num_alive(self) -> int:
        return sum(seat.stage == "up" for seat in self._seats)

    def close(self) -> None:
        for seat in self._seats:
            seat.close()
        self._seats, self._phi = [], None
        if self._session is not None:
            self._session.close()
            self._session = None


def _event(what: Answer | Loss | None) -> PoolEvent | None:
    from cluster.backends.ray.seat import Answer, Loss

    match what:
        case Answer(value=result):
            return ChunkDone(result=result)
        case Loss(asked=chunk, reason=reason):
            return WorkerLost(chunk=chunk, reason=reason)
    return None
