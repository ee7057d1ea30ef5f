"""A rollout actor: one batched environment, one copy of the policy, one unroll after another.

    reset -> [ act -> step ] x T -> Trajectory -> [ act -> step ] x T -> Trajectory -> ...

The environment goes on between unrolls; only the policy's version changes. Every draw comes from the seed tree by (run, actor, round), save
for the resets, whose generator the environment keeps; so an actor's future depends on the run's seed and on `state()` alone, and a
replacement that restores the state goes on bit for bit.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actors.messages import UnrollReport, Work
from actors.policy import Policy
from actors.settled import SettledReturns
from envs.batched import BatchedEnv
from envs.contract import CheckedEnv, make_env, sample_tasks
from envs.errors import EnvFaultError
from envs.family import TaskFamily
from envs.task import Task
from learners.networks.agent import Conditioning, NetworkConfig
from learners.seeds import Stream, generator, integer_seed
from learners.trajectory import Episode, Snapshot, Trajectory

ANCHOR_ROUNDS = 200
"""An environment that cannot save its state is reset every so many rounds where its state may be asked for, so that
replaying its actions from there stays short: 200 rounds of 20 steps are a minute of Atari."""


@dataclass(frozen=True, kw_only=True)
class RolloutSpec:
    """What an actor is made of.

    Attributes:
        num_envs: environments in lockstep, B.
        unroll_length: steps of an unroll, T.
        env_threads: C++ threads that step them.
        run_seed: the root of the seed tree.
        anchored: the actor's state may be asked for (deterministic runs), see `ANCHOR_ROUNDS`.
        conditioning: what the network has besides, where the learner tunes meta-parameters.
    """

    num_envs: int
    unroll_length: int
    env_threads: int
    run_seed: int
    anchored: bool = False
    conditioning: Conditioning = field(default_factory=Conditioning)


class RolloutActor:
    """Acts in `num_envs` environments of a task family, a new task for each new episode."""

    def __init__(self, family: TaskFamily, network: NetworkConfig, spec: RolloutSpec, actor: int) -> None:
        self._family, self._spec, self._actor = family, spec, actor
        tasks = sample_tasks(family, spec.num_envs, generator(spec.run_seed, Stream.TASKS, actor))
        self._take_env(tasks)
        self._policy = Policy.for_env(self._env, network, spec.conditioning)
        self._round = 0
        self._log: list[np.ndarray] = []
        self._lengths = np.zeros(spec.num_envs, dtype=np.int64)
        self._start(anchor_round=0)

    def _take_env(self, tasks: Sequence[Task]) -> None:
        """Make the environments of `tasks`."""
        self._env: BatchedEnv = make_env(self._family, tasks, num_threads=self._spec.env_threads)
        self._checked = CheckedEnv(self._env, self._family.name)

    def _start(self, anchor_round: int) -> None:
        """Reset every environment, from the seed that belongs to this round."""
        self._anchor_round = anchor_round
        self._assigned: list[tuple[int, int, Task]] = []
        self._log.clear()
        seed = integer_seed(self._spec.run_seed, Stream.RESETS, self._actor, anchor_round)
        with self._naming_faults():
            obs = self._checked.reset(seed=seed)
        self._anchor_tasks: tuple[Task, ...] = tuple(self._env.tasks)
        num_envs = self._env.num_envs
        self._obs, self._is_first = obs, np.ones(num_envs, dtype=bool)
        self._action = self._policy.no_action(num_envs)
        self._reward = np.zeros(num_envs, dtype=np.float32)
        self._recurrent = self._policy.initial_state(num_envs)
        self._returns, self._lengths = np.zeros(num_envs), np.zeros(num_envs, dtype=np.int64)
        self._settled = SettledReturns(num_envs)

    def collect(self, work: Work, weights: Snapshot) -> tuple[UnrollReport, Trajectory]:
        """Act for T steps with these weights. See `actors.messages.Collector`."""
        started = time.perf_counter()
        if work.state is not None:
            self.restore(work.state)
        replayed = self._spec.anchored and not self._env.can_save
        if replayed and work.round % ANCHOR_ROUNDS == 0 and work.round > self._anchor_round:
            self._start(anchor_round=work.round)
        self._policy.load(weights)
        self._policy.seed(integer_seed(self._spec.run_seed, Stream.ACTIONS, self._actor, work.round))
        tasks_rng = generator(self._spec.run_seed, Stream.TASKS, self._actor, work.round)
        with self._naming_faults():
            trajectory, episodes = self._collect(tasks_rng)
        self._round = work.round + 1
        report = UnrollReport(
            env_steps=trajectory.env_steps,
            episodes=tuple(episodes),
            settled=self._settled.take(),
            state=self.state() if work.wants_state else None,
            busy_s=time.perf_counter() - started,
        )
        return report, trajectory

    def stop(self) -> None:
        """See `actors.messages.Collector`; an unroll is short."""

    def _collect(self, tasks_rng: np.random.Generator) -> tuple[Trajectory, list[Episode]]:
        buffers = self._policy.buffers(self._spec.unroll_length, self._env)
        tasks, episodes = tuple(self._env.tasks), list[Episode]()
        before = (self._action, self._reward, self._policy.state_arrays(self._recurrent))
        history = self._policy.frame_history(self._obs)
        for t in range(self._spec.unroll_length):
            action, log_prob, self._recurrent = self._policy.act(
                self._obs, self._is_first, self._action, self._reward, self._recurrent
            )
            buffers.before_step(t, self._policy.newest_frame(self._obs), self._is_first, action, log_prob)
            given = self._policy.bounded(action)
            self._obs, reward, terminated, truncated, info = self._checked.step(given)
            if self._spec.anchored and not self._env.can_save:
                self._log.append(given.copy())
            self._is_first, self._action, self._reward = info["is_first"], action, reward.astype(np.float32)
            buffers.after_step(t, self._reward, terminated, truncated)
            ended = terminated | truncated
            episodes += self._count_episodes(reward, info.get("is_final", ended))
            if ended.any():
                self._assign_tasks(np.flatnonzero(ended), tasks_rng)
        buffers.last(self._policy.newest_frame(self._obs), self._is_first)
        trajectory = buffers.trajectory(
            history=history,
            previous_action=before[0],
            previous_reward=before[1],
            initial_state=before[2],
            policy_version=self._policy.version,
            tasks=tasks,
        )
        return trajectory, episodes

    def _count_episodes(self, reward: np.ndarray, is_final: np.ndarray) -> list[Episode]:
        """Add up returns and lengths, and close the episodes that are over."""
        self._returns += reward
        self._lengths += ~self._is_first
        self._settled.tick()
        if not is_final.any():
            return []
        done = np.flatnonzero(is_final)
        episodes = [
            Episode(task=self._env.tasks[slot], episode_return=float(self._returns[slot]), length=int(self._lengths[slot]))
            for slot in done
        ]
        for slot in done.tolist():
            self._settled.end(slot, float(self._returns[slot]))
        self._returns[done], self._lengths[done] = 0.0, 0
        return episodes

    def _assign_tasks(self, slots: np.ndarray, rng: np.random.Generator) -> None:
        """Give each slot whose episode ended a new task for its next reset; a family of one task needs none."""
        if not self._family.parameters:
            return
        for slot, task in zip(slots.tolist(), sample_tasks(self._family, len(slots), rng), strict=True):
            self._checked.assign(slot, task)
            self._assigned.append((len(self._log), slot, task))

    def state(self) -> dict[str, Any]:
        """Everything that the next unroll depends on, as plain values and arrays."""
        common = {
            "round": self._round,
            "action": self._action.copy(),
            "reward": self._reward.copy(),
            "is_first": self._is_first.copy(),
            "recurrent": list(self._policy.state_arrays(self._recurrent)),
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "settled": self._settled.state(),
        }
        if self._env.can_save:
            return common | {"obs": self._obs.copy(), "env": self._env.save()}
        return common | {
            "anchor_round": self._anchor_round,
            "anchor_tasks": _plain(self._anchor_tasks),
            "assigned": [(at, slot, *_plain([task])) for at, slot, task in self._assigned],
            "log": np.stack(self._log) if self._log else self._action[None][:0],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`, as this actor or another of the same index returned it."""
        if self._env.can_save:
            self._env.restore(state["env"])
            self._obs = state["obs"].copy()
        else:
            self._replay(state)
        self._round = int(state["round"])
        self._action, self._reward, self._is_first = (state[key].copy() for key in ("action", "reward", "is_first"))
        self._recurrent = self._policy.state_tensors(state["recurrent"])
        self._returns, self._lengths = state["returns"].copy(), state["lengths"].copy()
        self._checked.lengths[:] = self._lengths
        if "settled" in state:  # checkpoints of older versions have none
            self._settled.restore(state["settled"])

    def _replay(self, state: dict[str, Any]) -> None:
        """Bring an environment that cannot be saved to where it was: reset it as at the anchor and repeat its actions."""
        tasks = [_task(plain) for plain in state["anchor_tasks"]]
        self._env.close()
        self._take_env(tasks)
        self._start(anchor_round=int(state["anchor_round"]))
        assigned = [(int(at), int(slot), _task(plain)) for at, slot, plain in state["assigned"]]
        waiting = list(assigned)
        for at, action in enumerate(state["log"]):
            with self._naming_faults():
                self._obs, *_ = self._checked.step(action)
            self._log.append(action)
            while waiting and waiting[0][0] == at + 1:
                _, slot, task = waiting.pop(0)
                self._env.assign(slot, task)
        self._assigned = assigned

    @contextlib.contextmanager
    def _naming_faults(self) -> Iterator[None]:
        """Say of an environment that fails in the block whose it is."""
        try:
            yield
        except EnvFaultError as error:
            error.actor = self._actor
            raise

    def close(self) -> None:
        """Free the environments."""
        self._env.close()


def _plain(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    return [{"family": task.family, "params": [list(pair) for pair in task.params]} for task in tasks]


def _task(plain: dict[str, Any]) -> Task:
    return Task(family=plain["family"], params=tuple((name, value) for name, value in plain["params"]))
