from __future__ import annotations

import pytest
import torch
from torch import Tensor

from learners.ops import optimisers
from learners.ops.clip import clip_by_global_norm
from learners.ops.optimisers import OptimiserConfig, OptimiserState
from learners.ops.step_derivative import pull_back, push_forward

CONFIGS = [
    OptimiserConfig(kind="rmsprop_inside_sqrt", epsilon=0.01),
    OptimiserConfig(kind="rmsprop_inside_sqrt", epsilon=0.01, momentum=0.7),
    OptimiserConfig(kind="rmsprop_outside_sqrt", epsilon=0.01),
    OptimiserConfig(kind="rmsprop_outside_sqrt", epsilon=0.01, momentum=0.7),
    OptimiserConfig(kind="adam", epsilon=1e-3),
]
SHAPES = {"w": (2, 3), "b": (4,)}
RATE = 0.3


def draw(generator: torch.Generator) -> dict[str, Tensor]:
    return {name: torch.randn(shape, dtype=torch.float64, generator=generator) for name, shape in SHAPES.items()}


def make(config: OptimiserConfig, seed: int = 0) -> tuple[OptimiserState, dict[str, Tensor], dict[str, Tensor]]:
    """An optimiser that has seen two gradients, a gradient, and a vector."""
    generator = torch.Generator().manual_seed(seed)
    params = draw(generator)
    state = optimisers.init(config, params)
    for _ in range(2):
        params, state = optimisers.apply(config, state, params, draw(generator), RATE)
    return state, draw(generator), draw(generator)


def step(config: OptimiserConfig, state: OptimiserState, max_norm: float, flat: Tensor) -> Tensor:
    """theta' as a function of the gradient, both flat."""
    w, b = flat[:6].reshape(2, 3), flat[6:]
    clipped, _ = clip_by_global_norm({"w": w, "b": b}, max_norm)
    moved, _ = optimisers.apply(config, state, {"w": torch.zeros_like(w), "b": torch.zeros_like(b)}, clipped, RATE)
    return torch.cat((moved["w"].flatten(), moved["b"]))


def flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat((tensors["w"].flatten(), tensors["b"]))


@pytest.mark.parametrize("max_norm", [0.5, 1e9], ids=["clip active", "clip inactive"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.kind}, momentum {config.momentum}")
def test_both_directions_equal_the_whole_jacobian(config: OptimiserConfig, max_norm: float) -> None:
    state, grads, vector = make(config)
    jacobian = torch.autograd.functional.jacobian(lambda g: step(config, state, max_norm, g), flat(grads))
    arguments = (config, state, grads, max_norm, RATE, vector)
    torch.testing.assert_close(flat(pull_back(*arguments)), jacobian.T @ flat(vector))
    torch.testing.assert_close(flat(push_forward(*arguments)), jacobian @ flat(vector))
    assert jacobian.abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["rmsprop_outside_sqrt", "adam"])
def test_a_parameter_without_gradient_gives_no_nan(kind: str) -> None:
    config = OptimiserConfig(kind=kind)  # type: ignore[arg-type]
    zeros = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
    ones = {name: torch.ones(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
    for found in (pull_back, push_forward):
        assert flat(found(config, optimisers.init(config, zeros), zeros, 1.0, RATE, ones)).isfinite().all()
