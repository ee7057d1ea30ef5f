"""PPO as the opponent of a learned loss: the same life, the same steps, another objective and settings of its own.

What an opponent shares with the lives that a loss was evolved for is what makes the comparison one of losses: policy, task, starts, noise,
running moments, and M steps between two updates. What it may choose for itself is what a person who tunes PPO would: the step size, how
often each step is used, the minibatch, and the constants of its loss. An update that sees 64 steps once is no PPO: it has nothing to clip.

`TUNED` holds what was found for each family by `benchmarks/epg_ppo_tuning.py`, on training tasks.

That the opponent gets as many samples an update is remembered of Houthooft et al. (2018), and unverified.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

from msgspec import Meta

from learners.learned_loss.inner_loop import LifeConfig
from learners.learned_loss.ppo_loss import PpoConfig


@dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """What PPO does with the steps of an update."""

    learning_rate: Annotated[float, Meta(gt=0, le=1, description="step size of PPO's Adam, for policy and value")] = 1e-3
    passes: Annotated[int, Meta(ge=1, le=1000, description="how often PPO uses each of the newest M steps")] = 16
    minibatch_rows: Annotated[
        int, Meta(ge=1, le=65_536, description="steps of PPO's minibatch; must divide life.update_every")
    ] = 32
    # No cost of the KL: the clip holds the policy. Rewards of the order of one a step make returns of a hundred at gamma 0.99,
    # which a network that starts at zero learns in hundreds of steps of Adam; a tenth of that it learns in tens.
    ppo: PpoConfig = field(default_factory=lambda: PpoConfig(kl_cost=0.0, reward_scale=0.1))


def baseline_life(life: LifeConfig, baseline: BaselineConfig) -> LifeConfig:
    """Return the life that PPO lives beside `life`: as many steps and updates, PPO's own use of them."""
    return replace(
        life,
        learning_rate=baseline.learning_rate,
        passes=baseline.passes,
        minibatch_rows=baseline.minibatch_rows,
        train_memory=False,
        ppo=baseline.ppo,
    )


# Eight updates of 16 steps each: too few for a value to be learned in, so the rewards are as good as used as they come, and many times.
_SHORT_LIVES = BaselineConfig(
    learning_rate=2e-3, passes=32, minibatch_rows=16, ppo=PpoConfig(gamma=0.0, kl_cost=0.0, reward_scale=0.03)
)

TUNED: dict[str, BaselineConfig] = {
    "point-goal": _SHORT_LIVES,
    # the same world, and PPO does not care where its goals lie: found on point-goal, not again
    "point-goal-halves": _SHORT_LIVES,
    # An episode is 32 steps and each of them is paid for where it ends: at gamma 0.99 some lives never find their goal (mean -8.7 on the
    # same tasks), at 0.9 all of them do (-4.4).
    "point-goal-circle": BaselineConfig(ppo=PpoConfig(gamma=0.9, kl_cost=0.0, reward_scale=0.1)),
    # best of nine over 16 and 48 lives, from the released code's first weights: step sizes of 3e-4 to 3e-3, 4 to 16 passes
    "random-hopper": BaselineConfig(passes=8),
}
"""Settings by family, found by the commands in `docs/results/epg.md`: for the lives of the preset where there is one, 8 updates of 16
steps on point-goal and its halves; for 128 updates of 64 steps on the others. Lives of another length deserve a search of their own."""


def baseline_for(family: str) -> BaselineConfig:
    """Return PPO's settings for a family: those that were tuned on it, or the defaults."""
    return TUNED.get(family.removesuffix("-visible"), BaselineConfig())
