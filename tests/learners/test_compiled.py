"""The compiled update against the eager one, whose parts oracles and gradcheck hold to the formulas."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from envs.errors import InvalidInputError
from learners import actor_critic, vtrace_loss
from learners.actor_critic import LearnerState
from learners.batch import batch_of
from learners.compiled import Compiled, blank
from learners.networks.agent import NetworkConfig, SpaceSpec
from learners.ops.optimisers import OptimiserConfig
from learners.vtrace_loss import ImpalaConfig
from tests.oracles.trajectories import trajectory

CPU = torch.device("cpu")
CONFIG = ImpalaConfig(gamma=0.9, lambda_=0.8, reward_clip=1.0, entropy_cost=0.05, max_gradient_norm=2.0)
CONTINUOUS = (
    SpaceSpec((4,), "float32", action_size=2),
    NetworkConfig(hidden_sizes=(8,), normalise_observations=True),
    replace(CONFIG, optimiser=OptimiserConfig(kind="adam", epsilon=1e-5)),
)
DISCRETE = (
    SpaceSpec((4,), "float32", num_actions=3),
    NetworkConfig(hidden_sizes=(8,), separate_value=True, use_previous_action=True, use_previous_reward=True),
    CONFIG,
)
INDICES = (SpaceSpec((), "int64", num_actions=3, index_sizes=(6,)), NetworkConfig(hidden_sizes=(8,), separate_value=True), CONFIG)
PASSES = (*CONTINUOUS[:2], replace(CONTINUOUS[2], passes=3, learning_rate=0.01))
STOPPED = (*CONTINUOUS[:2], replace(CONTINUOUS[2], passes=4, learning_rate=0.01, target_kl=0.5))
TABULAR = (SpaceSpec((2,), "int64", num_actions=3, index_sizes=(6, 2)), NetworkConfig(hidden_sizes=()), CONFIG)
needs_compiler = pytest.mark.skipif(
    not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler"
)


@needs_compiler
@pytest.mark.parametrize(
    ("spec", "network", "config"),
    [CONTINUOUS, DISCRETE, INDICES, TABULAR, PASSES, STOPPED],
    ids=["continuous", "discrete", "indices", "tabular", "passes", "stopped"],
)
def test_equals_the_eager_update_on_batches_other_than_the_traced_one(
    spec: SpaceSpec, network: NetworkConfig, config: ImpalaConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, state = actor_critic.init(spec, network, config.optimiser, 0, CPU)
    update = partial(vtrace_loss.update, agent, config, compiled=Compiled(partial(vtrace_loss.one_pass, agent, config)))
    update(state, blank(agent, 9, 5), 1)
    monkeypatch.setattr("learners.compiled.machine_code", None)  # the blank batch stood for all of its shape
    for seed in range(3):  # the rate is annealed and Adam's corrections change, so neither may be compiled in
        batch = batch_of([trajectory(spec, network, seed)], slice(None), CPU)
        want, want_scalars = vtrace_loss.update(agent, config, state, batch, 200)
        got, scalars = update(state, batch, 200)
        again, _ = update(state, batch, 200)
        assert (got.version, got.env_steps, got.optimiser.step) == (want.version, want.env_steps, want.optimiser.step)
        assert list(scalars) == list(want_scalars)
        assert (config.target_kl is None) == (float(scalars["impala/passes"]) == config.passes)
        torch.testing.assert_close(scalars, want_scalars, rtol=1e-4, atol=1e-5, check_dtype=False)
        torch.testing.assert_close(tensors(got), tensors(want), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(tensors(again), tensors(got), rtol=0, atol=0)
        state = got


def tensors(state: LearnerState) -> dict[str, dict[str, torch.Tensor]]:
    moments = {} if state.moments is None else vars(state.moments)
    return {
        "params": state.params,
        "moments": moments,
        "second": state.optimiser.second_moment,
        "first": state.optimiser.first_moment,
    }


def test_without_a_compiler_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config as inductor_config

    spec, network, config = CONTINUOUS
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    agent, state = actor_critic.init(spec, network, config.optimiser, 0, CPU)
    with (
        inductor_config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(InvalidInputError, match="learner_compile = true needs a C"),
    ):
        Compiled(partial(vtrace_loss.one_pass, agent, replace(config, gamma=0.123)))(state, blank(agent, 4, 3), 0.1)
