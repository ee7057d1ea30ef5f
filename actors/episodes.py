"""Returns and lengths of episodes, and returns in the order in which the episodes began, whose mean favours no length.

Of episodes that run side by side the short ones end first, so a mean over those that ended last is biased. Episodes to average must be
chosen by their starts and not by their ends:

    settled   an episode that has ended, and so has every one in the same actor that began before it

An actor reports its settled returns in order of their starts; the last 100 of them are 100 episodes that began one after the other.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from envs.task import Task
from learners.trajectory import Episode


class SettledReturns:
    """Holds returns back until they are settled.

    Args:
        num_envs: B, episodes that run side by side.
    """

    def __init__(self, num_envs: int) -> None:
        self._clock = 0
        self._starts = np.zeros(num_envs, dtype=np.int64)
        self._waiting: list[tuple[int, int, float]] = []

    def tick(self) -> None:
        """A step was taken, by every slot."""
        self._clock += 1

    def end(self, slot: int, episode_return: float) -> None:
        """Take in the return of the episode that ends in `slot` with this step; the next one there begins."""
        heapq.heappush(self._waiting, (int(self._starts[slot]), slot, episode_return))
        self._starts[slot] = self._clock

    def take(self) -> tuple[float, ...]:
        """Return what is settled and was not returned yet, in order of the episodes' starts, then of their slots."""
        oldest, settled = int(self._starts.min()), []
        while self._waiting and self._waiting[0][0] < oldest:
            settled.append(heapq.heappop(self._waiting)[2])
        return tuple(settled)

    def state(self) -> dict[str, Any]:
        """All of it as plain data."""
        waiting = [list(one) for one in sorted(self._waiting)]
        return {"clock": self._clock, "starts": self._starts.copy(), "waiting": waiting}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._clock, self._starts = int(state["clock"]), state["starts"].copy()
        self._waiting = [(int(start), int(slot), float(value)) for start, slot, value in state["waiting"]]


class EpisodeRecord:
    """Returns and lengths of the current episodes of B environments, and the finished ones that were not taken yet.

    Attributes:
        returns: undiscounted, of the current episodes so far, [B] float64.
        lengths: their steps, [B].
    """

    def __init__(self, num_envs: int) -> None:
        self.returns, self.lengths = np.zeros(num_envs), np.zeros(num_envs, dtype=np.int64)
        self._finished: list[Episode] = []
        self._settled = SettledReturns(num_envs)

    def add(self, reward: np.ndarray, is_first: np.ndarray) -> None:
        """Count a step of every slot, those excepted that it reset."""
        self.returns += reward
        self.lengths += ~is_first
        self._settled.tick()

    def end(self, slot: int, task: Task, *, is_cut: bool = False) -> Episode:
        """Return the episode of `task` that ends in `slot` with the step just added; the next one there begins."""
        value, length = float(self.returns[slot]), int(self.lengths[slot])
        self.returns[slot], self.lengths[slot] = 0.0, 0
        self._settled.end(slot, value)
        episode = Episode(task=task, episode_return=value, length=length, is_cut=is_cut)
        self._finished.append(episode)
        return episode

    def take(self) -> tuple[tuple[Episode, ...], tuple[float, ...]]:
        """Return the episodes that ended since the last call, and the returns settled since then (`SettledReturns`)."""
        finished, self._finished = tuple(self._finished), []
        return finished, self._settled.take()

    def state(self) -> dict[str, Any]:
        """All of it but the finished episodes, as plain data."""
        return {"returns": self.returns.copy(), "lengths": self.lengths.copy(), "settled": self._settled.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.returns, self.lengths = state["returns"].copy(), state["lengths"].copy()
        if "settled" in state:  # checkpoints of older versions have none
            self._settled.restore(state["settled"])
