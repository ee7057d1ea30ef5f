"""The registered families of classic control."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from envs.classic.acrobot import Acrobot
from envs.classic.cartpole import PHYSICS, CartPole
from envs.classic.delayed_reward import DELAY, DelayedReward
from envs.classic.discounting_chain import DiscountingChain, TabularDiscountingChain
from envs.classic.family import NumpyFamily
from envs.classic.mountain_car import MountainCar, MountainCarContinuous
from envs.classic.pendulum import Pendulum
from envs.classic.point_goal import AHEAD, CIRCLE, HALVES, PointGoal, VisiblePointGoal
from envs.family import TaskFamily
from envs.goals import GoalRing


def _point(name: str, doc: str, goals: GoalRing) -> dict[str, Callable[[], TaskFamily]]:
    """Return the entries of a family of goals: hidden, and visible to the policy."""
    make = partial(NumpyFamily, goals=goals, is_endless=True)
    return {
        name: partial(make, name=name, doc=doc, env=PointGoal),
        f"{name}-visible": partial(make, name=f"{name}-visible", doc=f"{doc}; the policy sees the task", env=VisiblePointGoal),
    }


CLASSIC_FAMILIES: dict[str, Callable[[], TaskFamily]] = {
    "cartpole": lambda: NumpyFamily(name="cartpole", doc="balance a pole on a cart (CartPole-v1)", env=CartPole),
    "cartpole-physics": lambda: NumpyFamily(
        name="cartpole-physics",
        doc="CartPole with gravity, lengths, masses and force drawn anew",
        env=CartPole,
        parameters=PHYSICS,
    ),
    "pendulum": lambda: NumpyFamily(name="pendulum", doc="swing a pendulum up (Pendulum-v1)", env=Pendulum, is_endless=True),
    "acrobot": lambda: NumpyFamily(name="acrobot", doc="swing a two-link arm above a line (Acrobot-v1)", env=Acrobot),
    "mountain-car": lambda: NumpyFamily(name="mountain-car", doc="rock a car out of a valley (MountainCar-v0)", env=MountainCar),
    "mountain-car-continuous": lambda: NumpyFamily(
        name="mountain-car-continuous",
        doc="the same with a continuous push (MountainCarContinuous-v0)",
        env=MountainCarContinuous,
    ),
    "delayed-reward": lambda: NumpyFamily(
        name="delayed-reward",
        doc="take 0.3 now, or invest for 1 some steps later, which a discount of 0.8 never does",
        env=DelayedReward,
        parameters=(DELAY,),
    ),
    "discounting-chain": lambda: NumpyFamily(
        name="discounting-chain",
        doc="choose the reward that comes after 1, 3, 10, 30 or 100 steps; that after 30 is the largest (bsuite)",
        env=DiscountingChain,
    ),
    "discounting-chain-tabular": lambda: NumpyFamily(
        name="discounting-chain-tabular",
        doc="the same, observed as one of its 501 states, so that a linear critic can be exact",
        env=TabularDiscountingChain,
    ),
    **_point("point-goal", "a point on a plane finds a goal that lies ahead, within 45 degrees", AHEAD),
    **_point("point-goal-circle", "the same with goals all around", CIRCLE),
    **_point("point-goal-halves", "the same: goals to the right for training, to the left for testing", HALVES),
}
