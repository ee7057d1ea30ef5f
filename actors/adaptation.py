"""Adaptation to tasks: N tasks side by side, unrolled before and after each inner step, all environments of all tasks in one batch.

    theta --stack--> unroll 0 --adapt--> theta'_i --> unroll 1 --adapt--> ... --> unroll K         N tasks x E environments, T steps each

Every unroll begins with the first step of an episode, in the same tasks. The payload is the K + 1 trajectories, in order. The result of a
unit is a pure function of (spec, config, work, weights): tasks, resets and actions are drawn from the seed tree by (run, round, unit), so
it does not matter where, when or how often it is computed. How a round is cut into units belongs to the run, since the rounding of batched
products may depend on how many tasks stand side by side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from actors.messages import Report, Work
from actors.policy import Policy, State
from actors.unroll import EnvLoop, unroll
from envs.batched import BatchedEnv
from envs.contract import CheckedEnv, make_env, sample_tasks
from envs.family import TaskFamily
from envs.task import Split, Task
from learners.networks.agent import Agent, NetworkConfig, NetworkInputs, SpaceSpec
from learners.networks.snapshot import arrays_to_parameters
from learners.networks.stacked_agent import policy_params, stacked
from learners.seeds import Stream, generator, integer_seed
from learners.trajectory import Episode, Snapshot, Trajectory

Adapt = Callable[[Agent, Any, Mapping[str, Tensor], Sequence[Trajectory]], Mapping[str, Tensor]]
"""An algorithm's `adapt`. See `learners.algorithm`."""


@dataclass(frozen=True, kw_only=True)
class AdaptationSpec:
    """Settings of an adaptation collector.

    Attributes:
        num_tasks: N, tasks of a unit of work.
        envs_per_task: E.
        unroll_length: T.
        num_steps: K, inner steps.
        env_threads: C++ threads that step the environments.
        run_seed: the root of the seed tree.
    """

    num_tasks: int
    envs_per_task: int
    unroll_length: int
    num_steps: int
    env_threads: int
    run_seed: int


class StackedPolicy(Policy):
    """The policies of N tasks, which act in E environments each: rows [n E, (n + 1) E) of a batch are task n's."""

    def take(self, arrays: Mapping[str, Tensor], version: int) -> None:
        """Act with `arrays`, the tasks along their first axis, from now on; they come of weights of this version."""
        self._stack, self.version = arrays, version

    def _params(self, inputs: NetworkInputs) -> tuple[Tensor, State]:
        grouped = inputs.obs.view(len(self._stack["policy_head.bias"]), -1, *inputs.obs.shape[2:])
        return policy_params(self._spec, self.agent.config, self._stack, grouped).flatten(0, 1), inputs.initial_state


@dataclass(frozen=True, kw_only=True)
class _Draws:
    """Names the random draws of a unit of work; those of an evaluation stand apart, so that it changes nothing in training."""

    run_seed: int
    work: Work

    def _node(self, stream: Stream, *path: int) -> tuple[Stream, list[int]]:
        if self.work.part == "train":
            return stream, [self.work.round, *path]
        return Stream.EVALUATION, [int(stream), self.work.round, *path]

    def tasks(self, family: TaskFamily, count: int) -> list[Task]:
        """The tasks of the unit, each by its number within the round; for an evaluation held out from training."""
        split: Split = "train" if self.work.part == "train" else "test"
        numbers = range(self.work.index * count, (self.work.index + 1) * count)
        nodes = [self._node(Stream.TASKS, number) for number in numbers]
        return [sample_tasks(family, 1, generator(self.run_seed, stream, *path), split)[0] for stream, path in nodes]

    def seed(self, stream: Stream, step: int) -> int:
        """Of the resets or the actions of the unroll after so many inner steps."""
        named, path = self._node(stream, self.work.index, step)
        return integer_seed(self.run_seed, named, *path)


def first_episodes(trajectory: Trajectory) -> list[Episode | None]:
    """Return the episode that each environment began an unroll with; None where it goes on beyond.

    Later ones are left out: of those that begin within an unroll the short ones end in it.
    """
    ended = trajectory.terminated | trajectory.truncated
    lengths = np.where(ended.any(axis=0), ended.argmax(axis=0) + 1, 0)
    is_counted = np.arange(len(ended))[:, None] < lengths
    returns = np.where(is_counted, trajectory.reward, 0.0).sum(axis=0)
    each = zip(trajectory.tasks, returns.tolist(), lengths.tolist(), strict=True)
    return [Episode(task=task, episode_return=value, length=length) if length else None for task, value, length in each]


