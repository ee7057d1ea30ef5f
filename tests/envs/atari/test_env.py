"""Atari under our protocol: lives and games, stacks, limits, seeds, and many games side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from envs.atari.engine import NUM_CONSOLE_ACTIONS, Emulators, EmulatorStep
from envs.atari.env import AtariEnv
from envs.atari.families import AtariFamily
from envs.errors import InvalidInputError
from envs.registry import resolve
from envs.task import Task
from learners.ops.frames import stack_frames

Step = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]


class Script:
    """An engine of one slot that answers with lives and ends from a list, whatever it is sent."""

    num_actions = 4

    def __init__(self, lives: Sequence[int], over: Sequence[int] = (), capped: Sequence[int] = ()) -> None:
        self._answers = list(enumerate(lives))
        self._over, self._capped = set(over), set(capped)
        self.sent: list[int] = []

    def reset(self, seeds: np.ndarray) -> EmulatorStep:
        return self.recv()

    def send(self, actions: np.ndarray) -> None:
        self.sent.append(int(actions[0]))

    def recv(self) -> EmulatorStep:
        t, lives = self._answers.pop(0)
        obs = np.full((1, 4, 84, 84), t + 1, np.uint8)
        flags = [np.array([t in ends]) for ends in (self._over, self._capped)]
        return EmulatorStep(obs=obs, reward=np.array([float(t)]), is_over=flags[0], is_capped=flags[1], lives=np.array([lives]))


def scripted(script: Script, ends_with_life: bool = True) -> tuple[AtariEnv, list[Step]]:
    """The environment on `script`, and all its steps with action 3."""
    env = AtariFamily(game="breakout").make([Task(family="atari:breakout")], mode="train" if ends_with_life else "evaluate")
    assert isinstance(env, AtariEnv)
    env.close()
    env._engines = [script]
    env.reset(seed=0)
    return env, [env.step(np.array([3])) for _ in range(len(script._answers))]


def column(steps: list[Step], name: str) -> list[bool]:
    """One flag of a single slot over the steps."""
    index = {"terminated": 2, "truncated": 3}
    return [bool(step[index[name]][0] if name in index else step[4][name][0]) for step in steps]


def test_a_lost_life_ends_the_episode_and_the_game_goes_on_after_one_noop() -> None:
    script = Script(lives=[5, 5, 4, 4, 4, 3, 3])
    _, steps = scripted(script)
    assert column(steps, "terminated") == [False, True, False, False, True, False]
    assert column(steps, "is_first") == [False, False, True, False, False, True]
    assert not any(column(steps, "is_final")) and not any(column(steps, "truncated"))
    assert script.sent == [3, 3, 0, 3, 3, 0]
    assert [step[1][0] for step in steps] == [1, 2, 3, 4, 5, 6]  # the reward of the no-op is handed on


def test_older_frames_are_blank_after_a_lost_life_until_new_ones_come() -> None:
    _, steps = scripted(Script(lives=[5, 5, 4, 4, 4, 4, 4, 4]))
    is_blank = [(step[0][0] == 0).all((1, 2)).tolist() for step in steps]
    assert is_blank[1] == [True, False, False, False]  # the reset of the game was two steps ago
    assert is_blank[2:] == [[True] * 3 + [False], [True] * 2 + [False] * 2, [True] + [False] * 3, [False] * 4, [False] * 4]


def test_in_evaluation_a_lost_life_ends_nothing() -> None:
    script = Script(lives=[5, 4, 3, 3, 5], over=[3])
    _, steps = scripted(script, ends_with_life=False)
    assert column(steps, "terminated") == column(steps, "is_final") == [False, False, True, False]
    assert column(steps, "is_first") == [False, False, False, True]
    assert script.sent[:3] == [3, 3, 3]


def test_the_last_life_ends_the_game() -> None:
    _, steps = scripted(Script(lives=[2, 1, 1, 0, 2, 2], over=[3]))
    assert column(steps, "terminated") == [True, False, True, False, False]
    assert column(steps, "is_final") == [False, False, True, False, False]
    assert column(steps, "is_first") == [False, True, False, True, False]


def test_a_life_lost_on_the_frame_limit_is_terminated_and_the_game_is_final() -> None:
    _, steps = scripted(Script(lives=[3, 3, 2, 3, 3], capped=[2]))
    assert column(steps, "terminated") == column(steps, "is_final") == [False, True, False, False]
    assert not any(column(steps, "truncated"))
    assert column(steps, "is_first") == [False, False, True, False]


def test_the_frame_limit_is_a_truncation() -> None:
    _, steps = scripted(Script(lives=[3, 3, 3, 3], capped=[2]))
    assert column(steps, "truncated") == column(steps, "is_final") == [False, True, False]
    assert not any(column(steps, "terminated"))


def test_a_game_that_ends_within_the_noop_is_counted_and_restarted() -> None:
    _, steps = scripted(Script(lives=[2, 1, 0, 2, 2, 2], over=[2]))
    assert column(steps, "terminated") == [True, False, False, False, False]
    assert column(steps, "is_first") == [False, True, True, False, False]
    assert column(steps, "is_final") == [False, True, False, False, False]


def test_a_new_game_with_fewer_lives_is_no_lost_life() -> None:
    _, steps = scripted(Script(lives=[5, 5, 3, 3], over=[1]))
    assert column(steps, "terminated") == [True, False, False]


@pytest.fixture(scope="module")
def played() -> dict[str, list[Step]]:
    """350 steps of Breakout by random actions in both modes, and the first observations as a step of their own."""
    out = {}
    for mode in ("train", "evaluate"):
        family = resolve("atari:breakout")
        env = family.make(family.sample(4, np.random.default_rng(0)), num_threads=2, mode=mode)
        rng = np.random.default_rng(1)
        obs, info = env.reset(seed=3)
        nothing = np.zeros(4, bool)
        out[mode] = [(obs, np.zeros(4), nothing, nothing, info)] + [env.step(rng.integers(4, size=4)) for _ in range(350)]
        env.close()
    return out


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_unstacked_and_stacked_again_is_the_observation(played: dict[str, list[Step]], mode: str) -> None:
    steps = played[mode]
    obs = np.stack([step[0] for step in steps])
    is_first = np.stack([step[4]["is_first"] for step in steps])
    is_final = np.stack([step[4]["is_final"] for step in steps])
    assert is_final.sum() > 3 and (is_first[1:].sum() > 3 * is_final.sum()) == (mode == "train")
    length = 60  # unrolls as actors send them; most begin in the middle of an episode
    for start in range(0, len(obs) - 1, length):
        rows = slice(start, start + length + 1)
        history = torch.from_numpy(obs[start, :, :-1].swapaxes(0, 1).copy())
        stacked = stack_frames(torch.from_numpy(obs[rows, :, -1].copy()), history, torch.from_numpy(is_first[rows]))
        np.testing.assert_array_equal(stacked.numpy(), obs[rows])


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_the_step_after_an_end_is_the_first_of_an_episode(played: dict[str, list[Step]], mode: str) -> None:
    for (_, _, terminated, truncated, before), (obs, reward, *ends, info) in zip(played[mode], played[mode][1:], strict=False):
        np.testing.assert_array_equal(info["is_first"], terminated | truncated | before["is_final"])
        assert not obs[info["is_first"], :-1].any()
        assert not (ends[0] | ends[1])[info["is_first"]].any()
        assert not reward[before["is_final"]].any()


def test_a_breakout_game_has_five_lives(played: dict[str, list[Step]]) -> None:
    for slot in range(4):
        lives = finals = 0
        for step in played["train"]:
            lives += step[2][slot]
            if step[4]["is_final"][slot]:
                assert lives == 5
                lives, finals = 0, finals + 1
        assert finals >= 1


def roll(name: str, seed: int, num_threads: int, num_steps: int = 60, tasks: list[Task] | None = None) -> Iterator[np.ndarray]:
    """Everything that a seeded run gives, in order."""
    family = resolve(name)
    env = family.make(tasks or family.sample(2, np.random.default_rng(0)), num_threads=num_threads)
    rng = np.random.default_rng(seed)
    yield env.reset(seed=seed)[0]
    for t in range(num_steps):
        *arrays, info = env.step(rng.integers(env.single_action_space.n, size=env.num_envs))
        yield from (*arrays, info["is_first"], info["is_final"])
        if t == num_steps // 2:
            yield env.reset()[0]
    env.close()


THREE_GAMES = [Task(family="atari57", params=(("game", game),)) for game in ("pong", "breakout", "skiing")]


@pytest.mark.parametrize(
    ("name", "tasks"), [("atari:breakout", None), ("atari:breakout-sticky", None), ("atari57", THREE_GAMES)], ids=str
)
def test_a_seed_gives_the_same_games_on_any_number_of_threads(name: str, tasks: list[Task] | None) -> None:
    for one, two in zip(roll(name, 4, 1, tasks=tasks), roll(name, 4, 2, tasks=tasks), strict=True):
        np.testing.assert_array_equal(one, two)


def test_sticky_actions_change_the_game() -> None:
    pairs = zip(roll("atari:breakout", 4, 1, 60), roll("atari:breakout-sticky", 4, 1, 60), strict=True)
    assert not all(np.array_equal(one, two) for one, two in pairs)


def test_each_slot_of_many_games_plays_its_own() -> None:
    tasks = THREE_GAMES[::2]
    env = resolve("atari57").make(tasks, num_threads=1, mode="evaluate")
    assert env.single_action_space.n == NUM_CONSOLE_ACTIONS
    obs, _ = env.reset(seed=8)
    seeds = np.random.default_rng(8).integers(2**31, size=2)
    engines = [Emulators(str(task["game"]), 1, num_threads=1, has_all_actions=True) for task in tasks]
    for slot, engine in enumerate(engines):
        np.testing.assert_array_equal(obs[slot], engine.reset(seeds[slot : slot + 1]).obs[0])
    rng = np.random.default_rng(0)
    for _ in range(40):
        actions = rng.integers(NUM_CONSOLE_ACTIONS, size=2)
        obs, reward, *_ = env.step(actions)
        for slot, engine in enumerate(engines):
            engine.send(actions[slot : slot + 1])
            want = engine.recv()
            np.testing.assert_array_equal(obs[slot], want.obs[0])
            assert reward[slot] == want.reward[0]


def test_a_slot_changes_its_game_when_the_game_is_over() -> None:
    family = AtariFamily()
    engine = partial(Emulators, num_threads=1, has_all_actions=True, max_frames=40)
    env = AtariEnv(THREE_GAMES[:2], game_of=family.game_of, is_one_game=False, engine=engine)
    env.reset(seed=0)
    env.assign(1, THREE_GAMES[2])
    for _ in range(10):
        assert env.tasks == THREE_GAMES[:2]
        obs, _, _, truncated, info = env.step(np.zeros(2, np.int64))
    assert truncated.all() and info["is_final"].all()
    obs, reward, _, truncated, info = env.step(np.zeros(2, np.int64))
    assert env.tasks == [THREE_GAMES[0], THREE_GAMES[2]]
    assert info["is_first"].all() and not reward.any() and not truncated.any() and not obs[:, :-1].any()
    skiing = Emulators("skiing", 1, num_threads=1, has_all_actions=True)
    first = skiing.reset(np.array([1])).obs[0, -1]
    assert (obs[1, -1] == first).mean() > 0.9 > (obs[0, -1] == first).mean()
    for _ in range(10):  # the limit counts from the game's own start
        obs, _, _, truncated, info = env.step(np.zeros(2, np.int64))
    assert truncated.all()


def test_a_task_of_no_known_game_is_refused() -> None:
    env = resolve("atari57").make(THREE_GAMES[:1])
    with pytest.raises(InvalidInputError, match="did you mean pong"):
        env.assign(0, Task(family="atari57", params=(("game", "pnog"),)))
    with pytest.raises(InvalidInputError, match="unknown Atari game ''"):
        resolve("atari57").make([Task(family="atari57")])
