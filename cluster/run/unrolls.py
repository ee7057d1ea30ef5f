"""Runs whose actors unroll a policy in environments of their own: as a stream, or in rounds of one unroll per actor."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from actors.messages import Collector, Work
from actors.rollout import RolloutActor, RolloutSpec
from cluster import overrides
from cluster.backends.base import Handle, MakeCollector
from cluster.backends.learner import device_of
from cluster.backends.memory import keep_freed_memory
from cluster.config import UnrollConfig
from cluster.run.recorder import warn
from cluster.run.round_units import RoundPlan
from cluster.run.rounds import Rounds
from cluster.run.schedule import Schedule, Stream
from cluster.run.workload import ALWAYS, Payload, Workload
from cluster.store import checkpoint as checkpoints
from cluster.store.run_directory import RunDirectory
from envs.registry import resolve
from learners.actor_critic import learning_rate
from learners.algorithm import Progress
from learners.networks.agent import Agent
from learners.networks.spaces import SpaceSpec
from learners.seeds import Stream as Draws
from learners.seeds import generator
from learners.trajectory import Snapshot

if TYPE_CHECKING:
    from cluster.algorithms import Row

CHANGEABLE = (
    "total_env_steps",
    "schedule_env_steps",
    "stop_return",
    "checkpoint_every_s",
    "checkpoint_every_rounds",
    "actor_deadline_s",
    "learner_device",
    "learner_compile",
    "rollout.env_threads",
    "evaluate_every",
    "evaluation_tasks",
    "learner.anneal",
    "learner.passes",
)
"""What neither experience nor the learner's state depends on."""
STREAM = ("num_actors", "lag", "max_lag")
"""What a stream may change besides: in rounds, these say what a round is."""


