"""A batched environment whose outputs are checked against its own spaces before they are acted on or learned from.

Every environment is stepped through here. Shapes, types and finiteness of each output are checked, in some 4 microseconds a step. An
environment that raises, or returns what its spaces do not allow, ends in one line that names the slot and the fault (`EnvFaultError`), and
not in a wrong policy or a learner that diverged.

The final observation of a terminated episode is not used, as the episode has no value beyond it. Some environments return NaN there; since
the policy still reads it in the step that resets the slot, it is replaced by zeros.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from envs.batched import BatchedEnv
from envs.errors import EnvFaultError, InvalidInputError, described, one_line, raised
from envs.family import TaskFamily
from envs.replies import RESET_RETURNS, STEP_RETURNS, fits, index_range, shown, space_text
from envs.task import Mode, Split, Task

FLOAT32_MAX = float(np.finfo(np.float32).max)
"""Policies and learners keep numbers as float32: what is beyond would be infinite there."""

_SQUARES = 1e76
"""No number beyond float32 is among those whose sum of squares is below this: one product screens a whole array, and only one that does not
pass is looked at number by number."""

_FLOAT64, _BOOL = np.dtype(np.float64), np.dtype(np.bool_)
_OBSERVED = (Box, Discrete, MultiDiscrete)

PROBE_STEPS = 16
"""Steps for which the user's own environment is tried before training: most mistakes show in the first ones."""
PROBE_S = 1.0
"""Seconds after which that trial is enough, for environments that are slow."""


