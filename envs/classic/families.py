"""The registered families of classic control."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from envs.classic.acrobot import Acrobot
from envs.classic.base import NumpyEnv
from envs.classic.cartpole import PHYSICS, CartPole
from envs.classic.delayed_reward import DELAY, DelayedReward
from envs.classic.discounting_chain import DiscountingChain, TabularDiscountingChain
from envs.classic.family import NumpyFamily
from envs.classic.mountain_car import MountainCar, MountainCarContinuous
from envs.classic.pendulum import Pendulum
from envs.classic.point_goal import AHEAD, CIRCLE, HALVES, PointGoal, VisiblePointGoal
from envs.family import TaskFamily, with_visible
from envs.goals import GoalRing


def _family(name: str, doc: str, env: type[NumpyEnv], **options: Any) -> dict[str, Callable[[], TaskFamily]]:
    """Return the entry of a family."""
    return {name: partial(NumpyFamily, name=name, doc=doc, env=env, **options)}


def _point(name: str, doc: str, goals: GoalRing) -> dict[str, Callable[[], TaskFamily]]:
    """Return the entries of a family of goals."""
    return with_visible(partial(NumpyFamily, env=PointGoal, goals=goals, is_endless=True), name, doc, env=VisiblePointGoal)


CLASSIC_FAMILIES: dict[str, Callable[[], TaskFamily]] = {
    **_family("cartpole", "balance a pole on a cart (CartPole-v1)", CartPole),
    **_family("cartpole-physics", "CartPole with gravity, lengths, masses and force drawn anew", CartPole, parameters=PHYSICS),
    **_family("pendulum", "swing a pendulum up (Pendulum-v1)", Pendulum, is_endless=True),
    **_family("acrobot", "swing a two-link arm above a line (Acrobot-v1)", Acrobot),
    **_family("mountain-car", "rock a car out of a valley (MountainCar-v0)", MountainCar),
    **_family("mountain-car-continuous", "the same with a continuous push (MountainCarContinuous-v0)", MountainCarContinuous),
    **_family(
        "delayed-reward",
        "take 0.3 now, or invest for 1 some steps later, which a discount of 0.8 never does",
        DelayedReward,
        parameters=(DELAY,),
    ),
    **_family(
        "discounting-chain",
        "choose the reward that comes after 1, 3, 10, 30 or 100 steps; that after 30 is the largest (bsuite)",
        DiscountingChain,
    ),
    **_family(
        "discounting-chain-tabular",
        "the same, observed as one of its 501 states, so that a linear critic can be exact",
        TabularDiscountingChain,
    ),
    **_point("point-goal", "a point on a plane finds a goal that lies ahead, within 45 degrees", AHEAD),
    **_point("point-goal-circle", "the same with goals all around", CIRCLE),
    **_point("point-goal-halves", "the same: goals to the right for training, to the left for testing", HALVES),
}
