"""Evaluation: whole episodes of given tasks with fixed weights, each task the same number of episodes.

Every slot has its own task and stops counting once it has its number of episodes, so short episodes get no more weight than long ones. An
episode that does not end is cut at a limit and counts with its return so far. As single slots cannot be reset in every environment, the
slot then waits: until its episode ends after all, or until all other slots are done or wait and all are reset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from actors.episodes import EpisodeRecord
from actors.policy import Policy
from actors.unroll import EnvLoop
from envs.contract import CheckedEnv, make_env
from envs.family import TaskFamily
from envs.task import Mode, Task
from learners.networks.agent import Conditioning, NetworkConfig
from learners.seeds import Stream, integer_seed
from learners.trajectory import Episode, Snapshot


def evaluate(
    family: TaskFamily,
    tasks: Sequence[Task],
    network: NetworkConfig,
    snapshot: Snapshot,
    *,
    seed: int,
    episodes_per_task: int = 1,
    num_threads: int = 1,
    greedy: bool = False,
    mode: Mode = "evaluate",
    on_progress: Callable[[int], None] | None = None,
    conditioning: Conditioning | None = None,
    max_episode_steps: int | None = None,
) -> list[Episode]:
    """Run `episodes_per_task` episodes of each task, all tasks side by side.

    Args:
        family: the family that all `tasks` belong to.
        tasks: one slot each.
        network: shape of the network that `snapshot` belongs to.
        snapshot: weights to act with.
        seed: root of resets and actions.
        episodes_per_task: episodes that count for each task.
        num_threads: C++ threads that step the environments.
        greedy: take the likeliest action instead of sampling one.
        mode: `evaluate` for whole episodes under the family's evaluation protocol.
        on_progress: called with the number of finished episodes.
        conditioning: inputs of the network for meta-parameters that the learner tunes.
        max_episode_steps: where an episode is cut; None for nowhere.

    Returns:
        The episodes in order of task, `episodes_per_task` of each.

    Raises:
        EnvFaultError: the environment raised, or returned what it must not.
    """
    env = make_env(family, tasks, num_threads=num_threads, mode=mode)
    try:
        policy = Policy.for_env(env, network, conditioning)
        policy.load(snapshot)
        policy.seed(integer_seed(seed, Stream.EVALUATION, 1))
        loop, tally = EnvLoop(CheckedEnv(env, family.name)), _Tally(tasks, episodes_per_task, max_episode_steps, on_progress)
        loop.reset(policy, integer_seed(seed, Stream.EVALUATION, 0))
        while not tally.is_complete:
            step = loop.step(policy, greedy=greedy)
            tally.add(loop.episodes, step.is_final)
            if tally.must_reset:
                loop.reset(policy)
                tally.is_waiting[:] = False
        return [episode for episodes in tally.finished for episode in episodes]
    finally:
        env.close()


class _Tally:
    """The episodes of an evaluation, and how far each slot is.

    Attributes:
        finished: the episodes of each task that count.
        is_waiting: the episode of the slot was cut, and none of its steps counts until the next one begins.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        episodes_per_task: int,
        max_episode_steps: int | None,
        on_progress: Callable[[int], None] | None,
    ) -> None:
        self._tasks, self._per_task, self._on_progress = list(tasks), episodes_per_task, on_progress
        self._max_steps = max_episode_steps if max_episode_steps is not None else np.iinfo(np.int64).max
        self.finished: list[list[Episode]] = [[] for _ in tasks]
        self._num_finished = 0
        self._is_done, self.is_waiting = np.zeros(len(tasks), dtype=bool), np.zeros(len(tasks), dtype=bool)

    @property
    def is_complete(self) -> bool:
        """Whether every slot has finished its share."""
        return bool(self._is_done.all())

    @property
    def must_reset(self) -> bool:
        """Whether all that is missing are episodes of slots that wait."""
        return not self.is_complete and bool((self.is_waiting | self._is_done).all())

    def add(self, record: EpisodeRecord, is_final: np.ndarray) -> None:
        """Take in the episodes that ended with a step or reached the limit."""
        is_cut = (record.lengths >= self._max_steps) & ~is_final & ~self.is_waiting
        for slot in np.flatnonzero(is_final | is_cut).tolist():
            episode = record.end(slot, self._tasks[slot], is_cut=bool(is_cut[slot]))
            if not (self.is_waiting[slot] or self._is_done[slot]):
                self.finished[slot].append(episode)
                self._is_done[slot] = len(self.finished[slot]) == self._per_task
                self._num_finished += 1
            self.is_waiting[slot] = is_cut[slot]
            if self._on_progress is not None:
                self._on_progress(self._num_finished)