def mean_return(episodes: Sequence[Episode | None], envs_per_task: int) -> float | None:
    """Return the mean over tasks of the mean return of a task's episodes; None where no task has any."""
    starts = range(0, len(episodes), envs_per_task)
    of_tasks = [[one.episode_return for one in episodes[i : i + envs_per_task] if one is not None] for i in starts]
    means = [float(np.mean(returns)) for returns in of_tasks if returns]
    return float(np.mean(means)) if means else None


class AdaptationCollector:
    """Unrolls policies before and after they adapt. See the module's docstring and `actors.messages.Collector`.

    Args:
        family: whose tasks are drawn.
        network: of the policy.
        spec: sizes of a unit of work.
        adapt: the algorithm's inner steps.
        config: of the algorithm.
    """

    def __init__(self, family: TaskFamily, network: NetworkConfig, spec: AdaptationSpec, adapt: Adapt, config: Any) -> None:
        self._family, self._spec, self._adapt, self._config = family, spec, adapt, config
        tasks = sample_tasks(family, 1, np.random.default_rng(0)) * (spec.num_tasks * spec.envs_per_task)
        self._env: BatchedEnv = make_env(family, tasks, num_threads=spec.env_threads)
        self._loop = EnvLoop(CheckedEnv(self._env, family.name))
        self._policy = StackedPolicy(SpaceSpec.of(self._env), network, self._env.single_action_space)

    def collect(self, work: Work, weights: Snapshot) -> tuple[Report, tuple[Trajectory, ...]]:
        """Adapt to the tasks of a unit of work; return its report and its K + 1 trajectories.

        The environment steps of an evaluation are no training steps and have a counter of their own.
        """
        started, draws = time.perf_counter(), _Draws(run_seed=self._spec.run_seed, work=work)
        tasks = draws.tasks(self._family, self._spec.num_tasks)
        for slot in range(self._env.num_envs):
            self._loop.env.assign(slot, tasks[slot // self._spec.envs_per_task])
        arrays = arrays_to_parameters(weights.arrays)
        trajectories = [self._unroll(stacked(arrays, self._spec.num_tasks), weights.version, draws, 0)]
        for step in range(1, self._spec.num_steps + 1):
            adapted = self._adapt(self._policy.agent, self._config, arrays, trajectories)
            trajectories.append(self._unroll(adapted, weights.version, draws, step))
        return self._report(work, trajectories, started), tuple(trajectories)

    def _unroll(self, arrays: Mapping[str, Tensor], version: int, draws: _Draws, step: int) -> Trajectory:
        """Act for T steps from new episodes on."""
        self._policy.take(arrays, version)
        self._policy.seed(draws.seed(Stream.ACTIONS, step))
        self._loop.reset(self._policy, draws.seed(Stream.RESETS, step))
        return unroll(self._policy, self._loop, self._spec.unroll_length)

    def _report(self, work: Work, trajectories: Sequence[Trajectory], started: float) -> Report:
        """The returns before the first inner step and after the last; the run's episodes are those after it."""
        first, last = (first_episodes(trajectory) for trajectory in (trajectories[0], trajectories[-1]))
        is_training, env_steps = work.part == "train", sum(trajectory.env_steps for trajectory in trajectories)
        prefix = "return" if is_training else "evaluation"
        found = {
            f"{prefix}/{name}": mean
            for name, episodes in (("pre_update", first), ("post_update", last))
            if (mean := mean_return(episodes, self._spec.envs_per_task)) is not None
        }
        finished = tuple(episode for episode in last if episode is not None) if is_training else ()
        are_all_over = len(finished) == self._env.num_envs
        return Report(
            env_steps=env_steps if is_training else 0,
            busy_s=time.perf_counter() - started,
            episodes=finished,
            settled=tuple(episode.episode_return for episode in finished) if are_all_over else (),
            counts={} if is_training else {"evaluation/env_steps": env_steps},
            figures=found,
        )

    def stop(self) -> None:
        """See `actors.messages.Collector`; a unit is short."""

    def close(self) -> None:
        """Free the environments."""
        self._env.close()
