"""One seed tree names every random draw of a run: by what it is for, which actor, which unroll."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a draw is for; numbers are part of every run's identity and never change."""

    PARAMETERS = 0
    TASKS = 1
    RESETS = 2
    ACTIONS = 3
    EVALUATION = 4
    PERTURBED_LIVES = 5
    EVALUATION_LIVES = 6
    ADAPTATION = 7
    LOSS = 8
    MINIBATCHES = 9


def seed_sequence(run_seed: int, stream: Stream, *path: int) -> np.random.SeedSequence:
    """The node of the tree at `stream`, actor, round, ..."""
    return np.random.SeedSequence(run_seed, spawn_key=(int(stream), *path))


def generator(run_seed: int, stream: Stream, *path: int) -> np.random.Generator:
    """A numpy generator of its own for this node."""
    return np.random.default_rng(seed_sequence(run_seed, stream, *path))


def integer_seed(run_seed: int, stream: Stream, *path: int) -> int:
    """A 31-bit seed of its own for this node, for engines that take an integer."""
    return int(seed_sequence(run_seed, stream, *path).generate_state(1)[0] >> 1)
