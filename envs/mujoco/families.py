"""The task families on MuJoCo robots, by registered name.

A family of a single robot has one task. The others hide their task from the observation, as the papers do; the variant `<name>-visible`
appends the task's parameters to it, in the family's order, for a policy that is conditioned on its task.

Train and test: both splits draw from the same ranges, through generators that are kept apart, so the same seed gives different tasks,
and a continuous parameter never takes a training value again. The direction families have two tasks in all: both splits hold both. The
goals of `goal-ant` lie to the right for training and to the left for testing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from envs.batched import BatchedEnv
from envs.errors import unknown
from envs.family import TaskFamily, with_visible
from envs.mujoco.engine import MujocoBatchedEnv
from envs.mujoco.robot import Robot
from envs.mujoco.robots import evolved, goals
from envs.mujoco.robots.ant import Ant
from envs.mujoco.robots.dynamics import RandomisedHopper, RandomisedWalker2d
from envs.mujoco.robots.goal_ant import GoalAnt
from envs.mujoco.robots.random_reacher import RandomReacher
from envs.mujoco.robots.small import InvertedPendulum, Reacher, Swimmer
from envs.mujoco.robots.walkers import HalfCheetah, Hopper, Walker2d
from envs.task import Mode, Split, Task

_TEST_KEY = 0x7E57
"""Keys the generator of test tasks, so that no seed draws the same tasks for both splits."""


class MujocoFamily(TaskFamily):
    """Tasks on one MuJoCo robot.

    Args:
        name: registered name.
        doc: one line on it.
        robot: the robot, which says in which numbers its tasks differ.
        is_visible: whether observations end with the task's parameters.
    """

    def __init__(self, *, name: str, doc: str, robot: type[Robot], is_visible: bool = False) -> None:
        self.name = name
        self.doc = doc
        self.robot = robot
        self.parameters = robot.parameters
        self.goals = robot.goals
        self.is_endless = robot.is_endless
        self.is_visible = is_visible

    def _split_generator(self, rng: np.random.Generator, split: Split) -> np.random.Generator:
        """Return `rng` for training tasks, and a generator of their own for test tasks."""
        return rng if split == "train" else np.random.default_rng([_TEST_KEY, int(rng.integers(2**63))])

    def make(self, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> BatchedEnv:
        """Make a batched environment; both modes have the same episodes, as MuJoCo robots have no other protocol for evaluation."""
        if mode not in ("train", "evaluate"):
            raise unknown("mode", mode, ("train", "evaluate"))
        return MujocoBatchedEnv(
            [self.checked(task) for task in tasks],
            self.robot,
            num_threads=num_threads,
            visible=self.parameters if self.is_visible else (),
            check=self.checked,
        )


def _plain(name: str, doc: str, robot: type[Robot]) -> dict[str, Callable[[], TaskFamily]]:
    """Return the entry of a family with one task."""
    return {name: partial(MujocoFamily, name=name, doc=f"{doc} ({robot.gymnasium_id})", robot=robot)}


def _varied(name: str, doc: str, robot: type[Robot]) -> dict[str, Callable[[], TaskFamily]]:
    """Return the entries of a family whose tasks differ."""
    return with_visible(partial(MujocoFamily, robot=robot), name, doc, is_visible=True)


DRAWN = "mass, friction, thickness and gravity"

MUJOCO_FAMILIES: dict[str, Callable[[], TaskFamily]] = {
    **_plain("hopper", "a one-legged hopper runs forward", Hopper),
    **_plain("walker2d", "a two-legged walker runs forward", Walker2d),
    **_plain("halfcheetah", "a planar cheetah runs forward", HalfCheetah),
    **_plain("ant", "a four-legged ant runs forward", Ant),
    **_plain("reacher", "an arm reaches for a target drawn at each episode", Reacher),
    **_plain("swimmer", "a three-link swimmer swims forward", Swimmer),
    **_plain("inverted-pendulum", "a cart balances a pole", InvertedPendulum),
    **_varied("hopper-dynamics", f"Hopper of random {DRAWN}", RandomisedHopper),
    **_varied("walker2d-dynamics", f"Walker2d of random {DRAWN}", RandomisedWalker2d),
    **_varied("halfcheetah-velocity", "HalfCheetah runs at a goal speed", goals.HalfCheetahVelocity),
    **_varied("halfcheetah-direction", "HalfCheetah runs forward or backward", goals.HalfCheetahDirection),
    **_varied("ant-velocity", "Ant runs at a goal speed", goals.AntVelocity),
    **_varied("ant-direction", "Ant runs forward or backward", goals.AntDirection),
    **_varied("random-hopper", f"RandomHopper of EPG: {DRAWN} drawn, rewarded for speed forward alone", evolved.RandomHopper),
    **_varied("random-walker", f"RandomWalker of EPG: {DRAWN} drawn, rewarded for speed forward alone", evolved.RandomWalker),
    **_varied("random-reacher", "Reacher with links of random length", RandomReacher),
    **_varied("directional-hopper", "Hopper rewarded for speed forward or backward alone", evolved.DirectionalHopper),
    **_varied(
        "directional-halfcheetah",
        "HalfCheetah rewarded for speed forward or backward alone, 1,000 steps",
        evolved.DirectionalHalfCheetah,
    ),
    **_varied("goal-ant", "Ant goes to a position 2 to 5 m away: to the right for training, to the left for testing", GoalAnt),
}
