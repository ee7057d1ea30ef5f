"""Gymnasium environments with one thing broken, at the first reset, at a later one, at the first step or at the n-th."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from hypothesis import strategies as st

from envs.contract import PROBE_STEPS

ENV_ID = "Broken-v0"
EPISODE = PROBE_STEPS + 4
"""Steps of an episode: the trial before training sees its start and not the second one's."""

SPACES: dict[str, gymnasium.Space[Any]] = {
    "vector": Box(-1.0, 1.0, (3,), np.float32),
    "double": Box(-np.inf, np.inf, (2,), np.float64),
    "bytes": Box(0, 255, (4,), np.uint8),
    "index": Discrete(5),
}

OBSERVATIONS: dict[str, Callable[[gymnasium.Space[Any], Any], Any]] = {
    "another shape": lambda space, obs: np.zeros((7, *(space.shape or ())), space.dtype),
    "one number too few": lambda space, obs: obs[:-1] if space.shape else np.zeros(0, space.dtype),
    "strings": lambda space, obs: np.full(space.shape or (), "a"),
    "complex": lambda space, obs: np.full(space.shape or (), 1j),
    "none": lambda space, obs: None,
    "a dict": lambda space, obs: {"observation": obs},
    "out of range": lambda space, obs: (
        np.full(space.shape or (), 256) if space.dtype.kind in "iu" else np.full(space.shape, np.inf)
    ),
    "fractions": lambda space, obs: np.full(space.shape or (), 0.5 if space.dtype.kind in "iu" else np.nan),
}
REWARDS: dict[str, Any] = {
    "one of a batch": np.ones(1),
    "none": None,
    "a string": "1.0",
    "complex": 1j,
    "nan": float("nan"),
    "infinite": -np.inf,
    "too large": 1e300,
    "a list": [1.0],
}
FLAGS: dict[str, Any] = {"none": None, "a string": "no", "a share": 0.5, "two": 2, "a batch": np.zeros(1, bool)}
INFOS: dict[str, Any] = {"none": None, "a number": 1.0, "a list": []}
ERRORS: tuple[type[BaseException], ...] = (
    ValueError,
    KeyError,
    ZeroDivisionError,
    OSError,
    RuntimeError,
    AssertionError,
    SystemExit,
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is broken, and from when on.

    Attributes:
        space: of the observations, by name.
        call: which one fails: `reset` or `step`.
        first: the number of that call of an instance, from 1 on, at which it begins.
        part: of the reply: `raises`, `reply`, `observation`, `reward`, `terminated`, `truncated` or `info`.
        how: which of the ways, by name.
    """

    space: str
    call: str
    first: int
    part: str
    how: str

    @property
    def is_early(self) -> bool:
        """Whether the trial before training sees it."""
        return self.first == 1 if self.call == "reset" else self.first <= PROBE_STEPS

    @property
    def said(self) -> str:
        """What the line says of it."""
        if self.part == "raises":
            return f"{self.call} raised {self.how}: "
        if self.part == "info":
            return "as info; it must be a dict"
        return f"{self.call} returned " + {
            "reward": "the reward ",
            "terminated": "terminated = ",
            "truncated": "truncated = ",
        }.get(self.part, "")


class Broken(gymnasium.Env[Any, Any]):
    """Episodes of `EPISODE` steps of noise, until its fault."""

    action_space = Discrete(2)

    def __init__(self, fault: Fault | None) -> None:
        self._fault = fault
        self.observation_space = SPACES["vector" if fault is None else fault.space]
        self._num_calls = {"reset": 0, "step": 0}

    def _observation(self) -> Any:
        space = self.observation_space
        if isinstance(space, Discrete):
            return int(self.np_random.integers(space.n))
        return self.np_random.integers(0, 2, space.shape).astype(space.dtype)

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._elapsed = 0
        return self._reply("reset", {"observation": self._observation(), "info": {}})

    def step(self, action: Any) -> Any:
        self._elapsed += 1
        is_over = self._elapsed == EPISODE
        usual = {"observation": self._observation(), "reward": 1.0, "terminated": is_over, "truncated": False, "info": {}}
        return self._reply("step", usual)

    def _reply(self, call: str, parts: dict[str, Any]) -> Any:
        fault = self._fault
        self._num_calls[call] += 1
        if fault is None or fault.call != call or self._num_calls[call] < fault.first:
            return tuple(parts.values())
        if fault.part == "raises":
            raise next(kind for kind in ERRORS if kind.__name__ == fault.how)("broken on purpose")
        if fault.part == "reply":
            return {"alone": parts["observation"], "short": tuple(parts.values())[:-1], "none": None}[fault.how]
        if fault.part == "observation":
            parts["observation"] = OBSERVATIONS[fault.how](self.observation_space, parts["observation"])
            parts["terminated"] = False  # after which nobody would look
        else:
            kinds = {"reward": REWARDS, "info": INFOS}
            parts[fault.part] = kinds.get(fault.part, FLAGS)[fault.how]
        return tuple(parts.values())[: 2 if call == "reset" else 5]


def faults() -> st.SearchStrategy[Fault]:
    """Every way to break an environment, each about as often."""
    ways = {"raises": [kind.__name__ for kind in ERRORS], "reply": ["alone", "short", "none"], "observation": list(OBSERVATIONS)}
    ways |= {"reward": list(REWARDS), "terminated": list(FLAGS), "truncated": list(FLAGS), "info": list(INFOS)}
    of_reset = ("raises", "reply", "observation", "info")

    def of_call(call: str, firsts: st.SearchStrategy[int]) -> st.SearchStrategy[Fault]:
        parts = st.sampled_from(of_reset if call == "reset" else tuple(ways))
        return st.tuples(st.sampled_from(sorted(SPACES)), firsts, parts).flatmap(
            lambda drawn: st.sampled_from(ways[drawn[2]]).map(
                lambda how: Fault(space=drawn[0], call=call, first=drawn[1], part=drawn[2], how=how)
            )
        )

    return st.one_of(
        of_call("reset", st.just(1)),
        of_call("reset", st.integers(2, 5)),
        of_call("step", st.just(1)),
        of_call("step", st.integers(PROBE_STEPS + 1, 5 * EPISODE)),
    )
