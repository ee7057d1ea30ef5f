"""The config of a run, with everything that it depends on: the content of `config.json` in a run directory.

Each field has its range and one line of doc with its unit; `cluster.overrides` uses both, for `--set` and for files.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from envs.errors import InvalidInputError
from envs.registry import resolve
from learners import epg, impala
from learners.networks.agent import Conditioning, NetworkConfig

Family = Annotated[str, Meta(min_length=1, description="task family: a name of `metaray tasks`, gym:<id> or module:object")]
Lag = Annotated[
    int,
    Meta(
        ge=0,
        le=8,
        description="rounds (an unroll of every actor) by which acting runs ahead of learning: at most in free mode, exactly "
        "in deterministic mode; 0 acts and learns in turn",
    ),
]


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """How an actor collects experience."""

    envs_per_actor: Annotated[int, Meta(ge=1, le=65536, description="environments that an actor steps in lockstep")] = 32
    unroll_length: Annotated[int, Meta(ge=1, le=4096, description="steps of an unroll, per environment")] = 20
    env_threads: Annotated[int, Meta(ge=1, le=1024, description="C++ threads that step an actor's environments")] = 1


@dataclass(frozen=True, kw_only=True)
class Goals:
    """Conditions for the end of a run; None for no condition.

    Attributes:
        env_steps, rounds: that were learned from.
        seconds: of training.
        stop_return: the mean return of the last 100 episodes reaches this.
    """

    env_steps: int | None = None
    rounds: int | None = None
    seconds: float | None = None
    stop_return: float | None = None


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """Settings of every run."""

    algorithm: Annotated[str, Meta(description="algorithm of the learner")] = ""
    preset: Annotated[str, Meta(description="preset that the config was made from; a label, changes nothing")] = "custom"
    family: Family = "cartpole"
    seed: Annotated[int, Meta(ge=0, le=2**53, description="root of every random draw of the run")] = 0
    num_actors: Annotated[int, Meta(ge=1, le=10_000, description="actors: processes, or threads of the driver's process")] = 1
    max_train_seconds: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="stop after so many seconds of training (EPG: at the end of the epoch); null: never"),
    ] = None
    keep_checkpoints: Annotated[int, Meta(ge=1, le=10_000, description="newest checkpoints that are kept")] = 3
    log_every_s: Annotated[float, Meta(gt=0, le=3600, description="seconds between rows of metrics")] = 1.0

    def check(self) -> None:
        """Check fields against each other, each being in its own range already; those of the learner are checked by its algorithm.

        Raises:
            InvalidInputError: names the fields, their values and what would do.
        """


@dataclass(frozen=True, kw_only=True)
class UnrollConfig(CommonConfig):
    """Settings of runs whose actors unroll a policy."""

    total_env_steps: Annotated[int, Meta(ge=1, le=10**13, description="environment steps to train for")] = 1_000_000
    schedule_env_steps: Annotated[
        Annotated[int, Meta(ge=1, le=10**13)] | None,
        Meta(description="environment steps of the schedule of learner.anneal; null: total_env_steps. A longer resume keeps it"),
    ] = None
    stop_return: Annotated[
        float | None, Meta(description="stop when the mean return of the last 100 episodes reaches this; null: never")
    ] = None
    lag: Lag = 0
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
        """Conditions for its end."""
        return Goals(env_steps=self.total_env_steps, seconds=self.max_train_seconds, stop_return=self.stop_return)

    @property
    def is_stream(self) -> bool:
        """Whether acting and learning are asynchronous, as fast as possible; else in rounds, bit-reproducible for a seed."""
        return False

    @property
    def checkpoint_rounds(self) -> int | None:
        """Rounds between checkpoints; None where they depend on the time."""
        return None

    @property
    def units_per_call(self) -> int:
        """Unrolls of a learner call; 0 for all of a round."""
        return 0

    @property
    def updates_per_call(self) -> int:
        """Updates of a learner call."""
        return 1

    @property
    def conditioning(self) -> Conditioning:
        """Further inputs of the network."""
        return Conditioning()


@dataclass(frozen=True, kw_only=True)
class RunConfig(impala.Config, UnrollConfig):
    """The config of IMPALA: a deterministic run is a function of it."""

    algorithm: Annotated[Literal["impala"], Meta(description="algorithm of the learner")] = "impala"
    deterministic: Annotated[
        bool, Meta(description="fixed lag and fixed order, bit-reproducible for a seed; false: as fast as possible")
    ] = False
    lag: Lag = 1
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
        """See `UnrollConfig`: rounds are counted, so that the result does not depend on speed."""
        return self.checkpoint_every_rounds if self.deterministic else None

    @property
    def units_per_call(self) -> int:
        """See `UnrollConfig`; 1 where a trajectory is as large as a batch, or larger."""
        return max(1, self.batch_unrolls // self.rollout.envs_per_actor)

    @property
    def updates_per_call(self) -> int:
        """See `UnrollConfig`."""
        return max(1, self.rollout.envs_per_actor // self.batch_unrolls)

    def check(self) -> None:
        """See `CommonConfig`."""
        batch, envs = self.batch_unrolls, self.rollout.envs_per_actor
        if batch % envs and envs % batch:
            raise InvalidInputError(
                f"batch_unrolls = {batch} must be a multiple or a divisor of rollout.envs_per_actor = {envs}: "
                f"try {_nearest(batch, envs)}"
            )
        if self.eta and self.meta.outer_gamma == 1 and resolve(self.family).is_endless:
            raise InvalidInputError(
                f"meta.outer_gamma = 1 and the tasks of {self.family} never terminate, so no value is finite: allowed is below 1, try 0.99"
            )
        if self.learner_compile and (self.eta or self.network.core != "none"):
            raise InvalidInputError(
                "learner_compile = true is allowed without eta and with network.core = none only: "
                "a core cuts its unrolls where episodes end"
            )
        columns = self.num_actors * envs
        if self.deterministic and columns % batch:
            raise InvalidInputError(
                f"deterministic mode: batch_unrolls = {batch} must divide the {columns} environments of a round "
                f"(num_actors = {self.num_actors} x rollout.envs_per_actor = {envs})"
            )


@functools.cache
def composed(algorithm: str, learner: type[Any]) -> type[Any]:
    """Return the config of an algorithm whose rounds are unrolls: its learner's `Config` combined with `UnrollConfig`."""
    body = {
        "__doc__": f"The config of {algorithm}.",
        "__annotations__": {"algorithm": Annotated[str, Meta(description="algorithm of the learner")]},
        "algorithm": algorithm,
        # pickle cannot find a class that is made here, and actors may be processes
        "__reduce__": lambda config: (_composed_again, (algorithm, learner, vars(config))),
    }
    return dataclass(frozen=True, kw_only=True)(type(f"{learner.__module__}.RunConfig", (learner, UnrollConfig), body))


