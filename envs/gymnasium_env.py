"""`gym:<id>`: any registered Gymnasium environment as a family of one task.

The slots are stepped one after the other in Python, so this is the slow road for what has no engine here; where the environment has
what we accept (Box and Discrete spaces) nothing else is asked of it.

* Observations become float32, except uint8 pixels; a Discrete observation becomes a one-hot vector.
* A bounded Box action is clipped to its box before the environment sees it, since a Gaussian policy knows no bounds.
* Time limits come from the registration (`TimeLimit`), and are truncations.
* An id may be `module:Name-v0`, which imports `module` first, as in `gymnasium.make`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.utils import seeding

from envs.batched import BatchedEnv
from envs.errors import InvalidInputError
from envs.slots import SlotSeed, check_seeds, checked_slots
from envs.task import Mode, Split, Task, TaskFamily

Instance = gymnasium.Env[Any, Any]


class GymnasiumFamily(TaskFamily):
    """The one task of a registered environment.

    Args:
        env_id: what `gymnasium.make` takes.

    Raises:
        InvalidInputError: nothing of that id is registered; the line names the nearest ids.
    """

    def __init__(self, env_id: str) -> None:
        self.env_id = _registered_id(env_id)
        self.name = f"gym:{env_id}"
        self.doc = f"Gymnasium's {self.env_id}"

    def sample(self, num_tasks: int, rng: np.random.Generator, split: Split = "train") -> list[Task]:
        """Return the one task, `num_tasks` times."""
        return [Task(family=self.name)] * num_tasks

    def make(self, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> BatchedEnv:
        """Make one batched environment, stepped on the calling thread; both modes play the same episodes."""
        return GymnasiumEnv(self.env_id, tasks)


class GymnasiumEnv(BatchedEnv):
    """Instances of one registered environment in lockstep.

    Args:
        env_id: what `gymnasium.make` takes.
        tasks: one a slot.
        wrap: what is put around each instance.

    Raises:
        InvalidInputError: a space is neither Box nor Discrete, or the environment cannot be made here.
    """

    can_save = False
    can_restart = True

    def __init__(self, env_id: str, tasks: Sequence[Task], wrap: Callable[[Instance], Instance] = lambda env: env) -> None:
        # The checker of `gymnasium.make` costs more than many environments, and warns about what is none of the user's making.
        try:
            self._instances = [wrap(gymnasium.make(env_id, disable_env_checker=True)) for _ in tasks]
        except gymnasium.error.Error as error:
            raise InvalidInputError(f"gym:{env_id} cannot be made: {' '.join(str(error).split())}") from error
        self._observed, self._acted = self._instances[0].observation_space, self._instances[0].action_space
        try:
            super().__init__(tasks, _observation_space(env_id, self._observed), _action_space(env_id, self._acted))
        except InvalidInputError:
            self.close_extras()
            raise
        self._obs = np.zeros((self.num_envs, *(self._observed.shape or ())), self._observed.dtype)
        self._is_over = np.zeros(self.num_envs, np.bool_)
        self._seeds: dict[int, int] = {}  # what the next reset of a slot is seeded with; then its own generator goes on

    def assign(self, slot: int, task: Task) -> None:
        """Give `slot` a task; there is only the one."""
        self.tasks[slot] = task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every slot's next episode; see `BatchedEnv.reset`."""
        if seed is not None or (self._np_random is None and not self._seeds):
            self._np_random, self._np_random_seed = seeding.np_random(seed)
            # Not consecutive, as `SyncVectorEnv` would make them, so that environments with neighbouring seeds share no episode.
            self._seeds = dict(enumerate(self.np_random.integers(2**31, size=self.num_envs).tolist()))
        everyone = np.arange(self.num_envs)
        for slot in everyone.tolist():
            self._start(slot)
        self._is_over = np.zeros(self.num_envs, np.bool_)
        self._set_resting(everyone, False)
        return self._convert(self._obs), {"is_first": np.ones(self.num_envs, np.bool_)}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every slot by one step; see `BatchedEnv.step`."""
        if isinstance(self._acted, Discrete):
            actions = actions + self._acted.start
        elif isinstance(self._acted, Box):
            actions = np.clip(actions, self._acted.low, self._acted.high).astype(self._acted.dtype)
        is_first = self._is_over
        reward = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, np.bool_), np.zeros(self.num_envs, np.bool_)
        for slot, instance in enumerate(self._instances):
            if is_first[slot]:
                self._start(slot)
            elif not self._is_resting[slot]:
                self._obs[slot], reward[slot], terminated[slot], truncated[slot], _ = instance.step(actions[slot])
        self._is_over = terminated | truncated
        return self._convert(self._obs), reward, terminated, truncated, {"is_first": is_first}

    def seed_slots(self, seeds: Sequence[SlotSeed]) -> None:
        """Seed each slot's next reset with an integer drawn from its own seed; the instance's generator goes on from there.

        See `BatchedEnv.seed_slots`. Episodes are as equal as the environment makes them: one that draws while it is stepped, or keeps
        something of an episode in the next, goes on with that.
        """
        check_seeds(seeds, self.num_envs)
        self._seeds = {slot: int(np.random.default_rng(seed).integers(2**31)) for slot, seed in enumerate(seeds)}

    def restart(self, slots: np.ndarray) -> np.ndarray:
        """Start the next episode of `slots` now; see `BatchedEnv.restart`."""
        slots = checked_slots(slots, self.num_envs)
        for slot in slots.tolist():
            self._start(slot)
        self._is_over[slots] = False
        if self._has_resting:
            self._set_resting(slots, False)
        return self._convert(self._obs[slots])

    def rest(self, slots: np.ndarray) -> None:
        """Leave `slots` out of `step`, which returns their last observation; see `BatchedEnv.rest`."""
        slots = checked_slots(slots, self.num_envs)
        self._is_over[slots] = False
        self._set_resting(slots, True)

    def _start(self, slot: int) -> None:
        """Reset the instance of `slot`."""
        self._obs[slot], _ = self._instances[slot].reset(seed=self._seeds.pop(slot, None))

    def _convert(self, obs: np.ndarray) -> np.ndarray:
        """The observations of some slots in our observation space; always a new array."""
        if isinstance(self._observed, Discrete):
            one_hot: np.ndarray = np.eye(int(self._observed.n), dtype=np.float32)[obs - self._observed.start]
            return one_hot
        return np.array(obs, self.single_observation_space.dtype)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the instances."""
        for instance in self._instances:
            instance.close()


