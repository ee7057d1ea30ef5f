"""What nobody uses of an unroll may be NaN or infinite: no bit of an update depends on it. What is used may not, and is not hidden.

Whole updates of every learner of unrolls, from trajectories on, each beside the same with zeros in the place of what is unused.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from oracles.trajectories import trajectory
from torch import Tensor

from learners import actor_critic, metagradient, ppo, vtrace_loss
from learners.algorithm import Progress, Setup
from learners.batch import batch_of, unused_rows
from learners.compiled import Compiled
from learners.metagradient import MetaState, PendingUpdate
from learners.metagradient_config import MetaConfig, MetaGradient
from learners.networks.agent import NetworkConfig, SpaceSpec
from learners.ops.optimisers import OptimiserConfig
from learners.trajectory import Trajectory
from learners.vtrace_loss import ImpalaConfig

CPU = torch.device("cpu")
JUNK = [math.nan, math.inf, -math.inf]
DISCRETE = SpaceSpec((3,), "float32", num_actions=4)
CONTINUOUS = SpaceSpec((3,), "float32", action_size=2)
NETWORKS = {
    "feed-forward": NetworkConfig(hidden_sizes=(8,), normalise_observations=True),
    "relu": NetworkConfig(hidden_sizes=(8, 8), activation="relu", use_previous_action=True, use_previous_reward=True),
    "two torsos": NetworkConfig(hidden_sizes=(8,), separate_value=True),
    "lstm": NetworkConfig(hidden_sizes=(8,), core="lstm", core_size=5, use_previous_action=True, use_previous_reward=True),
    "gru": NetworkConfig(hidden_sizes=(8,), core="gru", core_size=5, use_previous_action=True),
}
CONFIG = ImpalaConfig(
    gamma=0.9,
    lambda_=0.8,
    leak_rho=0.7,
    clip_pg_rho=1.1,
    reward_clip=1.5,
    entropy_cost=0.05,
    learning_rate=0.01,
    optimiser=OptimiserConfig(kind="adam", epsilon=1e-5),
)
LENGTH = 9
ENDS = {0: "t3 u5 u8", 1: "t2", 2: "u5 t7", 3: "u1 t6", 4: "t8", 5: "u7"}
"""Environment -> its episodes' last steps: t terminated, u truncated. Steps 3 and 5 make an episode of one step; 8 is the unroll's last."""
LEFT_OVER = (4, 5)
"""Environments whose row 0 is the final observation of an episode that ended in the unroll before."""
BEGUN = 1
"""The environment whose first episode begins at row 0."""
UNUSED_OBS = {0: [4], 1: [3], 2: [8, 9], 3: [7], 4: [0, 9], 5: [0, 9]}
RESETS = {0: [4, 6], 1: [3], 2: [6, 8], 3: [2, 7], 4: [0], 5: [0, 8]}


def unroll(spec: SpaceSpec, network: NetworkConfig, seed: int) -> Trajectory:
    """Random experience with every kind of border in it."""
    it = trajectory(spec, network, seed, LENGTH, len(ENDS))
    is_first, terminated, truncated = np.zeros_like(it.is_first), np.zeros_like(it.terminated), np.zeros_like(it.truncated)
    for env, ends in ENDS.items():
        for end in ends.split():
            last = int(end[1:])
            (terminated if end[0] == "t" else truncated)[last, env] = True
            if last + 2 <= LENGTH:
                is_first[last + 2, env] = True
    is_first[1, LEFT_OVER] = True
    is_first[0, BEGUN] = True
    return replace(it, is_first=is_first, terminated=terminated, truncated=truncated)


def planted(it: Trajectory, junk: float) -> Trajectory:
    """The same unroll with `junk` wherever nobody uses a value."""
    arrays = {name: np.array(getattr(it, name)) for name in ("obs", "action", "reward", "behaviour_log_prob")}
    arrays |= {name: np.array(getattr(it, name)) for name in ("previous_action", "previous_reward")}
    states = tuple(np.array(state) for state in it.initial_state)
    for env, rows in UNUSED_OBS.items():
        arrays["obs"][rows, env] = junk
    for env, rows in RESETS.items():
        for name in ("action", "reward", "behaviour_log_prob"):
            if arrays[name].dtype.kind == "f":
                arrays[name][rows, env] = junk
    for array in (arrays["previous_action"], arrays["previous_reward"], *states):
        if array.dtype.kind == "f":
            array[[*LEFT_OVER, BEGUN]] = junk
    return replace(it, **arrays, initial_state=states)


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor of a state, with all that it is made of."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from tensors(one)
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors(getattr(value, field.name))


def assert_same_and_finite(got: list[Tensor], want: list[Tensor]) -> None:
    assert all(tensor.isfinite().all() for tensor in want)
    assert [torch.equal(a, b) for a, b in zip(got, want, strict=True)] == [True] * len(want)


def test_the_rule_finds_the_unused_rows() -> None:
    it = unroll(DISCRETE, NETWORKS["feed-forward"], 0)
    want = np.zeros((LENGTH + 1, len(ENDS)), bool)
    for env, rows in UNUSED_OBS.items():
        want[rows, env] = True
    np.testing.assert_array_equal(unused_rows(it.is_first, it.terminated), want)
    resets = np.zeros((LENGTH, len(ENDS)), bool)
    for env, rows in RESETS.items():
        resets[rows, env] = True
    np.testing.assert_array_equal(it.is_first[1:], resets)


@pytest.mark.parametrize("junk", JUNK)
def test_a_batch_is_finite_and_otherwise_what_the_trajectory_holds(junk: float) -> None:
    spec, network = CONTINUOUS, NETWORKS["lstm"]
    it = unroll(spec, network, 0)
    sent = planted(it, junk)
    kept = sent.obs.copy()
    plain, cleared = (batch_of([one], slice(None), CPU) for one in (it, sent))
    np.testing.assert_array_equal(sent.obs, kept)  # what an actor sent is left alone
    np.testing.assert_array_equal(plain.obs.numpy(), it.obs)
    np.testing.assert_array_equal(plain.action.numpy(), it.action)
    unused = torch.from_numpy(unused_rows(it.is_first, it.terminated))
    assert torch.equal(cleared.obs, plain.obs.masked_fill(unused.unsqueeze(-1), 0.0))
    assert torch.equal(cleared.action, plain.action.masked_fill(~plain.weight.bool().unsqueeze(-1), 0.0))


@pytest.mark.parametrize("junk", JUNK)
def test_stacks_of_frames_are_finite_where_they_are_unused(junk: float) -> None:
    it = unroll(DISCRETE, NETWORKS["feed-forward"], 0)
    history = np.random.default_rng(0).normal(size=(2, len(ENDS), 3)).astype(np.float32)
    plain = batch_of([replace(it, frame_history=history)], slice(None), CPU)
    planted_history = history.copy()
    planted_history[:, [*LEFT_OVER, BEGUN]] = junk
    got = batch_of([replace(planted(it, junk), frame_history=planted_history)], slice(None), CPU)
    used = torch.from_numpy(~unused_rows(it.is_first, it.terminated))
    assert got.obs.isfinite().all()
    assert torch.equal(got.obs[used], plain.obs[used])


def updated(it: list[Trajectory], spec: SpaceSpec, network: NetworkConfig) -> list[Tensor]:
    agent, state = actor_critic.init(spec, network, CONFIG.optimiser, 0, CPU)
    found: list[Tensor] = []
    for one in it:
        state, scalars = vtrace_loss.update(agent, CONFIG, state, batch_of([one], slice(None), CPU), 10_000)
        found += [*tensors(state), *scalars.values()]
    return found


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
@pytest.mark.parametrize("network", NETWORKS)
def test_no_bit_of_an_update_depends_on_what_is_unused(network: str, spec: SpaceSpec, junk: float) -> None:
    unrolls = [unroll(spec, NETWORKS[network], seed) for seed in range(2)]
    want, got = (updated([planted(it, value) for it in unrolls], spec, NETWORKS[network]) for value in (0.0, junk))
    assert_same_and_finite(got, want)
    assert_same_and_finite(updated(unrolls, spec, NETWORKS[network]), want)


def ppo_updated(it: list[Trajectory], spec: SpaceSpec, network: NetworkConfig) -> list[Tensor]:
    config = ppo.Config(learner=ppo.LearnerConfig(passes=2, num_minibatches=3, reward_clip=1.5, learning_rate=0.01))
    agent, state = ppo.init(config, Setup(spec=spec, network=network, run_seed=0, device=CPU))
    found: list[Tensor] = []
    for number in range(2):
        state, scalars = ppo.update(agent, config, state, it, Progress(round=number, total=10_000, run_seed=0))
        found += [*tensors(state), *map(torch.as_tensor, scalars.values())]
    return found


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
@pytest.mark.parametrize("network", NETWORKS)
def test_no_bit_of_a_round_of_ppo_depends_on_what_is_unused(network: str, spec: SpaceSpec, junk: float) -> None:
    unrolls = [unroll(spec, NETWORKS[network], seed) for seed in range(2)]
    want, got = (ppo_updated([planted(it, value) for it in unrolls], spec, NETWORKS[network]) for value in (0.0, junk))
    assert_same_and_finite(got, want)
    assert_same_and_finite(ppo_updated(unrolls, spec, NETWORKS[network]), want)


def meta_updated(it: list[Trajectory], spec: SpaceSpec, network: NetworkConfig, meta: MetaConfig) -> list[Tensor]:
    config = MetaGradient(learner=CONFIG, eta=("gamma", "lambda", "leak_rho", "entropy_cost"), meta=meta)
    agent, state = metagradient.init(spec, network, config, 0, CPU)
    found: list[Tensor] = []
    for n, one in enumerate(it):
        state, scalars = metagradient.update(agent, config, state, batch_of([one], slice(None), CPU), 10_000)
        found += [*tensors(state.learner), state.logits, *tensors(state.optimiser)]
        found += scalars.values() if n else []  # the first update has nothing to judge, and says NaN
    return found


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("derivative", ["jvp", "vjp"])
@pytest.mark.parametrize(("network", "spec"), [("feed-forward", CONTINUOUS), ("lstm", CONTINUOUS), ("gru", DISCRETE)])
def test_no_bit_of_a_meta_gradient_depends_on_what_is_unused(network: str, spec: SpaceSpec, derivative: Any, junk: float) -> None:
    meta = MetaConfig(derivative=derivative, batch_unrolls=4, normalise_advantages=True, learning_rate=0.01)
    unrolls = [unroll(spec, NETWORKS[network], seed) for seed in range(3)]
    want, got = (meta_updated([planted(it, value) for it in unrolls], spec, NETWORKS[network], meta) for value in (0.0, junk))
    assert_same_and_finite(got, want)


def test_what_a_reset_does_along_a_direction_is_no_part_of_a_meta_gradient() -> None:
    config = MetaGradient(learner=CONFIG, eta=("gamma", "lambda"), meta=MetaConfig(batch_unrolls=4))
    agent, before = metagradient.init(CONTINUOUS, NETWORKS["feed-forward"], config, 0, CPU)
    first, second = (batch_of([unroll(CONTINUOUS, NETWORKS["feed-forward"], seed)], slice(None), CPU) for seed in range(2))
    middle, _ = metagradient.update(agent, config, before, first, 10_000)
    assert isinstance(middle.pending, PendingUpdate)
    action = first.action.masked_fill(~first.weight.bool().unsqueeze(-1), math.nan)
    changed = replace(middle, pending=replace(middle.pending, batch=replace(first, action=action)))

    def logits(state: MetaState) -> Tensor:
        return metagradient.update(agent, config, state, second, 10_000)[0].logits

    assert_same_and_finite([logits(changed)], [logits(middle)])


@pytest.mark.skipif(not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler")
def test_no_bit_of_a_compiled_update_depends_on_what_is_unused() -> None:
    spec, network = CONTINUOUS, NETWORKS["feed-forward"]
    agent, state = actor_critic.init(spec, network, CONFIG.optimiser, 0, CPU)
    update, it = Compiled(partial(vtrace_loss.one_pass, agent, CONFIG)), unroll(spec, network, 0)

    def found(one: Trajectory) -> list[Tensor]:
        after, scalars = update(state, batch_of([one], slice(None), CPU), 1e-3)
        return [*tensors(after), *scalars.values()]

    want = found(planted(it, 0.0))
    for junk in JUNK:
        assert_same_and_finite(found(planted(it, junk)), want)
    changed = planted(it, 0.0)
    changed.obs[6, 0] = math.nan
    assert not all(tensor.isfinite().all() for tensor in found(changed))


@pytest.mark.parametrize("junk", JUNK[:1])
@pytest.mark.parametrize(("row", "env"), [(6, 0), (9, 0), (6, 2), (2, 3)])
def test_the_final_observation_of_a_truncated_episode_is_used(row: int, env: int, junk: float) -> None:
    for spec in (DISCRETE, CONTINUOUS):
        it = unroll(spec, NETWORKS["feed-forward"], 0)
        assert it.truncated[row - 1, env]
        it.obs[row, env] = junk
        agent, state = actor_critic.init(spec, NETWORKS["feed-forward"], CONFIG.optimiser, 0, CPU)
        after, scalars = vtrace_loss.update(agent, CONFIG, state, batch_of([it], slice(None), CPU), 10_000)
        assert scalars["loss/total"].isnan()
        assert after.params["value_head.weight"].isnan().any()


@pytest.mark.parametrize("name", ["reward", "behaviour_log_prob", "action"])
def test_what_a_step_used_is_not_hidden(name: str) -> None:
    it = unroll(CONTINUOUS, NETWORKS["feed-forward"], 0)
    getattr(it, name)[2, 1] = math.nan  # the step that terminates
    agent, state = actor_critic.init(CONTINUOUS, NETWORKS["feed-forward"], CONFIG.optimiser, 0, CPU)
    _, scalars = vtrace_loss.update(agent, CONFIG, state, batch_of([it], slice(None), CPU), 10_000)
    assert scalars["loss/total"].isnan()
