"""What an algorithm is: a module with these functions, and no base class.

    init --> agent, state      weights(state) --> actors --> experience      update(state, experience) --> state      ...

A run keeps one `state` and hands it round: every function is pure in it, and it alone is what a checkpoint holds
(`learners.state_dict`). A module may have more than the protocol asks for:

    adapt(agent, config, weights, trajectories) -> weights      where actors adapt: the weights of N tasks, stacked along a first axis
    keep_best(config, state, score) -> state                    takes in what an evaluation of the state said
    prepare(agent, config, state) -> None                       does what takes long and belongs before training's clock runs
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
class Progress:
    """Where a run stands when a round of experience is learned from.

    Attributes:
        round: rounds finished before this one; with the run's seed it names every random draw of the update.
        total: what schedules are laid over, environment steps or rounds.
        run_seed: root of the seed tree (`learners.seeds`).
        settings: what the round was begun with, where that may change while a run goes on.
    """

    round: int
    total: int
    run_seed: int
    settings: Any = None


class Algorithm(Protocol):
    """The functions that every algorithm's module has, beside `Config`, a frozen dataclass of its hyper-parameters.

    `config` may be the whole config of a run, which has the fields of `Config` among others.
    """

    def check(self, config: Any) -> None:
        """Check fields against each other, each being in its own range already.

        Raises:
            InvalidInputError: names the fields, their values and what would do.
        """

    def init(
        self,
        config: Any,
        spec: SpaceSpec,
        tasks: Sequence[Task] | None,
        network: NetworkConfig,
        run_seed: int,
        device: torch.device,
    ) -> tuple[Any, Any]:
        """Return what has the parameters without having their values, and the state of a learner that has seen nothing.

        Args:
            config: of the algorithm.
            spec: the spaces acted in.
            tasks: the training set, enumerated, where something is kept for each of its tasks; None elsewhere.
            network: of the policy.
            run_seed: root of the seed tree, from which the first parameters are drawn.
            device: where the state's tensors go.

        Returns:
            The agent, and a state: a frozen dataclass with `version`, the number of updates behind it.
        """

    def weights(self, config: Any, state: Any, progress: Progress) -> Mapping[str, Tensor | np.ndarray]:
        """Return what actors get, by name."""

    def update(
        self, agent: Any, config: Any, state: Any, experience: Sequence[Any], progress: Progress
    ) -> tuple[Any, Mapping[str, Tensor | float]]:
        """Learn from experience, in the order of its units of work.

        Returns:
            The next state, and scalars to watch, by metric name.
        """
