"""The settings of an adaptation: those of the inner loop that the loss was evolved for, with the changes of `--set`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from msgspec import Meta

from cluster.overrides import apply, from_tree
from cluster.reports.adaptation.source import Source
from envs.errors import InvalidInputError
from learners.epg import check_life, check_minibatch
from learners.learned_loss.inner_loop import LifetimeConfig
from learners.learned_loss.network import LossConfig, LossShape
from learners.learned_loss.ppo_baseline import BaselineConfig, baseline_for


@dataclass(frozen=True, kw_only=True)
class AdaptConfig:
    """What `--set` may change."""

    lives_per_chunk: Annotated[
        int, Meta(ge=1, le=65_536, description="lifetimes in lockstep in one process, at most; rounding depends on it")
    ] = 16
    life: LifetimeConfig = field(default_factory=LifetimeConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    baseline: BaselineConfig = field(default_factory=BaselineConfig)


def settings_of(source: Source, shape: LossShape, changes: Mapping[str, Any]) -> AdaptConfig:
    """Return the settings of a source with `changes` (by dotted name), checked.

    Args:
        source: the run or file whose inner loop is used; the defaults where it does not say.
        shape: of its loss.
        changes: of the user.

    Raises:
        InvalidInputError: an unknown key, a value out of range, or settings that contradict each other or the loss.
    """
    own = LossConfig(architecture=shape.architecture, reward_input=shape.reward_input)
    base = _of_run(source) if source.tree else AdaptConfig(loss=own)
    config = apply(replace(base, baseline=baseline_for(source.family)), changes)
    if "baseline.minibatch_rows" not in changes:  # tuned for another M: take the nearest that fits
        rows = math.gcd(config.baseline.minibatch_rows, config.life.update_every)
        config = replace(config, baseline=replace(config.baseline, minibatch_rows=rows))
    _check(config, shape)
    return config


def _of_run(source: Source) -> AdaptConfig:
    """The settings that a run's config has under the same names."""
    kept = {name: source.tree[name] for name in ("lives_per_chunk", "life", "loss") if name in source.tree}
    return from_tree(AdaptConfig, kept, f"the settings of {source.loss_file}")


def _check(config: AdaptConfig, shape: LossShape) -> None:
    """Check the settings against each other and against the loss."""
    life, loss = config.life, config.loss
    evolved = (shape.architecture, shape.reward_input)
    if (loss.architecture, loss.reward_input) != evolved:
        raise InvalidInputError(
            f"loss.architecture = {loss.architecture}, loss.reward_input = {str(loss.reward_input).lower()}: the loss was evolved "
            f"with {evolved[0]} and {str(evolved[1]).lower()}, which cannot be changed"
        )
    check_life(life, loss)
    check_minibatch("baseline", config.baseline.minibatch_rows, life.update_every)
