"""Warnings about the lifetimes of a round, one line each: lifetimes that are not finite, and episodes that were cut.

    a few lifetimes   rank last and are left out of every figure; reported the first time, and again when their share has doubled
    most of them      nothing can be learned from the rest: the run ends

The environment is usually the cause: one NaN observation stays in the running moments of its lifetime, so everything after it is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from actors.chunks import Chunk, ChunkResult, NotFinite

MAX_SHARE = 0.5
"""Share of lifetimes that may be not finite; above it the figures would describe a minority only."""

LOOK_FOR = "look for NaN or infinity in what the environment returns"

MAX_NAMED = 5
"""Lifetimes that a line lists by number; the rest are counted."""


class NotFiniteError(FloatingPointError):
    """Most lifetimes were NaN or infinite."""


class LifetimeChecks:
    """Checks every round of a run.

    Args:
        family: of the tasks.
        max_episode_steps: length at which the episodes of the fitness are cut.
    """

    def __init__(self, family: str, max_episode_steps: int) -> None:
        self._family, self._max_episode_steps = family, max_episode_steps
        self._said_shares: dict[str, float] = {}
        self._has_said_cut = False

    def look(self, chunks: Sequence[Chunk], results: Mapping[int, ChunkResult]) -> list[str]:
        """Return the warnings about a complete round.

        Raises:
            NotFiniteError: most of its lifetimes are not finite.
        """
        lines: list[str] = []
        bad = [one for chunk in chunks for one in not_finite(chunk, results[chunk.index])]
        num_lifetimes = sum(chunk.count for chunk in chunks)
        share, chunk = len(bad) / num_lifetimes, chunks[0]
        where = f"epoch {chunk.epoch + 1}" if chunk.kind == "perturbed" else f"evaluation after epoch {chunk.epoch}"
        what = f"{where}: {len(bad)} of {num_lifetimes} lifetimes in {self._family} are not finite ({in_words(bad)})"
        if share > MAX_SHARE:
            raise NotFiniteError(f"{what}; {LOOK_FOR}")
        if bad and share >= 2 * self._said_shares.get(chunk.kind, 0.0):
            self._said_shares[chunk.kind] = share
            lines.append(f"{what}; a fitness that is not finite ranks last and is left out of all figures")
        cut = sum(result.cut_episodes for result in results.values())
        if cut and not self._has_said_cut:
            self._has_said_cut = True
            lines.append(f"{where}: {cut_line(cut, self._max_episode_steps)}")
        return lines


def cut_line(count: int, max_episode_steps: int) -> str:
    """The warning that episodes of the fitness were cut."""
    what = "1 episode" if count == 1 else f"{count:,} episodes"
    return f"{what} of the fitness had not ended at life.max_episode_steps = {max_episode_steps:,}: the return so far counts"


def not_finite(chunk: Chunk, result: ChunkResult) -> list[NotFinite]:
    """The lifetimes of a chunk that are not finite; journals of older versions do not name them, so their fitness is checked as well."""
    named = {one.life: one for one in result.not_finite}
    by_fitness = (chunk.first + row for row, value in enumerate(result.fitness) if not math.isfinite(value))
    unnamed = [NotFinite(life=lifetime, what="fitness", task="") for lifetime in by_fitness if lifetime not in named]
    return sorted([*named.values(), *unnamed], key=lambda one: one.life)


def in_words(lifetimes: Sequence[NotFinite]) -> str:
    """Which lifetimes, and what was not finite: `observation: lifetimes 2, 5; reward: lifetime 7, the first in hopper(gravity=9.81)`."""
    parts = []
    for what in dict.fromkeys(one.what for one in lifetimes):
        numbers = [str(one.life) for one in lifetimes if one.what == what]
        more = f" and {len(numbers) - MAX_NAMED} more" if len(numbers) > MAX_NAMED else ""
        parts.append(f"{what}: {'lifetime' if len(numbers) == 1 else 'lifetimes'} {', '.join(numbers[:MAX_NAMED])}{more}")
    tasks = [one.task for one in lifetimes if one.task and not one.task.endswith("()")]
    return "; ".join(parts) + (f", the first in {tasks[0]}" if tasks else "")
