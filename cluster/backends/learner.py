"""The learner in its process: its device, its state, and one call after another. The same object in a thread and in a Ray actor."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from cluster.backends.base import LearnCall, LearnReport
from cluster.backends.memory import keep_freed_memory
from cluster.store.checkpoint import parameters_sha256
from envs.errors import InvalidInputError
from learners.algorithm import Progress, Setup
from learners.networks.agent import NetworkConfig
from learners.networks.snapshot import parameters_to_arrays
from learners.state_dict import state_from_arrays, state_to_arrays
from learners.trajectory import Snapshot

if TYPE_CHECKING:
    from cluster.algorithms import Row

MUST_BE_FINITE = ("loss/", "gradient/")
"""Prefixes of scalars that must be finite: otherwise the parameters are not."""


def device_of(wanted: str) -> torch.device:
    """The learner's device: `auto` takes a GPU where there is one.

    Raises:
        InvalidInputError: a GPU is requested and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if wanted == "auto":
        return torch.device("cuda" if has_gpu else "cpu")
    if wanted == "cuda" and not has_gpu:
        raise InvalidInputError("learner_device = cuda, and torch finds no GPU here: allowed here is cpu or auto")
    return torch.device(wanted)


class LearnerHost:
    """Holds the learner's state between calls.

    Args:
        row: the algorithm.
        config: of the run.
    """

    def __init__(self, row: Row, config: Any) -> None:
        keep_freed_memory()
        algorithm, workload = row.learner(), row.workload(config)
        self._algorithm, self._config, self._has_digests = algorithm, config, workload.is_journalled
        device = device_of(getattr(config, "learner_device", "cpu"))
        network = getattr(config, "network", NetworkConfig())
        self._progress = Progress(round=0, total=workload.scheduled, run_seed=config.seed)
        self._device = device
        setup = Setup(spec=workload.spaces(), network=network, run_seed=config.seed, device=device)
        self._agent, self._state = algorithm.init(config, setup)

    def build(self, state: dict[str, Any] | None) -> tuple[LearnReport, Snapshot]:
        """Prepare, from a checkpointed state if one is given; return a report without an update, and the weights.

        Raises:
            InvalidInputError: the state belongs to another network.
        """
        if state is not None:
            self._state = state_from_arrays(state, like=self._state, device=self._device)
        if (prepare := getattr(self._algorithm, "prepare", None)) is not None:
            prepare(self._agent, self._config, self._state)
        snapshot = self.snapshot()
        return LearnReport(version=snapshot.version, num_updates=0, busy_s=0.0, digest=self._digest(snapshot)), snapshot

    def learn(self, call: LearnCall, experience: Sequence[Any]) -> tuple[LearnReport, Snapshot]:
        """Update on this experience, or keep the best weights after an evaluation; return the weights.

        Raises:
            FloatingPointError: a loss or a gradient was not finite.
        """
        started, before, scalars = time.perf_counter(), int(self._state.version), dict[str, float]()
        self._progress = call.progress
        if call.score is not None:
            if (keep_best := getattr(self._algorithm, "keep_best", None)) is not None:
                self._state = keep_best(self._config, self._state, call.score)
        else:
            self._state, found = self._algorithm.update(self._agent, self._config, self._state, experience, call.progress)
            scalars = {name: float(value) for name, value in found.items()}
            self._check_finite(scalars)
        snapshot = self.snapshot()
        report = LearnReport(
            version=snapshot.version,
            num_updates=snapshot.version - before,
            busy_s=time.perf_counter() - started,
            scalars=scalars,
            digest=self._digest(snapshot),
        )
        return report, snapshot

    def _check_finite(self, scalars: dict[str, float]) -> None:
        for name, value in scalars.items():
            if name.startswith(MUST_BE_FINITE) and not math.isfinite(value):
                raise FloatingPointError(
                    f"the learner diverged: {name} = {value} after update {self._state.version}; "
                    "a smaller learner.learning_rate or learner.reward_scale may help"
                )

    def snapshot(self) -> Snapshot:
        """The present weights, as copies that nothing writes to."""
        weights = self._algorithm.weights(self._config, self._state, self._progress)
        tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
        arrays = {name: np.array(value) for name, value in weights.items() if not isinstance(value, Tensor)}
        return Snapshot(version=int(self._state.version), arrays=parameters_to_arrays(tensors) | arrays)

    def _digest(self, snapshot: Snapshot) -> str:
        return parameters_sha256(snapshot.arrays) if self._has_digests else ""

    def state(self) -> dict[str, Any]:
        """The whole state, for a checkpoint."""
        state: dict[str, Any] = state_to_arrays(self._state)
        return state
