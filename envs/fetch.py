"""`fetch-reach`: the gripper of a Fetch arm goes to a position of the task's; through gymnasium-robotics, the extra `fetch`.

    r = -|gripper - target|,        target = start of the gripper + (offset_x, offset_y, offset_z), offsets ~ U(-0.15, 0.15) m

gymnasium-robotics' FetchReachDense-v4: 50 steps of 0.04 s, never terminates, four numbers of action of which the last (the gripper's
fingers) does nothing. There the target is drawn per episode and observed; here it is the task's, as in Evolved Policy Gradients (Houthooft
et al., 2018), and hidden: an observation is the ten numbers on gripper and fingers. `fetch-reach-visible` appends the three offsets.

Instances are stepped one after the other in Python, hundreds of microseconds each. Every episode starts from the same state.

gymnasium-robotics 1.4.2, the newest, does not make an arm with MuJoCo 3.17 as it is: it looks a joint's type up with `joint_type in
(mjJNT_HINGE, mjJNT_SLIDE)`, and MuJoCo's enumerations do not equal NumPy's integers from the left, so its assertion fails.
`_register_robotics` mends that and nothing else.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from envs.batched import BatchedEnv
from envs.errors import InvalidInputError
from envs.family import TaskFamily, with_visible
from envs.gymnasium_env import GymnasiumEnv
from envs.task import Mode, Parameter, Task

ENV_ID = "FetchReachDense-v4"
TARGET_RANGE = 0.15
"""How far from its start the gripper's targets are along each axis, in m: FetchReach's own."""

OFFSETS = tuple(
    Parameter(
        name=f"offset_{axis}", doc=f"{axis} of the target from the gripper's start, m", low=-TARGET_RANGE, high=TARGET_RANGE
    )
    for axis in "xyz"
)


class FetchReachFamily(TaskFamily):
    """Reaching tasks, one target each.

    Args:
        name, doc: of the family.
        is_visible: whether observations end with the task's offsets.
    """

    parameters = OFFSETS
    is_endless = True

    def __init__(self, *, name: str, doc: str, is_visible: bool = False) -> None:
        self.name, self.doc, self.is_visible = name, doc, is_visible

    def make(self, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> BatchedEnv:
        """Make one batched environment, stepped on the calling thread; both modes have the same episodes.

        Raises:
            InvalidInputError: gymnasium-robotics is not installed, or a task is none of this family.
        """
        _register_robotics(self.name)
        return FetchReachEnv([self.checked(task) for task in tasks], is_visible=self.is_visible, check=self.checked)


def _register_robotics(family: str) -> None:
    """Register gymnasium-robotics' environments, with joint types that compare as it expects.

    Raises:
        InvalidInputError: it is not installed.
    """
    try:
        gymnasium.register_envs(importlib.import_module("gymnasium_robotics"))
        utils: Any = importlib.import_module("gymnasium_robotics.utils.mujoco_utils")
    except ImportError as error:
        raise InvalidInputError(f"{family} needs gymnasium-robotics: pip install 'metaray[fetch]' ({error})") from error
    if not isinstance(utils.mujoco, _ComparableJoints):
        utils.mujoco = _ComparableJoints(utils.mujoco)


class _ComparableJoints:
    """The module `mujoco` with integers for joint types, which equal NumPy's integers from either side."""

    def __init__(self, mujoco: Any) -> None:
        self._mujoco = mujoco
        self.mjtJoint = SimpleNamespace(**{name: int(value) for name, value in mujoco.mjtJoint.__members__.items()})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mujoco, name)


class FetchReachEnv(GymnasiumEnv):
    """Fetch arms in lockstep, a target each."""

    def __init__(self, tasks: Sequence[Task], *, is_visible: bool, check: Callable[[Task], Task]) -> None:
        super().__init__(ENV_ID, tasks, lambda env: FetchTask(env, is_visible=is_visible))
        self._check = check

    def _take_up(self, tasks: dict[int, Task]) -> None:
        """Set the current tasks of slots."""
        super()._take_up(tasks)
        for slot, task in tasks.items():
            instance: Any = self._instances[slot]
            instance.offset = np.array([task.number(parameter.name) for parameter in OFFSETS])


class FetchTask(gymnasium.Wrapper[np.ndarray, np.ndarray, Any, Any]):
    """One arm whose target is `offset` from where its gripper starts."""

    def __init__(self, env: gymnasium.Env[Any, Any], *, is_visible: bool) -> None:
        super().__init__(env)
        self.offset = np.zeros(len(OFFSETS))
        self._is_visible = is_visible
        arm: Any = env.unwrapped
        self._arm = arm
        size = env.observation_space["observation"].shape[0] + is_visible * len(OFFSETS)  # type: ignore[index]
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode whose target is the task's."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._arm.goal = self._arm.initial_gripper_xpos[:3] + self.offset
        return self._flat(obs), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step, its reward by the task's target."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._flat(obs), float(reward), terminated, truncated, info

    def _flat(self, obs: Any) -> np.ndarray:
        """What the policy sees of the arm's observation."""
        seen = obs["observation"]
        return np.concatenate([seen, self.offset]) if self._is_visible else seen


FETCH_FAMILIES = with_visible(
    FetchReachFamily,
    "fetch-reach",
    "a Fetch arm reaches for the task's target (FetchReachDense-v4; pip install 'metaray[fetch]')",
    is_visible=True,
)
