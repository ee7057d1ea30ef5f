"""The compiled gradient against the eager one, which gradcheck and the oracles hold to the formulas."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from envs.errors import InvalidInputError
from learners import compiled, impala
from learners.batch import batch_of
from learners.compiled import CompiledGradient
from learners.impala import ImpalaConfig
from learners.networks.agent import NetworkConfig, SpaceSpec
from tests.oracles.trajectories import trajectory

CPU = torch.device("cpu")
CONFIG = ImpalaConfig(gamma=0.9, lambda_=0.8, reward_clip=1.0, entropy_cost=0.05)
CONTINUOUS = (SpaceSpec((4,), "float32", action_size=2), NetworkConfig(hidden_sizes=(8,), normalise_observations=True))
DISCRETE = (
    SpaceSpec((4,), "float32", num_actions=3),
    NetworkConfig(hidden_sizes=(8,), separate_value=True, use_previous_action=True, use_previous_reward=True),
)
needs_compiler = pytest.mark.skipif(
    not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler"
)


@needs_compiler
@pytest.mark.parametrize(("spec", "network"), [CONTINUOUS, DISCRETE], ids=["continuous", "discrete"])
def test_equals_the_eager_gradient_on_batches_other_than_the_traced_one(
    spec: SpaceSpec, network: NetworkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, state = impala.init(spec, network, CONFIG, seed=0, device=CPU)
    gradient_of = CompiledGradient()
    gradient_of.prepare(agent, CONFIG, impala.network_arrays(state), unroll_length=9, num_envs=5)
    monkeypatch.setattr(compiled, "_compile", None)  # the blank batch stood for all of its shape
    for seed in range(3):
        batch = batch_of([trajectory(spec, network, seed)], slice(None), CPU)
        want, want_terms = impala.gradient(agent, CONFIG, impala.network_arrays(state), batch)
        got, terms = gradient_of(agent, CONFIG, impala.network_arrays(state), batch)
        assert list(got) == list(want)
        for name, slope in want.items():
            torch.testing.assert_close(got[name], slope, rtol=1e-4, atol=1e-5 * float(slope.abs().max()))
        torch.testing.assert_close(vars(terms), vars(want_terms), rtol=1e-4, atol=1e-5)
        again, _ = gradient_of(agent, CONFIG, impala.network_arrays(state), batch)
        assert all(torch.equal(again[name], slope) for name, slope in got.items())
        state, _ = impala.update(agent, CONFIG, state, batch, 1000, gradient_of)


def test_a_machine_without_a_compiler_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config as inductor_config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    agent, state = impala.init(*CONTINUOUS, replace(CONFIG, gamma=0.123), seed=0, device=CPU)
    batch = batch_of([trajectory(*CONTINUOUS)], slice(None), CPU)
    with (
        inductor_config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(InvalidInputError, match="learner_compile = true needs a C"),
    ):
        CompiledGradient()(agent, CONFIG, impala.network_arrays(state), batch)
