"""The guarantees of the engine besides the physics: ends, tasks, saved states, diverged simulations and MuJoCo's log."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import mujoco.batch
import numpy as np
import pytest

from envs.errors import InvalidInputError
from envs.mujoco import MUJOCO_FAMILIES
from envs.mujoco.engine import MujocoBatchedEnv

ROOT = Path(__file__).resolve().parents[3]


def make(name: str, num_envs: int = 8, num_threads: int = 2, seed: int = 0) -> MujocoBatchedEnv:
    family = MUJOCO_FAMILIES[name]()
    env = family.make(family.sample(num_envs, np.random.default_rng(seed)), num_threads=num_threads)
    assert isinstance(env, MujocoBatchedEnv)
    return env


def draw(env: MujocoBatchedEnv, rng: np.random.Generator) -> np.ndarray:
    assert env.action_space.shape is not None
    return rng.uniform(-1, 1, size=env.action_space.shape).astype(np.float32)


def play(env: MujocoBatchedEnv, steps: int, rng: np.random.Generator) -> list[Any]:
    """Everything that `steps` steps return, flat."""
    returned: list[Any] = []
    for _ in range(steps):
        obs, reward, terminated, truncated, info = env.step(draw(env, rng))
        returned += [obs, reward, terminated, truncated, info["is_first"]]
    return returned


def test_an_ended_slot_is_reset_by_the_next_step_and_its_action_ignored() -> None:
    envs = [make("hopper") for _ in range(2)]
    for env in envs:
        env.reset(seed=3)
    rng = np.random.default_rng(0)
    has_ended, num_resets = np.zeros(8, dtype=bool), 0
    for _ in range(120):
        action = draw(envs[0], rng)
        other = action.copy()
        other[has_ended] = 0.7
        obs, reward, terminated, truncated, info = envs[0].step(action)
        np.testing.assert_array_equal(info["is_first"], has_ended)
        np.testing.assert_array_equal(obs, envs[1].step(other)[0])
        assert not reward[has_ended].any()
        assert not (terminated | truncated)[has_ended].any()
        assert (np.abs(obs[has_ended, 5:]) <= 5e-3).all()  # a start is nearly at rest
        num_resets += int(has_ended.sum())
        has_ended = terminated | truncated
    assert num_resets > 8


@pytest.mark.parametrize(("name", "limit"), [("reacher", 50), ("halfcheetah-velocity", 200)])
def test_the_time_limit_truncates(name: str, limit: int) -> None:
    env = make(name, 2)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for t in range(1, 2 * limit + 2):
        _, _, terminated, truncated, info = env.step(draw(env, rng))
        assert not terminated.any()
        assert truncated.all() == (t in (limit, 2 * limit + 1))  # one more for the step that reset
        assert info["is_first"].all() == (t == limit + 1)


def test_a_task_is_taken_up_at_the_slots_next_reset_and_only_there() -> None:
    env = make("halfcheetah-velocity-visible", 3)
    family = MUJOCO_FAMILIES["halfcheetah-velocity-visible"]()
    task = family.sample(1, np.random.default_rng(9), "test")[0]
    old = list(env.tasks)
    first, _ = env.reset(seed=0)
    np.testing.assert_array_equal(first[:, -1], [old_task.number("velocity") for old_task in old])
    env.assign(1, task)
    rng = np.random.default_rng(0)
    for _ in range(200):
        obs, *_ = env.step(draw(env, rng))
        assert env.tasks == old
        np.testing.assert_array_equal(obs[:, -1], first[:, -1])
    obs, *_ = env.step(draw(env, rng))
    assert env.tasks == [old[0], task, old[2]]
    np.testing.assert_array_equal(obs[:, -1], [first[0, -1], task.number("velocity"), first[2, -1]])


def test_returned_arrays_are_the_callers_to_keep() -> None:
    env = make("ant")
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    kept = play(env, 30, rng)
    copies = [array.copy() for array in kept]
    play(env, 30, rng)
    for left, right in zip(kept, copies):
        np.testing.assert_array_equal(left, right)


def test_one_seed_gives_one_run_and_another_seed_another() -> None:
    runs = []
    for seed in (4, 4, 5):
        env = make("walker2d")
        env.reset(seed=seed)
        runs.append(np.concatenate([np.ravel(array) for array in play(env, 60, np.random.default_rng(1))]))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize(
    "name", ["hopper-dynamics", "ant-direction", "reacher", "halfcheetah-velocity-visible", "inverted-pendulum"]
)
def test_a_restored_environment_continues_bit_for_bit(name: str) -> None:
    env = make(name, num_threads=1)
    other = MUJOCO_FAMILIES[name]().sample(2, np.random.default_rng(7))
    env.reset(seed=0)
    play(env, 45, np.random.default_rng(1))
    env.assign(2, other[0])
    env.assign(5, other[1])
    saved = env.save()
    want = play(env, 215, np.random.default_rng(2))
    assert any(array.any() for array in want[4::5])  # resets, and so tasks and random draws, were among them
    fresh = make(name, num_threads=2, seed=3)
    for target in (fresh, env):  # a new environment, and one that has gone on
        target.restore(saved)
        got = play(target, 215, np.random.default_rng(2))
        for left, right in zip(got, want):
            np.testing.assert_array_equal(left, right)
        assert target.tasks == env.tasks


def test_a_checkpoint_with_the_keys_of_older_versions_is_read() -> None:
    env = make("hopper-dynamics")
    env.reset(seed=0)
    play(env, 45, np.random.default_rng(1))
    saved = env.save()
    former = {{"is_over": "has_ended", "generator": "rng"}.get(key, key): value for key, value in saved.items()}
    want = play(env, 60, np.random.default_rng(2))
    env.restore(former | {"rng": json.loads(saved["generator"])})
    for left, right in zip(play(env, 60, np.random.default_rng(2)), want, strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_step_makes_as_many_python_calls_whatever_the_number_of_simulations() -> None:
    def count(num_envs: int) -> int:
        env = make("hopper", num_envs)
        env.reset(seed=0)
        rng = np.random.default_rng(0)
        action = draw(env, rng)
        env.step(action)
        env._is_over[:] = np.arange(num_envs) % 2 == 0  # half of the slots are reset by the step
        calls = 0

        def on_event(frame: Any, event: str, argument: Any) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(on_event)
        try:
            env.step(action)
        finally:
            sys.setprofile(None)
        return calls

    assert count(4) == count(64)


@pytest.mark.parametrize("where", ["qvel", "qpos", "action"])
@pytest.mark.parametrize("name", ["halfcheetah", "hopper", "ant", "reacher"])
def test_a_diverged_simulation_ends_its_episode_and_disturbs_no_other(
    name: str, where: str, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env, twin = make(name), make(name)
    for one in (env, twin):
        one.reset(seed=0)
    rng = np.random.default_rng(0)
    action = draw(env, rng)
    broken = action.copy()
    if where == "action":
        broken[5] = np.nan
    else:
        env.batch.bind(where)[5, 0] = np.nan
    with caplog.at_level(logging.DEBUG, logger="metaray.mujoco"):
        obs, reward, terminated, truncated, _ = env.step(broken)
    want = twin.step(action)
    others = np.arange(8) != 5
    assert np.isfinite(obs).all()
    assert (reward[5], terminated[5], truncated[5]) == (0.0, True, False)
    for left, right in zip((obs, reward, terminated, truncated), want[:4]):
        np.testing.assert_array_equal(left[others], right[others])
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(messages) == 1
    assert "simulation 5 diverged" in messages[0]
    obs, _, terminated, _, info = env.step(action)
    assert np.flatnonzero(info["is_first"]).tolist() == [5]
    assert np.isfinite(obs).all()
    assert not terminated[5]
    assert not env.step(action)[2][5]  # no robot falls in a step, and the old warning is forgotten
    for _ in range(20):
        assert np.isfinite(env.step(draw(env, rng))[0]).all()
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_mujoco_ends_the_episode_of_its_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make("halfcheetah")
    env.reset(seed=0)
    step = mujoco.batch.Batch.step

    def raising(self: Any, ids: Any = None, **options: Any) -> None:
        step(self, ids, **options)
        raise mujoco.batch.SimulationError(np.array([2]), "stack overflow")

    monkeypatch.setattr(mujoco.batch.Batch, "step", raising)
    rng = np.random.default_rng(0)
    _, reward, terminated, _, _ = env.step(draw(env, rng))
    assert np.flatnonzero(terminated).tolist() == [2]
    assert reward[2] == 0.0
    monkeypatch.undo()
    assert np.flatnonzero(env.step(draw(env, rng))[4]["is_first"]).tolist() == [2]


def test_mujocos_warnings_go_to_the_log_and_to_no_file(tmp_path: Path) -> None:
    program = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
import mujoco, numpy as np
from envs.mujoco import MUJOCO_FAMILIES
family = MUJOCO_FAMILIES["halfcheetah"]()
env = family.make(family.sample(64, np.random.default_rng(0)), num_threads=2)
env.reset(seed=0)
for slot in range(0, 64, 2):
    env.batch.bind("qvel")[slot] = np.inf
    env.step(np.zeros((64, 6)))
mujoco.MjModel.from_xml_string("<mujoco><compiler settotalmass='1'/></mujoco>")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
    lines = done.stdout.splitlines()
    assert all(line.startswith("metaray.mujoco") for line in lines)
    assert sum("settotalmass" in line for line in lines) == 1  # once, though two models were loaded
    assert sum("diverged" in line for line in lines) == 2  # the first and the tenth of 32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda env: env.step(np.zeros((8, 2))), r"shape \(8, 2\): allowed is \(8, 3\)"),
        (lambda env: env.assign(8, env.tasks[0]), r"slot = 8 .* \[0, 7\]"),
        (lambda env: env.assign(0, MUJOCO_FAMILIES["ant"]().sample(1, np.random.default_rng(0))[0]), "belongs to family 'ant'"),
        (lambda env: make("hopper", num_threads=0), "num_threads = 0"),
        (lambda env: make("hopper", num_envs=0), "at least one task"),
        (lambda env: env.restore(make("hopper", num_envs=4).save()), "saved state has shape"),
    ],
)
def test_wrong_input_is_one_clear_line(call: Any, message: str) -> None:
    env = make("hopper")
    env.reset(seed=0)
    with pytest.raises(InvalidInputError, match=message):
        call(env)


def test_a_step_needs_a_reset_before_it() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded):
        make("hopper").step(np.zeros((8, 3)))
