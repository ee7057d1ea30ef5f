"""IMPALA: importance-weighted actor-learner architecture, with V-trace; where eta is not empty, with gamma, lambda and costs tuned by
meta-gradients.

Reference: Espeholt et al. (2018), "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures",
arXiv 1802.01561. The loss is in `learners.vtrace_loss`, the meta-gradient in `learners.metagradient`.

Deviations from the paper:
    1. V-trace carries a trace parameter lambda (remark 2), with rlax's advantage for lambda < 1; lambda = 1 is the paper's.
    2. A truncated episode bootstraps from its final observation; the paper's environments only terminate.
    3. Observations may be normalised by running moments, which are part of the weights (for MuJoCo; off for Atari).
    4. Adam is offered beside RMSProp, and RMSProp with the epsilon inside or outside of the root.
    5. One trajectory of many environments may feed several updates (columns split into batches), each column once.
    6. The clips of V-trace may leak (leak_rho, leak_c; 1 is the paper's).
    7. A batch may be used for several gradient steps (passes; 1 is the paper's), until the policy has moved too far from the one that
       acted (target_kl). Environment steps are counted once per batch and `version` counts batches, so that lag is in batches, not passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Annotated, Any

from msgspec import Meta
from torch import Tensor

from envs.errors import InvalidInputError
from learners import actor_critic, metagradient, metagradient_config, vtrace_loss
from learners.actor_critic import LearnerCompile, LearnerState
from learners.algorithm import Progress, Setup
from learners.batch import batches
from learners.compiled import Compiled, blank
from learners.metagradient import MetaState
from learners.metagradient_config import MetaGradient
from learners.networks.agent import Agent
from learners.trajectory import Trajectory
from learners.vtrace_loss import ImpalaConfig

__all__ = ["Config", "ImpalaConfig", "check", "init", "prepare", "update", "weights"]


@dataclass(frozen=True, kw_only=True)
class Config(MetaGradient):
    """Config of the algorithm."""

    batch_unrolls: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="environments x unroll_length in one learner update; a multiple or a divisor of envs_per_actor",
        ),
    ] = 32
    learner_compile: LearnerCompile = False


State = LearnerState | MetaState


def check(config: Config) -> None:
    """Check fields against each other. See `learners.algorithm`."""
    if config.learner.target_kl is not None and config.learner.passes == 1:
        raise InvalidInputError(
            f"learner.target_kl = {config.learner.target_kl:g} needs learner.passes above 1: it ends passes early"
        )
    if config.eta:
        metagradient_config.check(config)
        if config.learner.passes > 1:
            raise InvalidInputError(
                f"learner.passes = {config.learner.passes} is allowed without eta only: the meta-gradient is that of one step"
            )


def init(config: Config, setup: Setup) -> tuple[Agent, State]:
    """Return the agent module and the initial state."""
    if config.eta:
        return metagradient.init(setup.spec, setup.network, config, setup.run_seed, setup.device)
    return actor_critic.init(setup.spec, setup.network, config.learner.optimiser, setup.run_seed, setup.device)


def weights(config: Config, state: State, progress: Progress) -> dict[str, Tensor]:
    """Return the network's parameters and buffers."""
    if isinstance(state, MetaState):
        return metagradient.network_arrays(config, state)
    return actor_critic.network_arrays(state)


def update(
    agent: Agent, config: Config, state: State, experience: Sequence[Trajectory], progress: Progress
) -> tuple[State, dict[str, Tensor]]:
    """Make one update for each batch in the trajectories; scalars are means over them."""
    update_on: Callable[..., tuple[Any, dict[str, Tensor]]] = partial(vtrace_loss.update, agent, config.learner)
    if config.eta:
        update_on = partial(metagradient.update, agent, config)
    elif config.learner_compile:
        update_on = partial(update_on, compiled=_compiled(agent, config.learner))
    watched = []
    for batch in batches(experience, config.batch_unrolls, actor_critic.device_of(agent)):
        state, found = update_on(state, batch, progress.total)
        watched.append(found)
    return state, actor_critic.means(watched)


def prepare(agent: Agent, config: Any, state: State) -> None:
    """Compile the update for the batch shape of this run's config, if `learner_compile` is set."""
    if config.learner_compile and isinstance(state, LearnerState):
        batch = blank(agent, config.rollout.unroll_length, config.batch_unrolls)
        vtrace_loss.update(agent, config.learner, state, batch, 1, _compiled(agent, config.learner))


@lru_cache(maxsize=1)
def _compiled(agent: Agent, config: ImpalaConfig) -> Compiled:
    return Compiled(partial(vtrace_loss.one_pass, agent, config))
