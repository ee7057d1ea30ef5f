"""MAML's stacked update against plain loops over tasks, its second derivative, the credit of each surrogate, and borders of episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from learners import maml
from learners.actor_critic import LearnerState, network_arrays
from learners.algorithm import Progress, Setup
from learners.maml import Config, MamlConfig
from learners.networks.agent import Agent, NetworkConfig, SpaceSpec
from learners.ops import optimisers
from learners.ops.normaliser import RunningMoments
from learners.ops.normaliser import update as update_moments
from learners.state_dict import state_from_arrays, state_to_arrays
from learners.trajectory import Trajectory
from tests.oracles import maml as oracle
from tests.oracles import trajectories

N, E, OBS = 2, 3, 2
CPU = torch.device("cpu")
GAUSSIAN = SpaceSpec((OBS,), "float32", action_size=2)
NAMED = SpaceSpec((OBS,), "float32", num_actions=3)
NETWORK = NetworkConfig(hidden_sizes=(5,))
OWN = MamlConfig(gamma=0.9, lambda_=0.8, inner_learning_rate=0.5, entropy_cost=0.03, max_gradient_norm=1e9)
CONFIG = Config(envs_per_task=E, tasks_per_round=N, learner=OWN)
PROGRESS = Progress(round=0, total=10_000, run_seed=0)
TASKS = [range(n * E, (n + 1) * E) for n in range(N)]


def unit(spec: SpaceSpec = GAUSSIAN, count: int = 2, seed: int = 0, num_tasks: int = N) -> tuple[Trajectory, ...]:
    """Trajectories of N tasks: a termination in environment 1, a truncation in 2, both in 3, which is another task's."""
    return tuple(trajectories.trajectory(spec, NETWORK, seed + k, num_envs=num_tasks * E) for k in range(count))


def begun(spec: SpaceSpec = GAUSSIAN, network: NetworkConfig = NETWORK, config: Config = CONFIG) -> tuple[Agent, LearnerState]:
    """A learner in float64 whose policy has left its start."""
    agent, state = maml.init(config, Setup(spec=spec, network=network, run_seed=0, device=CPU))
    generator = torch.Generator().manual_seed(1)
    params = {
        name: (3 * value if "head" in name else value).double() + 0.1 * torch.randn(value.shape, generator=generator)
        for name, value in state.params.items()
    }
    optimiser = optimisers.init(config.learner.optimiser, params)
    moments = state.moments
    if moments is not None:
        moments = update_moments(RunningMoments.empty(spec.obs_shape), torch.randn(50, OBS, generator=generator), torch.ones(50))
    return agent.double(), replace(state, params=params, optimiser=optimiser, moments=moments)


def gradient(agent: Agent, state: LearnerState, own: MamlConfig, found: Sequence[Trajectory]) -> dict[str, Tensor]:
    """The stacked meta-gradient."""
    batches = [maml._batch(agent, replace(CONFIG, learner=own), one) for one in found]
    return maml.meta_gradient(agent, own, _double(network_arrays(state)), batches)[0]


def _double(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.double() for name, value in arrays.items()}


def _buffers(state: LearnerState) -> dict[str, Tensor]:
    return {name: value.double() for name, value in network_arrays(state).items() if name not in state.params}


def assert_close(found: Mapping[str, Tensor], want: Mapping[str, Tensor], tolerance: float = 1e-5) -> None:
    """The oracle fits its baseline by another factorisation, of which 1e-7 stays."""
    assert list(found) == list(want)
    for name, value in want.items():
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance / 100, msg=lambda said, name=name: f"{name}: {said}"
        )


@pytest.mark.parametrize("num_inner_steps", [1, 2])
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("surrogate", ["lvc", "log_prob"])
@pytest.mark.parametrize("spec", [GAUSSIAN, NAMED], ids=["gaussian", "categorical"])
def test_the_meta_gradient_is_that_of_each_task_on_its_own(
    spec: SpaceSpec, surrogate: Any, first_order: bool, num_inner_steps: int
) -> None:
    own = replace(OWN, surrogate=surrogate, first_order=first_order, num_inner_steps=num_inner_steps)
    agent, state = begun(spec)
    found = unit(spec, num_inner_steps + 1)
    want = oracle.meta_gradient(agent, state.params, {}, found, TASKS, own)
    assert_close(gradient(agent, state, own, found), want)


@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(hidden_sizes=(), bounded_mean=True),
        NetworkConfig(hidden_sizes=(4, 3), activation="relu", normalise_observations=True, separate_value=True),
    ],
    ids=["linear", "normalising"],
)
def test_and_so_it_is_with_other_networks_and_raw_advantages(network: NetworkConfig) -> None:
    own = replace(OWN, normalise_advantages=False, lambda_=1.0, inner_learning_rate=0.02)
    agent, state = begun(network=network)
    found = unit()
    assert_close(
        gradient(agent, state, own, found), oracle.meta_gradient(agent, state.params, _buffers(state), found, TASKS, own)
    )


