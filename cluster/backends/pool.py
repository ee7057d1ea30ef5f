"""The border between the outer loop and whoever lives the chunks: this process, other processes, or Ray.

    loop --publish(version, phi)--> pool
    loop --submit(chunk)----------> a worker that is free --> ChunkDone(result) | ChunkFailed(chunk, error) | WorkerLost(chunk, reason)
    loop --resize(n)--------------> more workers, or fewer: at once

A pool replaces workers that die or hang, and gives nothing out again by itself: which chunk is lived when is the loop's affair
(`cluster.epg.round`). Workers count when they answer; those that wait for a place, such as a node of a cluster, cost nothing and are used
when they come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from actors.chunks import Chunk, ChunkResult
from cluster.backends.wiring import Notice


@dataclass(frozen=True, kw_only=True)
class ChunkDone:
    """A chunk was lived."""

    result: ChunkResult


@dataclass(frozen=True, kw_only=True)
class ChunkFailed:
    """A chunk raised an error; its worker is well.

    Attributes:
        chunk: which.
        error: what it raised, with the far side's traceback.
        worker: who, for a person.
    """

    chunk: Chunk
    error: Exception
    worker: str


@dataclass(frozen=True, kw_only=True)
class WorkerLost:
    """A worker died, hung past its deadline, or was taken away. Where it was lost a new one stands in its place already.

    Attributes:
        chunk: what it was at; None when nothing.
        reason: one line for the log.
        is_wanted: it was taken away by `resize`, so nothing is wrong with its chunk.
    """

    chunk: Chunk | None
    reason: str
    is_wanted: bool = False


PoolEvent = ChunkDone | ChunkFailed | WorkerLost | Notice


class Pool(Protocol):
    """Workers, wherever they are. Its methods are called from the loop's own thread.

    Attributes:
        num_actors: how many workers are wanted.
    """

    num_actors: int

    @property
    def must_drain(self) -> bool:
        """Whether a chunk is under way that cannot be ended, so that a loop that stops waits for it."""

    def start(self) -> None:
        """Start the workers; may return before they answer."""

    def publish(self, version: int, phi: np.ndarray) -> None:
        """Set phi for all chunks submitted from now on."""

    def free(self) -> int:
        """How many chunks workers that answer could begin now."""

    def submit(self, chunk: Chunk) -> None:
        """Give a chunk to a free worker; returns at once."""

    def wait(self, timeout_s: float) -> list[PoolEvent]:
        """Block until something happened, at most `timeout_s`; return all that did, in the order it did."""

    def resize(self, num_actors: int) -> list[PoolEvent]:
        """Have so many workers; return what those that go leave behind, as `WorkerLost` that is wanted."""

    def num_alive(self) -> int:
        """How many workers are up and answer."""

    def close(self) -> None:
        """End every worker."""
