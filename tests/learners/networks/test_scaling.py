"""Integers are scaled by the bounds of their space, for every network, and pixels by 255."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from envs.errors import InvalidInputError
from learners.networks.agent import Agent, NetworkConfig, NetworkInputs, SpaceSpec
from learners.networks.scaling import Scaling

T, B = 2, 3
TORSOS = ["mlp", "shallow", "deep"]
IMAGE = (3, 24, 22)


def made(spec: SpaceSpec, config: NetworkConfig) -> Agent:
    torch.manual_seed(0)
    return Agent(spec, config)


def value(agent: Agent, obs: Tensor) -> Tensor:
    none = torch.zeros(T, B)
    inputs = NetworkInputs(obs=obs, is_first=none.bool(), previous_action=none.long(), previous_reward=none, initial_state=())
    found: Tensor = agent(inputs).value
    return found


def integers(low: int, high: int, shape: tuple[int, ...], dtype: torch.dtype = torch.uint8) -> Tensor:
    return torch.randint(low, high + 1, (T, B, *shape), generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("torso", TORSOS)
def test_flags_are_taken_as_they_are(torso: str) -> None:
    config = NetworkConfig(torso=torso)  # type: ignore[arg-type]
    flags = made(SpaceSpec(IMAGE, "uint8", num_actions=2, obs_bounds=((0.0,), (1.0,))), config)
    floats = made(SpaceSpec(IMAGE, "float32", num_actions=2), config)
    obs = integers(0, 1, IMAGE)
    assert torch.equal(value(flags, obs), value(floats, obs.float()))


@pytest.mark.parametrize("torso", TORSOS)
@pytest.mark.parametrize(("dtype", "low", "high"), [("uint8", 0, 10), ("int16", 0, 1000), ("int64", -3, 9)])
def test_numbers_are_scaled_to_one_by_their_bounds(torso: str, dtype: str, low: int, high: int) -> None:
    config = NetworkConfig(torso=torso)  # type: ignore[arg-type]
    spec = SpaceSpec(IMAGE, dtype, num_actions=2, obs_bounds=((float(low),), (float(high),)))
    obs = integers(low, high, IMAGE, torch.uint8 if dtype == "uint8" else torch.float32)
    want = value(made(SpaceSpec(IMAGE, "float32", num_actions=2), config), (obs.double() - low).div(high - low).float())
    torch.testing.assert_close(value(made(spec, config), obs), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("torso", TORSOS)
def test_each_component_has_its_own_bounds(torso: str) -> None:
    low = torch.zeros(IMAGE)
    low[1], low[2] = -2.0, -torch.inf
    high = torch.full(IMAGE, 10.0)
    high[1], high[2] = 2.0, torch.inf
    bounds = (tuple(low.flatten().tolist()), tuple(high.flatten().tolist()))
    config = NetworkConfig(torso=torso)  # type: ignore[arg-type]
    obs = integers(0, 2, IMAGE, torch.float32)
    scaled = obs.clone()
    scaled[:, :, 0] /= 10
    scaled[:, :, 1] = (scaled[:, :, 1] + 2) / 4  # and channel 2 is unbounded
    want = value(made(SpaceSpec(IMAGE, "float32", num_actions=2), config), scaled)
    got = value(made(SpaceSpec(IMAGE, "int32", num_actions=2, obs_bounds=bounds), config), obs)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_stacked_frames_are_scaled_alike() -> None:
    config, shape = NetworkConfig(torso="deep"), (4, 9, 8)
    spec = SpaceSpec(shape, "uint8", num_actions=2, frame_stack=4, obs_bounds=((0.0,), (10.0,)))
    obs = integers(0, 10, shape)
    want = value(made(SpaceSpec(shape, "float32", num_actions=2), config), obs.float() / 10)
    torch.testing.assert_close(value(made(spec, config), obs), want, rtol=1e-4, atol=1e-5)


def test_pixels_are_divided_by_255_to_the_last_bit() -> None:
    obs = integers(0, 255, (128,))
    pixels = made(SpaceSpec((128,), "uint8", num_actions=2), NetworkConfig())
    floats = made(SpaceSpec((128,), "float32", num_actions=2), NetworkConfig())
    assert torch.equal(value(pixels, obs), value(floats, obs.float() * (1.0 / 255.0)))
    frames = made(SpaceSpec(IMAGE, "uint8", num_actions=2), NetworkConfig(torso="shallow"))
    floats = made(SpaceSpec(IMAGE, "float32", num_actions=2), NetworkConfig(torso="shallow"))
    with torch.no_grad():
        floats.torso.convs[0].conv.weight *= 1.0 / 255.0  # type: ignore[union-attr,index,operator]
    obs = integers(0, 255, IMAGE)
    assert torch.equal(value(frames, obs), value(floats, obs.float()))


def test_a_component_that_cannot_change_is_zero() -> None:
    spec = SpaceSpec((2,), "int32", num_actions=2, obs_bounds=((7.0, 0.0), (7.0, 4.0)))
    assert Scaling(spec)(torch.tensor([[7.0, 2.0]])).tolist() == [[0.0, 0.5]]


def test_no_snapshot_holds_the_bounds() -> None:
    agent = made(SpaceSpec((2,), "int32", num_actions=2, obs_bounds=((0.0, 0.0), (7.0, 4.0))), NetworkConfig())
    assert not agent.state_dict().keys() - dict(agent.named_parameters()).keys()


@pytest.mark.parametrize(("torso", "shape"), [("mlp", (5,)), ("deep", (2, 6, 5))])
def test_integers_are_normalised_by_their_moments_instead_where_that_is_asked_for(torso: str, shape: tuple[int, ...]) -> None:
    config = NetworkConfig(torso=torso, normalise_observations=True)  # type: ignore[arg-type]
    grid = made(SpaceSpec(shape, "uint8", num_actions=2, obs_bounds=((0.0,), (10.0,))), config)
    floats = made(SpaceSpec(shape, "float32", num_actions=2), config)
    for agent in (grid, floats):
        agent.observation_mean += 4.0
        agent.observation_std *= 3.0
    obs = integers(0, 10, shape)
    assert torch.equal(value(grid, obs), value(floats, obs.float()))


def test_pixels_may_be_normalised_as_a_vector_and_not_as_an_image() -> None:
    config = NetworkConfig(normalise_observations=True)
    ram, floats = (made(SpaceSpec((8,), dtype, num_actions=2), config) for dtype in ("uint8", "float32"))
    obs = integers(0, 255, (8,))
    assert torch.equal(value(ram, obs), value(floats, obs.float()))
    with pytest.raises(InvalidInputError, match="normalise_observations is not allowed with torso deep for pixels"):
        Agent(SpaceSpec(IMAGE, "uint8", num_actions=2), NetworkConfig(torso="deep", normalise_observations=True))