class CheckedEnv:
    """A batched environment with checked outputs; all other attributes are the environment's own.

    Args:
        env: the environment, fresh.
        name: of it, for errors.
        takes_nan: leave numbers that are not finite as they are, for callers that count them.

    Attributes:
        lengths: steps of each slot's current episode, [B]; to be set where a state is restored.
    """

    def __init__(self, env: BatchedEnv, name: str, *, takes_nan: bool = False) -> None:
        space = env.single_observation_space
        self._env, self._name, self._space, self._takes_nan = env, name, space, takes_nan
        self._rows = (env.num_envs,)
        self._obs_shape = (env.num_envs, *(space.shape or ()))
        self._dtype = np.dtype(space.dtype)
        self._is_float = self._dtype.kind == "f"
        self._range = index_range(space)
        self.lengths = np.zeros(env.num_envs, np.int64)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def _answer(self, call: str, *arguments: Any, slot: int | None = None, **options: Any) -> Any:
        """What a method of the environment returns; EnvFaultError where it raises."""
        try:
            return getattr(self._env, call)(*arguments, **options)
        except EnvFaultError as error:
            error.family = error.family or self._name
            raise
        except (Exception, SystemExit) as error:
            raise self._fault(call, raised(error), slot) from error

    def reset(self, *, seed: int | None = None) -> np.ndarray:
        """Start every slot's next episode; return the observations [B, *O].

        Raises:
            EnvFaultError: the environment raised, or returned what it must not.
        """
        self.lengths[:] = 0
        reply = self._answer("reset", seed=seed)
        if not isinstance(reply, (tuple, list)) or len(reply) != 2 or not isinstance(reply[1], Mapping):
            raise self._fault("reset", f"returned {shown(reply)}; it must return {RESET_RETURNS}")
        obs, is_first = self._observations("reset", reply[0]), np.ones(self._rows, np.bool_)
        return self._finite(obs, np.zeros(self._rows), np.zeros(self._rows, np.bool_), is_first, is_first)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every slot by one step; see `BatchedEnv.step`.

        Raises:
            EnvFaultError: the environment raised, or returned what it must not.
        """
        reply = self._answer("step", actions)
        if not self._is_plain(reply):
            reply = self._examined(reply, actions)
        self.lengths += 1
        self.lengths[reply[4]["is_first"]] = 0
        obs, reward, terminated, truncated, info = reply
        return obs, reward, terminated, truncated, info

    def _is_plain(self, reply: Any) -> bool:
        """Whether an output of `step` is of the usual types and finite, so that nothing else needs a check."""
        try:
            obs, reward, terminated, truncated, info = reply
            is_first = info["is_first"]
            return bool(
                obs.dtype is self._dtype
                and obs.shape == self._obs_shape
                and reward.dtype is _FLOAT64
                and terminated.dtype is truncated.dtype is is_first.dtype is _BOOL
                and reward.shape == terminated.shape == truncated.shape == is_first.shape == self._rows
                and self._range is None
                and float(np.vdot(reward, reward)) < _SQUARES
                and (not self._is_float or float(np.vdot(obs, obs)) < _SQUARES)
            )
        except Exception:  # a part of it is no array at all
            return False

    def _examined(self, reply: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Check an unusual output: raise where it breaks the contract, and accept it otherwise."""
        if not isinstance(reply, (tuple, list)) or len(reply) != 5:
            raise self._fault("step", f"returned {shown(reply)}; it must return {STEP_RETURNS}")
        obs, reward, terminated, truncated, info = reply
        is_first: Any = info.get("is_first") if isinstance(info, dict) else None
        obs = self._observations("step", obs)
        if not isinstance(reward, np.ndarray) or reward.shape != self._rows or reward.dtype.kind not in "fiub":
            raise self._fault("step", f"returned the rewards {shown(reward)}; it must return numbers of shape {self._rows}")
        self._check_flags("terminated", terminated)
        self._check_flags("truncated", truncated)
        self._check_flags('info["is_first"]', is_first)
        return self._finite(obs, reward, terminated, is_first, actions), reward, terminated, truncated, info

    def assign(self, slot: int, task: Task) -> None:
        """Give `slot` the task that it takes up at its next reset.

        Raises:
            EnvFaultError: the environment raised.
        """
        self._answer("assign", slot, task, slot=slot)

    def restart(self, slots: np.ndarray) -> np.ndarray:
        """Start the next episode of `slots` now; return their observations [n, *O]; see `BatchedEnv.restart`.

        Raises:
            EnvFaultError: the environment raised, or returned what it must not.
        """
        self.lengths[slots] = 0
        return self._observations("restart", self._answer("restart", slots), len(slots))

    def _observations(self, call: str, given: Any, num_rows: int | None = None) -> np.ndarray:
        """Observations that fit the space; integers of another size as the space has them."""
        rows = self._rows if num_rows is None else (num_rows,)
        if not isinstance(given, np.ndarray) or given.shape != (*rows, *self._obs_shape[1:]):
            raise self._misfit(call, given, *rows)
        obs: np.ndarray = given
        if obs.dtype != self._dtype:
            if not fits(obs, self._dtype):
                raise self._misfit(call, obs, *rows)
            if not self._is_float:
                obs = obs.astype(self._dtype)
        if self._range is None:
            return obs
        is_inside = (obs >= self._range[0]) & (obs <= self._range[1])
        if not is_inside.all():
            slot = int(np.argwhere(~is_inside)[0, 0])
            problem = f"returned the observation {one_line(str(obs[slot]))}; the space is {space_text(self._space)}"
            raise self._fault(call, problem, slot)
        return obs

    def _misfit(self, call: str, obs: Any, num_rows: int) -> EnvFaultError:
        wanted = f"{num_rows} of them, as an array of shape {(num_rows, *self._obs_shape[1:])}"
        return self._fault(call, f"returned {shown(obs)} as observations; the space is {space_text(self._space)}, and {wanted}")

    def _check_flags(self, name: str, flags: Any) -> None:
        if not isinstance(flags, np.ndarray) or flags.shape != self._rows or flags.dtype != np.bool_:
            raise self._fault("step", f"returned {name} = {shown(flags)}; it must return bools of shape {self._rows}")

    def _finite(
        self, obs: np.ndarray, reward: np.ndarray, terminated: np.ndarray, is_first: np.ndarray, actions: np.ndarray
    ) -> np.ndarray:
        """Raise where a number that is used is not finite; return the observations with unused ones replaced by zeros.

        Raises:
            EnvFaultError: a reward, or an observation that is used, is not finite.
        """
        if self._takes_nan:
            return obs
        wrong = np.flatnonzero(~(np.abs(reward) <= FLOAT32_MAX))
        if wrong.size:
            slot = int(wrong[0])
            after = f"after action {one_line(str(actions[slot]), 80)}"
            raise self._fault("step", f"returned the reward {reward[slot]} {after}; it must be a finite number", slot)
        if obs.dtype.kind != "f":
            return obs
        is_wrong = ~(np.abs(obs) <= FLOAT32_MAX)
        rows = is_wrong.reshape(len(obs), -1).any(axis=1)
        wrong = np.flatnonzero(rows & ~terminated)
        if wrong.size:
            slot = int(wrong[0])
            place = tuple(np.argwhere(is_wrong[slot])[0].tolist())
            call = "reset" if is_first[slot] else "step"
            after = "" if is_first[slot] else f" after action {one_line(str(actions[slot]), 80)}"
            at = f"{obs[slot][place]} at {list(place)}"
            raise self._fault(call, f"returned an observation that is {at}{after}; it must be finite", slot)
        if rows.any():
            obs = obs.copy()
            obs[rows] = 0.0
        return obs

    def _fault(self, call: str, problem: str, slot: int | None = None) -> EnvFaultError:
        step = int(np.max(self.lengths if slot is None else self.lengths[slot])) + 1
        return EnvFaultError(call, problem, family=self._name, slot=slot, step=step if call == "step" else None)