def _composed_again(algorithm: str, learner: Any, values: dict[str, Any]) -> Any:
    return composed(algorithm, learner)(**values)


@dataclass(frozen=True, kw_only=True)
class EpgRunConfig(epg.Config, CommonConfig):
    """The config of EPG: phi is a function of it, bit for bit, with any number of actors."""

    algorithm: Annotated[Literal["epg"], Meta(description="evolved policy gradients")] = "epg"
    family: Family = "hopper-dynamics"
    num_workers: Annotated[int, Meta(ge=1, le=1_000_000, description="W: lifetimes of an epoch, a multiple of num_vectors")] = 256
    num_vectors: Annotated[
        int, Meta(ge=1, le=1_000_000, description="V: perturbations of an epoch, each used in W/V lifetimes")
    ] = 64
    lives_per_chunk: Annotated[
        int, Meta(ge=1, le=65_536, description="K: lifetimes that one process runs in lockstep, the unit of work")
    ] = 16
    num_epochs: Annotated[int, Meta(ge=1, le=10_000_000, description="updates of phi to make")] = 2000
    schedule_epochs: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)] | None,
        Meta(description="epochs of the schedules of guidance and step size; null: num_epochs. A longer resume keeps it"),
    ] = None
    evaluate_every: Annotated[int, Meta(ge=1, description="epochs between evaluations of the unperturbed phi")] = 50
    evaluation_lives: Annotated[int, Meta(ge=1, le=65_536, description="lifetimes of an evaluation")] = 7
    evaluation_lives_per_chunk: Annotated[
        int,
        Meta(
            ge=1, le=65_536, description="lifetimes of an evaluation in one unit of work; small, so that they spread over actors"
        ),
    ] = 4
    max_chunk_failures: Annotated[
        int, Meta(ge=1, le=100, description="failures of a chunk, by an exception or its worker's death, that end the run")
    ] = 3
    chunk_deadline_s: Annotated[
        float, Meta(gt=0, description="seconds after which a worker that has not answered counts as hung and is replaced")
    ] = 1800.0
    checkpoint_every_epochs: Annotated[
        int, Meta(ge=1, description="epochs between checkpoints, from which a resume replays the journal")
    ] = 20

    @property
    def goals(self) -> Goals:
        """Conditions for its end."""
        return Goals(rounds=self.num_epochs, seconds=self.max_train_seconds)

    def check(self) -> None:
        """See `CommonConfig`."""
        W, V, K = self.num_workers, self.num_vectors, self.lives_per_chunk
        evolution = self.evolution
        if evolution.antithetic and V % 2:
            raise InvalidInputError(
                f"num_vectors = {V} must be even, for perturbations come in antithetic pairs: try {_nearest(V, 2)} "
                "(or evolution.antithetic=false)"
            )
        if W % V:
            raise InvalidInputError(
                f"num_workers = {W} must be a multiple of num_vectors = {V}, so that each perturbation has as many lifetimes: "
                f"try {_nearest(W, V)}"
            )
        if evolution.antithetic and evolution.common_random_numbers and K % 2:
            raise InvalidInputError(
                f"lives_per_chunk = {K} must be even, for the two lifetimes of an antithetic pair run together: try {_nearest(K, 2)}"
            )


def _nearest(value: int, step: int) -> str:
    """The multiples of `step` on both sides of `value`, in words."""
    lower, upper = value // step * step, math.ceil(value / step) * step
    return f"{lower} or {upper}" if lower else f"{upper}"
