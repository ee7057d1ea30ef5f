"""What engines share that let a caller say how a slot is seeded and when its next episode starts: generators a slot, and checked slots."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from envs.errors import InvalidInputError, out_of_range

SlotSeed = np.random.SeedSequence | int
"""What one slot's generator is made from."""


class SlotGenerators:
    """One generator a slot, so that what a slot draws depends on its own seed and its own number of draws alone.

    Args:
        seeds: one a slot; equal seeds give equal generators.
        num_envs: B, the number of slots.

    Raises:
        InvalidInputError: there are not B seeds, or one is negative.
    """

    def __init__(self, seeds: Sequence[SlotSeed], num_envs: int) -> None:
        check_seeds(seeds, num_envs)
        self._generators = [np.random.default_rng(seed) for seed in seeds]

    def __getitem__(self, slot: int) -> np.random.Generator:
        """The generator of `slot`."""
        return self._generators[slot]

    def save(self) -> list[str]:
        """Return every generator's state.

        As text: the words of PCG64 are 128 bits wide, which not every checkpoint format holds as integers.
        """
        return [json.dumps(generator.bit_generator.state) for generator in self._generators]

    @classmethod
    def restored(cls, saved: Sequence[str]) -> SlotGenerators:
        """Return the generators of `save`."""
        generators = cls([0] * len(saved), len(saved))
        for generator, state in zip(generators._generators, saved, strict=True):
            generator.bit_generator.state = json.loads(state)
        return generators


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
