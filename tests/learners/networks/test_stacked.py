"""Stacked networks against one network at a time, and their gradient against autograd's and against differences."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from learners.networks import stacked_mlp
from learners.networks.stacked import Layout, Per, draw_mlp, draw_normalised, mlp
from learners.networks.stacked_mlp import apply_mlp, apply_mlp_to_few, folded

SIZES = (5, 7, 6, 3)


def drawn(num_lifetimes: int, sizes: tuple[int, ...] = SIZES) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    pairs = pairwise(sizes)
    return [
        (
            torch.randn(num_lifetimes, i, j, generator=generator, dtype=torch.float64).requires_grad_(),
            torch.randn(num_lifetimes, j, generator=generator, dtype=torch.float64).requires_grad_(),
        )
        for i, j in pairs
    ]


def plain(x: torch.Tensor, layers: list[tuple[torch.Tensor, torch.Tensor]], lifetime: int) -> torch.Tensor:
    for index, (weight, bias) in enumerate(layers):
        x = x @ weight[lifetime] + bias[lifetime]
        x = torch.tanh(x) if index < len(layers) - 1 else x
    return x


@pytest.mark.parametrize("sizes", [SIZES, (5, 3), (5, 4, 3)], ids=str)
@pytest.mark.parametrize("lives_per_block", [1, 2, 100])
def test_it_is_the_network_of_each_lifetime(
    sizes: tuple[int, ...], lives_per_block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacked_mlp, "BLOCK_BYTES", lives_per_block * 9 * max((*sizes[1:-1], 1)) * 8)
    layers, x = drawn(5, sizes), torch.randn(5, 9, sizes[0], dtype=torch.float64)
    weight = torch.randn(5, 9, sizes[-1], dtype=torch.float64)
    outputs = apply_mlp(x, *folded(layers))
    expected = torch.stack([plain(x[lifetime], layers, lifetime) for lifetime in range(5)])
    torch.testing.assert_close(outputs, expected)
    with torch.no_grad():
        torch.testing.assert_close(apply_mlp_to_few(x, folded(layers)), expected)
    leaves = [tensor for layer in layers for tensor in layer]
    ours, theirs = (torch.autograd.grad((result * weight).sum(), leaves) for result in (outputs, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_its_gradient_is_that_of_differences() -> None:
    layers, x = drawn(2), torch.randn(2, 4, 5, dtype=torch.float64)
    leaves = [tensor for layer in layers for tensor in layer]
    assert torch.autograd.gradcheck(lambda *flat: apply_mlp(x, *folded(list(zip(flat[::2], flat[1::2], strict=True)))), leaves)


def test_a_layout_takes_rows_apart_and_puts_them_together() -> None:
    layout = Layout({"b": (2, 3), "a": (4,), "c": ()})
    rows = torch.arange(22.0).view(2, 11)
    views = layout.views(rows)
    assert views["b"].shape == (2, 2, 3)
    assert views["a"][1].tolist() == [17, 18, 19, 20]
    assert views["c"].tolist() == [10, 21]
    assert torch.equal(layout.rows(views), rows)
    assert layout.row({name: view[1].numpy() for name, view in views.items()}).tolist() == rows[1].tolist()
    views["a"].zero_()
    assert rows[0, 6:10].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("per", "axis"), [("input", 1), ("output", 0)])
def test_the_vectors_of_an_input_or_of_an_output_have_the_norm_asked_for(per: Per, axis: int) -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(np.linalg.norm(draw_normalised(rng, 6, 4, 0.01, per), axis=axis), 0.01)
    start = draw_mlp(rng, "policy", (5, 8, 2), 0.01, per)
    np.testing.assert_allclose(np.linalg.norm(start["policy.0.weight"], axis=axis), 1)
    np.testing.assert_allclose(np.linalg.norm(start["policy.1.weight"], axis=axis), 0.01)
    shapes = {"policy.0.weight": (5, 8), "policy.0.bias": (8,), "policy.1.weight": (8, 2), "policy.1.bias": (2,)}
    assert {name: array.shape for name, array in start.items()} == shapes
    x = torch.randn(1, 3, 5, dtype=torch.float64)
    stacked = {name: torch.from_numpy(array)[None] for name, array in start.items()}
    assert mlp(x, stacked, "policy", 2).shape == (1, 3, 2)
