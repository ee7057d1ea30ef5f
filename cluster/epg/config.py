"""Everything that a run of Evolved Policy Gradients depends on, as one value. See `cluster.config` for how fields are read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from cluster.config import CommonConfig, Goals
from envs.errors import InvalidInputError
from learners import epg
from learners.evolution import guidance_alpha, learning_rate


@dataclass(frozen=True, kw_only=True)
class EpgRunConfig(epg.Config, CommonConfig):
    """One run, complete. The same config and seed make the same phi, bit for bit, wherever and by however many actors it is lived."""

    algorithm: Annotated[Literal["epg"], Meta(description="evolved policy gradients")] = "epg"
    family: Annotated[
        str, Meta(min_length=1, description="task family: a name of `metaray tasks`, gym:<id> or module:object")
    ] = "hopper-dynamics"
    num_actors: Annotated[
        int, Meta(ge=1, le=10_000, description="processes that live chunks of lives; changes nothing but the time it takes")
    ] = 1
    num_workers: Annotated[int, Meta(ge=1, le=1_000_000, description="W: lives of an epoch, a multiple of num_vectors")] = 256
    num_vectors: Annotated[int, Meta(ge=1, le=1_000_000, description="V: perturbations of an epoch, each lived W/V times")] = 64
    lives_per_chunk: Annotated[
        int, Meta(ge=1, le=65_536, description="K: lives that one process lives in lockstep, the unit of work")
    ] = 16
    num_epochs: Annotated[int, Meta(ge=1, le=10_000_000, description="updates of phi to make")] = 2000
    schedule_epochs: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)] | None,
        Meta(description="epochs that guidance and step size of phi are laid over; null: num_epochs. A longer resume keeps it"),
    ] = None
    evaluate_every: Annotated[int, Meta(ge=1, description="epochs between evaluations of the unperturbed phi")] = 50
    evaluation_lives: Annotated[int, Meta(ge=1, le=65_536, description="lives of an evaluation")] = 7
    evaluation_lives_per_chunk: Annotated[
        int, Meta(ge=1, le=65_536, description="lives of an evaluation that go together; small, so that they spread over actors")
    ] = 4
    max_train_seconds: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="evaluate and stop at the end of the epoch in which this much training is over, in seconds; null: never"
        ),
    ] = None
    max_chunk_failures: Annotated[
        int, Meta(ge=1, le=100, description="a chunk that fails so often, by an exception or its worker's death, stops the run")
    ] = 3
    chunk_deadline_s: Annotated[
        float, Meta(gt=0, description="seconds after which a worker that has not answered counts as hung and is replaced")
    ] = 1800.0
    checkpoint_every_epochs: Annotated[
        int, Meta(ge=1, description="epochs between checkpoints, which spare a resume the replay of the whole journal")
    ] = 20

    @property
    def goals(self) -> Goals:
        """When it ends."""
        return Goals(rounds=self.num_epochs, seconds=self.max_train_seconds)

    @property
    def scheduled_epochs(self) -> int:
        """Epochs that the schedules are laid over."""
        return self.num_epochs if self.schedule_epochs is None else self.schedule_epochs


def check(config: EpgRunConfig) -> EpgRunConfig:
    """Check fields against each other, each being in its own range already, and return the config.

    Raises:
        InvalidInputError: names the fields, their values and the nearest that would do.
    """
    W, V, K = config.num_workers, config.num_vectors, config.lives_per_chunk
    evolution = config.evolution
    if evolution.antithetic and V % 2:
        raise InvalidInputError(
            f"num_vectors = {V} must be even, for perturbations come in antithetic pairs: try {_nearest(V, 2)} "
            "(or evolution.antithetic=false)"
        )
    if W % V:
        raise InvalidInputError(
            f"num_workers = {W} must be a multiple of num_vectors = {V}, so that each perturbation is lived as often: "
            f"try {_nearest(W, V)}"
        )
    if evolution.antithetic and evolution.common_random_numbers and K % 2:
        raise InvalidInputError(
            f"lives_per_chunk = {K} must be even, for the two lives of an antithetic pair are lived together: try {_nearest(K, 2)}"
        )
    epg.check(config)
    return config


def schedule_line(config: EpgRunConfig, epoch: int) -> str | None:
    """Say what the schedules come to in a run that is longer or shorter than them; None where they are as long.

    Args:
        config: the run.
        epoch: epochs finished.
    """
    over, total = config.scheduled_epochs, config.num_epochs
    if over == total:
        return None
    now, end = (
        f"alpha {guidance_alpha(config.evolution, at, over):.2g}, lr {learning_rate(config.evolution, at, over):.2g}"
        for at in (epoch, total)
    )
    return (
        f"guidance and step size are laid over {over:,} epochs (schedule_epochs in config.json; null lays them over all {total:,}): "
        f"{now} at epoch {epoch:,}, {end} at the end"
    )


def _nearest(value: int, step: int) -> str:
    """The multiples of `step` on both sides of `value`, in words."""
    lower, upper = value // step * step, math.ceil(value / step) * step
    return f"{lower} or {upper}" if lower else f"{upper}"
