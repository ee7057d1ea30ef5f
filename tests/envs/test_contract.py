"""A batched environment that breaks its own contract ends in one line, and unused values have no effect."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary

from envs import contract
from envs.batched import BatchedEnv
from envs.contract import CheckedEnv, make_env, sample_tasks, try_out
from envs.errors import EnvFaultError, InvalidInputError
from envs.family import TaskFamily
from envs.registry import resolve
from envs.task import Mode, Split, Task

NUM_ENVS = 3


class Faithful(BatchedEnv):
    """Returns what it is told to."""

    def __init__(self, tasks: Sequence[Task], space: Any = None, reply: dict[str, Any] | None = None) -> None:
        super().__init__(tasks, space or Box(-1.0, 1.0, (2,), np.float32), Discrete(2))
        self.reply: dict[str, Any] = reply or {}

    def assign(self, slot: int, task: Task) -> None:
        self.tasks[slot] = task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        obs = self.reply.get("first_obs", np.zeros(self.observation_space.shape, self.observation_space.dtype))
        return obs, {"is_first": np.ones(self.num_envs, np.bool_)}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        flags = np.zeros(self.num_envs, np.bool_)
        usual = {
            "obs": np.zeros(self.observation_space.shape, self.observation_space.dtype),
            "reward": np.zeros(self.num_envs),
            "terminated": flags,
            "truncated": flags,
            "info": {"is_first": flags},
        }
        if "raises" in self.reply:
            raise self.reply["raises"]
        obs, reward, terminated, truncated, info = (self.reply.get(name, value) for name, value in usual.items())
        return obs, reward, terminated, truncated, info


class Family(TaskFamily):
    name, doc = "faithful", "does what it is told to"

    def __init__(self, make: Callable[[Sequence[Task]], Any] = Faithful, draw: Callable[[int], Any] | None = None) -> None:
        self._make = make
        self._draw = draw or (lambda num_tasks: [Task(family="faithful")] * num_tasks)

    def sample(self, num_tasks: int, rng: np.random.Generator, split: Split = "train") -> Any:
        return self._draw(num_tasks)

    def make(self, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> Any:
        return self._make(tasks)


def checked(space: Any = None, **reply: Any) -> CheckedEnv:
    env = CheckedEnv(Faithful([Task(family="faithful")] * NUM_ENVS, space, reply), "mine:family")
    env.reset(seed=0)
    return env


def nothing(*places: tuple[int, int], value: float = np.nan) -> np.ndarray:
    obs = np.ones((NUM_ENVS, 2), np.float32)
    for place in places:
        obs[place] = value
    return obs


def flags(*slots: int) -> np.ndarray:
    return np.isin(np.arange(NUM_ENVS), slots)


ACTIONS = np.array([1, 0, 1])


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"raises": ValueError("boom\n at home")}, ": step raised ValueError: boom at home"),
        ({"raises": SystemExit(3)}, ": step raised SystemExit: 3"),
        (
            {"obs": np.zeros(2, np.float32)},
            "step returned an array of shape (2,), float32, [0. 0.] as observations; the space is a Box",
        ),
        ({"obs": np.zeros((1, 2), np.float32)}, "and 3 of them, as an array of shape (3, 2)"),
        ({"obs": [[0.0, 0.0]] * 3}, "step returned a list of 3 (list, list, list) as observations"),
        ({"obs": np.full((3, 2), "a")}, "as observations"),
        ({"reward": np.zeros((3, 1))}, "step returned the rewards an array of shape (3, 1), float64"),
        ({"reward": 1.0}, "step returned the rewards 1.0 (float); it must return numbers of shape (3,)"),
        ({"reward": np.array([None] * 3)}, "step returned the rewards an array of shape (3,), object"),
        ({"reward": np.ones(3, complex)}, "complex128"),
        ({"terminated": False}, "step returned terminated = False (bool); it must return bools of shape (3,)"),
        ({"truncated": np.zeros(3)}, "step returned truncated = an array of shape (3,), float64"),
        ({"truncated": np.zeros(1, bool)}, "step returned truncated = an array of shape (1,), bool"),
        ({"info": {}}, 'step returned info["is_first"] = None'),
        ({"info": None}, 'step returned info["is_first"] = None'),
        (
            {"reward": np.array([0.0, np.nan, 0.0])},
            ", slot 1, step 1: step returned the reward nan after action 0; it must be a finite number",
        ),
        ({"reward": np.array([0.0, 0.0, -np.inf])}, ", slot 2, step 1: step returned the reward -inf after action 1"),
        ({"reward": np.array([1e39, 0.0, 0.0])}, ", slot 0, step 1: step returned the reward 1e+39"),  # infinite as float32
        (
            {"obs": nothing((2, 1))},
            ", slot 2, step 1: step returned an observation that is nan at [1] after action 1; it must be finite",
        ),
        ({"obs": nothing((1, 0), value=np.inf)}, ", slot 1, step 1: step returned an observation that is inf at [0]"),
        ({"obs": nothing((1, 0)), "truncated": flags(1)}, ", slot 1, step 1: step returned an observation that is nan"),
        (
            {"obs": nothing((1, 0)), "info": {"is_first": flags(1)}},
            ", slot 1: reset returned an observation that is nan at [0]; it",
        ),
    ],
)
def test_what_breaks_the_contract_is_named(reply: dict[str, Any], said: str) -> None:
    with pytest.raises(EnvFaultError) as caught:
        checked(**reply).step(ACTIONS)
    line = str(caught.value)
    assert line.startswith("environment mine:family")
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("first_obs", "said"),
    [
        (np.zeros(2, np.float32), ": reset returned an array of shape (2,)"),
        (None, ": reset returned None as observations"),
        (nothing((0, 1)), ", slot 0: reset returned an observation that is nan at [1]; it must be finite"),
    ],
)
def test_a_first_observation_is_held_against_the_space_too(first_obs: Any, said: str) -> None:
    with pytest.raises(EnvFaultError) as caught:
        checked(first_obs=first_obs)
    assert said in str(caught.value)


def test_a_restart_is_held_against_the_space_too_and_what_is_not_finite_may_be_taken() -> None:
    env = Faithful([Task(family="faithful")] * NUM_ENVS, reply={"obs": nothing((2, 1)), "reward": np.array([0.0, np.inf, 0.0])})
    seen = CheckedEnv(env, "mine:family", takes_nan=True)
    got, reward, *_ = seen.step(ACTIONS)
    assert np.isnan(got[2, 1]) and np.isinf(reward[1])
    env.restart = lambda slots: np.zeros((len(slots), 2), np.float32)  # type: ignore[method-assign]
    assert seen.restart(np.array([0, 2])).shape == (2, 2)
    env.restart = lambda slots: np.zeros((3, 2), np.float32)  # type: ignore[method-assign]
    with pytest.raises(EnvFaultError, match=r"restart returned .* and 2 of them, as an array of shape \(2, 2\)"):
        seen.restart(np.array([0, 2]))


def test_an_index_that_stands_for_nothing_is_named_with_its_slot() -> None:
    with pytest.raises(EnvFaultError, match=r"slot 2, step 1: step returned the observation 4; the space is Discrete\(4\)"):
        checked(Discrete(4), obs=np.array([0, 3, 4])).step(ACTIONS)
    with pytest.raises(EnvFaultError, match="float64"):
        checked(Discrete(4), obs=np.zeros(3)).step(ACTIONS)


def test_integers_of_another_size_are_taken_where_they_fit() -> None:
    pixels = Box(0, 255, (2,), np.uint8)
    obs, *_ = checked(pixels, obs=np.full((3, 2), 255, np.int64)).step(ACTIONS)
    assert obs.dtype == np.uint8 and (obs == 255).all()
    with pytest.raises(EnvFaultError, match="int64"):
        checked(pixels, obs=np.full((3, 2), 256, np.int64)).step(ACTIONS)
    with pytest.raises(EnvFaultError, match="float32"):
        checked(pixels, obs=np.full((3, 2), 0.5, np.float32)).step(ACTIONS)


def test_large_numbers_that_are_finite_pass_as_they_are() -> None:
    obs = nothing((1, 1), value=3e38)  # whose square is not
    got, reward, *_ = checked(obs=obs, reward=np.array([-1e30, 0.0, 1e30])).step(ACTIONS)
    assert got is obs and reward.tolist() == [-1e30, 0.0, 1e30]


def test_the_final_observation_of_a_terminated_episode_becomes_zeros_where_it_is_not_finite() -> None:
    given = nothing((0, 0), (2, 1))
    got, *_ = checked(obs=given, terminated=flags(0, 2), truncated=flags(2)).step(ACTIONS)
    np.testing.assert_array_equal(got, [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert np.isnan(given[0, 0])  # the environment's own array is left alone
    whole = nothing()
    assert checked(obs=whole, terminated=flags(0)).step(ACTIONS)[0] is whole  # a finite one stays, bit for bit


def test_a_fault_survives_pickling_and_names_what_is_known() -> None:
    fault = EnvFaultError("step", "raised ValueError: boom", family="gym:X-v0", slot=3, step=17)
    fault.actor = 1
    again = pickle.loads(pickle.dumps(fault))
    assert str(again) == str(fault) == "environment gym:X-v0, actor 1, slot 3, step 17: step raised ValueError: boom"
    assert (again.actor, again.slot, again.step, again.call) == (1, 3, 17, "step")


@pytest.mark.parametrize(
    ("family", "said"),
    [
        (Family(make=lambda tasks: 1 / 0), "environment faithful cannot be made with 2 slots: ZeroDivisionError"),
        (Family(make=lambda tasks: None), "family faithful made a NoneType without num_envs"),
        (Family(make=lambda tasks: Faithful(tasks[:1])), "made a Faithful of 1 slots for 2 tasks"),
        (Family(make=lambda tasks: Faithful(tasks, reply={"reward": np.zeros(1)})), "step returned the rewards"),
        (
            Family(make=lambda tasks: Faithful(tasks, reply={"raises": KeyError("goal")})),
            "mine:family, step 1: step raised KeyError: 'goal'",
        ),
        (Family(draw=lambda num_tasks: 1 / 0), "environment faithful: sample raised ZeroDivisionError"),
        (Family(draw=lambda num_tasks: []), "sample returned [] (list); it must return 2 tasks"),
        (Family(draw=lambda num_tasks: [1] * num_tasks), "sample returned [1, 1] (list)"),
    ],
)
def test_a_persons_own_family_is_tried_out(family: Family, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        try_out(family, "mine:family", num_slots=2)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_trial_takes_few_steps_and_less_of_what_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    class Counted(Faithful):
        def step(self, actions: np.ndarray) -> Any:
            steps.append(len(actions))
            return super().step(actions)

    try_out(Family(make=Counted), "mine:family", num_slots=2)
    assert steps == [2] * contract.PROBE_STEPS
    steps.clear()
    monkeypatch.setattr(contract, "PROBE_S", 0.0)
    try_out(Family(make=Counted), "mine:family", num_slots=2)
    assert steps == [2]


def test_what_no_network_can_be_built_for_is_left_to_the_check_of_the_network() -> None:
    try_out(Family(make=lambda tasks: Faithful(tasks, MultiBinary(3), {"obs": "nonsense"})), "mine:family", num_slots=1)


@pytest.mark.parametrize("name", ["cartpole", "pendulum", "hopper", "gym:MountainCar-v0", "atari:pong"])
def test_engines_keep_the_contract_by_the_short_way_and_nothing_of_theirs_is_changed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CheckedEnv, "_examined", lambda *_: pytest.fail("the long way, which takes more time"))
    family = resolve(name)
    tasks = sample_tasks(family, 4, np.random.default_rng(0))
    plain, env = make_env(family, tasks), make_env(family, tasks)
    seen = CheckedEnv(env, name)
    np.testing.assert_array_equal(plain.reset(seed=1)[0], seen.reset(seed=1))
    rng = np.random.default_rng(2)
    for _ in range(60):
        actions = contract.random_actions(plain, rng)
        for want, got in zip(plain.step(actions)[:4], seen.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(want, got)
    plain.close(), env.close()
