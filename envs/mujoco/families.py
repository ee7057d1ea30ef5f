"""The task families on MuJoCo robots, by registered name.

A family of a single robot has one task. The others hide their task from the observation, as the papers do; the variant `<name>-visible`
appends the task's parameters to it, in the family's order, for a policy that is told which task it plays.

Train and test: both splits draw from the same ranges, through generators that are kept apart, so the same seed gives different tasks,
and a continuous parameter never takes a training value again. The direction families have two tasks in all: both splits hold both. The
goals of `goal-ant` lie to the right for training and to the left for testing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from envs.batched import BatchedEnv
from envs.errors import InvalidInputError, out_of_range, unknown
from envs.family import TaskFamily, uniform_tasks
from envs.goals import GoalRing
from envs.mujoco.engine import MujocoBatchedEnv
from envs.mujoco.robot import Robot
from envs.mujoco.robots import evolved, goal_ant, goals
from envs.mujoco.robots.ant import Ant
from envs.mujoco.robots.dynamics import HOPPER_LIMBS, WALKER_LIMBS, RandomisedHopper, RandomisedWalker2d, dynamics_parameters
from envs.mujoco.robots.random_reacher import LENGTHS, RandomReacher
from envs.mujoco.robots.small import InvertedPendulum, Reacher, Swimmer
from envs.mujoco.robots.walkers import HalfCheetah, Hopper, Walker2d
from envs.task import Mode, Parameter, Split, Task, Value

_TEST_KEY = 0x7E57
"""Keys the generator of test tasks, so that no seed draws the same tasks for both splits."""


class MujocoFamily(TaskFamily):
    """Tasks on one MuJoCo robot.

    Args:
        name: registered name.
        doc: one line on it.
        robot: the robot, which takes a task's parameters up.
        parameters: in which numbers its tasks differ.
        max_episode_steps: time limit of an episode, the robot's own where None.
        goals: what draws the tasks; None for parameters uniform in their ranges.
        is_visible: whether observations end with the task's parameters.
    """

    def __init__(
        self,
        *,
        name: str,
        doc: str,
        robot: type[Robot],
        parameters: tuple[Parameter, ...] = (),
        max_episode_steps: int | None = None,
        goals: GoalRing | None = None,
        is_visible: bool = False,
    ) -> None:
        self.name = name
        self.doc = doc
        self.robot = robot
        self.parameters = parameters
        self.max_episode_steps = max_episode_steps or robot.max_episode_steps
        self.goals = goals
        self.is_visible = is_visible
        self.is_endless = robot.is_endless

    def sample(self, num_tasks: int, rng: np.random.Generator, split: Split = "train") -> list[Task]:
        """Draw tasks uniformly from the family's ranges, or goals; test tasks from a generator of their own."""
        if split not in ("train", "test"):
            raise unknown("split", split, ("train", "test"))
        if split == "test":
            rng = np.random.default_rng([_TEST_KEY, int(rng.integers(2**63))])
        return uniform_tasks(self, num_tasks, rng) if self.goals is None else self.goals.draw(self.name, num_tasks, rng, split)

    def make(self, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> BatchedEnv:
        """Make a batched environment; both modes play whole episodes, as MuJoCo robots have no other protocol for evaluation."""
        if mode not in ("train", "evaluate"):
            raise unknown("mode", mode, ("train", "evaluate"))
        return MujocoBatchedEnv(
            [self.checked(task) for task in tasks],
            self.robot,
            num_threads=num_threads,
            max_episode_steps=self.max_episode_steps,
            visible=self.parameters if self.is_visible else (),
            check=self.checked,
        )

    def checked(self, task: Task) -> Task:
        """Return `task` if it is one of this family.

        A value outside the drawn range is allowed, as held-out extremes are a fair question, but it must be finite, and positive where
        the range is (a factor on a mass or a size).
        """
        if task.family != self.name:
            raise InvalidInputError(f"task {task} belongs to family {task.family!r}, not to {self.name!r}")
        values = dict(task.params)
        known = {parameter.name for parameter in self.parameters}
        for name in values:
            if name not in known:
                raise unknown(f"parameter of {self.name}", name, known)
        for parameter in self.parameters:
            if parameter.name not in values:
                raise InvalidInputError(f"task {task} lacks the parameter {parameter.name} (allowed is {parameter.allowed})")
            _check_value(parameter, values[parameter.name])
        return task


def _check_value(parameter: Parameter, value: Value) -> None:
    """Raise unless `value` is one that `parameter` can have."""
    if parameter.choices:
        if value not in parameter.choices:
            raise unknown(parameter.name, str(value), parameter.choices)
        return
    is_positive = parameter.low is not None and parameter.low > 0
    if isinstance(value, str) or not math.isfinite(value) or (is_positive and value <= 0):
        raise out_of_range(parameter.name, value, "any positive number" if is_positive else "any finite number")


def _plain(name: str, doc: str, robot: type[Robot]) -> dict[str, Callable[[], TaskFamily]]:
    """Return the entry of a family with one task."""
    return {name: partial(MujocoFamily, name=name, doc=f"{doc} ({robot.gymnasium_id})", robot=robot)}


def _varied(
    name: str,
    doc: str,
    robot: type[Robot],
    parameters: tuple[Parameter, ...],
    max_episode_steps: int | None = None,
    goals: GoalRing | None = None,
) -> dict[str, Callable[[], TaskFamily]]:
    """Return the entries of a family whose tasks differ: hidden, and visible to the policy."""
    make = partial(MujocoFamily, robot=robot, parameters=parameters, max_episode_steps=max_episode_steps, goals=goals)
    return {
        name: partial(make, name=name, doc=doc),
        f"{name}-visible": partial(make, name=f"{name}-visible", doc=f"{doc}; the policy sees the task", is_visible=True),
    }


MUJOCO_FAMILIES: dict[str, Callable[[], TaskFamily]] = {
    **_plain("hopper", "a one-legged hopper runs forward", Hopper),
    **_plain("walker2d", "a two-legged walker runs forward", Walker2d),
    **_plain("halfcheetah", "a planar cheetah runs forward", HalfCheetah),
    **_plain("ant", "a four-legged ant runs forward", Ant),
    **_plain("reacher", "an arm reaches for a target drawn at each episode", Reacher),
    **_plain("swimmer", "a three-link swimmer swims forward", Swimmer),
    **_plain("inverted-pendulum", "a cart balances a pole", InvertedPendulum),
    **_varied(
        "hopper-dynamics",
        "Hopper of random mass, friction, thickness and gravity",
        RandomisedHopper,
        dynamics_parameters(HOPPER_LIMBS),
    ),
    **_varied(
        "walker2d-dynamics",
        "Walker2d of random mass, friction, thickness and gravity",
        RandomisedWalker2d,
        dynamics_parameters(WALKER_LIMBS),
    ),
    **_varied(
        "halfcheetah-velocity",
        "HalfCheetah runs at a goal speed",
        goals.HalfCheetahVelocity,
        (goals.VELOCITY,),
        goals.EPISODE_STEPS,
    ),
    **_varied(
        "halfcheetah-direction",
        "HalfCheetah runs forward or backward",
        goals.HalfCheetahDirection,
        (goals.DIRECTION,),
        goals.EPISODE_STEPS,
    ),
    **_varied("ant-velocity", "Ant runs at a goal speed", goals.AntVelocity, (goals.VELOCITY,), goals.EPISODE_STEPS),
    **_varied("ant-direction", "Ant runs forward or backward", goals.AntDirection, (goals.DIRECTION,), goals.EPISODE_STEPS),
    **_varied(
        "random-hopper",
        "RandomHopper of EPG: mass, friction, thickness and gravity drawn, paid by speed forward alone",
        evolved.RandomHopper,
        dynamics_parameters(HOPPER_LIMBS),
    ),
    **_varied(
        "random-walker",
        "RandomWalker of EPG: mass, friction, thickness and gravity drawn, paid by speed forward alone",
        evolved.RandomWalker,
        dynamics_parameters(WALKER_LIMBS),
    ),
    **_varied("random-reacher", "Reacher with links of random length", RandomReacher, LENGTHS),
    **_varied(
        "directional-hopper",
        "Hopper paid by speed forward or backward alone",
        evolved.DirectionalHopper,
        (goals.DIRECTION,),
    ),
    **_varied(
        "directional-halfcheetah",
        "HalfCheetah paid by speed forward or backward alone, 1,000 steps",
        evolved.DirectionalHalfCheetah,
        (goals.DIRECTION,),
    ),
    **_varied(
        "goal-ant",
        "Ant goes to a position 2 to 5 m away: to the right for training, to the left for testing",
        goal_ant.GoalAnt,
        goal_ant.GOALS.parameters,
        goals=goal_ant.GOALS,
    ),
}