def make_env(family: TaskFamily, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> BatchedEnv:
    """Make the environment of `tasks`, and check that it is one.

    Raises:
        InvalidInputError: the family raised, or made something else.
    """
    try:
        env: Any = family.make(tasks, num_threads=num_threads, mode=mode)
    except InvalidInputError:
        raise
    except (Exception, SystemExit) as error:
        slots = f"{len(tasks)} {'slot' if len(tasks) == 1 else 'slots'}"
        raise InvalidInputError(f"environment {family.name} cannot be made with {slots}: {described(error)}") from error
    lacks = [name for name in ("num_envs", "tasks", "single_observation_space", "single_action_space") if not hasattr(env, name)]
    if isinstance(env, BatchedEnv) and not lacks and env.num_envs == len(tasks):
        return env
    made = f"a {type(env).__name__}" + (f" without {lacks[0]}" if lacks else f" of {env.num_envs} slots")
    raise InvalidInputError(
        f"family {family.name} made {made} for {len(tasks)} tasks; it must make a BatchedEnv with a slot for each"
    )


def sample_tasks(family: TaskFamily, num_tasks: int, rng: np.random.Generator, split: Split = "train") -> list[Task]:
    """Draw tasks, and check them.

    Raises:
        EnvFaultError: the family raised, or drew another number of them.
    """
    try:
        tasks: Any = family.sample(num_tasks, rng, split)
    except InvalidInputError:
        raise
    except (Exception, SystemExit) as error:
        raise EnvFaultError("sample", raised(error), family=family.name) from error
    if not isinstance(tasks, (tuple, list)) or len(tasks) != num_tasks or not all(isinstance(task, Task) for task in tasks):
        raise EnvFaultError("sample", f"returned {shown(tasks)}; it must return {num_tasks} tasks", family=family.name)
    return list(tasks)


def try_out(family: TaskFamily, name: str, num_slots: int) -> None:
    """Reset an environment of `family` and take some steps of random actions, if need be across the end of an episode.

    Args:
        family: the user's own, or any of Gymnasium's.
        name: of it, for errors.
        num_slots: environments in lockstep.

    Raises:
        InvalidInputError: it cannot be made, raises, or breaks its own contract; with the line of the `EnvFaultError`.
    """
    rng, give_up = np.random.default_rng(0), time.monotonic() + PROBE_S
    try:
        env = make_env(family, sample_tasks(family, num_slots, rng))
        try:
            if not isinstance(env.single_observation_space, _OBSERVED) or not isinstance(
                env.single_action_space, (Box, Discrete)
            ):
                return  # no network can be built for it, and that error is clearer
            checked = CheckedEnv(env, name)
            checked.reset(seed=0)
            for _ in range(PROBE_STEPS):
                checked.step(random_actions(env, rng))
                if time.monotonic() > give_up:
                    return
        finally:
            env.close()
    except EnvFaultError as error:
        raise InvalidInputError(str(error)) from error


def random_actions(env: BatchedEnv | CheckedEnv, rng: np.random.Generator) -> np.ndarray:
    """Uniformly random actions: any of the discrete ones, or numbers within their bounds."""
    space = env.single_action_space
    if isinstance(space, Discrete):
        return rng.integers(int(space.n), size=env.num_envs)
    assert isinstance(space, Box)
    shape = (env.num_envs, *space.shape)
    is_bounded = np.isfinite(space.low) & np.isfinite(space.high)
    low, high = np.where(is_bounded, space.low, -1.0), np.where(is_bounded, space.high, 1.0)
    return rng.uniform(low, high, shape).astype(np.float32)