def slope_along(objective: Callable[[dict[str, Tensor]], float], theta: Mapping[str, Tensor], way: Mapping[str, Tensor]) -> float:
    """The directional derivative by central differences."""
    h = 1e-5
    ends = [objective({name: (value + sign * h * way[name]).detach() for name, value in theta.items()}) for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * h)


@pytest.mark.parametrize("surrogate", ["lvc", "log_prob"])
def test_the_second_derivative_is_that_of_what_the_surrogate_means(surrogate: Any) -> None:
    """Differences of the objective itself, through fixed trajectories.

    log_prob: as theta moves, the inner step is that of REINFORCE on the same data. lvc: it is that of the data as the moved policy would
    have drawn it, each step weighted by the ratio to the policy that did, which is where credit for what was seen comes from.
    """
    own = replace(OWN, surrogate=surrogate, entropy_cost=0.0, inner_learning_rate=0.3)
    agent, state = begun()
    before, after = unit()
    theta = state.params
    drawn = [oracle.task_log_prob(agent, theta, before, envs) for envs in TASKS]
    adapted = [oracle.adapted(agent, _leaves(theta), {}, [before], envs, own) for envs in TASKS]
    acted = [oracle.task_log_prob(agent, params, after, envs).detach() for params, envs in zip(adapted, TASKS, strict=True)]

    def objective(moved: dict[str, Tensor]) -> float:
        total = 0.0
        for envs, old, there in zip(TASKS, drawn, acted, strict=True):
            leaves = _leaves(moved)
            loss = oracle.task_loss(agent, leaves, before, envs, own, old=None if surrogate == "log_prob" else old.detach())
            slopes = torch.autograd.grad(loss, list(leaves.values()))
            params = {
                name: value - own.inner_learning_rate * slope for (name, value), slope in zip(leaves.items(), slopes, strict=True)
            }
            total += float(oracle.task_loss(agent, params, after, envs, own, old=there).detach()) / N
        return total

    found = gradient(agent, state, own, (before, after))
    first = gradient(agent, state, replace(own, first_order=True), (before, after))
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        way = {name: torch.randn(value.shape, generator=generator, dtype=torch.float64) for name, value in theta.items()}
        along, along_first = (float(sum((one[name] * way[name]).sum() for name in way)) for one in (found, first))
        want = slope_along(objective, theta, way)
        np.testing.assert_allclose(along, want, rtol=1e-5)
        assert abs(along_first - want) > 1e-2 * abs(want)  # and the inner step's own derivative is seen


def _leaves(theta: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone().requires_grad_() for name, value in theta.items()}


def test_both_surrogates_make_the_same_inner_step() -> None:
    agent, state = begun()
    found = [
        maml.adapt(agent, replace(CONFIG, learner=replace(OWN, surrogate=surrogate)), state.params, unit(count=1))
        for surrogate in ("lvc", "log_prob")
    ]
    assert_close(found[0], found[1], 1e-10)


@pytest.mark.parametrize("num_steps", [1, 3])
def test_tasks_adapted_side_by_side_are_tasks_adapted_one_by_one(num_steps: int) -> None:
    network = replace(NETWORK, normalise_observations=True)
    agent, state = begun(network=network)
    weights, both = _double(maml.weights(CONFIG, state, PROGRESS)), unit(count=num_steps)
    stacked = maml.adapt(agent, CONFIG, weights, both)
    assert set(stacked) == set(weights)
    for n, envs in enumerate(TASKS):
        alone = maml.adapt(agent, CONFIG, weights, [_columns(one, slice(envs.start, envs.stop)) for one in both])
        assert_close({name: one[n] for name, one in stacked.items()}, {name: one[0] for name, one in alone.items()}, 1e-10)
        want = oracle.adapted(agent, _leaves(state.params), _buffers(state), both, envs, OWN)
        assert_close({name: stacked[name][n] for name in want}, {name: value.detach() for name, value in want.items()})
    assert not torch.equal(stacked["policy_head.bias"][0], stacked["policy_head.bias"][1])
    assert torch.equal(stacked["observation_mean"][1], weights["observation_mean"])


def _columns(it: Trajectory, which: slice) -> Trajectory:
    """The same of some of its environments."""
    rows = ("obs", "is_first", "action", "reward", "terminated", "truncated", "behaviour_log_prob")
    kept: dict[str, Any] = {name: getattr(it, name)[:, which] for name in rows}
    kept |= {name: getattr(it, name)[which] for name in ("previous_action", "previous_reward", "tasks")}
    return replace(it, **kept, frame_history=it.frame_history[:, which])


