"""A rollout actor: one batched environment, one copy of the policy, one unroll after another.

    reset -> [ act -> step ] x T -> Trajectory -> [ act -> step ] x T -> Trajectory -> ...

Episodes continue from one unroll to the next; only the policy's version changes. Every draw comes from the seed tree by (run, actor,
round), except for the resets, whose generator the environment keeps; so an actor's future depends on the run's seed and on `state()` alone,
and a replacement that restores the state continues bit for bit.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from actors.messages import Report, Work
from actors.policy import Policy
from actors.unroll import EnvLoop, unroll
from envs.batched import BatchedEnv
from envs.contract import CheckedEnv, make_env, sample_tasks
from envs.errors import EnvFaultError
from envs.family import TaskFamily
from envs.task import Task, plain_task, task_from_plain
from learners.networks.agent import Conditioning, NetworkConfig
from learners.seeds import Stream, generator, integer_seed
from learners.trajectory import Snapshot, Trajectory

ANCHOR_ROUNDS = 200
"""An environment that cannot save its state is reset every so many rounds where its state may be requested, so that
replaying its actions from there stays short: 200 rounds of 20 steps are a minute of Atari."""


@dataclass(frozen=True, kw_only=True)
class RolloutSpec:
    """Settings of a rollout actor.

    Attributes:
        num_envs: environments in lockstep, B.
        unroll_length: steps of an unroll, T.
        env_threads: C++ threads that step them.
        run_seed: the root of the seed tree.
        anchored: the actor's state may be requested (deterministic runs), see `ANCHOR_ROUNDS`.
        conditioning: inputs of the network for meta-parameters that the learner tunes.
    """

    num_envs: int
    unroll_length: int
    env_threads: int
    run_seed: int
    anchored: bool = False
    conditioning: Conditioning = field(default_factory=Conditioning)


class RolloutActor:
    """Acts in `num_envs` environments of a task family, with a new task for each episode."""

    def __init__(self, family: TaskFamily, network: NetworkConfig, spec: RolloutSpec, actor: int) -> None:
        self._family, self._spec, self._actor = family, spec, actor
        self._make_env(sample_tasks(family, spec.num_envs, generator(spec.run_seed, Stream.TASKS, actor)))
        self._policy = Policy.for_env(self._env, network, spec.conditioning)
        self._is_replayed = spec.anchored and not self._env.can_save
        self._round = 0
        self._start(anchor_round=0)

    def _make_env(self, tasks: Sequence[Task]) -> None:
        """Make the environments of `tasks`."""
        self._env: BatchedEnv = make_env(self._family, tasks, num_threads=self._spec.env_threads)
        self._loop = EnvLoop(CheckedEnv(self._env, self._family.name))

    def _start(self, anchor_round: int) -> None:
        """Reset every environment, from the seed that belongs to this round."""
        self._anchor_round = anchor_round
        self._assigned: list[tuple[int, int, Task]] = []
        self._log: list[np.ndarray] = []
        with self._naming_faults():
            self._loop.reset(self._policy, integer_seed(self._spec.run_seed, Stream.RESETS, self._actor, anchor_round))
        self._anchor_tasks: tuple[Task, ...] = tuple(self._env.tasks)

    def collect(self, work: Work, weights: Snapshot) -> tuple[Report, Trajectory]:
        """Act for T steps with these weights. See `actors.messages.Collector`."""
        started = time.perf_counter()
        if work.state is not None:
            self.restore(work.state)
        if self._is_replayed and work.round % ANCHOR_ROUNDS == 0 and work.round > self._anchor_round:
            self._start(anchor_round=work.round)
        self._policy.load(weights)
        self._policy.seed(integer_seed(self._spec.run_seed, Stream.ACTIONS, self._actor, work.round))
        assign = partial(self._assign_tasks, generator(self._spec.run_seed, Stream.TASKS, self._actor, work.round))
        with self._naming_faults():
            trajectory = unroll(self._policy, self._loop, self._spec.unroll_length, assign)
        if self._is_replayed:
            self._log.extend(self._policy.bounded(trajectory.action).copy())
        self._round = work.round + 1
        episodes, settled = self._loop.episodes.take()
        report = Report(
            env_steps=trajectory.env_steps,
            episodes=episodes,
            settled=settled,
            state=self.state() if work.wants_state else None,
            busy_s=time.perf_counter() - started,
        )
        return report, trajectory

    def stop(self) -> None:
        """See `actors.messages.Collector`; an unroll is short."""

    def _assign_tasks(self, rng: np.random.Generator, t: int, slots: np.ndarray) -> None:
        """Give each slot whose episode ended with step t a new task for its next reset; a family of one task needs none."""
        if not self._family.parameters:
            return
        for slot, task in zip(slots.tolist(), sample_tasks(self._family, len(slots), rng), strict=True):
            self._loop.env.assign(slot, task)
            self._assigned.append((len(self._log) + t + 1, slot, task))

    def state(self) -> dict[str, Any]:
        """Everything that the next unroll depends on, as plain values and arrays."""
        common = {"round": self._round, **self._loop.state(self._policy)}
        if self._env.can_save:
            return common | {"obs": self._loop.obs.copy(), "env": self._env.save()}
        return common | {
            "anchor_round": self._anchor_round,
            "anchor_tasks": [plain_task(task) for task in self._anchor_tasks],
            "assigned": [(at, slot, plain_task(task)) for at, slot, task in self._assigned],
            "log": np.stack(self._log) if self._log else self._loop.action[None][:0],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`, as this actor or another of the same index returned it."""
        if self._env.can_save:
            self._env.restore(state["env"])
            self._loop.obs = state["obs"].copy()
        else:
            self._replay(state)
        self._round = int(state["round"])
        self._loop.restore(self._policy, state)

    def _replay(self, state: dict[str, Any]) -> None:
        """Bring an environment that cannot be saved to where it was: reset it as at the anchor and repeat its actions."""
        self._env.close()
        self._make_env([task_from_plain(plain) for plain in state["anchor_tasks"]])
        self._start(anchor_round=int(state["anchor_round"]))
        self._assigned = [(int(at), int(slot), task_from_plain(plain)) for at, slot, plain in state["assigned"]]
        for at, action in enumerate(state["log"], start=1):
            with self._naming_faults():
                self._loop.obs, *_ = self._loop.env.step(action)
            self._log.append(action)
            for _, slot, task in (one for one in self._assigned if one[0] == at):
                self._env.assign(slot, task)

    @contextlib.contextmanager
    def _naming_faults(self) -> Iterator[None]:
        """Add the actor to the errors of its environments."""
        try:
            yield
        except EnvFaultError as error:
            error.actor = self._actor
            raise

    def close(self) -> None:
        """Free the environments."""
        self._env.close()
