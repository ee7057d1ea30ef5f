from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import vtrace as oracle
from oracles.unrolls import Unroll, unroll

from learners.ops.returns import lambda_returns
from learners.ops.vtrace import VTrace, vtrace


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def run(data: Unroll, lambda_: float = 0.9, **clips: float) -> VTrace:
    return vtrace(log_rho_t=data.log_rho_t, lambda_=scalar(lambda_), **data.tensors(), **clips)


def assert_equals_the_sum_of_products(data: Unroll, lambda_: float, clip_rho: float, clip_c: float, clip_pg_rho: float) -> None:
    got = run(data, lambda_, clip_rho=clip_rho, clip_c=clip_c, clip_pg_rho=clip_pg_rho)
    for t, b in data.experience():
        columns = (
            np.exp(data.log_ratio[:, b]),
            data.reward[:, b],
            data.discount[:, b],
            data.value[:-1, b],
            data.value[1:, b],
            data.ended[:, b],
        )
        constants = {"lambda_": lambda_, "clip_rho": clip_rho, "clip_c": clip_c, "start": t}
        assert got.value_target[t, b].item() == pytest.approx(oracle.value_target(*columns, **constants), rel=1e-9, abs=1e-9)
        want = oracle.advantage(*columns, **constants, clip_pg_rho=clip_pg_rho)
        assert got.advantage[t, b].item() == pytest.approx(want, rel=1e-9, abs=1e-9)
        assert got.rho[t, b].item() == pytest.approx(min(clip_rho, np.exp(data.log_ratio[t, b])))


@pytest.mark.parametrize("lambda_", [0.0, 0.6, 1.0])
@pytest.mark.parametrize(("clip_rho", "clip_c", "clip_pg_rho"), [(1.0, 1.0, 1.0), (2.0, 0.7, 1.3), (1e9, 1e9, 1e9)])
def test_equals_the_sum_of_products(lambda_: float, clip_rho: float, clip_c: float, clip_pg_rho: float) -> None:
    data = unroll()
    ratio = np.exp(data.log_ratio)
    if clip_rho < 1e9:  # the inputs lie on both sides of every clip
        assert all((ratio < clip).any() and (ratio > clip).any() for clip in (clip_rho, clip_c, clip_pg_rho))
    assert_equals_the_sum_of_products(data, lambda_, clip_rho, clip_c, clip_pg_rho)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    length=st.integers(9, 14),
    gamma=st.floats(0.0, 1.0),
    lambda_=st.floats(0.0, 1.0),
    clips=st.tuples(st.floats(0.05, 5.0), st.floats(0.05, 5.0), st.floats(0.05, 5.0)),
)
def test_equals_the_sum_of_products_for_any_borders_and_clips(
    seed: int, length: int, gamma: float, lambda_: float, clips: tuple[float, float, float]
) -> None:
    assert_equals_the_sum_of_products(unroll(seed, length, 6, gamma), lambda_, *clips)


def test_equals_figures_worked_by_hand() -> None:
    one = torch.ones(3, 1, dtype=torch.float64)
    got = vtrace(
        log_rho_t=torch.tensor([[2.0], [0.5], [4.0]], dtype=torch.float64).log(),
        reward_t=torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64),
        discount_t=0.5 * one,
        value_t=torch.tensor([[4.0], [6.0], [8.0]], dtype=torch.float64),
        value_tp1=torch.tensor([[6.0], [8.0], [10.0]], dtype=torch.float64),
        lambda_=scalar(0.5),
        weight_t=one,
        clip_pg_rho=3.0,
    )
    # deltas 0, 0, 0 but for the middle: r + 0.5 V' - V = (1+3-4, 2+4-6, 3+5-8) = 0; so v = V and A = 0 ...
    assert got.value_target.flatten().tolist() == [4.0, 6.0, 8.0]
    assert got.advantage.flatten().tolist() == [0.0, 0.0, 0.0]
    got = vtrace(
        log_rho_t=torch.tensor([[2.0], [0.5], [4.0]], dtype=torch.float64).log(),
        reward_t=torch.tensor([[1.0], [2.0], [7.0]], dtype=torch.float64),
        discount_t=0.5 * one,
        value_t=torch.tensor([[4.0], [6.0], [8.0]], dtype=torch.float64),
        value_tp1=torch.tensor([[6.0], [8.0], [10.0]], dtype=torch.float64),
        lambda_=scalar(0.5),
        weight_t=one,
        clip_pg_rho=3.0,
    )
    # ... and 4 more reward at the end: corrections 4, 0.5*0.5*0.5*4 = 0.5, 0.5*0.5*1*0.5 = 0.125
    np.testing.assert_allclose(got.value_target.flatten(), [4.125, 6.5, 12.0], rtol=1e-14)
    # A = min(3, ratio) * (delta + 0.5 * 0.5 * correction of the next step)
    np.testing.assert_allclose(got.advantage.flatten(), [2 * 0.125, 0.5 * 1.0, 3 * 4.0], rtol=1e-14)


