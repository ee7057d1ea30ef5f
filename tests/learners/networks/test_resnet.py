from __future__ import annotations

import pytest
import torch
from oracles import images as oracle
from torch.func import functional_call

from envs.errors import InvalidInputError
from learners.networks import resnet
from learners.networks.resnet import DeepTorso, ShallowTorso

TORSOS = [(ShallowTorso, oracle.shallow, 676_144, 2_592), (DeepTorso, oracle.deep, 1_089_232, 3_872)]


def frames(num_rows: int, shape: tuple[int, int, int] = (4, 84, 84)) -> torch.Tensor:
    return torch.randint(0, 256, (num_rows, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("torso", "truth", "num_params", "num_inputs"), TORSOS)
def test_sizes_are_the_papers(
    torso: type[ShallowTorso] | type[DeepTorso], truth: object, num_params: int, num_inputs: int
) -> None:
    network = torso((4, 84, 84), input_scale=1 / 255)
    assert sum(parameter.numel() for parameter in network.parameters()) == num_params
    assert network.linear.in_features == num_inputs
    assert network.output_size == 256


@pytest.mark.parametrize(("torso", "truth"), [entry[:2] for entry in TORSOS])
@pytest.mark.parametrize("shape", [(4, 84, 84), (1, 30, 45)])
def test_equals_the_published_layers(
    torso: type[ShallowTorso] | type[DeepTorso], truth: type[torch.Tensor], shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    network = torso(shape, input_scale=1 / 255).double()  # in float32 rounding decides some maxima of a pool
    for parameter in network.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.1)  # biases that show when they are left out
    rows = frames(3, shape)
    weights = dict(network.named_parameters())
    got, want = network(rows), truth(rows.double(), weights)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    slopes = [torch.autograd.grad(out.square().sum(), list(weights.values())) for out in (got, want)]
    for mine, other in zip(*slopes, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9 * other.abs().max().item())


@pytest.mark.parametrize("torso", [ShallowTorso, DeepTorso])
def test_chunks_are_the_whole(torso: type[ShallowTorso] | type[DeepTorso], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, rows = torso((2, 28, 28), input_scale=1 / 255), frames(150, (2, 28, 28))
    whole_weights = list(network.parameters())
    got = network(rows)
    slopes = torch.autograd.grad(got.sum(), whole_weights)
    monkeypatch.setattr(resnet, "SHALLOW_ROWS", 1000)
    monkeypatch.setattr(resnet, "DEEP_ROWS", 1000)
    want = network(rows)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
    for mine, other in zip(slopes, torch.autograd.grad(want.sum(), whole_weights), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


@pytest.mark.parametrize("keep", [False, True])
def test_large_batches_are_convolved_again_instead_of_kept_with_the_same_bits(
    keep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network, rows = DeepTorso((2, 28, 28), input_scale=1 / 255), frames(40, (2, 28, 28))
    # not the module's own: by the time of the backward pass a functional call has taken them out again
    weights = {name: (2 * weight).detach().requires_grad_() for name, weight in network.named_parameters()}

    def run() -> tuple[torch.Tensor, list[torch.Tensor], int]:
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda kept: sizes.append(kept.nbytes) or kept, lambda kept: kept):
            found = functional_call(network, weights, (rows,)).square().sum()
        for _ in range(1 + keep):
            slopes = torch.autograd.grad(found, list(weights.values()), retain_graph=keep)
        return found, list(slopes), sum(sizes)

    want, slopes, kept = run()
    monkeypatch.setattr(resnet, "RECOMPUTE_BYTES", 0)
    got, again, kept_now = run()
    assert torch.equal(got, want)
    assert all(torch.equal(mine, other) for mine, other in zip(again, slopes, strict=True))
    assert kept_now < 0.2 * kept
    assert kept == pytest.approx(40 * 28 * 28 * resnet.DEEP_BYTES_PER_PIXEL, rel=0.3)


def test_a_batch_of_atari_frames_is_kept_and_one_of_full_screens_is_not() -> None:
    unrolls = 32 * 21
    assert unrolls * 84 * 84 * resnet.DEEP_BYTES_PER_PIXEL < resnet.RECOMPUTE_BYTES
    assert unrolls * 210 * 160 * resnet.DEEP_BYTES_PER_PIXEL > resnet.RECOMPUTE_BYTES


@pytest.mark.parametrize("torso", [ShallowTorso, DeepTorso])
def test_the_same_frames_give_the_same_bits(torso: type[ShallowTorso] | type[DeepTorso]) -> None:
    torch.manual_seed(0)
    network, rows = torso((4, 84, 84), input_scale=1 / 255), frames(20)
    first, second = (torch.autograd.grad(network(rows).square().sum(), list(network.parameters())) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("torso", [ShallowTorso, DeepTorso])
def test_float_images_are_taken_as_they_are(torso: type[ShallowTorso] | type[DeepTorso]) -> None:
    torch.manual_seed(0)
    integers = torso((4, 84, 84), input_scale=1 / 255)
    floats = torso((4, 84, 84), input_scale=1.0)
    floats.load_state_dict(integers.state_dict())
    rows = frames(2)
    torch.testing.assert_close(floats(rows.float() / 255), integers(rows), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("torso", "format_"), [(ShallowTorso, torch.contiguous_format), (DeepTorso, torch.channels_last)])
def test_bfloat16_stays_near_float32(torso: type[ShallowTorso] | type[DeepTorso], format_: torch.memory_format) -> None:
    torch.manual_seed(0)
    network, rows = torso((4, 84, 84), input_scale=1 / 255), frames(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(rows)
    assert half.dtype == torch.bfloat16
    want = network(rows)
    assert (half.float() - want).norm() < 0.02 * want.norm()
    first = next(module for module in network.modules() if isinstance(module, resnet.ImageInput))
    assert first.half_format == format_


def test_images_too_small_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"\(4, 19, 84\) are too small"):
        ShallowTorso((4, 19, 84), input_scale=1 / 255)
    assert ShallowTorso((4, 20, 20), input_scale=1 / 255)(frames(1, (4, 20, 20))).shape == (1, 256)
