"""The protocol of an algorithm: a module with these functions, without a base class.

    init --> agent, state      weights(state) --> actors --> experience      update(state, experience) --> state      ...

A run keeps one `state`: every function is pure in it, and a checkpoint holds it and nothing else (`learners.state_dict`). Optional
functions of a module:

    adapt(agent, config, weights, trajectories) -> weights      where actors adapt: the weights of N tasks, stacked along a first axis
    keep_best(config, state, score) -> state                    the state with the score of its evaluation; without it a run's result is
                                                                its newest weights
    prepare(agent, config, state) -> None                       slow preparation, such as compiling, before the training time starts
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from envs.task import Task
from learners.networks.config import NetworkConfig
from learners.networks.spaces import SpaceSpec


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a run gives an algorithm to begin with.

    Attributes:
        spec: the spaces acted in.
        network: of the policy.
        run_seed: root of the seed tree, from which the initial parameters are drawn.
        device: device of the state's tensors.
        tasks: the enumerated training set, for algorithms with per-task state; otherwise None.
    """

    spec: SpaceSpec
    network: NetworkConfig
    run_seed: int
    device: torch.device
    tasks: Sequence[Task] | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Position of a run at an update.

    Attributes:
        round: rounds finished before this one; with the run's seed it determines every random draw of the update.
        total: length of the schedules, in environment steps or rounds.
        run_seed: root of the seed tree (`learners.seeds`).
        settings: settings of the round that may change during a run.
    """

    round: int
    total: int
    run_seed: int
    settings: Any = None


class Algorithm(Protocol):
    """The functions that every algorithm's module has, besides `Config`, a frozen dataclass of its hyper-parameters.

    `config` may be the whole config of a run, which has the fields of `Config` among others.
    """

    def check(self, config: Any) -> None:
        """Check fields against each other; each is in its own range already.

        Raises:
            InvalidInputError: names the fields, their values and a fix.
        """

    def init(self, config: Any, setup: Setup) -> tuple[Any, Any]:
        """Return the agent, whose parameter values are not used, and the initial state.

        Returns:
            The agent, and a state: a frozen dataclass with `version`, the number of updates made.
        """

    def weights(self, config: Any, state: Any, progress: Progress) -> Mapping[str, Tensor | np.ndarray]:
        """Return the arrays that actors act with, by name."""

    def update(
        self, agent: Any, config: Any, state: Any, experience: Sequence[Any], progress: Progress
    ) -> tuple[Any, Mapping[str, Tensor | float]]:
        """Make one update on experience, in the order of its units of work.

        Returns:
            The next state, and scalars to log, by metric name.
        """
