"""The seed tree of a run: each random draw has a node, named by its purpose, actor and unroll."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Purpose of a draw; the numbers determine every run's random draws and never change."""

    PARAMETERS = 0
    TASKS = 1
    RESETS = 2
    ACTIONS = 3
    EVALUATION = 4
    PERTURBED_LIFETIMES = 5
    EVALUATION_LIFETIMES = 6
    ADAPTATION = 7
    LOSS = 8
    MINIBATCHES = 9


def seed_sequence(run_seed: int, stream: Stream, *path: int) -> np.random.SeedSequence:
    """The node of the tree at `stream`, actor, round, ..."""
    return np.random.SeedSequence(run_seed, spawn_key=(int(stream), *path))


def generator(run_seed: int, stream: Stream, *path: int) -> np.random.Generator:
    """A numpy generator for this node."""
    return np.random.default_rng(seed_sequence(run_seed, stream, *path))


def integer_seed(run_seed: int, stream: Stream, *path: int) -> int:
    """A 31-bit seed for this node, for engines that take an integer."""
    return int(seed_sequence(run_seed, stream, *path).generate_state(1)[0] >> 1)
