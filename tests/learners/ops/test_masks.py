"""What is masked may be NaN or infinite: no bit of a result, and of no gradient, depends on it. What is used may not.

Every test compares with the same inputs whose masked values are zeros.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from oracles.unrolls import Unroll, unroll
from torch import Tensor

from learners.ops import normaliser
from learners.ops.cotangents import RETURN_PARAMETERS, cotangent_derivatives, return_parameters
from learners.ops.gae import gae
from learners.ops.losses import entropy_loss, policy_gradient_loss, value_loss
from learners.ops.masks import bootstrap_values, standardised
from learners.ops.returns import discounted_returns, lambda_returns
from learners.ops.vtrace import vtrace
from learners.ops.vtrace_derivatives import Clips, VTraceDerivatives, vtrace_with_derivatives

Tensors = dict[str, Tensor]

JUNK = [math.nan, math.inf, -math.inf]
GAMMA = 0.9
COSTS = {"policy_cost": 1.1, "baseline_cost": 0.4}
CLIPS = Clips(rho=1.4, c=0.8, pg_rho=1.1, leak_rho=0.8, leak_c=0.5)


def crossing() -> Unroll:
    """Beside the borders of `unroll`: a reset in row 0 (column 5), one in the last row (2), and episodes of one step (6)."""
    data = unroll(num_envs=7)
    terminated, truncated, is_reset = data.terminated.copy(), data.truncated.copy(), data.is_reset.copy()
    for flags in (terminated, truncated, is_reset):
        flags[:, [5, 6]] = False
    is_reset[0, 5] = True
    terminated[2, 6] = truncated[4, 6] = terminated[6, 6] = terminated[-2, 2] = True
    is_reset[[3, 5, 7], 6] = is_reset[-1, 2] = True
    return dataclasses.replace(data, terminated=terminated, truncated=truncated, is_reset=is_reset)


DATA = crossing()
IS_RESET, CONTINUES = torch.tensor(DATA.is_reset), torch.tensor(1.0 - DATA.terminated)
UNUSED = {"log_rho_t": IS_RESET, "reward_t": IS_RESET, "value_t": IS_RESET, "value_tp1": IS_RESET | ~CONTINUES.bool()}
"""Where nothing depends on an argument."""


def inputs(planted: str, junk: float) -> Tensors:
    """The arguments of an unroll, with `junk` where the argument `planted`, or each of them, is unused, and zeros where the others are."""
    tensors = DATA.tensors() | {"log_rho_t": DATA.log_rho_t}
    tensors |= {"gamma": torch.tensor(GAMMA).double(), "lambda_": torch.tensor(0.7).double()}
    tensors |= {"leak_rho": torch.tensor(0.8).double(), "leak_c": torch.tensor(0.5).double()}
    del tensors["discount_t"]
    for name, where in UNUSED.items():
        tensors[name][where] = junk if planted in (name, "all") else 0.0
    return tensors


def by_gamma(tensors: Tensors, *names: str) -> Tensors:
    """The named arguments, and the discount as a function of gamma."""
    return {name: tensors[name] for name in (*names, "value_tp1", "reward_t", "lambda_", "weight_t")} | {
        "discount_t": tensors["gamma"] * CONTINUES
    }


def of_steps(x: Tensor) -> Tensor:
    """`x` at the steps that are experience: a reset row's own value is its target there, and its return means nothing."""
    return x[..., ~IS_RESET]


def by_vtrace(tensors: Tensors) -> list[Tensor]:
    got = vtrace(**by_gamma(tensors, "log_rho_t", "value_t"), clip_rho=1.3)
    return [of_steps(got.value_target), got.advantage, got.rho]


def by_leaky_vtrace(tensors: Tensors) -> list[Tensor]:
    got = vtrace(**by_gamma(tensors, "log_rho_t", "value_t", "leak_rho", "leak_c"), clip_pg_rho=1.2)
    return [of_steps(got.value_target), got.advantage, got.rho]


def by_gae(tensors: Tensors) -> list[Tensor]:
    return [gae(**by_gamma(tensors, "value_t"))]


def by_lambda_returns(tensors: Tensors) -> list[Tensor]:
    return [of_steps(lambda_returns(**by_gamma(tensors)))]


OPERATIONS = [by_vtrace, by_leaky_vtrace, by_gae, by_lambda_returns]


def gradients(results: list[Tensor], arguments: Tensors) -> list[Tensor]:
    """The gradient of a sum of the results, each number with a factor of its own."""
    generator = torch.Generator().manual_seed(0)
    total = torch.stack([(x * torch.randn(x.shape, generator=generator, dtype=x.dtype)).sum() for x in results]).sum()
    leaves = [tensor for tensor in arguments.values() if tensor.requires_grad]
    return list(torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True))


