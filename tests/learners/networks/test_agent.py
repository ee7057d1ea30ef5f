from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.func import functional_call

from envs.errors import InvalidInputError
from learners.networks.agent import Agent, NetworkConfig, NetworkInputs, SpaceSpec
from learners.networks.mlp import MLP
from learners.networks.snapshot import arrays_to_parameters, parameters_to_arrays

T, B = 5, 3
CONTROL = SpaceSpec((4,), "float32", action_size=2)
NAMED = SpaceSpec((4,), "float32", num_actions=3)
FRAMES = SpaceSpec((4, 84, 84), "uint8", num_actions=6, frame_stack=4)
EXTRAS = NetworkConfig(use_previous_action=True, use_previous_reward=True)
CONFIGS = [
    NetworkConfig(),
    NetworkConfig(activation="relu", hidden_sizes=(8,)),
    NetworkConfig(separate_value=True, normalise_observations=True),
    dataclasses.replace(EXTRAS, core="lstm", core_size=7),
    dataclasses.replace(EXTRAS, core="gru", core_size=7),
]


def make(spec: SpaceSpec, config: NetworkConfig = CONFIGS[0]) -> Agent:
    torch.manual_seed(0)
    return Agent(spec, config)


def inputs(spec: SpaceSpec, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    is_first = torch.zeros(T, B, dtype=torch.bool)
    is_first[0, 0] = is_first[3, 1] = True
    if spec.obs_dtype == "uint8":
        obs = torch.randint(0, 256, (T, B, *spec.obs_shape), dtype=torch.uint8, generator=generator)
    else:
        obs = torch.randn(T, B, *spec.obs_shape, generator=generator)
    if spec.is_discrete:
        action = torch.randint(0, spec.num_actions, (T, B), generator=generator)
    else:
        action = torch.randn(T, B, spec.action_size, generator=generator)
    reward = 3 * torch.randn(T, B, generator=generator)
    return {"obs": obs, "is_first": is_first, "previous_action": action, "previous_reward": reward}


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("spec", [CONTROL, NAMED])
def test_an_unroll_equals_its_steps_one_by_one_and_acting_equals_learning(spec: SpaceSpec, config: NetworkConfig) -> None:
    agent, rows = make(spec, config), inputs(spec)
    whole = agent(NetworkInputs(**rows, initial_state=agent.initial_state(B)))
    assert whole.distribution_params.shape == (T, B, spec.num_actions or 2 * spec.action_size)
    state = acting = agent.initial_state(B)
    assert all(not tensor.any() for tensor in state)
    for t in range(T):
        row = {name: tensor[t : t + 1] for name, tensor in rows.items()}
        step = agent(NetworkInputs(**row, initial_state=state))
        params, acting = agent.policy(NetworkInputs(**row, initial_state=acting))
        state = step.state
        torch.testing.assert_close(step.distribution_params[0], whole.distribution_params[t])
        torch.testing.assert_close(step.value[0], whole.value[t])
        assert torch.equal(params, step.distribution_params)
        assert all(torch.equal(a, b) for a, b in zip(acting, state, strict=True))
    for last, wanted in zip(state, whole.state, strict=True):
        torch.testing.assert_close(last, wanted)


def test_first_steps_see_neither_previous_action_nor_reward_and_other_steps_do() -> None:
    for spec in (CONTROL, NAMED):
        agent, rows = make(spec, EXTRAS), inputs(spec)
        torch.nn.init.normal_(agent.policy_head.weight)
        before = agent(NetworkInputs(**rows, initial_state=()))
        other = inputs(spec, seed=1)
        for name in ("previous_action", "previous_reward"):
            after = agent(NetworkInputs(**(rows | {name: other[name]}), initial_state=()))
            is_first = rows["is_first"]
            assert torch.equal(after.value[is_first], before.value[is_first])
            assert torch.equal(after.distribution_params[is_first], before.distribution_params[is_first])
            assert (after.value != before.value)[~is_first].sum() > 5  # actions and clipped rewards may coincide


def test_previous_rewards_are_clipped() -> None:
    agent, rows = make(NAMED, NetworkConfig(use_previous_reward=True)), inputs(NAMED)
    clipped = rows | {"previous_reward": rows["previous_reward"].clamp(-1, 1)}
    assert not torch.equal(clipped["previous_reward"], rows["previous_reward"])
    assert torch.equal(
        agent(NetworkInputs(**clipped, initial_state=())).value, agent(NetworkInputs(**rows, initial_state=())).value
    )


def test_the_recurrent_state_starts_anew_inside_an_unroll() -> None:
    agent, rows = make(CONTROL, CONFIGS[3]), inputs(CONTROL)
    dirty = tuple(torch.ones_like(tensor) for tensor in agent.initial_state(B))
    clean, other = (
        agent(NetworkInputs(**rows, initial_state=agent.initial_state(B))),
        agent(NetworkInputs(**rows, initial_state=dirty)),
    )
    assert torch.equal(clean.value[:, 0], other.value[:, 0])  # begins at row 0
    assert torch.equal(clean.value[3:, 1], other.value[3:, 1])  # begins at row 3
    assert not torch.equal(clean.value[:3, 1], other.value[:3, 1])
    assert not torch.equal(clean.value[:, 2], other.value[:, 2])


@pytest.mark.parametrize("torso", ["shallow", "deep"])
def test_image_agents(torso: str) -> None:
    config = NetworkConfig(torso=torso, core="lstm", core_size=16)  # type: ignore[arg-type]
    agent, rows = make(FRAMES, config), inputs(FRAMES)
    output = agent(NetworkInputs(**rows, initial_state=agent.initial_state(B)))
    assert output.distribution_params.shape == (T, B, 6)
    assert output.value.shape == (T, B)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = agent(NetworkInputs(**rows, initial_state=agent.initial_state(B)))
    assert half.value.dtype == half.distribution_params.dtype == half.state[0].dtype == torch.float32
    torch.testing.assert_close(half.value, output.value, atol=0.05, rtol=0.05)


def test_heads_and_core_keep_full_precision_under_autocast() -> None:
    agent, rows = make(CONTROL, dataclasses.replace(CONFIGS[3], hidden_sizes=())), inputs(CONTROL)  # no torso: nothing to round
    full = agent(NetworkInputs(**rows, initial_state=agent.initial_state(B)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = agent(NetworkInputs(**rows, initial_state=agent.initial_state(B)))
    assert torch.equal(half.value, full.value)
    assert torch.equal(half.distribution_params, full.distribution_params)


def test_uint8_vectors_are_scaled_to_one() -> None:
    ram = SpaceSpec((128,), "uint8", num_actions=6)
    agent, rows = make(ram), inputs(ram)
    got = agent(NetworkInputs(**rows, initial_state=()))
    plain = make(SpaceSpec((128,), "float32", num_actions=6))
    want = plain(NetworkInputs(**(rows | {"obs": rows["obs"] / 255}), initial_state=()))
    torch.testing.assert_close(got.value, want.value)


def test_observations_are_normalised_by_the_buffers() -> None:
    agent, rows = make(CONTROL, NetworkConfig(normalise_observations=True)), inputs(CONTROL)
    names = dict(agent.named_buffers())
    assert set(names) == {"observation_mean", "observation_std"}
    mean, std = torch.tensor([1.0, -1.0, 0.0, 5.0]), torch.tensor([2.0, 0.5, 1.0, 1e-4])
    arrays = dict(agent.named_parameters()) | {"observation_mean": mean, "observation_std": std}
    got = functional_call(agent, arrays, (NetworkInputs(**rows, initial_state=()),))
    want = make(CONTROL)(NetworkInputs(**(rows | {"obs": ((rows["obs"] - mean) / std).clamp(-10, 10)}), initial_state=()))
    assert torch.equal(got.value, want.value)
    assert torch.equal(names["observation_mean"], torch.zeros(4))


def test_the_policy_starts_near_uniform_and_gaussians_at_their_deviation() -> None:
    rows = inputs(NAMED)
    params = make(NAMED)(NetworkInputs(**rows, initial_state=())).distribution_params
    assert params.abs().max() < 0.05
    agent = make(CONTROL, NetworkConfig(initial_log_std=-0.5))
    mean, log_std = agent(NetworkInputs(**inputs(CONTROL), initial_state=())).distribution_params.chunk(2, -1)
    assert mean.abs().max() < 0.05
    assert (log_std == -0.5).all()


def test_a_value_torso_shares_nothing_with_the_policy() -> None:
    agent, rows = make(CONTROL, NetworkConfig(separate_value=True)), inputs(CONTROL)
    parameters = dict(agent.named_parameters())
    slopes = torch.autograd.grad(
        agent(NetworkInputs(**rows, initial_state=())).value.sum(), list(parameters.values()), allow_unused=True
    )
    reached = {name for name, slope in zip(parameters, slopes, strict=True) if slope is not None and slope.any()}
    assert reached == {name for name in parameters if name.startswith("value")}


@pytest.mark.parametrize(
    ("spec", "config"),
    [
        (CONTROL, CONFIGS[2]),
        (NAMED, CONFIGS[3]),
        (NAMED, CONFIGS[4]),
        (FRAMES, NetworkConfig(torso="shallow")),
        (FRAMES, NetworkConfig(torso="deep")),
    ],
    ids=["mlp", "lstm", "gru", "shallow", "deep"],
)
def test_forward_mode_derivatives_equal_reverse_mode(spec: SpaceSpec, config: NetworkConfig) -> None:
    agent, rows = make(spec, config).double(), inputs(spec)
    rows = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in rows.items()}
    weights = {name: parameter.detach() for name, parameter in agent.named_parameters()}
    direction = {name: torch.randn_like(weight) for name, weight in weights.items()}

    def run(params: dict[str, torch.Tensor]) -> torch.Tensor:
        output = functional_call(agent, params, (NetworkInputs(**rows, initial_state=agent.initial_state(B)),))
        return torch.cat((output.distribution_params.flatten(), output.value.flatten()))

    outputs, tangent = torch.func.jvp(run, (weights,), (direction,))
    cotangent = torch.randn_like(outputs)
    _, pull_back = torch.func.vjp(run, weights)
    (slopes,) = pull_back(cotangent)
    want = torch.stack([(slopes[name] * direction[name]).sum() for name in weights]).sum()
    torch.testing.assert_close((tangent * cotangent).sum(), want, rtol=1e-8, atol=1e-8)


def test_the_same_seed_makes_the_same_agent() -> None:
    first, second = make(CONTROL), make(CONTROL)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_mlp_has_orthogonal_layers() -> None:
    torch.manual_seed(0)
    weight = MLP(32, (8,), "tanh").layers[0].weight
    torch.testing.assert_close(weight @ weight.t(), 2 * torch.eye(8), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("spec", "config", "match"),
    [
        (CONTROL, NetworkConfig(torso="deep"), "torso deep needs images"),
        (FRAMES, NetworkConfig(torso="shallow", separate_value=True), "separate_value"),
        (CONTROL, NetworkConfig(core="gru", separate_value=True), "separate_value"),
        (FRAMES, NetworkConfig(torso="shallow", normalise_observations=True), "normalise_observations"),
    ],
)
def test_what_does_not_fit_is_refused(spec: SpaceSpec, config: NetworkConfig, match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        Agent(spec, config)


def test_snapshots_are_read_only_copies_and_come_back() -> None:
    params = {"w": torch.randn(3, 2, requires_grad=True), "b": torch.randn(2, dtype=torch.float64)}
    arrays = parameters_to_arrays(params)
    assert all(array.dtype == np.float32 and not array.flags.writeable for array in arrays.values())
    back = arrays_to_parameters(arrays)
    assert torch.equal(back["w"], params["w"].detach())
    with torch.no_grad():
        params["w"].zero_()
        back["b"].zero_()
    assert arrays["w"].any()
    assert arrays["b"].any()
