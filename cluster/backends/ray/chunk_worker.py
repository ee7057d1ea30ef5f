"""A process of the outer loop on Ray: the runner of chunks, wrapped for calls from afar. A plain class, made remote at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import ray

from actors.chunks import Chunk, ChunkResult
from cluster.backends.ray.chunk_metrics import InnerMetrics
from cluster.backends.ray.workers import Place, here, settle
from cluster.epg.lives import Recipe, Runner


class InnerWorker:
    """A process that lives chunks.

    It is up in no time, and `build` makes its runner: so a worker that waits for a node is told from one that hangs.
    """

    def __init__(self, recipe: Recipe, run_name: str, index: int, folder: str) -> None:
        self._recipe, self._run_name, self._index, self._folder = recipe, run_name, index, folder
        self._runner: Runner | None = None
        self._version, self._phi = -1, np.zeros(0, dtype=np.float32)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._index})"

    def place(self) -> Place:
        """Answer at once, with where this is."""
        return here()

    def build(self) -> None:
        """Make the runner."""
        settle(self._folder)
        self._runner = self._recipe()
        self._metrics = InnerMetrics(self._run_name)

    def live(self, chunk: Chunk, version: int, phi: list[Any]) -> ChunkResult:
        """Live a chunk.

        Args:
            chunk: which.
            version: of phi.
            phi: a reference to it, in a list so that Ray does not fetch it for every chunk: it is fetched once a version.
        """
        assert self._runner is not None
        if version != self._version:
            self._version, self._phi = version, np.array(ray.get(phi[0]))  # a copy: the store's own may go
        result = self._runner.live(chunk, self._phi)
        self._metrics.lived(result)
        return result


RemoteInnerWorker = ray.remote(InnerWorker)
