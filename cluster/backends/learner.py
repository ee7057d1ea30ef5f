"""The learner where it lives: its device, its state, and one call after another. The same object in a thread and in a Ray actor."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch

from cluster.backends.memory import keep_freed_memory
from cluster.backends.wiring import LearnReport
from cluster.config import RunConfig
from envs.errors import InvalidInputError
from envs.registry import resolve
from learners import impala
from learners.algorithm import Progress
from learners.networks.agent import SpaceSpec
from learners.networks.snapshot import parameters_to_arrays
from learners.seeds import Stream, generator
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


class LearnerHost:
    """Holds the learner's state between calls."""

    def __init__(self, config: RunConfig, spec: SpaceSpec) -> None:
        keep_freed_memory()
        self._config, self._device, self._calls = config, device_of(config), 0
        self._agent, self._state = impala.init(config, spec, None, config.network, config.seed, self._device)
        impala.prepare(self._agent, config, self._state)

    @property
    def _progress(self) -> Progress:
        return Progress(round=self._calls, total=self._config.scheduled_env_steps, run_seed=self._config.seed)

    def learn(self, trajectories: Sequence[Trajectory]) -> tuple[LearnReport, Snapshot]:
        """Make the updates that these trajectories hold, and return the weights after the last one."""
        before, started = self._state.version, time.perf_counter()
        self._state, watched = impala.update(self._agent, self._config, self._state, trajectories, self._progress)
        scalars = {name: float(value) for name, value in watched.items()}
        busy_s, self._calls = time.perf_counter() - started, self._calls + 1
        version = self._state.version
        if not math.isfinite(scalars["gradient/norm"]):
            raise FloatingPointError(
                f"the learner diverged: gradient/norm = {scalars['gradient/norm']} after update {version} "
                f"(loss {scalars['loss/total']}); a smaller learner.learning_rate or learner.reward_scale may help"
            )
        return LearnReport(version=version, num_updates=version - before, busy_s=busy_s, scalars=scalars), self.snapshot()

    def snapshot(self) -> Snapshot:
        """The weights now, as arrays of their own that nothing writes to."""
        arrays = impala.weights(self._config, self._state, self._progress)
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
