"""The policies of many tasks side by side are each the agent's own."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

from envs.errors import InvalidInputError
from learners.networks.agent import Agent, NetworkConfig, NetworkInputs, SpaceSpec
from learners.networks.stacked_agent import check, policy_params, stacked

N, R = 3, 4
VECTOR = SpaceSpec((5,), "float32", action_size=2)
NAMED = SpaceSpec((2, 3), "float32", num_actions=4)
NETWORKS = [
    NetworkConfig(hidden_sizes=(8, 6)),
    NetworkConfig(hidden_sizes=(8,), activation="relu", bounded_mean=True, separate_value=True),
    NetworkConfig(hidden_sizes=(), normalise_observations=True),
]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("spec", [VECTOR, NAMED])
def test_each_is_the_agents_own(spec: SpaceSpec, network: NetworkConfig) -> None:
    agent = Agent(spec, network).double()
    generator = torch.Generator().manual_seed(0)
    named = dict(agent.named_parameters()) | dict(agent.named_buffers())
    arrays = {name: torch.rand(N, *one.shape, generator=generator, dtype=torch.float64) + 0.1 for name, one in named.items()}
    obs = torch.randn(N, R, *spec.obs_shape, generator=generator)
    found = policy_params(spec, network, arrays, obs)
    for n in range(N):
        inputs = NetworkInputs(
            obs=obs[n][None],
            is_first=torch.zeros(1, R, dtype=torch.bool),
            previous_action=torch.zeros(1, R, *spec.action_shape),
            previous_reward=torch.zeros(1, R),
            initial_state=(),
        )
        own = functional_call(agent, {name: one[n] for name, one in arrays.items()}, (inputs,))
        torch.testing.assert_close(found[n], own.distribution_params[0])


def test_equal_ones_share_their_numbers() -> None:
    leaf = torch.ones(2, requires_grad=True)
    found = stacked({"a": leaf}, N)["a"]
    assert found.shape == (N, 2) and found.data_ptr() == leaf.data_ptr()
    assert torch.equal(torch.autograd.grad(found.sum(), leaf)[0], torch.full((2,), float(N)))


@pytest.mark.parametrize(
    ("spec", "network", "line"),
    [
        (VECTOR, NetworkConfig(core="gru"), "network.core = gru: policies that adapt allow none only"),
        (
            VECTOR,
            NetworkConfig(use_previous_reward=True),
            "network.use_previous_reward = True: policies that adapt allow false only",
        ),
        (SpaceSpec((84, 84), "uint8", num_actions=4), NetworkConfig(), "observations are uint8"),
        (SpaceSpec((), "int64", num_actions=4, index_sizes=(7,)), NetworkConfig(), "observations are int64"),
    ],
)
def test_what_cannot_be_stacked_is_refused(spec: SpaceSpec, network: NetworkConfig, line: str) -> None:
    with pytest.raises(InvalidInputError, match=line):
        check(spec, network)
    check(VECTOR, NetworkConfig())
