"""Where the outer loop meets the lives: what makes a runner of chunks, and the first phi. Everything else only passes these on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np

from actors.chunks import Chunk, ChunkResult, LifeRunner, LifeSetup, initial_phi
from cluster.backends.memory import keep_freed_memory
from cluster.epg.config import EpgRunConfig


class Runner(Protocol):
    """Lives chunks: a pure function of what made it, the chunk and phi."""

    def live(self, chunk: Chunk, phi: np.ndarray) -> ChunkResult:
        """Live one chunk of lives."""

    def stop(self) -> None:
        """End the chunk under way soon, with an error; called from another thread. A runner that cannot may do nothing."""


Recipe = Callable[[], Runner]
"""Makes a runner; small and picklable, for it is called where the runner shall work."""


def setup_of(config: EpgRunConfig) -> LifeSetup:
    """What all lives of a run share."""
    return LifeSetup(family=config.family, run_seed=config.seed, life=config.life, loss=config.loss, evolution=config.evolution)


def recipe_of(config: EpgRunConfig) -> Recipe:
    """What makes the runners of a run."""
    return partial(_make_runner, setup_of(config))


def _make_runner(setup: LifeSetup) -> Runner:
    keep_freed_memory()
    return LifeRunner(setup)


def first_phi(config: EpgRunConfig) -> np.ndarray:
    """The loss's parameters before the first epoch, float32 [P]: a pure function of the config."""
    return initial_phi(setup_of(config))
