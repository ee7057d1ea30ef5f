"""Checks what a Gymnasium environment returned from `reset` and `step` against its observation space.

What `SyncVectorEnv` refuses is refused, in a line that names the part. What numpy casts safely is accepted: float64 and integers for
float32, lists, and integers of another size where they fit. A number outside of a Box's bounds is accepted too: many environments return
some.

The final observation of a terminated episode is not used, so it may be None, or NaN. That of a truncated one is: the episode bootstraps
from its value.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from envs.errors import EnvFaultError, one_line

RESET_RETURNS = "(observation, info)"
STEP_RETURNS = "(observation, reward, terminated, truncated, info)"


class Replies:
    """Checks replies of the instances of one environment.

    Args:
        space: their observation space: Box, Discrete, MultiDiscrete or MultiBinary.
    """

    def __init__(self, space: gymnasium.Space[Any]) -> None:
        self._space = space
        self._shape, self._dtype = tuple(space.shape or ()), np.dtype(space.dtype)
        self._range = index_range(space)

    def of_reset(self, reply: Any) -> Any:
        """Return the observation in the reply of `reset`, as something to be written into an array of the space's type.

        Raises:
            EnvFaultError: the reply is not what `reset` has to return.
        """
        if not isinstance(reply, (tuple, list)) or len(reply) != 2:
            raise EnvFaultError("reset", f"returned {shown(reply)}; it must return {RESET_RETURNS}")
        obs, info = reply
        if type(info) is not dict:
            _check_info("reset", info)
        return self._observation("reset", obs)

    def of_step(self, reply: Any) -> tuple[Any, float, bool, bool]:
        """Return the observation, reward and flags in the reply of `step`.

        Raises:
            EnvFaultError: the reply is not what `step` has to return.
        """
        if not isinstance(reply, (tuple, list)) or len(reply) != 5:
            raise EnvFaultError("step", f"returned {shown(reply)}; it must return {STEP_RETURNS}")
        obs, reward, terminated, truncated, info = reply
        if type(reward) is not float:
            reward = _number(reward)
        if type(terminated) is not bool:
            terminated = _flag("terminated", terminated)
        if type(truncated) is not bool:
            truncated = _flag("truncated", truncated)
        if type(info) is not dict:
            _check_info("step", info)
        if terminated and obs is None:
            obs = np.full(self._shape, getattr(self._space, "start", 0), self._dtype)
        if self._range is not None or not self._is_as_declared(obs):
            obs = self._observation("step", obs)
        return obs, reward, terminated, truncated

    def _is_as_declared(self, obs: Any) -> bool:
        return type(obs) is np.ndarray and obs.dtype == self._dtype and obs.shape == self._shape

    def _observation(self, call: str, obs: Any) -> Any:
        array = obs if self._is_as_declared(obs) else self._cast(call, obs)
        if self._range is not None and not ((array >= self._range[0]) & (array <= self._range[1])).all():
            raise self._misfit(call, obs)
        return array

    def _cast(self, call: str, obs: Any) -> np.ndarray:
        """An observation of another type, or none at all."""
        try:
            array = np.asarray(obs)
        except Exception as error:  # rows of unequal length, a tensor on another device
            raise EnvFaultError(call, f"returned an observation that is no array of numbers: {one_line(str(error))}") from error
        if array.shape != self._shape or not fits(array, self._dtype):
            raise self._misfit(call, obs)
        with np.errstate(over="ignore"):  # becomes infinite, which is found and named where observations are used
            return array.astype(self._dtype)

    def _misfit(self, call: str, obs: Any) -> EnvFaultError:
        return EnvFaultError(call, f"returned {shown(obs)} as observation; the space is {space_text(self._space)}")


def fits(array: np.ndarray, dtype: np.dtype[Any]) -> bool:
    """Whether numbers may be stored as `dtype`: any as floats, and integers as integers whose range they keep to."""
    if dtype.kind == "f" or array.dtype.kind == "b":
        return array.dtype.kind in "fiub"
    if array.dtype.kind not in "iu":
        return False
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return not array.size or (low <= int(array.min()) and int(array.max()) <= high)


def index_range(space: gymnasium.Space[Any]) -> tuple[Any, Any] | None:
    """The lowest and highest values of index observations; None for other spaces."""
    if isinstance(space, Discrete):
        return int(space.start), int(space.start + space.n) - 1
    if isinstance(space, MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return (0, 1) if isinstance(space, MultiBinary) else None


def _number(reward: Any) -> float:
    """A reward that is not a float, as one."""
    if isinstance(reward, numbers.Real):
        return float(reward)
    try:
        array = np.asarray(reward)
    except Exception:  # neither a number nor an array
        array = np.asarray(None)
    if array.shape != () or array.dtype.kind not in "fiub":
        raise EnvFaultError("step", f"returned the reward {shown(reward)}; it must be a number")
    return float(array)


def _flag(name: str, value: Any) -> bool:
    """A flag that is not a bool, as one: numpy's, or 0 and 1."""
    if isinstance(value, np.bool_):
        return bool(value)
    try:
        array = np.asarray(value)
    except Exception:  # no array either
        array = np.asarray(None)
    if array.shape != () or array.dtype.kind not in "biu" or int(array) not in (0, 1):
        raise EnvFaultError("step", f"returned {name} = {shown(value)}; it must be a bool")
    return bool(array)


def _check_info(call: str, info: Any) -> None:
    if not isinstance(info, Mapping):
        raise EnvFaultError(call, f"returned {shown(info)} as info; it must be a dict")


def shown(value: Any) -> str:
    """A value as short text: an array by its shape, type and first numbers."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None and not isinstance(value, np.generic):
        return one_line(f"an array of shape {tuple(shape)}, {dtype}, {_repr(value)}", 120)
    if isinstance(value, (tuple, list)) and not all(isinstance(item, (int, float, complex, str)) for item in value):
        kinds = ", ".join(type(item).__name__ for item in value[:8])
        return one_line(f"a {type(value).__name__} of {len(value)} ({kinds}{', ...' if len(value) > 8 else ''})", 120)
    text = _repr(value)
    return one_line(text if value is None or type(value).__name__ in text else f"{text} ({type(value).__name__})", 120)


def _repr(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return np.array2string(value, threshold=8, edgeitems=2)
    try:
        return repr(value)
    except Exception:  # an object whose own text cannot be had
        return type(value).__name__


def space_text(space: gymnasium.Space[Any]) -> str:
    """A space as short text, without the bounds of each component."""
    if isinstance(space, Box):
        return f"a Box of shape {space.shape}, {space.dtype}"
    return one_line(str(space), 120)
