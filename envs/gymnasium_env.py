"""`gym:<id>`: any registered Gymnasium environment as a family of one task.

The slots are stepped one after the other in Python, so this is slow, for environments without an engine here; nothing but
Box and Discrete spaces is required of them.

* Box, Discrete, MultiDiscrete and MultiBinary observations; what each becomes stands in `envs.observations`.
* A bounded Box action is clipped to its box before the environment sees it, since a Gaussian policy knows no bounds.
* Time limits come from the registration (`TimeLimit`), and are truncations.
* An id may be `module:Name-v0`, which imports `module` first, as in `gymnasium.make`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from envs.batched import BatchedEnv
from envs.errors import EnvFaultError, InvalidInputError, described, raised
from envs.family import TaskFamily
from envs.gymnasium_ids import registered_id, suggestion
from envs.observations import converted, observed_space
from envs.replies import STEP_RETURNS, Replies
from envs.restarting import RestartingEnv
from envs.slots import SlotSeed, check_seeds
from envs.task import Mode, Task

log = logging.getLogger("metaray")

Instance = gymnasium.Env[Any, Any]


class GymnasiumFamily(TaskFamily):
    """The one task of a registered environment.

    Args:
        env_id: what `gymnasium.make` takes.

    Raises:
        InvalidInputError: nothing of that id is registered; the line names the nearest ids.
    """

    def __init__(self, env_id: str) -> None:
        self.env_id = registered_id(env_id)
        self.name = f"gym:{env_id}"
        self.doc = f"Gymnasium's {self.env_id}"

    def make(self, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> BatchedEnv:
        """Make one batched environment, stepped on the calling thread; both modes have the same episodes."""
        return GymnasiumEnv(self.env_id, tasks)


class GymnasiumEnv(RestartingEnv):
    """Instances of one registered environment in lockstep.

    Args:
        env_id: what `gymnasium.make` takes.
        tasks: one a slot.
        wrap: what is put around each instance.

    Raises:
        InvalidInputError: a space is neither Box nor Discrete, or the environment cannot be made here.
    """

    can_save = False

    def __init__(self, env_id: str, tasks: Sequence[Task], wrap: Callable[[Instance], Instance] = lambda env: env) -> None:
        self._name, self._instances = tasks[0].family, list[Instance]()
        try:
            self._make(env_id, len(tasks), wrap)
            self._observed, self._acted = self._spaces()
            super().__init__(tasks, observed_space(self._name, self._observed), _action_space(self._name, self._acted))
        except InvalidInputError:
            self.close_extras()
            raise
        self._replies = Replies(self._observed)
        self._obs = np.zeros((self.num_envs, *(self._observed.shape or ())), self._observed.dtype)
        self._seeds: dict[int, int] = {}  # what the next reset of a slot is seeded with; then its own generator goes on

    def _make(self, env_id: str, num_envs: int, wrap: Callable[[Instance], Instance]) -> None:
        try:
            for _ in range(num_envs):
                # gymnasium's checker costs more than many environments, and warns about what is none of the user's making; by its spec,
                # as an id that is not the newest is warned about too
                self._instances.append(wrap(gymnasium.make(gymnasium.spec(env_id), disable_env_checker=True)))
        except InvalidInputError:
            raise
        except (Exception, SystemExit) as error:  # whatever the environment's code raises, the user gets one line
            is_missing = isinstance(error, (ImportError, gymnasium.error.Error))
            hint = suggestion(env_id, self._name.removesuffix(env_id)) if is_missing else ""
            raise InvalidInputError(f"environment {self._name} cannot be made: {described(error).rstrip('.')}{hint}") from error

    def _spaces(self) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
        """The observation and action spaces of the first instance; a network refuses one that it cannot use."""
        try:
            return self._instances[0].observation_space, self._instances[0].action_space
        except (Exception, SystemExit) as error:
            raise InvalidInputError(f"environment {self._name} has not both of its spaces: {described(error)}") from error

    def _reseed(self, seed: int | None) -> None:
        """Seed each slot's next reset."""
        if seed is not None or (self._np_random is None and not self._seeds):
            super()._reseed(seed)
            # Not consecutive, as `SyncVectorEnv` would make them, so that environments with neighbouring seeds share no episode.
            self._seeds = dict(enumerate(self.np_random.integers(2**31, size=self.num_envs).tolist()))

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every slot by one step; one that rests returns its last observation; see `BatchedEnv.step`."""
        if isinstance(self._acted, Discrete):
            actions = actions + self._acted.start
        elif isinstance(self._acted, Box):
            actions = np.clip(actions, self._acted.low, self._acted.high).astype(self._acted.dtype)
        is_first = self._is_over
        reward = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, np.bool_), np.zeros(self.num_envs, np.bool_)
        self._begin(np.flatnonzero(is_first))
        for slot in np.flatnonzero(~(is_first | self._is_resting)).tolist():
            self._obs[slot], reward[slot], terminated[slot], truncated[slot] = self._stepped(slot, actions[slot])
        self._count_step(reward, terminated, is_first, None)
        self._is_over = terminated | truncated
        return self._observe(), reward, terminated, truncated, {"is_first": is_first}

    def seed_slots(self, seeds: Sequence[SlotSeed]) -> None:
        """Seed each slot's next reset with an integer drawn from its own seed; the instance's generator goes on from there.

        See `BatchedEnv.seed_slots`. Episodes are as equal as the environment makes them: one that draws while it is stepped, or keeps
        something of an episode in the next, goes on with that.
        """
        check_seeds(seeds, self.num_envs)
        self._seeds = {slot: int(np.random.default_rng(seed).integers(2**31)) for slot, seed in enumerate(seeds)}

    def _start(self, slots: np.ndarray) -> None:
        """Reset the instances of `slots`."""
        for slot in slots.tolist():
            try:
                self._obs[slot] = self._replies.of_reset(self._instances[slot].reset(seed=self._seeds.pop(slot, None)))
            except (Exception, SystemExit) as error:
                raise self._fault("reset", error, slot) from error

    def _stepped(self, slot: int, action: Any) -> tuple[Any, float, bool, bool]:
        """Step the instance of `slot`; return its observation, reward and flags."""
        try:
            return self._replies.of_step(self._instances[slot].step(action))
        except (Exception, SystemExit) as error:
            raise self._fault("step", error, slot) from error

    def _fault(self, call: str, error: BaseException, slot: int) -> EnvFaultError:
        problem = error.problem if isinstance(error, EnvFaultError) else raised(error)
        if isinstance(error, ValueError) and "values to unpack (expected 5" in str(error):  # by one of gymnasium's wrappers
            problem += f"; step must return {STEP_RETURNS}"
        return EnvFaultError(
            call, problem, family=self._name, slot=slot, step=int(self._elapsed[slot]) + 1 if call == "step" else None
        )

    def _observe(self) -> np.ndarray:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which the check of its caller finds
            return converted(self._observed, self._obs)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the instances; an error on closing is logged only."""
        for instance in self._instances:
            try:
                instance.close()
            except (Exception, SystemExit) as error:
                log.info("environment %s: close %s", self._name, raised(error))


def _action_space(name: str, space: gymnasium.Space[Any]) -> Box | Discrete:
    if isinstance(space, Discrete):
        return Discrete(int(space.n))
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        return Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)
    raise InvalidInputError(f"{name} has a {type(space).__name__} action space; Box of floats and Discrete are supported")
