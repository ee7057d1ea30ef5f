"""Everything that a run depends on, as one value: what `config.json` in a run directory holds.

Each field carries its range and one line of doc with its unit; `cluster.overrides` reads both from here, for `--set` and for files.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from envs.errors import InvalidInputError
from envs.registry import resolve
from learners import impala
from learners.networks.agent import Conditioning, NetworkConfig


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """How an actor collects experience."""

    envs_per_actor: Annotated[int, Meta(ge=1, le=65536, description="environments that an actor steps in lockstep")] = 32
    unroll_length: Annotated[int, Meta(ge=1, le=4096, description="steps of an unroll, per environment")] = 20
    env_threads: Annotated[int, Meta(ge=1, le=1024, description="C++ threads that step an actor's environments")] = 1


@dataclass(frozen=True, kw_only=True)
class Goals:
    """When a run ends; None where it does not end for that.

    Attributes:
        env_steps, rounds: so many of them were learned from.
        seconds: of training.
        stop_return: the mean return of the last 100 episodes reaches this.
    """

    env_steps: int | None = None
    rounds: int | None = None
    seconds: float | None = None
    stop_return: float | None = None


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """What every run has, whatever it trains."""

    algorithm: Annotated[str, Meta(description="algorithm of the learner")] = ""
    preset: Annotated[str, Meta(description="preset that the config was made from; a name for people, changes nothing")] = (
        "custom"
    )
    family: Annotated[
        str, Meta(min_length=1, description="task family: a name of `metaray tasks`, gym:<id> or module:object")
    ] = "cartpole"
    seed: Annotated[int, Meta(ge=0, le=2**53, description="root of every random draw of the run")] = 0
    num_actors: Annotated[int, Meta(ge=1, le=10_000, description="actors (processes on Ray, threads in one process)")] = 1
    max_train_seconds: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="stop after this much training, in seconds; null: never")
    ] = None
    keep_checkpoints: Annotated[int, Meta(ge=1, le=10_000, description="newest checkpoints that are kept")] = 3
    log_every_s: Annotated[float, Meta(gt=0, le=3600, description="seconds between lines of metrics")] = 1.0


@dataclass(frozen=True, kw_only=True)
class UnrollConfig(CommonConfig):
    """A run whose actors unroll a policy, in rounds of an unroll each."""

    total_env_steps: Annotated[int, Meta(ge=1, le=10**13, description="environment steps to train for")] = 1_000_000
    schedule_env_steps: Annotated[
        Annotated[int, Meta(ge=1, le=10**13)] | None,
        Meta(description="environment steps that learner.anneal is laid over; null: total_env_steps. A longer resume keeps it"),
    ] = None
    stop_return: Annotated[
        float | None, Meta(description="stop when the mean return of the last 100 episodes reaches this; null: never")
    ] = None
    lag: Annotated[
        int,
        Meta(
            ge=0,
            le=8,
            description="rounds (an unroll of every actor) by which acting runs ahead of learning: at most in free mode, exactly "
            "in deterministic mode; 0 acts and learns in turn",
        ),
    ] = 0
    checkpoint_every_s: Annotated[float, Meta(gt=0, description="free mode: seconds between checkpoints")] = 60.0
    actor_deadline_s: Annotated[
        float, Meta(gt=0, description="seconds after which an actor that has not answered counts as hung and is replaced")
    ] = 60.0
    learner_device: Annotated[
        Literal["auto", "cpu", "cuda"], Meta(description="device of the learner; auto takes a GPU where there is one")
    ] = "auto"
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)

    @property
    def goals(self) -> Goals:
        """When it ends."""
        return Goals(env_steps=self.total_env_steps, seconds=self.max_train_seconds, stop_return=self.stop_return)

    @property
    def scheduled_env_steps(self) -> int:
        """Environment steps that the learning rate is annealed over."""
        return self.total_env_steps if self.schedule_env_steps is None else self.schedule_env_steps

    @property
    def is_stream(self) -> bool:
        """Whether acting and learning go on side by side, as fast as possible; else in rounds, the same bits for a seed."""
        return False

    @property
    def checkpoint_rounds(self) -> int | None:
        """Rounds between checkpoints; None where they are made by the clock."""
        return None

    @property
    def units_per_call(self) -> int:
        """Unrolls that a learner call joins; all of a round where 0."""
        return 0

    @property
    def updates_per_call(self) -> int:
        """Versions of the weights that a learner call goes on by."""
        return 1

    @property
    def conditioning(self) -> Conditioning:
        """What the network has besides."""
        return Conditioning()


@dataclass(frozen=True, kw_only=True)
class RunConfig(impala.Config, UnrollConfig):
    """One run of IMPALA, complete: the same config and seed make the same run where it is deterministic."""

    algorithm: Annotated[Literal["impala"], Meta(description="algorithm of the learner")] = "impala"
    deterministic: Annotated[
        bool, Meta(description="fixed lag and fixed order, the same parameters twice for one seed; false: as fast as possible")
    ] = False
    lag: Annotated[
        int,
        Meta(
            ge=0,
            le=8,
            description="rounds (an unroll of every actor) by which acting runs ahead of learning: at most in free mode, exactly "
            "in deterministic mode; 0 acts and learns in turn",
        ),
    ] = 1
    max_lag: Annotated[
        int, Meta(ge=0, le=100_000, description="free mode: a trajectory older than this is dropped, in learner updates")
    ] = 64
    checkpoint_every_rounds: Annotated[
        int, Meta(ge=1, description="deterministic mode: rounds (an unroll of every actor) between checkpoints")
    ] = 100

    @property
    def is_stream(self) -> bool:
        """See `UnrollConfig`."""
        return not self.deterministic

    @property
    def checkpoint_rounds(self) -> int | None:
        """See `UnrollConfig`: rounds are counted, so that speed changes nothing."""
        return self.checkpoint_every_rounds if self.deterministic else None

    @property
    def units_per_call(self) -> int:
        """See `UnrollConfig`; 1 where a trajectory is as large as a batch, or larger."""
        return max(1, self.batch_unrolls // self.rollout.envs_per_actor)

    @property
    def updates_per_call(self) -> int:
        """See `UnrollConfig`."""
        return max(1, self.rollout.envs_per_actor // self.batch_unrolls)


@functools.cache
def composed(algorithm: str, learner: type[Any]) -> type[Any]:
    """Return the config of an algorithm whose rounds are unrolls: its learner's `Config` beside what every such run has."""
    body = {
        "__doc__": f"One run of {algorithm}, complete: the same config and seed make the same run.",
        "__annotations__": {"algorithm": Annotated[str, Meta(description="algorithm of the learner")]},
        "algorithm": algorithm,
        # a class that is made here is found in no module, and actors may be processes
        "__reduce__": lambda config: (_composed_again, (algorithm, learner, vars(config))),
    }
    return dataclass(frozen=True, kw_only=True)(type(f"{learner.__module__}.RunConfig", (learner, UnrollConfig), body))