def test_reset_rows_and_final_observations_are_unused() -> None:
    agent, state = begun()
    found = unit()
    spoiled = []
    for it in found:
        obs, action, reward = it.obs.copy(), it.action.copy(), it.reward.copy()
        is_reset = it.is_first[1:]
        obs[:-1][is_reset] = 5.0  # the final observation, which the reset's action is of
        obs[1:][it.terminated] = np.nan
        action[is_reset], reward[is_reset] = np.nan, 1e6
        spoiled.append(replace(it, obs=obs, action=action, reward=reward))
    assert_close(gradient(agent, state, OWN, spoiled), gradient(agent, state, OWN, found), 1e-10)


def test_nothing_crosses_the_end_of_an_episode_or_a_task() -> None:
    agent, _ = begun()
    it, own = unit()[0], replace(CONFIG, learner=replace(OWN, normalise_advantages=False))
    reward = it.reward.copy()
    reward[:3, 1] += 100.0  # the first episode of environment 1, which is task 0's
    before, after = (maml._batch(agent, own, one).advantage for one in (it, replace(it, reward=reward)))
    assert torch.equal(before[1], after[1])
    assert not torch.allclose(before[0], after[0])
    # the baseline is the task's, so what an episode is worth to another of its task passes through that alone
    changed = replace(it, terminated=it.terminated & False, truncated=it.truncated | it.terminated)
    assert torch.equal(maml._batch(agent, own, changed).advantage, before)  # a limit ends an episode as its task does


def learned(
    state: LearnerState, agent: Agent, config: Config, *units: Sequence[Trajectory]
) -> tuple[LearnerState, dict[str, Tensor]]:
    return maml.update(agent, config, state, units, PROGRESS)


def test_an_update_descends_along_the_mean_over_its_units_and_counts_them_once() -> None:
    config = replace(CONFIG, learner=replace(OWN, learning_rate=0.01))
    agent, state = begun(config=config)
    first, second = unit(seed=0), unit(seed=7)
    kept = {name: value.clone() for name, value in state.params.items()}
    after, scalars = learned(state, agent, config, first, second)
    slopes = [gradient(agent, state, config.learner, one) for one in (first, second)]
    mean = {name: (slopes[0][name] + slopes[1][name]) / 2 for name in state.params}
    want, _ = optimisers.apply(config.learner.optimiser, state.optimiser, state.params, mean, 0.01)
    assert_close(after.params, want)
    assert_close(state.params, kept)
    assert (after.version, after.env_steps) == (1, sum(one.env_steps for one in (*first, *second)))
    assert {"gradient/norm", "gradient/inner", "policy/entropy", "learning_rate"} == set(scalars)
    joined = [_beside(one, other) for one, other in zip(first, second, strict=True)]
    assert_close(learned(state, agent, config, joined)[0].params, after.params)  # how tasks are cut into units is rounding alone


def _beside(one: Trajectory, other: Trajectory) -> Trajectory:
    rows = ("obs", "is_first", "action", "reward", "terminated", "truncated", "behaviour_log_prob", "frame_history")
    found: dict[str, Any] = {name: np.concatenate([getattr(one, name), getattr(other, name)], axis=1) for name in rows}
    found |= {name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("previous_action", "previous_reward")}
    return replace(one, **found, tasks=one.tasks + other.tasks)


def test_moments_of_observations_take_in_every_unroll_after_the_step() -> None:
    network = replace(NETWORK, normalise_observations=True)
    agent, state = maml.init(CONFIG, Setup(spec=GAUSSIAN, network=network, run_seed=0, device=CPU))
    found = unit()
    after, _ = learned(state, agent, CONFIG, found)
    seen = np.concatenate([one.obs[:-1][~one.is_first[1:]] for one in found])
    assert after.moments is not None and float(after.moments.count) == len(seen)
    np.testing.assert_allclose(after.moments.mean.numpy(), seen.mean(axis=0), rtol=1e-6)


def test_a_state_holds_the_policy_alone_and_comes_back_from_a_checkpoint() -> None:
    agent, state = maml.init(CONFIG, Setup(spec=GAUSSIAN, network=replace(NETWORK, separate_value=True), run_seed=3, device=CPU))
    assert set(state.params) == {
        "torso.layers.0.weight",
        "torso.layers.0.bias",
        "policy_head.weight",
        "policy_head.bias",
        "log_std",
    }
    after, _ = learned(state, agent, CONFIG, unit())
    back = state_from_arrays(state_to_arrays(after), like=state, device=CPU)
    again, _ = learned(back, agent, CONFIG, unit(seed=3))
    want, _ = learned(after, agent, CONFIG, unit(seed=3))
    assert all(torch.equal(again.params[name], want.params[name]) for name in want.params)