class Unrolls(Workload):
    """A stream, or rounds of one unroll an actor. See `cluster.run.workload.Workload`."""

    length, length_unit = "total_env_steps", "environment steps"
    schedule_length = "schedule_env_steps"
    in_threads = True
    unit = "unroll"
    stopping, stopped = "saving a checkpoint and stopping", "with a checkpoint"

    def __init__(self, row: Row, config: Any) -> None:
        super().__init__(row, config)
        self.checkpoint_every_s, self.checkpoint_every_rounds = config.checkpoint_every_s, config.checkpoint_rounds
        self.deadline_s, self.num_cpus = config.actor_deadline_s, config.rollout.env_threads

    def preflight(self, *, is_local: bool) -> None:
        """Make sure that the learner can have what its config asks for, and that the network fits the family's observations and actions.

        Raises:
            InvalidInputError: no such device here, or a torso for images on vectors.
        """
        with torch.device("meta"):  # shapes only: nothing is allocated or drawn
            Agent(self.spaces(), self.config.network, self.config.conditioning)
        if is_local:
            device_of(self.config.learner_device)

    def spaces(self) -> SpaceSpec:
        """What the network needs to know of the family's spaces, read off an environment of one slot."""
        family = resolve(self.config.family)
        env = family.make(family.sample(1, generator(self.config.seed, Draws.TASKS)), num_threads=1)
        try:
            return SpaceSpec.of(env)
        finally:
            env.close()

    def collector(self) -> MakeCollector:
        """See `cluster.run.workload.Workload`."""
        return partial(_make_collector, self.config)

    def store_bytes(self) -> int:
        """Bytes for the trajectories that may exist at once, and half as much again for weights and what is not freed yet."""
        config, rollout, spec = self.config, self.config.rollout, self.spaces()
        obs = math.prod(spec.frame_shape) * np.dtype(spec.sent_dtype).itemsize
        action = 8 if spec.is_discrete else 4 * spec.action_size
        row = obs + action + 11  # and reward, log-probability and three flags
        trajectory = rollout.envs_per_actor * (rollout.unroll_length + spec.frame_stack) * row
        per_call = config.units_per_call or config.num_actors
        return int(1.5 * trajectory * ((config.lag + 2) * config.num_actors + 4 * per_call + 4))

    def restore(self, directory: RunDirectory, *, is_resumed: bool) -> Payload | None:
        """From the newest checkpoint that is valid."""
        if not is_resumed:
            return None
        payload: Payload = checkpoints.load_newest(directory.checkpoints, warn).payload
        return payload

    def length_done(self, directory: RunDirectory) -> int:
        """The environment steps of the newest checkpoint."""
        return checkpoints.newest_step(directory.checkpoints)

    def may_change(self) -> tuple[str, ...]:
        """The settings that may change in a resumed run.

        Coefficients of the learner are read at each update, so a checkpoint fits any value; but those that eta tunes are in the state.
        """
        config_type: type = type(self.config)
        keys = overrides.keys(config_type)
        tuned = {f"learner.{name}" for name in getattr(self.config, "eta", ())}
        floats = (name for name, key in keys.items() if name.startswith(("learner.", "meta.")) and key.hint_is(float))
        return (
            *ALWAYS,
            *(name for name in CHANGEABLE if name in keys),
            *(STREAM if self.config.is_stream else ()),
            *(name for name in floats if name.rstrip("_") not in tuned),
        )

    def schedule_line(self, done: int) -> str | None:
        """Return a line about the learning rate of a run that is longer or shorter than its schedule; None in any other."""
        learner, over, total = self.config.learner, self.scheduled, self.config.total_env_steps
        if over == total or not learner.anneal:
            return None
        now, end = (learning_rate(learner, at, over) for at in (done, total))
        what = f"the learning rate is annealed over {over:,} steps (schedule_env_steps in config.json) and the run has {total:,}"
        line = f"{what}: {now:.2g} now, {end:.2g} at the end"
        if end > 0:
            return line
        return (
            f"{line}, so nothing is learned from {max(done, over):,} steps on; schedule_env_steps = null anneals it over all steps, "
            "learner.anneal = false keeps its first value"
        )

    def schedule(
        self, version: int, weights: Handle, put: Callable[[Snapshot], Handle], is_ending: Callable[[], bool]
    ) -> Schedule:
        """See `cluster.run.workload.Workload`; at a lag, rounds act with the weights of earlier ones."""
        config, payload = self.config, self._payload
        if config.is_stream:
            return Stream(
                num_actors=config.num_actors,
                units_per_call=config.units_per_call,
                updates_per_call=config.updates_per_call,
                lag=config.lag,
                max_lag=config.max_lag,
                version=version,
                weights=weights,
                progress=self._progress(0),
                rounds=[] if payload is None else [int(count) for count in payload["rounds"]],
            )
        saved = payload or {"weights": {}, "actors": ()}
        first_round = int(saved.get("first_round", 0))
        kept = {
            int(round_): (int(one["version"]), put(Snapshot(version=int(one["version"]), arrays=one["arrays"])))
            for round_, one in saved["weights"].items()
        }
        return Rounds(
            self,
            lag=config.lag,
            updates_per_call=config.updates_per_call,
            version=version,
            weights={first_round: (version, weights)} | kept,
            first_round=first_round,
            first_unit=int(saved.get("first_actor", 0)),
            states=saved["actors"],
            is_ending=is_ending,
        )

    def train(self, number: int) -> RoundPlan:
        """See `cluster.run.workload.Workload`."""
        config = self.config
        works = tuple(Work(round=number, index=actor, actor=actor) for actor in range(config.num_actors))
        return RoundPlan(works=works, progress=self._progress(number), units_per_call=config.units_per_call)

    def describe(self, work: Work) -> str:
        """See `cluster.run.workload.Workload`."""
        return f"actor {work.index} round {work.round}"

    def _progress(self, round_: int) -> Progress:
        return Progress(round=round_, total=self.scheduled, run_seed=self.config.seed)


def _make_collector(config: UnrollConfig, actor: int) -> Collector:
    keep_freed_memory()
    rollout = config.rollout
    spec = RolloutSpec(
        num_envs=rollout.envs_per_actor,
        unroll_length=rollout.unroll_length,
        env_threads=rollout.env_threads,
        run_seed=config.seed,
        anchored=not config.is_stream,
        conditioning=config.conditioning,
    )
    return RolloutActor(resolve(config.family), config.network, spec, actor)