def _registered_id(env_id: str) -> str:
    """The full registered id, with namespace and version."""
    if env_id.startswith("ALE/"):
        import ale_py

        gymnasium.register_envs(ale_py)
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner of the emulator between our lines
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            __import__(module)
        gymnasium.spec(name)
    except ImportError as error:
        raise InvalidInputError(f"gym:{env_id}: module {module!r} cannot be imported: {error}") from error
    except gymnasium.error.Error as error:
        names = list(gymnasium.registry)
        wanted = name.lower()
        near = difflib.get_close_matches(wanted, [known.lower() for known in names], n=3, cutoff=0.5)
        close = [known for candidate in near for known in names if known.lower() == candidate]
        hint = f"; did you mean {' or '.join('gym:' + known for known in close)}?" if close else ""
        raise InvalidInputError(f"unknown Gymnasium environment {name!r}{hint} ({len(names)} are registered)") from error
    return name


def _observation_space(env_id: str, space: gymnasium.Space[Any]) -> Box:
    if isinstance(space, Discrete):
        return Box(0.0, 1.0, (int(space.n),), np.float32)
    if isinstance(space, Box):
        if space.dtype == np.uint8:
            return space
        return Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)
    raise InvalidInputError(f"gym:{env_id} has a {type(space).__name__} observation space; Box and Discrete are supported")


def _action_space(env_id: str, space: gymnasium.Space[Any]) -> Box | Discrete:
    if isinstance(space, Discrete):
        return Discrete(int(space.n))
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        return Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)
    raise InvalidInputError(f"gym:{env_id} has a {type(space).__name__} action space; Box of floats and Discrete are supported")
