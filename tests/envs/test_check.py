"""`metaray tasks FAMILY --check` finds what training would fail on, and summarises a correct family."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box

from cluster.main import main
from envs.check import check_family
from envs.classic.family import NumpyFamily
from envs.errors import InvalidInputError
from envs.registry import resolve
from envs.slots import RowRandom
from envs.task import Parameter, Split, Task
from tests.envs.windy import FAMILY, NAME, Windy

OTHER_CHANCE = np.random.default_rng()
Stepped = tuple[np.ndarray, np.ndarray, np.ndarray]


class ChanceOfItsOwn(Windy):
    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> Stepped:
        after, reward, terminated = super().advance(state, actions, rng)
        return after, reward + OTHER_CHANCE.random(len(state)), terminated


class SavesTooLittle(Windy):
    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> Stepped:
        after, reward, terminated = super().advance(state, actions, rng)
        self.wear = getattr(self, "wear", 0) + 1 if self._elapsed.any() else 0
        return after, reward - self.wear, terminated


class MixesSlots(Windy):
    def observe(self, state: np.ndarray) -> np.ndarray:
        return (state + np.arange(len(state))[:, None]).astype(np.float32)


class NanLater(Windy):
    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> Stepped:
        after, reward, _ = super().advance(state, actions, rng)
        return after, np.where(self._elapsed == 40, np.nan, reward), np.zeros(len(state), np.bool_)


class Idle(Windy):
    observation = Box(-0.1, 0.1, (1,), np.float32)

    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> Stepped:
        return state, np.zeros(len(state)), np.zeros(len(state), np.bool_)


class Endless(Windy):
    max_steps = None

    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> Stepped:
        return state, np.zeros(len(state)), np.zeros(len(state), np.bool_)


class Sampled(NumpyFamily):
    """Draws what it is told to."""

    def __init__(self, drawn: Any) -> None:
        super().__init__(name="sampled", doc="", env=Windy, parameters=(Parameter(name="wind", doc="", low=0.0, high=1.0),))
        self._drawn = drawn

    def sample(self, num_tasks: int, rng: np.random.Generator, split: Split = "train") -> list[Task]:
        return [Task(family="sampled", params=(("wind", self._drawn(rng, split)),)) for _ in range(num_tasks)]


def family(env: type[Windy]) -> NumpyFamily:
    return NumpyFamily(name="mine", doc="", env=env)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (family(ChanceOfItsOwn), "two episodes of one seed and equal actions differ at step 1: all chance is from its rng"),
        (family(SavesTooLittle), "it was restored and went on another way at step 0: save all of its state"),
        (family(MixesSlots), "two slots of one task and seed differ at step 0: a slot's episode is its own"),
        (family(NanLater), ", slot 0, step 41: step returned the reward nan after action"),
        (Sampled(lambda rng, split: float(OTHER_CHANCE.random())), "sample drew other train tasks from an equal generator"),
    ],
)
def test_what_training_would_trip_over_is_one_line(broken: NumpyFamily, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_family(broken, "mine:family", max_seconds=0.5)
    assert said in str(caught.value) and "mine:family" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("odd", "notes"),
    [
        (family(Idle), ["every episode returned 0: random", "observations leave the bounds of their space, Box(-0.1, 0.1, (1,)"]),
        (family(Endless), ["no episode ended in"]),
        (Sampled(lambda rng, split: float(rng.random())), ["training and test tasks have sampled(wind="]),
        (FAMILY, []),
    ],
)
def test_what_may_be_a_mistake_is_noted(odd: NumpyFamily, notes: list[str]) -> None:
    played = check_family(odd, "mine:family", max_seconds=0.5)
    assert len(played.notes) == len(notes)
    for note, wanted in zip(sorted(played.notes), sorted(notes), strict=True):
        assert note.startswith(wanted)


@pytest.mark.parametrize("name", ["cartpole", "halfcheetah-direction", "gym:FrozenLake-v1", "atari:pong"])
def test_our_own_are_well(name: str) -> None:
    played = check_family(resolve(name), name, max_seconds=1.0)
    assert played.env_steps > 0 and not any("differ" in note for note in played.notes)
    assert (played.returns.size == played.lengths.size) and played.lengths.sum() <= played.env_steps


def test_the_command_says_that_all_is_well_or_what_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", NAME, "--check"]) == 0
    out = capsys.readouterr().out
    assert "passed: 3" in out and " episodes of random actions, " in out and " steps/s on one thread" in out
    assert "  return   -" in out
    assert main(["tasks", "--check"]) == 2
    assert "--sample and --check need a family" in capsys.readouterr().err
