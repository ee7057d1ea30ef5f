"""An agent that looks indices up against the same agent on their one-hot vectors: one function, one start, one gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles.trajectories import trajectory
from torch import Tensor

from envs.errors import InvalidInputError
from learners import actor_critic, metagradient, vtrace_loss
from learners.batch import batch_of
from learners.metagradient_config import MetaConfig, MetaGradient
from learners.networks.agent import Agent, Conditioning, NetworkConfig, NetworkInputs, SpaceSpec
from learners.ops.optimisers import OptimiserConfig
from learners.trajectory import Trajectory
from learners.vtrace_loss import ImpalaConfig

CPU = torch.device("cpu")
T, B = 9, 5
DISCRETE = SpaceSpec((), "int64", num_actions=3, index_sizes=(7,))
GRID = SpaceSpec((2, 2), "int64", action_size=2, index_sizes=(3, 5, 2, 4))
NETWORKS = {
    "mlp": NetworkConfig(hidden_sizes=(8, 6)),
    "two torsos": NetworkConfig(hidden_sizes=(8,), separate_value=True, activation="relu"),
    "lstm": NetworkConfig(hidden_sizes=(8,), core="lstm", core_size=4, use_previous_action=True, use_previous_reward=True),
    "no torso": NetworkConfig(hidden_sizes=(), use_previous_action=True),
}


def one_hot(spec: SpaceSpec, obs: np.ndarray) -> np.ndarray:
    columns = obs.reshape(*obs.shape[:2], -1)
    parts = [np.eye(size, dtype=np.float32)[columns[..., k]] for k, size in enumerate(spec.index_sizes)]
    return np.concatenate(parts, axis=-1)


def both(spec: SpaceSpec, network: NetworkConfig) -> tuple[SpaceSpec, Trajectory, Trajectory]:
    """The spec of the one-hot vectors, and one experience in both forms."""
    vectors = replace(spec, obs_shape=(sum(spec.index_sizes),), obs_dtype="float32", index_sizes=())
    sizes = np.array(spec.index_sizes).reshape(spec.obs_shape)
    obs = np.random.default_rng(1).integers(sizes, size=(T + 1, B, *spec.obs_shape)).astype(spec.sent_dtype)
    first = trajectory(vectors, network, length=T, num_envs=B)
    return vectors, replace(first, obs=obs), replace(first, obs=one_hot(spec, obs))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("spec", [DISCRETE, GRID], ids=["discrete", "multi-discrete"])
def test_an_update_on_indices_is_the_update_on_one_hot_vectors(spec: SpaceSpec, network: NetworkConfig) -> None:
    vectors, indices, twins = both(spec, network)
    config, states = ImpalaConfig(learning_rate=0.01), []
    for its_spec, unroll in ((spec, indices), (vectors, twins)):
        agent, state = actor_critic.init(its_spec, network, config.optimiser, 0, CPU)
        batch = batch_of([unroll], slice(None), CPU)
        output = agent(batch)
        after, scalars = vtrace_loss.update(agent, config, state, batch, 1000)
        states.append((state.params, output.distribution_params, output.value, scalars, after.params))
    (start, params, values, scalars, end), (start2, params2, values2, scalars2, end2) = states
    assert all(torch.equal(start[name], start2[name]) for name in start2) and start.keys() == start2.keys()
    for got, want in ((params, params2), (values, values2), (scalars, scalars2), (end, end2)):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    assert any(not torch.equal(start[name], end[name]) for name in start)


def test_acting_equals_learning() -> None:
    _, indices, _ = both(DISCRETE, NETWORKS["two torsos"])
    agent = actor_critic.init(DISCRETE, NETWORKS["two torsos"], OptimiserConfig(), 0, CPU)[0]
    batch = batch_of([indices], slice(None), CPU)
    assert torch.equal(agent.policy(batch)[0], agent(batch).distribution_params)


@pytest.mark.parametrize("hidden_sizes", [(8,), ()])
def test_the_network_is_conditioned_on_eta_beside_an_index(hidden_sizes: tuple[int, ...]) -> None:
    network, conditioning = NetworkConfig(hidden_sizes=hidden_sizes), Conditioning(num_eta=2, embedding_size=3)
    vectors, indices, twins = both(GRID, network)
    values = []
    for spec, unroll in ((GRID, indices), (vectors, twins)):
        torch.manual_seed(0)
        agent = Agent(spec, network, conditioning)
        agent.eta += torch.tensor([0.3, -0.6])
        batch = batch_of([unroll], slice(None), CPU)
        values.append(agent(batch).value)
    torch.testing.assert_close(values[0], values[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("derivative", ["jvp", "vjp"])
def test_the_meta_gradient_goes_through_a_lookup(derivative: str) -> None:
    network = NETWORKS["mlp"]
    vectors, indices, twins = both(DISCRETE, network)
    config = MetaGradient(
        learner=ImpalaConfig(),
        eta=("gamma", "lambda"),
        meta=MetaConfig(derivative=derivative, batch_unrolls=B),  # type: ignore[arg-type]
    )
    logits = []
    for spec, unroll in ((DISCRETE, indices), (vectors, twins)):
        agent, state = metagradient.init(spec, network, config, 0, CPU)
        start = state.logits
        for _ in range(3):
            state, _ = metagradient.update(agent, config, state, batch_of([unroll], slice(None), CPU), 1000)
        assert not torch.equal(state.logits, start)
        logits.append(state.logits)
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-4, atol=1e-6)


def inputs_of(obs: torch.Tensor) -> NetworkInputs:
    """Observations [T, B, ...] in the middle of episodes, with discrete actions."""
    none = torch.zeros(obs.shape[:2])
    return NetworkInputs(obs=obs, is_first=none.bool(), previous_action=none.long(), previous_reward=none, initial_state=())


def test_the_gradient_of_many_states_has_the_layout_of_the_weight() -> None:
    agent = Agent(replace(DISCRETE, index_sizes=(20_000,)), NetworkConfig())
    obs = torch.randint(20_000, (3, 2), dtype=torch.int32)
    output = agent(inputs_of(obs))
    weight = agent.torso.layers[0].weight  # type: ignore[union-attr]
    (slope,) = torch.autograd.grad(output.value.sum(), [weight])
    assert slope.is_contiguous()
    assert set(slope.any(dim=0).nonzero().flatten().tolist()) == set(obs.flatten().tolist())


class _Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes the size of the largest tensor that an operation makes."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not result._is_view():
            self.numel = max(self.numel, result.numel())
        return result


def test_acting_makes_nothing_as_long_as_there_are_states() -> None:
    agent = Agent(replace(DISCRETE, index_sizes=(20_000,)), NetworkConfig())
    inputs = inputs_of(torch.zeros(1, 8, dtype=torch.int32))
    with torch.no_grad(), _Largest() as largest:
        agent.policy(inputs)
    assert 8 * 64 <= largest.numel < 20_000


def test_equal_indices_add_up_in_the_same_order_each_time() -> None:
    agent, state = actor_critic.init(DISCRETE, NETWORKS["mlp"], OptimiserConfig(), 0, CPU)
    batch = batch_of([both(DISCRETE, NETWORKS["mlp"])[1]], slice(None), CPU)
    first, second = (vtrace_loss.one_pass(agent, ImpalaConfig(), state, batch, 1.0)[0].params for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (NetworkConfig(torso="shallow"), r"torso shallow needs images; observations are indices \(of 7 values\)"),
        (NetworkConfig(torso="deep"), "torso deep needs images; observations are indices"),
        (NetworkConfig(normalise_observations=True), "normalise_observations is not allowed for indices"),
    ],
)
def test_what_needs_numbers_is_refused(config: NetworkConfig, match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        Agent(DISCRETE, config)
