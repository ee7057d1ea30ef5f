"""The families of Evolved Policy Gradients against MuJoCo models edited by hand and stepped by `mj_step`, rewards and ends written out."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from envs.mujoco import MUJOCO_FAMILIES
from envs.mujoco.engine import MujocoBatchedEnv
from envs.mujoco.families import MujocoFamily
from envs.mujoco.robot import ASSETS
from envs.task import Task

FORCES = {"random-hopper": "hopper.xml", "random-walker": "walker2d_v5.xml"}
XML = FORCES | {
    "directional-hopper": "hopper.xml",
    "directional-halfcheetah": "half_cheetah.xml",
    "goal-ant": "ant.xml",
    "random-reacher": "reacher.xml",
}
SUBSTEPS = dict.fromkeys(XML, 2) | {"directional-halfcheetah": 5, "goal-ant": 5}
LIMITS = dict.fromkeys(XML, 1000) | {"random-reacher": 50}


def family_of(name: str) -> MujocoFamily:
    family = MUJOCO_FAMILIES[name]()
    assert isinstance(family, MujocoFamily)
    return family


def make(name: str, tasks: list[Task], num_threads: int = 2) -> MujocoBatchedEnv:
    env = family_of(name).make(tasks, num_threads=num_threads)
    assert isinstance(env, MujocoBatchedEnv)
    return env


def edited(name: str, task: Task) -> mujoco.MjModel:
    """The model of `task`: fields of the nominal one multiplied one at a time, or link lengths compiled from an edited specification."""
    if name == "random-reacher":
        spec = mujoco.MjSpec.from_file(str(ASSETS / XML[name]))
        upper, lower = 0.1 * task.number("length_link0"), 0.1 * task.number("length_link1")
        spec.geom("link0").fromto = [0, 0, 0, upper, 0, 0]
        spec.geom("link1").fromto = [0, 0, 0, lower, 0, 0]
        spec.body("body1").pos = [upper, 0, 0]
        spec.body("fingertip").pos = [lower + 0.01, 0, 0]
        return spec.compile()
    model = mujoco.MjModel.from_xml_path(str(ASSETS / XML[name]))
    if name in FORCES:
        for key, value in task.params:
            kind, _, limb = key.partition("_")
            if kind == "mass":
                model.body(limb).mass *= value
                model.body(limb).inertia *= value
            elif kind == "friction":
                model.geom(f"{limb}_geom").friction *= value
            elif kind == "thickness":
                model.geom(f"{limb}_geom").size[0] *= value
            else:
                model.opt.gravity[2] = value
        mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def reward_of(name: str, task: Task, model: mujoco.MjModel, before: np.ndarray, data: mujoco.MjData, action: np.ndarray) -> float:
    seconds = model.opt.timestep * SUBSTEPS[name]
    if name == "random-reacher":
        return float(-np.linalg.norm(data.body("fingertip").xpos - data.body("target").xpos) - np.sum(action**2))
    if name == "goal-ant":
        goal = np.array([task.number("goal_x"), task.number("goal_y")])
        return float((np.linalg.norm(before[:2] - goal) - np.linalg.norm(data.qpos[:2] - goal)) / seconds)
    sign = -1.0 if name.startswith("directional") and task["direction"] == "backward" else 1.0
    return float(sign * (data.qpos[0] - before[0]) / seconds)


def is_over(name: str, data: mujoco.MjData) -> bool:
    state = np.concatenate([data.qpos, data.qvel])
    if name.endswith("hopper"):
        leans = name == "random-hopper" and abs(data.qpos[2]) >= 0.5
        return not np.isfinite(state).all() or bool((np.abs(state[2:]) >= 100).any()) or bool(data.qpos[1] <= 0.7) or leans
    if name == "random-walker":
        return not (0.8 < data.qpos[1] < 2.0 and abs(data.qpos[2]) < 1.0)
    return name == "goal-ant" and not 0.2 <= data.qpos[2] <= 1.0


def seen_of(name: str, data: mujoco.MjData) -> np.ndarray:
    if name == "random-reacher":
        angles = data.qpos[:2]
        apart = (data.body("fingertip").xpos - data.body("target").xpos)[:2]
        return np.concatenate([np.cos(angles), np.sin(angles), data.qpos[2:], data.qvel[:2], apart])
    if name == "goal-ant":
        return np.concatenate([data.qpos, data.qvel])
    qvel = data.qvel if name == "directional-halfcheetah" else np.clip(data.qvel, -10, 10)
    return np.concatenate([data.qpos[1:], qvel])


@pytest.mark.parametrize("name", XML)
def test_a_task_is_the_model_that_it_says_and_pays_as_written(name: str) -> None:
    family = family_of(name)
    assert family.robot.max_episode_steps == LIMITS[name]
    rng = np.random.default_rng(0)
    tasks, later = family.sample(4, rng), family.sample(4, rng, "test")
    env = make(name, tasks)
    obs, info = env.reset(seed=1)
    for slot, task in enumerate(later[:2]):
        env.assign(slot, task)
    qpos, qvel = env.batch.bind("qpos"), env.batch.bind("qvel")
    peers: dict[int, tuple[mujoco.MjModel, mujoco.MjData]] = {}
    num_over, most_lean = 0, 0.0
    for _ in range(350):
        for slot in map(int, np.flatnonzero(info["is_first"])):
            model = edited(name, env.tasks[slot])
            data = mujoco.MjData(model)
            data.qpos[:], data.qvel[:] = qpos[slot], qvel[slot]
            mujoco.mj_forward(model, data)
            data.qacc_warmstart[:] = 0.0
            peers[slot] = model, data
            np.testing.assert_allclose(obs[slot], seen_of(name, data), rtol=0, atol=1e-9)
        action = rng.normal(size=env.batch.bind("ctrl").shape) * 0.4
        obs, reward, terminated, _, info = env.step(action)
        for slot, (model, data) in peers.items():
            if info["is_first"][slot]:
                continue
            before = data.qpos.copy()
            data.ctrl[:] = action[slot]
            mujoco.mj_step(model, data, SUBSTEPS[name])
            np.testing.assert_allclose(obs[slot], seen_of(name, data), rtol=0, atol=1e-8)
            assert reward[slot] == pytest.approx(reward_of(name, env.tasks[slot], model, before, data, action[slot]), abs=1e-8)
            assert terminated[slot] == is_over(name, data)
            num_over += int(terminated[slot])
            most_lean = max(most_lean, 0.0 if terminated[slot] else abs(data.qpos[2]))
    if name.endswith("hopper"):
        assert num_over and most_lean > (0.5 if name == "directional-hopper" else 0.2)
    if name == "random-walker":
        assert num_over
    if name in FORCES or name == "random-reacher":
        assert env.tasks[:2] == later[:2]


def test_a_links_fields_are_those_that_the_compiler_gives() -> None:
    tasks = family_of("random-reacher").sample(3, np.random.default_rng(4))
    env = make("random-reacher", tasks)
    env.reset(seed=0)
    for slot, task in enumerate(tasks):
        got, want = env.batch.get_model(slot), edited("random-reacher", task)
        for field in (
            *("body_pos", "body_ipos", "body_mass", "body_subtreemass", "body_invweight0", "geom_pos"),
            *("geom_size", "geom_rbound", "geom_aabb", "bvh_aabb", "dof_M0", "dof_invweight0", "actuator_acc0"),
        ):
            np.testing.assert_allclose(getattr(got, field), getattr(want, field), rtol=1e-9, atol=1e-12, err_msg=field)
        for body in range(got.nbody):  # the compiler may order the principal axes of a link otherwise
            np.testing.assert_allclose(turned(got, body), turned(want, body), rtol=1e-9, atol=1e-15)


def turned(model: mujoco.MjModel, body: int) -> np.ndarray:
    """The inertia of a body in its own frame."""
    axes = np.zeros(9)
    mujoco.mju_quat2Mat(axes, model.body_iquat[body])
    rotation = axes.reshape(3, 3)
    return rotation @ np.diag(model.body_inertia[body]) @ rotation.T


def test_every_target_is_within_reach_of_its_arm() -> None:
    tasks = family_of("random-reacher").sample(500, np.random.default_rng(0))
    extremes = [
        Task(family="random-reacher", params=(("length_link0", a), ("length_link1", b))) for a in (0.5, 2.0) for b in (0.5, 2.0)
    ]
    env = make("random-reacher", [*tasks, *extremes])
    radii = []
    for _ in range(20):
        env.reset()
        radii.append(np.linalg.norm(env.batch.bind("qpos")[:, 2:], axis=1))
    upper = np.array([0.1 * task.number("length_link0") for task in env.tasks])
    lower = np.array([0.1 * task.number("length_link1") + 0.01 for task in env.tasks])
    cosine = (np.stack(radii) ** 2 - upper**2 - lower**2) / (2 * upper * lower)  # of the elbow's angle, whose limit is 3 rad
    assert (cosine <= 1 + 1e-9).all() and (cosine >= np.cos(3.0) - 1e-9).all()
    assert 0.19 < np.max(radii) <= 0.2
    assert min(np.ptp(column) for column in np.stack(radii).T) > 0  # drawn per episode, for every arm


def test_goals_of_the_ant_lie_to_the_right_for_training_and_to_the_left_for_testing() -> None:
    family = family_of("goal-ant")
    for split, sign in (("train", 1.0), ("test", -1.0)):
        tasks = family.sample(2000, np.random.default_rng(3), split)  # type: ignore[arg-type]
        x, y = (np.array([task.number(name) for task in tasks]) for name in ("goal_x", "goal_y"))
        radius = np.hypot(x, y)
        assert (sign * x > 0).all() and (y > 0).any() and (y < 0).any()
        assert 2.0 <= radius.min() < 2.1 and 4.9 < radius.max() <= 5.0
        assert np.mean(radius**2) == pytest.approx((4 + 25) / 2, rel=0.05)  # uniform over the area


@pytest.mark.parametrize("name", XML)
def test_is_bit_identical_at_any_number_of_threads_and_after_a_restore(name: str) -> None:
    tasks = family_of(name).sample(9, np.random.default_rng(2))
    one, three = make(name, tasks, 1), make(name, tasks, 3)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(one.reset(seed=5)[0], three.reset(seed=5)[0])

    def play(*envs: MujocoBatchedEnv) -> list[list[np.ndarray]]:
        played: list[list[np.ndarray]] = [[] for _ in envs]
        for _ in range(120):
            action = rng.uniform(-1, 1, size=envs[0].action_space.shape)  # type: ignore[arg-type]
            for mine, env in zip(played, envs, strict=True):
                obs, reward, terminated, truncated, info = env.step(action)
                mine += [obs, reward, terminated, truncated, info["is_first"]]
        return played

    for left, right in zip(*play(one, three), strict=True):
        np.testing.assert_array_equal(left, right)
    fresh = make(name, family_of(name).sample(9, np.random.default_rng(8)), 2)
    fresh.restore(one.save())
    for left, right in zip(*play(one, fresh), strict=True):
        np.testing.assert_array_equal(left, right)


def test_the_ant_that_runs_right_is_paid_for_it_under_a_goal_to_the_right() -> None:
    """The sign, by hand: an ant thrown along x comes nearer to (3, 0) and farther from (-3, 0)."""
    tasks = [Task(family="goal-ant", params=(("goal_x", x), ("goal_y", 0.0))) for x in (3.0, -3.0)]
    env = make("goal-ant", tasks)
    env.reset(seed=0)
    env.batch.bind("qvel")[:, 0] = 2.0
    _, reward, *_ = env.step(np.zeros((2, 8)))
    assert reward[0] > 0.5 and reward[1] < -0.5
