"""Units of adaptation: pure functions of the work, with the right weights in each unroll, and their reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from actors.adaptation import AdaptationCollector, AdaptationSpec, first_episodes, mean_return
from actors.messages import Report, Work
from envs.family import TaskFamily
from envs.registry import resolve
from learners import maml
from learners.algorithm import Progress, Setup
from learners.maml import Config, MamlConfig
from learners.networks.agent import Agent, NetworkConfig, SpaceSpec
from learners.networks.snapshot import arrays_to_parameters, parameters_to_arrays
from learners.networks.stacked_agent import policy_params
from learners.ops.distributions import distribution
from learners.seeds import Stream, generator
from learners.trajectory import Snapshot, Trajectory
from tests.actors.lengths import TERMINATING, TRUNCATING
from tests.oracles.trajectories import check_shapes, trajectory

N, E, T = 3, 2, 12
SPEC = AdaptationSpec(num_tasks=N, envs_per_task=E, unroll_length=T, num_steps=1, env_threads=1, run_seed=5)
NETWORK = NetworkConfig(hidden_sizes=(8,))
CONFIG = Config(envs_per_task=E, learner=MamlConfig(inner_learning_rate=0.5))


def made(family: TaskFamily, spec: AdaptationSpec = SPEC, adapt: Any = maml.adapt) -> tuple[AdaptationCollector, Snapshot]:
    """A collector, and weights that it takes."""
    collector = AdaptationCollector(family, NETWORK, spec, adapt, CONFIG)
    agent = collector._policy.agent
    spaces, progress = agent.spec, Progress(round=0, total=1, run_seed=5)
    _, state = maml.init(CONFIG, Setup(spec=spaces, network=NETWORK, run_seed=5, device=torch.device("cpu")))
    return collector, Snapshot(version=3, arrays=parameters_to_arrays(maml.weights(CONFIG, state, progress)))


def assert_same(one: tuple[Trajectory, ...], other: tuple[Trajectory, ...]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        for name, value in vars(left).items():
            np.testing.assert_array_equal(value, getattr(right, name), err_msg=name)


@pytest.mark.parametrize("family", ["point-goal", "cartpole-physics", "halfcheetah-direction"])
def test_a_unit_is_the_same_on_any_worker_at_any_time_and_when_repeated(family: str) -> None:
    works = [Work(round=round_, index=index) for round_ in (0, 4) for index in (0, 1)]
    works.append(Work(round=4, index=0, part="evaluate"))
    (first, weights), (second, _) = made(resolve(family)), made(resolve(family))
    found = {work.key: first.collect(work, weights) for work in works}
    again = {work.key: second.collect(work, weights) for work in [*works[::-1], *works]}
    for key, (report, payload) in found.items():
        assert_same(payload, again[key][1])
        assert replace(report, busy_s=0.0) == replace(again[key][0], busy_s=0.0)
    drawn = [payload[0].action for _, payload in found.values()]
    assert not any(np.array_equal(one, other) for i, one in enumerate(drawn) for other in drawn[:i])


def test_tasks_are_named_by_round_and_number_and_stay_for_the_whole_unit() -> None:
    family = resolve("point-goal")
    collector, weights = made(family, replace(SPEC, num_steps=2, unroll_length=40))  # beyond an episode of 32 steps
    _, payload = collector.collect(Work(round=2, index=1), weights)
    want = [family.sample(1, generator(5, Stream.TASKS, 2, number), "train")[0] for number in range(N, 2 * N)]
    assert len(payload) == 3
    for stage in payload:
        assert list(stage.tasks) == [task for task in want for _ in range(E)]
        assert stage.policy_version == 3
        assert stage.is_first[0].all() and stage.is_first[33].all() and stage.is_first.sum() == 2 * N * E
        check_shapes(stage)
    assert list(collector._env.tasks) == list(payload[0].tasks)


def test_each_unroll_acts_with_what_the_steps_before_it_led_to() -> None:
    collector, weights = made(resolve("point-goal"), replace(SPEC, num_steps=2))
    _, payload = collector.collect(Work(round=0, index=0), weights)
    agent, arrays = collector._policy.agent, arrays_to_parameters(weights.arrays)
    theta = {name: array.expand(N, *array.shape) for name, array in arrays.items()}
    for step, stage in enumerate(payload):
        acted = theta if step == 0 else maml.adapt(agent, CONFIG, arrays, payload[:step])
        np.testing.assert_allclose(log_prob(agent, acted, stage), stage.behaviour_log_prob, rtol=1e-4, atol=1e-4)
        wrong = theta if step else maml.adapt(agent, CONFIG, arrays, payload[:1])
        assert np.abs(log_prob(agent, wrong, stage) - stage.behaviour_log_prob).max() > 1e-2


def log_prob(agent: Agent, arrays: Any, it: Trajectory) -> np.ndarray:
    """log pi of what was done, by the stacked policies on the whole unroll."""
    obs = torch.from_numpy(it.obs[:-1]).view(T, N, E, -1).transpose(0, 1).flatten(1, 2)
    params = policy_params(agent.spec, agent.config, arrays, obs).view(N, T, E, -1).transpose(0, 1).flatten(1, 2)
    found: np.ndarray = distribution(agent.spec, params).log_prob(torch.from_numpy(it.action)).numpy()
    return found


def collected(family: TaskFamily, part: Any = "train", **sizes: Any) -> tuple[Report, tuple[Trajectory, ...]]:
    collector, weights = made(family, replace(SPEC, **sizes), lambda agent, config, arrays, its: _theta(arrays))
    return collector.collect(Work(round=1, index=0, part=part), weights)


def _theta(arrays: Any) -> Any:
    return {name: array.expand(N, *array.shape) for name, array in arrays.items()}


@pytest.mark.parametrize(("family", "limit"), [(TERMINATING, None), (TRUNCATING, 4)])
def test_a_report_is_of_the_episodes_that_began_with_the_unrolls(family: TaskFamily, limit: int | None) -> None:
    report, payload = collected(family)
    lengths = [limit or int(float(task["length"])) for task in payload[0].tasks[::E]]
    assert limit or len(set(lengths)) > 1  # short ones come more often, and are no more for that
    assert report.figures == {"return/pre_update": np.mean(lengths), "return/post_update": np.mean(lengths)}
    assert [episode.length for episode in report.episodes] == [length for length in lengths for _ in range(E)]
    assert [episode.task for episode in report.episodes] == list(payload[1].tasks)
    assert report.settled == tuple(episode.episode_return for episode in report.episodes)
    assert report.env_steps == sum(trajectory.env_steps for trajectory in payload) < 2 * T * N * E
    assert (report.counts, report.state) == ({}, None)
    assert not np.array_equal(payload[0].action, payload[1].action)  # of the same policies: each unroll has draws of its own


def test_episodes_longer_than_the_unroll_have_no_return() -> None:
    report, payload = collected(TERMINATING, unroll_length=5)
    lengths = [int(float(task["length"])) for task in payload[0].tasks[::E]]
    short = [length for length in lengths if length <= 5]
    assert 0 < len(short) < N
    assert report.figures["return/post_update"] == np.mean(short)
    assert (len(report.episodes), report.settled) == (len(short) * E, ())
    report, _ = collected(resolve("point-goal"))
    assert (report.figures, report.episodes) == ({}, ())


def test_an_evaluation_is_of_held_out_tasks_and_is_no_training() -> None:
    family = resolve("point-goal-halves")
    report, payload = collected(family, "evaluate", unroll_length=32)
    assert all(float(task["goal_x"]) < 0 for task in payload[0].tasks)
    assert set(report.figures) == {"evaluation/pre_update", "evaluation/post_update"}
    assert (report.env_steps, report.episodes, report.settled) == (0, (), ())
    assert report.counts == {"evaluation/env_steps": 2 * 32 * N * E}
    report, payload = collected(family, unroll_length=32)
    assert all(float(task["goal_x"]) > 0 for task in payload[0].tasks)
    assert report.env_steps == 2 * 32 * N * E


def test_the_mean_return_gives_each_task_the_same_weight() -> None:
    spec = SpaceSpec((1,), "float32", num_actions=2)
    it = trajectory(spec, NETWORK, num_envs=6)
    episodes = first_episodes(it)
    want = {1: it.reward[:3, 1], 2: it.reward[:6, 2], 3: it.reward[:2, 3]}
    for env, episode in enumerate(episodes):
        if env not in want:
            assert episode is None
        else:
            assert episode is not None and episode.length == len(want[env])
            np.testing.assert_allclose(episode.episode_return, want[env].sum(dtype=np.float64), rtol=1e-6, atol=1e-6)
    sums = {env: float(rewards.sum(dtype=np.float64)) for env, rewards in want.items()}
    found = mean_return(episodes, 2)  # tasks: environments 0 1, 2 3, 4 5, the last without an episode
    assert found is not None
    np.testing.assert_allclose(found, (sums[1] + (sums[2] + sums[3]) / 2) / 2, rtol=1e-6, atol=1e-6)
    assert mean_return([None, None], 2) is None
