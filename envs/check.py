"""Checks a family against the contract of `TaskFamily` and `BatchedEnv`, as gymnasium's `check_env` does for one environment.

Checked are: equal seeds give equal tasks and equal episodes, a restored environment continues as the saved one, slots with equal seeds have
equal episodes, and every output in some episodes of random actions fits the spaces and is finite.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from envs.contract import CheckedEnv, make_env, random_actions, sample_tasks
from envs.errors import EnvFaultError, InvalidInputError
from envs.family import TaskFamily
from envs.task import Split, Task

NUM_SLOTS, NUM_EPISODES, NUM_REPEATED = 4, 32, 64
"""Environments in lockstep, episodes that are enough, and steps that are taken twice to see whether they are the same."""

Replies = Sequence[tuple[np.ndarray, ...]]


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of a check.

    Attributes:
        returns, lengths: of the episodes that ended, [E].
        env_steps, seconds: that they took.
        notes: what is allowed, but may be a mistake.
    """

    returns: np.ndarray
    lengths: np.ndarray
    env_steps: int
    seconds: float
    notes: tuple[str, ...]


def check_family(family: TaskFamily, name: str, *, seed: int = 0, max_seconds: float = 10.0) -> CheckResult:
    """Check what callers rely on; `name` is the family's name in errors.

    Raises:
        InvalidInputError: the contract is broken, in one line.
    """
    try:
        tasks = _tasks(family, name, seed, "train")
        shared = set(tasks) & set(_tasks(family, name, seed, "test"))
        env = CheckedEnv(make_env(family, tasks), name)
        pair = CheckedEnv(make_env(family, [tasks[0]] * 2), name)
        try:
            _check_repeats(env, name, seed, time.monotonic() + max_seconds / 4)
            if pair.can_restart:
                _check_seeded_slots(pair, name, seed)
            result = _run_episodes(env, seed, max_seconds)
        finally:
            env.close(), pair.close()
    except EnvFaultError as error:
        raise InvalidInputError(str(error)) from error
    is_drawn = any(parameter.low != parameter.high for parameter in family.parameters if not parameter.choices)
    notes = [f"training and test tasks have {next(iter(shared))} in common"] if shared and is_drawn else []
    return CheckResult(**vars(result) | {"notes": (*notes, *result.notes)})


def _tasks(family: TaskFamily, name: str, seed: int, split: Split) -> list[Task]:
    """Draw tasks, twice from the same seed."""
    first, again = (sample_tasks(family, NUM_SLOTS, np.random.default_rng(seed), split) for _ in range(2))
    if first != again:
        raise InvalidInputError(
            f"family {name}: sample drew other {split} tasks from an equal generator: all chance is from its rng"
        )
    return first


def _check_repeats(env: CheckedEnv, name: str, seed: int, give_up: float) -> None:
    """Equal seeds and actions give equal episodes; and a restored environment continues as the saved one."""
    rng, actions = np.random.default_rng(seed), list[np.ndarray]()
    first: list[tuple[np.ndarray, ...]] = [(env.reset(seed=seed),)]
    while len(actions) < NUM_REPEATED and (not actions or time.monotonic() < give_up):
        actions.append(random_actions(env, rng))
        first.append(env.step(actions[-1])[:4])
    again = [(env.reset(seed=seed),), *_replies(env, actions)]
    _compare(first, again, name, "two episodes of one seed and equal actions differ", "all chance is from its rng")
    if env.can_save:
        saved = env.save()
        later = _replies(env, actions)
        env.restore(saved)
        _compare(later, _replies(env, actions), name, "it was restored and went on another way", "save all of its state")


def _check_seeded_slots(pair: CheckedEnv, name: str, seed: int) -> None:
    """Two slots with one task, one seed and equal actions have equal episodes."""
    pair.seed_slots([seed, seed])
    rows: list[tuple[np.ndarray, ...]] = [(pair.reset(),)]
    rng = np.random.default_rng(seed)
    for _ in range(8):
        rows.append(pair.step(np.repeat(random_actions(pair, rng)[:1], 2, axis=0))[:4])
    one, other = ([tuple(part[slot] for part in parts) for parts in rows] for slot in (0, 1))
    _compare(one, other, name, "two slots of one task and seed differ", "a slot's episode is its own")


def _replies(env: CheckedEnv, actions: Sequence[np.ndarray]) -> Replies:
    return [env.step(action)[:4] for action in actions]


def _compare(first: Replies, second: Replies, name: str, what: str, hint: str) -> None:
    for step, (one, other) in enumerate(zip(first, second, strict=True)):
        if not all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(one, other, strict=True)):
            raise InvalidInputError(f"environment {name}: {what} at step {step}: {hint}")


def _run_episodes(env: CheckedEnv, seed: int, max_seconds: float) -> CheckResult:
    """Run whole episodes of random actions."""
    rng, space, began = np.random.default_rng(seed), env.single_observation_space, time.monotonic()
    returns_so_far, num_steps, is_outside = np.zeros(env.num_envs), 0, False
    returns, lengths = list[float](), list[int]()
    env.reset(seed=seed)
    while len(returns) < NUM_EPISODES and (not num_steps or time.monotonic() - began < max_seconds):
        obs, reward, terminated, truncated, info = env.step(random_actions(env, rng))
        returns_so_far, num_steps = returns_so_far + reward, num_steps + int((~info["is_first"]).sum())
        is_outside = is_outside or not all(map(space.contains, obs))
        for slot in np.flatnonzero(info.get("is_final", terminated | truncated)).tolist():
            returns.append(float(returns_so_far[slot]))
            lengths.append(int(env.lengths[slot]))
            returns_so_far[slot] = 0.0
    notes = {
        f"no episode ended in {num_steps:,} steps of random actions": not returns,
        f"every episode returned {returns[0]:g}: random actions find nothing to learn from" if returns else "": len({*returns})
        == 1,
        f"observations leave the bounds of their space, {' '.join(str(space).split())}; nothing clips them": is_outside,
    }
    return CheckResult(
        returns=np.array(returns),
        lengths=np.array(lengths),
        env_steps=num_steps,
        seconds=time.monotonic() - began,
        notes=tuple(note for note, is_so in notes.items() if is_so),
    )
