"""Images with their channels first or last are the same to a network, or are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from envs.errors import InvalidInputError
from learners.networks.agent import Agent, NetworkConfig, NetworkInputs, SpaceSpec
from learners.networks.images import ImageLayout, image_layout

T, B = 2, 3


@pytest.mark.parametrize(
    ("obs_shape", "images", "is_last"),
    [
        ((96, 96, 3), (3, 96, 96), True),
        ((210, 160, 3), (3, 210, 160), True),
        ((7, 7, 3), (3, 7, 7), True),
        ((84, 84, 1), (1, 84, 84), True),
        ((10, 10, 6), (6, 10, 10), True),
        ((3, 96, 96), (3, 96, 96), False),
        ((4, 84, 84), (4, 84, 84), False),
        ((12, 64, 48), (12, 64, 48), False),
        ((84, 84), (1, 84, 84), False),
        ((4, 96, 96, 3), (12, 96, 96), True),
        ((4, 3, 96, 96), (12, 96, 96), False),
    ],
)
def test_the_shape_says_where_the_channels_are(obs_shape: tuple[int, ...], images: tuple[int, int, int], is_last: bool) -> None:
    layout = image_layout("deep", obs_shape, "auto", has_frames_first=False)
    assert layout == ImageLayout(shape=images, is_last=is_last)


def test_stacked_frames_are_known_to_stand_first() -> None:
    assert image_layout("deep", (9, 8, 7), "auto", has_frames_first=True) == ImageLayout(shape=(9, 8, 7), is_last=False)
    assert image_layout("deep", (4, 8, 7, 3), "auto", has_frames_first=True) == ImageLayout(shape=(12, 8, 7), is_last=True)


@pytest.mark.parametrize("obs_shape", [(3, 64, 3), (4, 84, 4), (10, 10, 10), (8, 8, 111), (2, 3, 64, 3)])
def test_what_may_be_read_in_two_ways_is_refused_until_the_config_says_which(obs_shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"may have their channels first or last: set network\.channels=first") as it:
        image_layout("deep", obs_shape, "auto", has_frames_first=False)
    assert str(obs_shape[-3:]) in str(it.value) and "\n" not in str(it.value)
    *frames, first, middle, last = obs_shape
    num = int(np.prod(frames))
    assert image_layout("deep", obs_shape, "first", has_frames_first=False).shape == (num * first, middle, last)
    assert image_layout("deep", obs_shape, "last", has_frames_first=False).shape == (num * last, first, middle)


@pytest.mark.parametrize("obs_shape", [(4,), (), (2, 3, 4, 5, 6)])
def test_what_is_no_image_is_refused(obs_shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"torso deep needs images .* have shape \(.*\): try torso mlp"):
        image_layout("deep", obs_shape, "auto", has_frames_first=False)


def inputs_of(obs: Tensor) -> NetworkInputs:
    """Observations [T, B, ...] in the middle of episodes, with discrete actions."""
    none = torch.zeros(obs.shape[:2])
    return NetworkInputs(obs=obs, is_first=none.bool(), previous_action=none.long(), previous_reward=none, initial_state=())


def answers(torso: str, obs: Tensor, num_frames: int = 1) -> list[Tensor]:
    """Values of an agent with fixed weights, and the gradient by each of them."""
    torch.manual_seed(0)
    agent = Agent(SpaceSpec(tuple(obs.shape[2:]), "uint8", 2, frame_stack=num_frames), NetworkConfig(torso=torso))  # type: ignore[arg-type]
    output = agent(inputs_of(obs))
    slopes = torch.autograd.grad(output.value.square().sum(), list(agent.torso.parameters()))
    return [output.value, output.distribution_params, *slopes]


@pytest.mark.parametrize("torso", ["shallow", "deep"])
@pytest.mark.parametrize("shape", [(3, 24, 22), (1, 24, 22), (4, 21, 21), (2, 3, 24, 22), (2, 1, 24, 22)])
def test_channels_last_is_the_transposed_environment_to_the_last_bit(torso: str, shape: tuple[int, ...]) -> None:
    first = torch.randint(256, (T, B, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    last = first.movedim(-3, -1).contiguous()
    for got, want in zip(answers(torso, last), answers(torso, first), strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("torso", ["shallow", "deep"])
def test_stacks_and_grey_images_are_their_channels(torso: str) -> None:
    frames = torch.randint(256, (T, B, 4, 3, 24, 22), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    want = answers(torso, frames.flatten(2, 3))
    for got in (answers(torso, frames), answers(torso, frames, num_frames=4)):
        assert all(torch.equal(mine, other) for mine, other in zip(got, want, strict=True))
    grey, want = frames[:, :, 0, 0], answers(torso, frames[:, :, 0, :1])
    assert all(torch.equal(mine, other) for mine, other in zip(answers(torso, grey), want, strict=True))


def test_turning_an_image_copies_nothing() -> None:
    obs = torch.zeros(5, 24, 22, 3, dtype=torch.uint8)
    images = image_layout("deep", (24, 22, 3), "auto", has_frames_first=False).images(obs)
    assert images.shape == (5, 3, 24, 22) and images.data_ptr() == obs.data_ptr()
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_mlp_torso_reads_images_in_the_order_in_which_they_come() -> None:
    torch.manual_seed(0)
    images, rows = (Agent(SpaceSpec(shape, "uint8", 2), NetworkConfig()) for shape in ((6, 5, 3), (90,)))
    rows.load_state_dict(images.state_dict())
    obs = torch.randint(256, (T, B, 6, 5, 3), dtype=torch.uint8)
    got, want = (agent(inputs_of(given)).value for agent, given in ((images, obs), (rows, obs.flatten(2))))
    assert torch.equal(got, want)


@pytest.mark.parametrize("side", [1, 2, 3, 7])
def test_the_deep_torso_takes_images_of_any_size(side: int) -> None:
    spec = SpaceSpec((3, side + 3, side), "uint8", 2)
    agent = Agent(spec, NetworkConfig(torso="deep", channels="first"))
    assert agent(inputs_of(torch.zeros(T, B, *spec.obs_shape, dtype=torch.uint8))).value.shape == (T, B)


def test_the_shallow_torso_says_what_it_needs() -> None:
    with pytest.raises(InvalidInputError, match=r"torso shallow needs images of 20 x 20 pixels .* \(3, 7, 7\) are too small"):
        Agent(SpaceSpec((7, 7, 3), "uint8", 2), NetworkConfig(torso="shallow"))
