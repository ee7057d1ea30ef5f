"""The fused scan against forward-mode autodiff of V-trace itself, and leaky V-trace against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.unrolls import Unroll, unroll

from learners.ops.cotangents import RETURN_PARAMETERS, cotangent_derivatives, return_parameters
from learners.ops.vtrace import MAX_LEAKED_LOG_RATIO, leaky_ratio, vtrace
from learners.ops.vtrace_derivatives import Clips, VTraceDerivatives, vtrace_with_derivatives

CLIPS = {"clip_rho": 1.4, "clip_c": 0.8, "clip_pg_rho": 1.1}
POINT = {"gamma": 0.9, "lambda": 0.7, "leak_rho": 0.8, "leak_c": 0.5}


def fused(data: Unroll, by: tuple[str, ...] = RETURN_PARAMETERS, point: dict[str, float] = POINT) -> VTraceDerivatives:
    inputs = data.tensors()
    inputs["continues_t"] = 1 - torch.tensor(data.terminated, dtype=torch.float64)
    del inputs["discount_t"]
    return vtrace_with_derivatives(
        log_rho_t=data.log_rho_t,
        **inputs,
        gamma=point["gamma"],
        lambda_=point["lambda"],
        clips=Clips(rho=1.4, c=0.8, pg_rho=1.1, leak_rho=point["leak_rho"], leak_c=point["leak_c"]),
        by=return_parameters(by),
    )


def outputs(data: Unroll, point: torch.Tensor) -> torch.Tensor:
    """V-trace as a function of (gamma, lambda, leak_rho, leak_c): targets and advantages [2, T, B]."""
    inputs = data.tensors() | {"discount_t": point[0] * (1 - torch.tensor(data.terminated, dtype=torch.float64))}
    got = vtrace(log_rho_t=data.log_rho_t, lambda_=point[1], leak_rho=point[2], leak_c=point[3], **inputs, **CLIPS)
    return torch.stack((got.value_target, got.advantage))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    length=st.integers(9, 14),
    point=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
)
def test_equals_forward_mode_through_vtrace(seed: int, length: int, point: tuple[float, float, float, float]) -> None:
    data, at = unroll(seed, length, 6), torch.tensor(point, dtype=torch.float64)
    got = fused(data, point=dict(zip(POINT, point, strict=True)))
    want = outputs(data, at)
    torch.testing.assert_close(got.targets.value_target, want[0])
    torch.testing.assert_close(got.targets.advantage, want[1])
    jacobian = torch.func.jacfwd(lambda x: outputs(data, x))(at)
    torch.testing.assert_close(got.value_target, jacobian[0].movedim(-1, 0))
    torch.testing.assert_close(got.advantage, jacobian[1].movedim(-1, 0))


def test_equals_central_differences() -> None:
    data, at, h = unroll(), torch.tensor(list(POINT.values()), dtype=torch.float64), 1e-6
    got = fused(data)
    for m in range(4):
        step = h * torch.eye(4, dtype=torch.float64)[m]
        want = (outputs(data, at + step) - outputs(data, at - step)) / (2 * h)
        torch.testing.assert_close(torch.stack((got.value_target[m], got.advantage[m])), want, rtol=1e-6, atol=1e-8)
        assert want.abs().sum() > 1


def test_the_order_asked_for_is_the_order_given_and_none_is_allowed() -> None:
    data = unroll()
    whole, part = fused(data), fused(data, ("leak_c", "gamma"))
    assert torch.equal(part.advantage, whole.advantage[[3, 0]])
    none = fused(data, ())
    assert none.value_target.shape == (0, *data.reward.shape)
    assert torch.equal(none.targets.advantage, whole.targets.advantage)


def test_a_reset_row_has_no_derivative_and_hands_none_on() -> None:
    data = unroll()
    got, reset = fused(data), torch.tensor(data.is_reset)
    assert reset.any()
    assert not got.value_target[:, reset].any()
    assert not got.advantage[:, reset].any()


@pytest.mark.parametrize("leak", [0.0, 0.3, 1.0])
def test_a_leak_is_a_mixture_of_the_clipped_and_the_unclipped_ratio(leak: float) -> None:
    log_rho = unroll().log_rho_t
    ratio = np.exp(log_rho.numpy())
    assert (ratio < 1.3).any() and (ratio > 1.3).any()
    want = leak * np.minimum(1.3, ratio) + (1 - leak) * ratio
    np.testing.assert_allclose(leaky_ratio(log_rho, 1.3, leak), want, rtol=1e-13)
    tensor = torch.tensor(leak, dtype=torch.float64)
    np.testing.assert_allclose(leaky_ratio(log_rho, 1.3, tensor), want, rtol=1e-13)


def test_what_leaks_is_bounded_where_a_ratio_would_overflow() -> None:
    leaked = leaky_ratio(torch.full((2, 1), 500.0), 1.0, 0.5)
    assert leaked.isfinite().all()
    assert leaked.max().item() == pytest.approx(0.5 + 0.5 * math.exp(MAX_LEAKED_LOG_RATIO), rel=1e-6)


def test_cotangents_equal_the_derivative_of_the_loss_s_own() -> None:
    """dc/deta from the formula against autodiff of the loss by its outputs, and of that by eta."""
    data = unroll()
    names = (*RETURN_PARAMETERS, "policy_cost", "baseline_cost", "entropy_cost")
    at = torch.tensor([*POINT.values(), 1.1, 0.4, 0.02], dtype=torch.float64)
    weight, value = torch.tensor(data.weight), torch.tensor(data.value[:-1])

    def cotangents(eta: torch.Tensor) -> torch.Tensor:
        target, advantage = outputs(data, eta[:4])
        policy, baseline, entropy = eta[4:]
        answers = torch.stack((torch.zeros_like(value), value, torch.zeros_like(value)))

        def loss(it: torch.Tensor) -> torch.Tensor:
            terms = -policy * advantage * it[0] + baseline * 0.5 * (target - it[1]).square() - entropy * it[2]
            return (weight * terms).sum()

        return torch.func.grad(loss)(answers)

    want = torch.func.jacfwd(cotangents)(at).movedim(-1, 0)
    costs = {"policy_cost": 1.1, "baseline_cost": 0.4}
    torch.testing.assert_close(cotangent_derivatives(names, fused(data), value, weight, **costs), want)
    order = ("entropy_cost", "leak_c", "policy_cost", "gamma")
    got = cotangent_derivatives(order, fused(data, order), value, weight, **costs)
    torch.testing.assert_close(got, want[[names.index(name) for name in order]])