def _composed_again(algorithm: str, learner: Any, values: dict[str, Any]) -> Any:
    return composed(algorithm, learner)(**values)


def check(config: RunConfig) -> RunConfig:
    """Check fields against each other, each being in its own range already, and return the config.

    Raises:
        InvalidInputError: names the fields, their values and what would do.
    """
    batch, envs = config.batch_unrolls, config.rollout.envs_per_actor
    if batch % envs and envs % batch:
        lower, upper = max(batch // envs, 1) * envs, (batch // envs + 1) * envs
        near = f"{lower} or {upper}" if lower < batch else f"{upper}"
        raise InvalidInputError(
            f"batch_unrolls = {batch} must be a multiple or a divisor of rollout.envs_per_actor = {envs}: try {near}"
        )
    impala.check(config)
    if config.tuning is not None and config.meta.outer_gamma == 1 and resolve(config.family).is_endless:
        raise InvalidInputError(
            f"meta.outer_gamma = 1 and the tasks of {config.family} never terminate, so no value is finite: allowed is below 1, try 0.99"
        )
    if config.learner_compile and (config.eta or config.network.core != "none"):
        raise InvalidInputError(
            "learner_compile = true is allowed without eta and with network.core = none only: a core cuts its unrolls where episodes end"
        )
    columns = config.num_actors * envs
    if config.deterministic and columns % batch:
        raise InvalidInputError(
            f"deterministic mode: batch_unrolls = {batch} must divide the {columns} environments of a round "
            f"(num_actors = {config.num_actors} x rollout.envs_per_actor = {envs})"
        )
    return config
