"""Per-slot control: seeds, restarts between two steps, and rest; the same guarantees from every engine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest

from envs.batched import BatchedEnv
from envs.errors import InvalidInputError
from envs.mujoco.engine import MujocoBatchedEnv
from envs.registry import resolve
from envs.slots import RowRandom, SlotGenerators
from envs.task import Task
from tests.envs import windy

NAMES = [
    *("pendulum", "cartpole", "cartpole-physics", "point-goal", windy.NAME),
    *("hopper", "hopper-dynamics", "halfcheetah-direction", "random-hopper", "random-reacher"),
    "gym:Pendulum-v1",
]
SAVEABLE = [name for name in NAMES if not name.startswith("gym:")]
NUM_STEPS = 450  # past two ends of the longest episodes here


def made(name: str, tasks: Sequence[Task]) -> BatchedEnv:
    return resolve(name).make(tasks)


def tasks_of(name: str, num_tasks: int, seed: int = 0) -> list[Task]:
    return resolve(name).sample(num_tasks, np.random.default_rng(seed))


def seeds(*keys: int) -> list[np.random.SeedSequence]:
    return [np.random.SeedSequence(key) for key in keys]


def drawn(env: BatchedEnv, rng: np.random.Generator) -> np.ndarray:
    """A random action for one slot."""
    if isinstance(env.single_action_space, gymnasium.spaces.Discrete):
        return rng.integers(env.single_action_space.n)
    return rng.uniform(-1, 1, env.single_action_space.shape).astype(np.float32)


def actions_of(env: BatchedEnv, *keys: int) -> Iterator[np.ndarray]:
    """Actions whose column depends on its key alone."""
    rngs = [np.random.default_rng(key) for key in keys]
    while True:
        yield np.stack([drawn(env, rng) for rng in rngs])


def column(returned: tuple[Any, ...], slot: int) -> list[Any]:
    """What a step returned for one slot."""
    obs, reward, terminated, truncated, info = returned
    return [obs[slot].tolist(), reward[slot], terminated[slot], truncated[slot], info["is_first"][slot]]


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_episodes_whatever_the_other_slots_do(name: str) -> None:
    tasks = tasks_of(name, 4)
    alone = made(name, [tasks[0]])
    among = made(name, [tasks[1], tasks[2], tasks[0], tasks[3], tasks[0]])
    alone.seed_slots(seeds(7))
    among.seed_slots(seeds(1, 2, 7, 3, 7))
    first, _ = alone.reset()
    others, _ = among.reset()
    assert others[2].tolist() == others[4].tolist() == first[0].tolist() and not (others[0] == others[2]).all()
    num_starts = 0
    for t, (one, five) in enumerate(zip(actions_of(alone, 50), actions_of(among, 51, 52, 50, 53, 50), strict=False)):
        want, got = alone.step(one), among.step(five)
        assert column(got, 2) == column(got, 4) == column(want, 0)
        num_starts += int(want[4]["is_first"][0])
        if t % 9 == 0:
            among.restart(np.array([0, 3]))  # starts more than the others have
        if t == NUM_STEPS:
            break
    assert num_starts >= 2


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_counts_the_starts_of_its_slot(name: str) -> None:
    task = tasks_of(name, 1)[0]
    env, twin = made(name, [task] * 3), made(name, [task] * 3)
    env.reset(seed=0), twin.reset(seed=1)  # what was drawn before the seeds does not matter
    for one in (env, twin):
        one.seed_slots([4, 5, 4])
    starts = [env.restart(np.arange(3)) for _ in range(4)]
    for want in starts:
        assert want[0].tolist() == want[2].tolist() != want[1].tolist()
        got = [twin.restart(np.array([slot]))[0] for slot in (2, 0, 1)]
        np.testing.assert_array_equal(np.stack(got)[[1, 2, 0]], want)
    assert len({row.tobytes() for want in starts for row in want}) == 8


@pytest.mark.parametrize(
    ("name", "is_seeded"), [(name, seeded) for name in NAMES for seeded in (False, True) if seeded or name != windy.NAME]
)
def test_restart_starts_what_the_next_step_would_have(name: str, is_seeded: bool) -> None:
    tasks, later = tasks_of(name, 1), tasks_of(name, 3, 1)
    env, twin = made(name, tasks), made(name, tasks)
    for one in (env, twin):
        one.reset(seed=3)
        if is_seeded:
            one.seed_slots([9])
    for actions in actions_of(env, 60):
        got, want = env.step(actions), twin.step(actions)
        assert column(got, 0) == column(want, 0)
        if not (got[2] | got[3])[0]:
            continue
        if not later:
            break
        task = later.pop()
        env.assign(0, task), twin.assign(0, task)
        first = env.restart(np.array([0]))
        obs, reward, terminated, truncated, info = twin.step(actions)
        assert info["is_first"][0] and (reward[0], terminated[0], truncated[0]) == (0.0, False, False)
        np.testing.assert_array_equal(first, obs)
        assert env.tasks == twin.tasks == [task]


@pytest.mark.parametrize("name", NAMES)
def test_every_step_after_a_restart_is_a_real_one_and_the_limit_counts_from_it(name: str) -> None:
    env = made(name, tasks_of(name, 3))
    env.seed_slots([1, 2, 3])
    env.reset()
    for t, actions in enumerate(actions_of(env, 1, 2, 3)):
        _, _, terminated, truncated, info = env.step(actions)
        assert not info["is_first"].any()
        over = np.flatnonzero(terminated | truncated)
        if name in ("pendulum", "halfcheetah-direction", "gym:Pendulum-v1"):
            assert over.tolist() == ([0, 1, 2] if t % 200 == 199 else [])
        if over.size:
            kept = env.restart(over)
            copy = kept.copy()
        if t == NUM_STEPS:
            break
    np.testing.assert_array_equal(kept, copy)  # the caller's own


@pytest.mark.parametrize("name", NAMES)
def test_a_slot_that_rests_changes_nothing_for_the_others(name: str) -> None:
    tasks = tasks_of(name, 5)
    env, twin = made(name, tasks), made(name, tasks)
    for one in (env, twin):
        one.seed_slots(seeds(1, 2, 3, 4, 5))
        one.reset()
    rests = np.zeros(5, np.bool_)
    for t, actions in enumerate(actions_of(env, *range(5))):
        if t == 100:
            rests[[1, 4]] = True
            env.rest(np.array([4, 1]))
        if t == NUM_STEPS:
            break
        want = twin.step(actions)
        if actions.dtype.kind == "f":
            actions[rests] = np.nan
        got = env.step(actions)
        for slot in range(5):
            if rests[slot]:
                assert np.isfinite(got[0][slot]).all() and column(got, slot)[1:] == [0.0, False, False, False]
            else:
                assert column(got, slot) == column(want, slot)


@pytest.mark.parametrize("name", NAMES)
def test_rest_ends_with_a_restart_or_a_reset(name: str) -> None:
    env = made(name, tasks_of(name, 3))
    env.reset(seed=0)
    env.rest(np.arange(3))
    rows = actions_of(env, 1, 2, 3)
    for _ in range(3):
        assert not env.step(next(rows))[1].any()
    first = env.restart(np.array([2]))
    obs, reward, *_, info = env.step(next(rows))
    assert not reward[:2].any() and reward[2] != 0.0 and not info["is_first"].any() and (obs[2] != first[0]).any()
    assert env.reset()[1]["is_first"].all()
    assert env.step(next(rows))[1].all()


def test_resting_simulations_cost_no_physics() -> None:
    env = made("halfcheetah", tasks_of("halfcheetah", 16))
    assert isinstance(env, MujocoBatchedEnv)
    env.reset(seed=0)
    env.rest(np.arange(1, 16))
    env.step(np.zeros((16, 6), np.float32))
    assert np.flatnonzero(env.batch.bind("time")).tolist() == [0]


def test_a_simulation_that_diverged_rests_in_peace() -> None:
    env = made("hopper", tasks_of("hopper", 3))
    assert isinstance(env, MujocoBatchedEnv)
    env.reset(seed=0)
    env.batch.bind("qvel")[1, 0] = np.nan
    assert env.step(np.zeros((3, 3), np.float32))[2].tolist() == [False, True, False]
    env.rest(np.array([1]))
    for _ in range(3):
        obs, _, terminated, _, _ = env.step(np.zeros((3, 3), np.float32))
        assert np.isfinite(obs).all() and not terminated.any()
    assert np.isfinite(env.restart(np.array([1]))).all()
    assert not env.step(np.zeros((3, 3), np.float32))[2][1]


@pytest.mark.parametrize("name", SAVEABLE)
def test_a_restored_environment_has_its_slots_generators_and_rests(name: str) -> None:
    tasks = tasks_of(name, 4)
    env = made(name, tasks)
    env.seed_slots(seeds(1, 2, 3, 4))
    env.reset()
    actions = actions_of(env, 1, 2, 3, 4)
    for _ in range(120):
        env.step(next(actions))
    env.rest(np.array([2]))
    env.step(next(actions))
    saved = env.save()
    later = [next(actions) for _ in range(250)]

    def play(one: BatchedEnv) -> list[Any]:
        played = [column(one.step(row), slot) for row in later for slot in range(4)]
        return [*played, one.restart(np.array([2, 0])).tolist(), one.step(later[0])[0].tolist()]

    want = play(env)
    fresh = made(name, tasks_of(name, 4, 9))
    fresh.reset(seed=8)
    fresh.rest(np.array([0]))
    for one in (fresh, env):
        one.restore(saved)
        assert play(one) == want


def test_what_steps_draw_belongs_to_the_episode_however_long_those_before_it_were() -> None:
    """Two lifetimes of one seed differ by what they do alone: the wind of their k-th episodes is the same."""
    tasks = tasks_of(windy.NAME, 1) * 3
    env = made(windy.NAME, tasks)
    env.seed_slots([4, 4, 5])
    env.reset()
    winds = []
    for length in (3, 5):
        before = env.restart(np.arange(3))
        after = [env.step(np.zeros((3, 1), np.float32))[0] for _ in range(length)]
        winds.append(np.diff([before, *after], axis=0)[:3, :, 0])
        env.restart(np.array([2]))
    assert (winds[0][:, 0] == winds[0][:, 1]).all() and (winds[1][:, 0] == winds[1][:, 1]).all()
    assert not np.isclose(winds[0], winds[1]).any() and not np.isclose(winds[0][:, 0], winds[0][:, 2]).any()
    other = made(windy.NAME, tasks)
    other.seed_slots([4, 4, 5])
    other.reset()
    first = other.restart(np.arange(3))
    first = other.restart(np.array([0]))
    np.testing.assert_array_equal(np.diff([first[0], other.step(np.zeros((3, 1), np.float32))[0][0]], axis=0)[0], winds[1][0, :1])


def test_a_step_draws_a_row_for_each_slot_or_is_refused() -> None:
    rng = np.random.default_rng(0)
    for own in (None, SlotGenerators([1, 2, 3], 3)):
        chance = RowRandom(rng, own, 3)
        assert chance.normal(np.arange(3.0), 0.0).tolist() == [0.0, 1.0, 2.0]
        assert chance.uniform(low=np.arange(3.0), high=np.arange(3.0)).tolist() == [0.0, 1.0, 2.0]
        assert (chance.integers(1, 2, (3, 2)) == 1).all() and chance.random(3).shape == (3,)
        assert chance.integers(4, size=3, dtype=np.int32).dtype == np.int32
        for size in (None, 2, (2, 3)):
            with pytest.raises(InvalidInputError, match="a step draws a row for each of the 3 slots"):
                chance.normal(size=size)
        with pytest.raises(AttributeError, match=r"a step draws from random, .*, not from choice"):
            chance.choice(3)


@pytest.mark.parametrize("name", NAMES)
def test_a_seeded_reset_goes_back_to_one_generator(name: str) -> None:
    env, twin = made(name, tasks_of(name, 3)), made(name, tasks_of(name, 3))
    env.seed_slots([1, 1, 1])
    env.reset()
    np.testing.assert_array_equal(env.reset(seed=5)[0], twin.reset(seed=5)[0])
    for actions, _ in zip(actions_of(env, 1, 2, 3), range(NUM_STEPS), strict=False):
        np.testing.assert_array_equal(env.step(actions)[0], twin.step(actions)[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda env: env.seed_slots([1, 2]), "2 seeds for 3 slots: allowed is one seed a slot"),
        (lambda env: env.seed_slots([1, -2, 3]), r"seed of a slot = -2 is out of range: allowed is 0 or more"),
        (lambda env: env.restart(np.array([3])), r"slot = 3 is out of range: allowed is \[0, 2\]"),
        (lambda env: env.restart(np.array([1, 1])), r"slots \[1, 1\] name one twice"),
        (lambda env: env.rest(np.array([-1])), r"slot = -1 is out of range: allowed is \[0, 2\]"),
        (lambda env: env.rest(np.array([True, False, False])), "slots are of type bool: allowed are whole numbers"),
    ],
)
def test_wrong_slots_and_seeds_are_one_clear_line(name: str, call: Any, said: str) -> None:
    env = made(name, tasks_of(name, 3))
    env.reset(seed=0)
    with pytest.raises(InvalidInputError, match=said):
        call(env)


def test_an_engine_that_cannot_says_so() -> None:
    env = made("atari:pong", tasks_of("atari:pong", 1))
    assert not env.can_restart
    for call in (lambda: env.seed_slots([1]), lambda: env.restart(np.array([0])), lambda: env.rest(np.array([0]))):
        with pytest.raises(NotImplementedError, match="can_restart is false"):
            call()
    env.close()


def test_a_restart_costs_little_beside_a_step() -> None:
    env = made("hopper", tasks_of("hopper", 32))
    env.seed_slots(list(range(32)))
    env.reset()
    seconds = []
    for _ in range(100):
        start = time.perf_counter()
        env.restart(np.array([3, 17]))
        seconds.append(time.perf_counter() - start)
    assert np.median(seconds) < 1e-3  # 60 microseconds on an idle machine, against 2 milliseconds of a step
