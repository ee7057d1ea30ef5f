from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.optimisers import rmsprop_inside_sqrt

from learners.ops import optimisers
from learners.ops.optimisers import OptimiserConfig, OptimiserState

RATES = [0.1, 0.05, 0.02, 0.01, 0.2, 0.1]


def problem() -> tuple[dict[str, torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Parameters and six gradients, from tiny to large, with an entry that never gets any."""
    generator = torch.Generator().manual_seed(0)
    params = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in (("w", (3, 2)), ("b", (2,)))}
    grads = []
    for scale in (1e-3, 1.0, 10.0, 0.1, 1e-6, 3.0):
        drawn = {name: scale * torch.randn(p.shape, generator=generator, dtype=torch.float64) for name, p in params.items()}
        drawn["w"][0, 0] = 0.0
        grads.append(drawn)
    return params, grads


def run(config: OptimiserConfig) -> dict[str, torch.Tensor]:
    params, grads = problem()
    state = optimisers.init(config, params)
    for grad, rate in zip(grads, RATES, strict=True):
        params, state = optimisers.apply(config, state, params, grad, rate)
    assert state.step == len(grads)
    return params


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("second_moment_init", [None, 0.25])
def test_rmsprop_inside_sqrt_equals_tensorflow(momentum: float, second_moment_init: float | None) -> None:
    config = OptimiserConfig(decay=0.9, epsilon=0.1, momentum=momentum, second_moment_init=second_moment_init)
    got = run(config)
    params, grads = problem()
    second_moment = 1.0 if second_moment_init is None else second_moment_init
    for name, start in params.items():
        for index in np.ndindex(*start.shape):
            slopes = [grad[name][index].item() for grad in grads]
            want = rmsprop_inside_sqrt(
                start[index].item(), slopes, RATES, decay=0.9, epsilon=0.1, momentum=momentum, second_moment=second_moment
            )
            assert got[name][index].item() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("config", "theirs"),
    [
        (
            OptimiserConfig(kind="rmsprop_outside_sqrt", decay=0.9, epsilon=0.01),
            lambda p: torch.optim.RMSprop(p, alpha=0.9, eps=0.01),
        ),
        (
            OptimiserConfig(kind="rmsprop_outside_sqrt", decay=0.9, epsilon=1e-5, momentum=0.8),
            lambda p: torch.optim.RMSprop(p, alpha=0.9, eps=1e-5, momentum=0.8),
        ),
        (
            OptimiserConfig(kind="adam", beta1=0.8, beta2=0.95, epsilon=1e-5),
            lambda p: torch.optim.Adam(p, betas=(0.8, 0.95), eps=1e-5),
        ),
    ],
    ids=["rmsprop", "rmsprop with momentum", "adam"],
)
def test_the_others_equal_torch(config: OptimiserConfig, theirs: type[torch.optim.Optimizer]) -> None:
    got = run(config)
    params, grads = problem()
    optimiser = theirs(list(params.values()))
    for grad, rate in zip(grads, RATES, strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate
        for name, parameter in params.items():
            parameter.grad = grad[name]
        optimiser.step()
    for name, parameter in params.items():
        torch.testing.assert_close(got[name], parameter, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", ["rmsprop_inside_sqrt", "rmsprop_outside_sqrt", "adam"])
def test_apply_is_pure_and_takes_any_order_of_names(kind: optimisers.Kind) -> None:
    config = OptimiserConfig(kind=kind, momentum=0.5)
    params, grads = problem()
    state = optimisers.init(config, params)
    for tensors in (params, grads[0], state.second_moment, state.first_moment):
        for tensor in tensors.values():
            tensor.requires_grad_(False)
    copies = [
        {n: t.clone() for n, t in tensors.items()} for tensors in (params, grads[1], state.second_moment, state.first_moment)
    ]
    once = optimisers.apply(config, state, params, grads[1], 0.1)
    again = optimisers.apply(config, state, params, grads[1], 0.1)
    for before, after in zip(copies, (params, grads[1], state.second_moment, state.first_moment), strict=True):
        assert all(torch.equal(before[name], after[name]) for name in after)
    assert all(torch.equal(once[0][name], again[0][name]) for name in params)

    def reverse(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return dict(reversed(tensors.items()))

    turned = OptimiserState(second_moment=reverse(state.second_moment), first_moment=reverse(state.first_moment))
    reordered = optimisers.apply(config, turned, params, reverse(grads[1]), 0.1)
    assert all(torch.equal(once[0][name], reordered[0][name]) for name in params)


def test_epsilon_inside_the_root_is_the_larger_divisor() -> None:
    params, grads = {"w": torch.zeros(1)}, {"w": torch.full((1,), 1e-4)}
    steps = {}
    for kind in ("rmsprop_inside_sqrt", "rmsprop_outside_sqrt"):
        config = OptimiserConfig(kind=kind, epsilon=0.01, second_moment_init=0.0)
        steps[kind] = -optimisers.apply(config, optimisers.init(config, params), params, grads, 1.0)[0]["w"].item()
    assert steps["rmsprop_outside_sqrt"] / steps["rmsprop_inside_sqrt"] == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("kind", ["rmsprop_inside_sqrt", "rmsprop_outside_sqrt", "adam"])
def test_an_update_can_be_differentiated(kind: optimisers.Kind) -> None:
    config = OptimiserConfig(kind=kind, epsilon=1e-3)
    params, grads = problem()
    state = optimisers.init(config, params)

    def updated(w: torch.Tensor, b: torch.Tensor, rate: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(optimisers.apply(config, state, params, {"w": w, "b": b}, rate)[0].values())

    slopes = grads[1]["w"] + 0.1, grads[1]["b"]  # no zero: the root's derivative there is set, and not what a difference finds
    inputs = (*(slope.requires_grad_() for slope in slopes), torch.tensor(0.1, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(updated, inputs, check_forward_ad=True)


@pytest.mark.parametrize("kind", ["rmsprop_outside_sqrt", "adam"])
def test_a_parameter_without_gradient_makes_no_nan_in_the_update_or_its_derivative(kind: optimisers.Kind) -> None:
    config = OptimiserConfig(kind=kind, epsilon=1e-8)
    params, grad = {"w": torch.ones(2)}, torch.tensor([0.0, 1.0], requires_grad=True)
    new, _ = optimisers.apply(config, optimisers.init(config, params), params, {"w": grad}, 0.1)
    assert new["w"][0].item() == 1.0
    (slope,) = torch.autograd.grad(new["w"].sum(), grad)
    assert slope.isfinite().all()
