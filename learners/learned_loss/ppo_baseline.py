"""PPO as the baseline of a learned loss: the same inner loop and steps, with another objective and its own hyper-parameters.

Both share policy, task, initial parameters, noise, running moments, and M steps between two updates, so that only the losses are compared.
The baseline has its own step size, passes over each step, minibatch, and loss constants, as an ordinary tuned PPO has: with
each of an update's 64 steps used only once, hardly any ratio would reach the clip.

`TUNED` holds the settings found for each family by `benchmarks/epg_ppo_tuning.py`, on training tasks.

That the baseline gets as many samples an update follows Houthooft et al. (2018) from memory, unverified.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

from msgspec import Meta

from learners.learned_loss.inner_loop import LifetimeConfig
from learners.learned_loss.ppo_loss import PpoConfig


@dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """Hyper-parameters of the PPO baseline, in place of those of `LifetimeConfig` by the same names."""

    learning_rate: Annotated[float, Meta(gt=0, le=1, description="step size of PPO's Adam, for policy and value")] = 1e-3
    passes: Annotated[int, Meta(ge=1, le=1000, description="times that PPO uses each of the newest M steps")] = 16
    minibatch_rows: Annotated[
        int, Meta(ge=1, le=65_536, description="steps of PPO's minibatch; must divide life.update_every")
    ] = 32
    # No KL penalty: the clip limits the policy. Rewards of the order of one a step make returns of a hundred at gamma 0.99,
    # which a network that starts at zero learns in hundreds of steps of Adam; a tenth of that it learns in tens.
    ppo: PpoConfig = field(default_factory=lambda: PpoConfig(kl_cost=0.0, reward_scale=0.1))


def baseline_life(life: LifetimeConfig, baseline: BaselineConfig) -> LifetimeConfig:
    """Return the inner loop of the PPO baseline: the steps and updates of `life`, with PPO's own hyper-parameters."""
    return replace(life, train_memory=False, **vars(baseline))


# Eight updates of 16 steps each are too few to learn a value, so the targets are the immediate rewards, used many times.
_SHORT = BaselineConfig(
    learning_rate=2e-3, passes=32, minibatch_rows=16, ppo=PpoConfig(gamma=0.0, kl_cost=0.0, reward_scale=0.03)
)

TUNED: dict[str, BaselineConfig] = {
    "point-goal": _SHORT,
    # the same dynamics with other goals: the settings of point-goal, not tuned again
    "point-goal-halves": _SHORT,
    # An episode has 32 steps, each rewarded by the position after it: at gamma 0.99 some lifetimes never find their goal (mean -8.7 on the
    # same tasks), at 0.9 all of them do (-4.4).
    "point-goal-circle": BaselineConfig(ppo=PpoConfig(gamma=0.9, kl_cost=0.0, reward_scale=0.1)),
    # best of nine over 16 and 48 lifetimes, from the released code's first weights: step sizes of 3e-4 to 3e-3, 4 to 16 passes
    "random-hopper": BaselineConfig(passes=8),
}
"""Settings by family, found by the commands in `docs/results/epg.md`: for the lifetimes of the preset where there is one, 8 updates of 16
steps on point-goal and its halves; for 128 updates of 64 steps on the others. Lifetimes of another length need a search of their own."""


def baseline_for(family: str) -> BaselineConfig:
    """Return PPO's settings for a family: those that were tuned on it, or the defaults."""
    return TUNED.get(family.removesuffix("-visible"), BaselineConfig())
