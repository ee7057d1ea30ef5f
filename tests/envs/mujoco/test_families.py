"""The task families: their sampling, and that each task is the environment that its parameters describe."""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from envs.errors import InvalidInputError
from envs.mujoco import MUJOCO_FAMILIES
from envs.mujoco.engine import MujocoBatchedEnv
from envs.mujoco.families import MujocoFamily
from envs.task import Split, Task

DYNAMICS = ["hopper-dynamics", "walker2d-dynamics"]
GOALS = ["halfcheetah-velocity", "halfcheetah-direction", "ant-velocity", "ant-direction"]


def family_of(name: str) -> MujocoFamily:
    family = MUJOCO_FAMILIES[name]()
    assert isinstance(family, MujocoFamily)
    return family


def make(name: str, tasks: list[Task]) -> MujocoBatchedEnv:
    env = family_of(name).make(tasks, num_threads=2)
    assert isinstance(env, MujocoBatchedEnv)
    return env


def edited(peer: gymnasium.Env[Any, Any], task: Task) -> gymnasium.Env[Any, Any]:
    """Edit gymnasium's model as the task says, by name, one element at a time."""
    model = peer.unwrapped.model  # type: ignore[attr-defined]
    for name, value in task.params:
        kind, _, limb = name.partition("_")
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
    return peer


@pytest.mark.parametrize("name", DYNAMICS)
def test_randomised_dynamics_equal_gymnasium_with_an_edited_model(name: str) -> None:
    family = family_of(name)
    rng = np.random.default_rng(0)
    # new tasks on the way, so that the fields of a slot are written over and only there
    tasks, later = family.sample(4, rng), family.sample(4, rng, "test")
    env = make(name, tasks)
    obs, info = env.reset(seed=1)
    for slot, task in enumerate(later[:2]):
        env.assign(slot, task)
    peers: dict[int, gymnasium.Env[Any, Any]] = {}
    num_taken_up, reward_sum = 0, 0.0
    for _ in range(400):
        for slot in map(int, np.flatnonzero(info["is_first"])):
            peers[slot] = edited(gymnasium.make(family.robot.gymnasium_id), env.tasks[slot])
            peers[slot].reset()
            core = peers[slot].unwrapped
            mujoco.mj_resetData(core.model, core.data)  # type: ignore[attr-defined]
            core.set_state(env.batch.bind("qpos")[slot].copy(), env.batch.bind("qvel")[slot].copy())  # type: ignore[attr-defined]
            np.testing.assert_allclose(obs[slot], core._get_obs(), rtol=0, atol=1e-9)  # type: ignore[attr-defined]
            num_taken_up += env.tasks[slot] in later
        action = rng.normal(size=env.batch.bind("ctrl").shape) * 0.3
        obs, reward, terminated, truncated, info = env.step(action)
        for slot, peer in peers.items():
            if not info["is_first"][slot]:
                want_obs, want_reward, want_terminated, want_truncated, _ = peer.step(action[slot])
                np.testing.assert_allclose(obs[slot], want_obs, rtol=0, atol=1e-9)
                assert reward[slot] == pytest.approx(float(want_reward), rel=0, abs=1e-9)
                assert (terminated[slot], truncated[slot]) == (want_terminated, want_truncated)
                reward_sum += float(want_reward)
    assert num_taken_up >= 2
    assert reward_sum != 0.0


@pytest.mark.parametrize("name", DYNAMICS)
def test_a_models_fields_follow_the_task_as_if_it_had_been_compiled_so(name: str) -> None:
    """Thickness alone, so that a compiler that is told the masses gives the whole model, bounding volumes included."""
    family = family_of(name)
    base = family.sample(1, np.random.default_rng(0))[0]
    params = tuple((key, value if key.startswith("thickness") else 1.0) for key, value in base.params if key != "gravity")
    env = make(name, [Task(family=name, params=(*params, ("gravity", -9.81)))])
    env.reset(seed=0)
    got = env.batch.get_model(0)
    spec = family.robot.load_spec()
    nominal = spec.compile()
    for geom in spec.geoms:
        if geom.name.endswith("_geom"):
            size = np.array(geom.size)
            size[0] *= dict(params)[f"thickness_{geom.name.removesuffix('_geom')}"]
            geom.size = size
            geom.mass = nominal.body_mass[nominal.geom(geom.name).bodyid[0]]
    want = spec.compile()
    assert not np.allclose(got.geom_size, nominal.geom_size)
    for field in ("geom_size", "geom_rbound", "geom_aabb", "bvh_aabb", "body_mass", "geom_friction"):
        np.testing.assert_allclose(getattr(got, field), getattr(want, field), rtol=1e-12, err_msg=field)


@pytest.mark.parametrize("name", DYNAMICS)
def test_a_robot_with_thick_feet_starts_clear_of_the_floor(name: str) -> None:
    family = family_of(name)
    env = make(name, family.sample(200, np.random.default_rng(0)))
    env.reset(seed=0)
    deepest = 0.0
    for slot in range(200):
        model = env.batch.get_model(slot)
        data = env.batch.get_data(slot)
        mujoco.mj_forward(model, data)
        floor = model.geom("floor").id
        deepest = min([deepest, *(contact.dist for contact in data.contact if floor in contact.geom)])
    assert deepest > -0.005  # no deeper than the noise of the reset