def with_gradients(operation: Callable[[Tensors], list[Tensor]], tensors: Tensors) -> list[Tensor]:
    arguments = {name: tensor.requires_grad_(name != "weight_t") for name, tensor in tensors.items()}
    results = operation(arguments)
    return [tensor.detach() for tensor in (*results, *gradients(results, arguments))]


def assert_bit_equal(got: list[Tensor], want: list[Tensor]) -> None:
    assert all(tensor.isfinite().all() for tensor in want)
    assert [torch.equal(a, b) for a, b in zip(got, want, strict=True)] == [True] * len(want)


def test_the_unroll_has_every_border() -> None:
    assert DATA.is_reset[0].any() and DATA.is_reset[-1].any()
    assert DATA.terminated[-1].any()
    np.testing.assert_array_equal(DATA.is_reset[1:], DATA.ended[:-1])
    assert (DATA.ended[2:] & DATA.is_reset[1:-1]).any()  # an episode of one step
    assert all(where.any() for where in UNUSED.values())


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("planted", [*UNUSED, "all"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_result_and_no_gradient_depends_on_what_is_unused(
    operation: Callable[[Tensors], list[Tensor]], planted: str, junk: float
) -> None:
    assert_bit_equal(with_gradients(operation, inputs(planted, junk)), with_gradients(operation, inputs("none", 0.0)))


def derivatives(tensors: Tensors) -> VTraceDerivatives:
    return vtrace_with_derivatives(
        **{name: tensors[name] for name in ("log_rho_t", "reward_t", "value_t", "value_tp1", "weight_t")},
        continues_t=CONTINUES,
        gamma=GAMMA,
        lambda_=0.7,
        clips=CLIPS,
        by=return_parameters(RETURN_PARAMETERS),
    )


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("planted", [*UNUSED, "all"])
def test_no_derivative_by_a_meta_parameter_depends_on_what_is_unused(planted: str, junk: float) -> None:
    def found(tensors: Tensors) -> list[Tensor]:
        got = derivatives(tensors)
        eta = (*RETURN_PARAMETERS, "policy_cost", "baseline_cost", "entropy_cost")
        cotangents = cotangent_derivatives(eta, got, tensors["value_t"], tensors["weight_t"], **COSTS)
        targets = [of_steps(got.targets.value_target), got.targets.advantage, got.targets.rho]
        return [*targets, got.value_target, got.advantage, cotangents]

    assert_bit_equal(found(inputs(planted, junk)), found(inputs("none", 0.0)))


@pytest.mark.parametrize("junk", JUNK)
def test_cotangents_do_not_depend_on_the_targets_of_a_reset(junk: float) -> None:
    tensors = inputs("none", 0.0)
    got = derivatives(tensors)
    unused = {"advantage": got.targets.advantage, "value_target": got.targets.value_target}
    planted = {name: tensor.masked_fill(IS_RESET, junk) for name, tensor in unused.items()}
    changed = dataclasses.replace(
        got,
        targets=dataclasses.replace(got.targets, **planted),
        value_target=got.value_target.masked_fill(IS_RESET, junk),
        advantage=got.advantage.masked_fill(IS_RESET, junk),
    )
    eta = (*RETURN_PARAMETERS, "policy_cost", "baseline_cost", "entropy_cost")
    want, found = (cotangent_derivatives(eta, one, tensors["value_t"], tensors["weight_t"], **COSTS) for one in (got, changed))
    assert_bit_equal([found], [want])


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("loss", [policy_gradient_loss, value_loss, entropy_loss])
def test_no_loss_and_no_slope_depends_on_a_reset(loss: Callable[..., Tensor], junk: float) -> None:
    num_arguments, generator = (1 if loss is entropy_loss else 2), torch.Generator().manual_seed(1)
    drawn = [torch.randn(IS_RESET.shape, generator=generator, dtype=torch.float64) for _ in range(num_arguments)]
    weight = torch.tensor(DATA.weight)

    def found(planted: int | None) -> list[Tensor]:
        arguments = [x.masked_fill(IS_RESET, junk if n == planted else 0.0).requires_grad_() for n, x in enumerate(drawn)]
        value = loss(*arguments, weight)
        return [value.detach(), *torch.autograd.grad(value, arguments[:1])]

    for planted in range(num_arguments):
        assert_bit_equal(found(planted), found(None))


@pytest.mark.parametrize("junk", JUNK)
def test_no_moment_depends_on_an_observation_without_weight(junk: float) -> None:
    weight, obs = torch.tensor(DATA.weight), torch.randn(*IS_RESET.shape, 3, dtype=torch.float64)
    before = normaliser.update(normaliser.RunningMoments.empty((3,)), obs + 1.0, weight)

    def found(value: float) -> list[Tensor]:
        after = normaliser.update(before, obs.masked_fill(IS_RESET.unsqueeze(-1), value), weight)
        return [after.mean, after.m2, after.count]

    assert_bit_equal(found(junk), found(0.0))
    obs[~IS_RESET] = junk
    assert not found(0.0)[0].isfinite().any()


@pytest.mark.parametrize("junk", JUNK)
def test_a_return_without_bootstrap_does_not_depend_on_the_bootstrap_value(junk: float) -> None:
    reward, discount = torch.tensor(DATA.reward), torch.tensor(GAMMA * (1.0 - DATA.ended))
    is_over = discount[-1] == 0
    assert is_over.any() and not is_over.all()
    ones = torch.ones_like(reward[0])
    assert_bit_equal(
        [discounted_returns(reward, discount, ones.masked_fill(is_over, junk))],
        [discounted_returns(reward, discount, ones.masked_fill(is_over, 0.0))],
    )
    assert not discounted_returns(reward, discount, ones * junk)[-1, ~is_over].isfinite().any()


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize(
    "operation", [*OPERATIONS, lambda tensors: [derivatives(tensors).value_target[0], derivatives(tensors).advantage[0]]]
)
def test_the_value_of_a_truncated_episode_s_final_observation_is_seen(
    operation: Callable[[Tensors], list[Tensor]], junk: float
) -> None:
    tensors = inputs("none", 0.0)
    assert DATA.truncated[3, 1]
    tensors["value_tp1"][3, 1] = junk
    assert any(not result.isfinite().all() for result in operation(tensors))


@pytest.mark.parametrize("name", ["log_rho_t", "reward_t", "value_t", "value_tp1"])
def test_what_a_step_uses_is_seen(name: str) -> None:
    for t, b in [(0, 0), (1, 2), (7, 3)]:
        assert not UNUSED[name][t, b]
        tensors = inputs("none", 0.0)
        tensors[name][t, b] = math.nan
        assert by_vtrace(tensors)[1][t, b].isnan()
        assert derivatives(tensors).targets.advantage[t, b].isnan()


def test_the_derivative_by_a_discount_of_zero_is_the_value_that_it_would_have_let_in() -> None:
    gamma = torch.zeros((), dtype=torch.float64, requires_grad=True)
    tensors = inputs("none", 0.0) | {"gamma": gamma}
    (slope,) = torch.autograd.grad(by_gae(tensors)[0].sum(), gamma)
    # at gamma 0 an advantage is one step's: dA_t / dgamma = V_{t+1} + lambda A_{t+1} while the episode goes on
    advantage, value_tp1 = by_gae(tensors)[0].detach(), tensors["value_tp1"] * CONTINUES
    advantage_tp1 = torch.cat((advantage[1:], torch.zeros_like(advantage[:1])))
    want = (~IS_RESET * (value_tp1 + 0.7 * CONTINUES * advantage_tp1)).sum()
    torch.testing.assert_close(slope, want)


def test_a_bootstrap_value_is_finite_where_it_is_not_used_and_itself_elsewhere() -> None:
    value = torch.tensor([math.nan, math.inf, -math.inf, 3.0, math.nan, math.inf, 3.0])
    share = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.9, 0.9, 0.9])
    want = torch.tensor([0.0, 0.0, 0.0, 3.0, math.nan, math.inf, 3.0])
    torch.testing.assert_close(bootstrap_values(value, share), want, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("junk", [0.0, *JUNK])
def test_standardised_is_of_the_steps_that_have_weight(junk: float) -> None:
    x, weight = torch.tensor(DATA.reward), torch.tensor(DATA.weight)
    used = DATA.reward[~DATA.is_reset]
    got = standardised(x.masked_fill(IS_RESET, junk), weight).numpy()
    np.testing.assert_allclose(got[~DATA.is_reset], (used - used.mean()) / used.std(), rtol=1e-12)
    assert np.isfinite(got).all()
    assert torch.equal(standardised(torch.full((3,), 2.0), torch.ones(3)), torch.zeros(3))
    assert torch.autograd.gradcheck(lambda one: standardised(one, weight) * weight, (x.requires_grad_(),))
