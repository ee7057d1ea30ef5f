"""Random generators of single slots, and checks of slot indices and seeds, shared by the engines that restart slots."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.random import PCG64

from envs.errors import InvalidInputError, out_of_range

SlotSeed = np.random.SeedSequence | int
"""Seed of one slot's generator."""


class SlotGenerators:
    """Two generators a slot: one for the starts of its episodes, and one for the steps of the episode under way.

    What a slot draws depends on its own seed and its own number of draws alone, and what it draws in the steps of its k-th episode on its
    seed and k: not on how long the episodes before it were.

    Args:
        seeds: one a slot; equal seeds give equal generators.
        num_envs: B, the number of slots.

    Raises:
        InvalidInputError: there are not B seeds, or one is negative.
    """

    def __init__(self, seeds: Sequence[SlotSeed], num_envs: int) -> None:
        check_seeds(seeds, num_envs)
        self._starts = [np.random.default_rng(seed) for seed in seeds]
        # drawn from so far along that no start will come there
        self._keys = [int(np.random.Generator(PCG64(seed).jumped()).integers(2**63)) for seed in seeds]
        self._num_starts = [0] * num_envs
        self._steps: list[np.random.Generator | None] = [None] * num_envs

    def start(self, slot: int) -> np.random.Generator:
        """Begin the next episode of `slot`; return what its first state is drawn from."""
        self._num_starts[slot] += 1
        self._steps[slot] = None
        return self._starts[slot]

    def of_steps(self, slot: int) -> np.random.Generator:
        """What the steps of the episode of `slot` draw from."""
        rng = self._steps[slot]
        if rng is None:
            rng = self._steps[slot] = np.random.default_rng([self._keys[slot], self._num_starts[slot]])
        return rng

    def save(self) -> list[str]:
        """Return every slot's state.

        As text: the words of PCG64 are 128 bits wide, which not every checkpoint format holds as integers.
        """
        steps = [None if rng is None else rng.bit_generator.state for rng in self._steps]
        starts = [rng.bit_generator.state for rng in self._starts]
        return [json.dumps(one) for one in zip(starts, self._keys, self._num_starts, steps, strict=True)]

    @classmethod
    def restored(cls, saved: Sequence[str]) -> SlotGenerators:
        """Return the generators of `save`."""
        generators = cls([0] * len(saved), len(saved))
        for slot, text in enumerate(saved):
            start, generators._keys[slot], generators._num_starts[slot], steps = json.loads(text)
            generators._starts[slot].bit_generator.state = start
            if steps is not None:
                generators.of_steps(slot).bit_generator.state = steps
        return generators


DISTRIBUTIONS = {
    "random": 0,
    "standard_normal": 0,
    "uniform": 2,
    "normal": 2,
    "integers": 2,
    "exponential": 1,
    "poisson": 1,
    "binomial": 2,
}
"""What a step may draw, and how many arguments stand before `size`."""


class RowRandom:
    """What the steps of all slots draw from: some of the distributions of `np.random.Generator`, with a row for each slot.

    All rows come from one generator, or where slots have generators of their own each from its slot's. Arguments are broadcast to `size`.

    Args:
        shared: for all slots.
        own: of each slot; None where they share one.
        num_envs: B.
    """

    def __init__(self, shared: np.random.Generator, own: SlotGenerators | None, num_envs: int) -> None:
        self._shared, self._own, self._num_envs = shared, own, num_envs

    def __getattr__(self, name: str) -> Callable[..., np.ndarray]:
        if name not in DISTRIBUTIONS:
            raise AttributeError(f"a step draws from {', '.join(DISTRIBUTIONS)}, not from {name}")
        return functools.partial(self._draw, name)

    def _draw(self, name: str, *args: Any, size: int | tuple[int, ...] | None = None, **options: Any) -> np.ndarray:
        args, *given = (args[: DISTRIBUTIONS[name]], *args[DISTRIBUTIONS[name] :])
        named = {key: options.pop(key) for key in [*options] if key not in ("dtype", "endpoint")}
        size = given[0] if given else size
        shape = np.broadcast_shapes(*map(np.shape, (*args, *named.values()))) if size is None else np.empty(size).shape
        if not shape or shape[0] != self._num_envs:
            raise InvalidInputError(f"{name} of shape {shape}: a step draws a row for each of the {self._num_envs} slots")
        if self._own is None:
            drawn: np.ndarray = getattr(self._shared, name)(*args, size=shape, **named, **options)
            return drawn
        rows = [
            getattr(self._own.of_steps(slot), name)(
                *(np.broadcast_to(arg, shape)[slot] for arg in args),
                size=shape[1:],
                **{key: np.broadcast_to(arg, shape)[slot] for key, arg in named.items()},
                **options,
            )
            for slot in range(self._num_envs)
        ]
        return np.stack(rows)


def check_seeds(seeds: Sequence[SlotSeed], num_envs: int) -> None:
    """Raise `InvalidInputError` unless `seeds` has one seed a slot, none of them negative."""
    if len(seeds) != num_envs:
        raise InvalidInputError(f"{len(seeds)} seeds for {num_envs} slots: allowed is one seed a slot")
    for seed in seeds:
        if not isinstance(seed, np.random.SeedSequence) and seed < 0:
            raise out_of_range("seed of a slot", seed, "0 or more")


def checked_slots(slots: np.ndarray, num_envs: int) -> np.ndarray:
    """Return `slots` as int32, in the order given.

    Raises:
        InvalidInputError: they are no whole numbers (a mask of booleans is none), one is out of range, or one stands there twice.
    """
    slots = np.asarray(slots)
    if slots.size and not np.issubdtype(slots.dtype, np.integer):
        raise InvalidInputError(f"slots are of type {slots.dtype}: allowed are whole numbers")
    listed = slots.tolist()
    for slot in listed:
        if not 0 <= slot < num_envs:
            raise out_of_range("slot", slot, f"[0, {num_envs - 1}]")
    if len(set(listed)) < len(listed):
        raise InvalidInputError(f"slots {listed} name one twice: allowed is each slot once")
    return slots.astype(np.int32)