@pytest.mark.parametrize("name", GOALS)
def test_goal_rewards_equal_the_published_formula_on_gymnasiums_terms(name: str) -> None:
    family = family_of(name)
    tasks = family.sample(4, np.random.default_rng(3))
    env = make(name, tasks)
    env.reset(seed=0)
    peers = [gymnasium.make(family.robot.gymnasium_id) for _ in tasks]
    for slot, peer in enumerate(peers):
        peer.reset()
        core: Any = peer.unwrapped
        mujoco.mj_resetData(core.model, core.data)
        core.set_state(env.batch.bind("qpos")[slot].copy(), env.batch.bind("qvel")[slot].copy())
    rng = np.random.default_rng(1)
    is_over = np.zeros(4, dtype=bool)
    for _ in range(150):
        action = rng.uniform(-1, 1, size=env.batch.bind("ctrl").shape)
        _, reward, terminated, _, _ = env.step(action)
        for slot, (peer, task) in enumerate(zip(peers, tasks)):
            if is_over[slot]:
                continue
            *_, info = peer.step(action[slot])
            speed = info["x_velocity"]
            goal = task["velocity"] if "velocity" in name else task["direction"]
            worth = -abs(speed - float(goal)) if "velocity" in name else speed * {"forward": 1, "backward": -1}[str(goal)]
            if name.startswith("ant"):
                worth += ("velocity" in name) + 0.05 * info["reward_survive"]
                cost = 0.005 * np.sum(action[slot] ** 2) - info["reward_contact"]
            else:
                cost = 0.05 * np.sum(action[slot] ** 2)
            assert reward[slot] == pytest.approx(worth - cost, rel=0, abs=1e-9)
        is_over |= terminated
    assert {str(task) for task in tasks} != {str(tasks[0])}


@pytest.mark.parametrize("name", sorted(MUJOCO_FAMILIES))
def test_samples_are_seeded_in_range_and_apart_for_train_and_test(name: str) -> None:
    family = family_of(name)
    assert family.name == name

    def draw(seed: int, split: Split) -> list[Task]:
        return family.sample(50, np.random.default_rng(seed), split)

    assert draw(0, "train") == draw(0, "train")
    assert draw(0, "test") == draw(0, "test")
    for task in draw(0, "train") + draw(0, "test"):
        assert family.checked(task) is task
        for parameter in family.parameters:
            if parameter.choices:
                assert task[parameter.name] in parameter.choices
            else:
                assert parameter.low <= task.number(parameter.name) <= parameter.high  # type: ignore[operator]
    if any(not parameter.choices for parameter in family.parameters):
        assert not set(draw(0, "train")) & set(draw(0, "test"))
        assert len(set(draw(0, "train"))) == 50


@pytest.mark.parametrize("name", [name for name in sorted(MUJOCO_FAMILIES) if name.endswith("-visible")])
def test_the_visible_variant_appends_the_task_and_changes_nothing_else(name: str) -> None:
    hidden_name = name.removesuffix("-visible")
    tasks = family_of(name).sample(3, np.random.default_rng(0))
    visible = make(name, tasks)
    hidden = make(hidden_name, [Task(family=hidden_name, params=task.params) for task in tasks])
    seen, unseen = visible.reset(seed=0)[0], hidden.reset(seed=0)[0]
    encoding = {"forward": 1.0, "backward": -1.0}
    want = [[encoding.get(str(value), value) for _, value in task.params] for task in tasks]
    for _ in range(5):
        np.testing.assert_array_equal(seen[:, : unseen.shape[1]], unseen)
        np.testing.assert_array_equal(seen[:, unseen.shape[1] :], np.array(want, dtype=float))
        action = np.full(hidden.batch.bind("ctrl").shape, 0.1)
        seen, unseen = visible.step(action)[0], hidden.step(action)[0]


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("halfcheetah-velocity", (), "lacks the parameter velocity"),
        ("halfcheetah-velocity", (("speed", 1.0),), "unknown parameter of halfcheetah-velocity 'speed'"),
        ("halfcheetah-velocity", (("velocity", float("nan")),), "velocity = nan is out of range: allowed is any finite number"),
        ("ant-direction", (("direction", "foward"),), "unknown direction 'foward'; did you mean forward"),
        ("hopper", (("mass", 1.0),), "unknown parameter of hopper"),
    ],
)
def test_a_wrong_task_is_one_clear_line(name: str, params: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        family_of(name).make([Task(family=name, params=params)])


def test_a_mass_factor_must_be_positive() -> None:
    family = family_of("hopper-dynamics")
    task = family.sample(1, np.random.default_rng(0))[0]
    params = dict(task.params) | {"mass_leg": 0.0}
    with pytest.raises(InvalidInputError, match=r"mass_leg = 0\.0 is out of range: allowed is any positive number"):
        family.make([Task(family=family.name, params=tuple(params.items()))])
