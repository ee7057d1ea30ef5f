"""The learner where it lives: its device, its state, and one call after another. The same object in a thread and in a Ray actor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cluster.backends.memory import keep_freed_memory
from cluster.backends.wiring import LearnReport
from cluster.config import RunConfig
from envs.errors import InvalidInputError
from envs.registry import resolve
from learners import impala, metagradient
from learners.networks.agent import Agent, SpaceSpec
from learners.networks.snapshot import parameters_to_arrays
from learners.seeds import Stream, generator, integer_seed
from learners.state_dict import state_from_arrays, state_to_arrays
from learners.trajectory import Snapshot, Trajectory


def first_env_spec(config: RunConfig) -> SpaceSpec:
    """What the network needs to know of the family's spaces, read off an environment of one slot."""
    family = resolve(config.family)
    env = family.make(family.sample(1, generator(config.seed, Stream.TASKS)), num_threads=1)
    try:
        return SpaceSpec.of(env)
    finally:
        env.close()


def device_of(config: RunConfig) -> torch.device:
    """The learner's device: `auto` takes a GPU where there is one.

    Raises:
        InvalidInputError: a GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if config.learner_device == "auto":
        return torch.device("cuda" if has_gpu else "cpu")
    if config.learner_device == "cuda" and not has_gpu:
        raise InvalidInputError("learner_device = cuda, and torch finds no GPU here: allowed here is cpu or auto")
    return torch.device(config.learner_device)


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """An algorithm's page with its config filled in, as the host calls it.

    Attributes:
        init: (spec, network, seed=, device=) -> the network's skeleton and the state of a learner that has seen nothing.
        iterate: (agent, state=, trajectories=, ...) -> the state after their updates, mean scalars, seconds.
        network_arrays: state -> what a snapshot holds.
        prepare: (agent, state) -> nothing: does what takes long and should be done before training's clock runs.
    """

    init: Callable[..., tuple[Agent, Any]]
    iterate: Callable[..., tuple[Any, dict[str, float], float]]
    network_arrays: Callable[[Any], dict[str, Tensor]]
    prepare: Callable[[Agent, Any], None] = lambda agent, state: None


def algorithm_of(config: RunConfig) -> Algorithm:
    """The learner that a config names: IMPALA, within the meta-gradient where eta is not empty."""
    tuning = config.tuning
    if tuning is None:
        plain = Algorithm(
            init=partial(impala.init, config=config.learner),
            iterate=partial(impala.iterate, config=config.learner),
            network_arrays=impala.network_arrays,
        )
        return _compiled(plain, config) if config.learner_compile else plain
    return Algorithm(
        init=partial(metagradient.init, config=tuning),
        iterate=partial(metagradient.iterate, config=tuning),
        network_arrays=partial(metagradient.network_arrays, tuning),
    )


def _compiled(plain: Algorithm, config: RunConfig) -> Algorithm:
    """IMPALA with its update compiled."""
    from learners.compiled import CompiledUpdate

    update = CompiledUpdate()

    def prepare(agent: Agent, state: impala.LearnerState) -> None:
        update.prepare(agent, config.learner, state, unroll_length=config.rollout.unroll_length, num_envs=config.batch_unrolls)

    return replace(plain, iterate=partial(plain.iterate, update_with=update), prepare=prepare)


class LearnerHost:
    """Holds the learner's state between calls."""

    def __init__(self, config: RunConfig, spec: SpaceSpec) -> None:
        keep_freed_memory()
        self._config, self._device, self._algorithm = config, device_of(config), algorithm_of(config)
        seed = integer_seed(config.seed, Stream.PARAMETERS)
        self._agent, self._state = self._algorithm.init(spec, config.network, seed=seed, device=self._device)
        self._algorithm.prepare(self._agent, self._state)

    def learn(self, trajectories: Sequence[Trajectory]) -> tuple[LearnReport, Snapshot]:
        """Make the updates that these trajectories hold, and return the weights after the last one."""
        before = self._state.version
        self._state, scalars, busy_s = self._algorithm.iterate(
            self._agent,
            state=self._state,
            trajectories=trajectories,
            batch_unrolls=self._config.batch_unrolls,
            total_env_steps=self._config.scheduled_env_steps,
            device=self._device,
        )
        version: int = self._state.version
        if not math.isfinite(scalars["gradient/norm"]):
            raise FloatingPointError(
                f"the learner diverged: gradient/norm = {scalars['gradient/norm']} after update {version} "
                f"(loss {scalars['loss/total']}); a smaller learner.learning_rate or learner.reward_scale may help"
            )
        return LearnReport(version=version, num_updates=version - before, busy_s=busy_s, scalars=scalars), self.snapshot()

    def snapshot(self) -> Snapshot:
        """The weights now, as arrays of their own that nothing writes to."""
        arrays = self._algorithm.network_arrays(self._state)
        return Snapshot(version=self._state.version, arrays=parameters_to_arrays(arrays))

    def state(self) -> dict[str, Any]:
        """The whole state, for a checkpoint."""
        arrays: dict[str, Any] = state_to_arrays(self._state)
        return arrays

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpointed state.

        Raises:
            InvalidInputError: it belongs to another network.
        """
        self._state = state_from_arrays(state, like=self._state, device=self._device)