@pytest.mark.parametrize("lambda_", [0.3, 1.0])
def test_on_policy_it_is_the_lambda_return(lambda_: float) -> None:
    data = unroll()
    inputs = data.tensors()
    got = vtrace(log_rho_t=torch.zeros_like(data.log_rho_t), lambda_=scalar(lambda_), **inputs)
    value_t, weight = inputs.pop("value_t"), inputs["weight_t"]
    want = lambda_returns(**inputs, lambda_=scalar(lambda_))
    torch.testing.assert_close(got.value_target * weight, want * weight)
    torch.testing.assert_close(got.advantage, (want - value_t) * weight)


def test_a_reset_row_has_no_advantage_and_its_value_as_target() -> None:
    data = unroll()
    got = run(data)
    reset = torch.tensor(data.is_reset)
    assert reset.any()
    assert torch.equal(got.value_target[reset], torch.tensor(data.value[:-1])[reset])
    assert not got.advantage[reset].any()
    assert not got.rho[reset].any()


@pytest.mark.parametrize(("column", "border"), [(0, 2), (1, 3)], ids=["termination", "truncation"])
def test_nothing_crosses_an_episode_border(column: int, border: int) -> None:
    data = unroll()
    before = run(data)
    changed = {name: tensor.clone() for name, tensor in data.tensors().items()}
    log_rho = data.log_rho_t.clone()
    log_rho[border + 1 :, column] += 1.0
    changed["reward_t"][border + 1 :, column] += 100.0
    changed["value_t"][border + 1 :, column] += 100.0
    changed["value_tp1"][border + 1 :, column] += 100.0
    after = vtrace(log_rho_t=log_rho, lambda_=scalar(0.9), **changed)
    assert torch.equal(after.value_target[: border + 1, column], before.value_target[: border + 1, column])
    assert torch.equal(after.advantage[: border + 1, column], before.advantage[: border + 1, column])
    assert not torch.equal(
        after.advantage[border + 2 :, column], before.advantage[border + 2 :, column]
    )  # and the change was seen


def test_only_a_truncated_step_bootstraps_from_its_final_observation() -> None:
    data = unroll()
    inputs = data.tensors()
    changed = inputs | {"value_tp1": inputs["value_tp1"].clone()}
    changed["value_tp1"][2, 0] += 1.0  # terminated there
    changed["value_tp1"][3, 1] += 1.0  # truncated there
    after = vtrace(log_rho_t=data.log_rho_t, lambda_=scalar(0.9), **changed)
    before = run(data)
    assert torch.equal(after.value_target[:, 0], before.value_target[:, 0])
    rho = before.rho[3, 1].item()
    assert (after.value_target - before.value_target)[3, 1].item() == pytest.approx(0.9 * rho)
    assert (after.advantage - before.advantage)[3, 1].item() == pytest.approx(0.9 * rho)


def test_gradients_reach_every_argument_but_the_weight_in_both_modes() -> None:
    data = unroll()
    inputs = {"log_rho_t": data.log_rho_t, **data.tensors(), "lambda_": scalar(0.7)}
    names = list(inputs)

    def outputs(*args: torch.Tensor) -> tuple[torch.Tensor, ...]:
        got = vtrace(**dict(zip(names, args, strict=True)), clip_rho=1.5, clip_c=1.1, clip_pg_rho=1.3)
        return got.value_target, got.advantage, got.rho

    arguments = tuple(tensor.requires_grad_(name != "weight_t") for name, tensor in inputs.items())
    assert torch.autograd.gradcheck(outputs, arguments, check_forward_ad=True)


def test_derivatives_by_gamma_and_lambda_equal_central_differences() -> None:
    data = unroll()
    inputs = data.tensors()
    alive = torch.tensor(1.0 - data.terminated)

    def targets(gamma: torch.Tensor, lambda_: torch.Tensor) -> torch.Tensor:
        got = vtrace(log_rho_t=data.log_rho_t, lambda_=lambda_, **(inputs | {"discount_t": gamma * alive}))
        return torch.stack((got.value_target, got.advantage))

    point, step = (scalar(0.9), scalar(0.8)), 1e-6
    for direction in ((1.0, 0.0), (0.0, 1.0)):
        tangent = (scalar(direction[0]), scalar(direction[1]))
        _, derivative = torch.func.jvp(targets, point, tangent)
        ahead = targets(*(x + step * d for x, d in zip(point, tangent, strict=True)))
        behind = targets(*(x - step * d for x, d in zip(point, tangent, strict=True)))
        torch.testing.assert_close(derivative, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-7)
        assert derivative.abs().sum() > 1


def test_a_ratio_beyond_float32_is_clipped_and_has_no_gradient() -> None:
    inputs = {name: tensor.float() for name, tensor in unroll().tensors().items()}
    log_rho = torch.full_like(inputs["reward_t"], 200.0, requires_grad=True)  # exp(200) is infinite in float32
    got = vtrace(log_rho_t=log_rho, lambda_=torch.tensor(1.0), **inputs)
    assert got.advantage.isfinite().all()
    assert torch.equal(got.rho, inputs["weight_t"])
    (gradient,) = torch.autograd.grad(got.value_target.sum() + got.advantage.sum(), log_rho)
    assert not gradient.any()
