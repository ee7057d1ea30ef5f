from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.returns import discounted_return, generalised_advantage, lambda_return
from oracles.unrolls import unroll

from learners.ops.gae import gae
from learners.ops.recurrence import backward_recurrence
from learners.ops.returns import discounted_returns, lambda_returns

LAMBDAS = [0.0, 0.5, 0.95, 1.0]


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_recurrence_equals_one_worked_by_hand() -> None:
    offset, decay = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[0.5], [0.0], [2.0]])
    assert backward_recurrence(offset, decay, torch.tensor([10.0])).flatten().tolist() == [2.0, 2.0, 23.0]
    assert backward_recurrence(offset, decay).flatten().tolist() == [2.0, 2.0, 3.0]
    assert backward_recurrence(offset[:1], decay[:1], torch.tensor([4.0])).flatten().tolist() == [3.0]


def test_discounted_returns_equal_the_sum() -> None:
    data = unroll()
    discount = data.gamma * (1.0 - data.ended)  # no value at hand: a truncated episode ends like any other
    bootstrap = np.arange(1.0, 6.0)
    got = discounted_returns(torch.tensor(data.reward), torch.tensor(discount), torch.tensor(bootstrap))
    for t, b in np.ndindex(data.reward.shape):
        assert got[t, b].item() == pytest.approx(discounted_return(data.reward[:, b], discount[:, b], bootstrap[b], t), rel=1e-12)


@pytest.mark.parametrize("lambda_", LAMBDAS)
def test_lambda_returns_equal_the_weighted_sum_of_n_step_returns(lambda_: float) -> None:
    data = unroll()
    inputs = data.tensors()
    del inputs["value_t"]
    got = lambda_returns(**inputs, lambda_=scalar(lambda_))
    for t, b in data.experience():
        columns = (data.reward[:, b], data.discount[:, b], data.value[1:, b], data.ended[:, b])
        assert got[t, b].item() == pytest.approx(lambda_return(*columns, lambda_, t), rel=1e-12)


def test_lambda_returns_of_a_gamma_and_lambda_for_each_step_equal_the_sum_too() -> None:
    data, rng = unroll(), np.random.default_rng(3)
    shape = data.reward.shape
    discount, lambda_ = rng.uniform(size=shape) * (1.0 - data.terminated), rng.uniform(size=shape)
    lambda_[0], lambda_[4] = 0.0, 1.0
    inputs = data.tensors() | {"discount_t": torch.tensor(discount)}
    del inputs["value_t"]
    got = lambda_returns(**inputs, lambda_=torch.tensor(lambda_))
    for t, b in data.experience():
        columns = (data.reward[:, b], discount[:, b], data.value[1:, b], data.ended[:, b])
        assert got[t, b].item() == pytest.approx(lambda_return(*columns, lambda_[:, b], t), rel=1e-12)


@pytest.mark.parametrize("lambda_", LAMBDAS)
def test_gae_equals_the_sum_of_td_errors_and_the_lambda_return_less_the_value(lambda_: float) -> None:
    data = unroll()
    inputs = data.tensors()
    got = gae(**inputs, lambda_=scalar(lambda_))
    for t, b in data.experience():
        columns = (data.reward[:, b], data.discount[:, b], data.value[:-1, b], data.value[1:, b], data.ended[:, b])
        assert got[t, b].item() == pytest.approx(generalised_advantage(*columns, lambda_, t), rel=1e-11)
    weight, value_t = inputs["weight_t"], inputs.pop("value_t")
    returns = lambda_returns(**inputs, lambda_=scalar(lambda_))
    torch.testing.assert_close(got, (returns - value_t) * weight, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["gae", "lambda_returns"])
@pytest.mark.parametrize(("column", "border"), [(0, 2), (1, 3)], ids=["termination", "truncation"])
def test_nothing_crosses_an_episode_border(name: str, column: int, border: int) -> None:
    inputs = unroll().tensors()
    if name == "lambda_returns":
        del inputs["value_t"]
    op = {"gae": gae, "lambda_returns": lambda_returns}[name]
    before = op(**inputs, lambda_=scalar(0.9))
    changed = inputs | {"reward_t": inputs["reward_t"].clone(), "value_tp1": inputs["value_tp1"].clone()}
    changed["reward_t"][border + 2 :, column] += 100.0
    changed["value_tp1"][border + 1 :, column] += 100.0
    after = op(**changed, lambda_=scalar(0.9))
    assert torch.equal(after[: border + 1, column], before[: border + 1, column])
    assert not torch.equal(after[border + 2 :, column], before[border + 2 :, column])  # and the change was seen


def test_a_truncated_step_bootstraps_from_its_final_observation_and_a_terminated_one_does_not() -> None:
    inputs = unroll().tensors()
    before = gae(**inputs, lambda_=scalar(0.9))
    changed = inputs | {"value_tp1": inputs["value_tp1"].clone()}
    changed["value_tp1"][2, 0] += 1.0
    changed["value_tp1"][3, 1] += 1.0
    difference = gae(**changed, lambda_=scalar(0.9)) - before
    assert difference[2, 0].item() == 0.0
    assert difference[3, 1].item() == pytest.approx(0.9)


def test_gradients_reach_every_argument_but_the_weight() -> None:
    inputs = {name: tensor.requires_grad_(name != "weight_t") for name, tensor in unroll().tensors().items()}
    lambda_ = scalar(0.7).requires_grad_()
    names = list(inputs)
    assert torch.autograd.gradcheck(
        lambda lam, *args: gae(**dict(zip(names, args, strict=True)), lambda_=lam),
        (lambda_, *inputs.values()),
        check_forward_ad=True,
    )
    del inputs["value_t"]
    names = list(inputs)
    assert torch.autograd.gradcheck(
        lambda lam, *args: lambda_returns(**dict(zip(names, args, strict=True)), lambda_=lam),
        (lambda_, *inputs.values()),
        check_forward_ad=True,
    )
    assert torch.autograd.gradcheck(
        lambda lam, *args: lambda_returns(**dict(zip(names, args, strict=True)), lambda_=lam),
        (torch.rand(inputs["reward_t"].shape, dtype=torch.float64, requires_grad=True), *inputs.values()),
        check_forward_ad=True,
    )
    bootstrap = torch.ones(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        discounted_returns, (inputs["reward_t"], inputs["discount_t"], bootstrap), check_forward_ad=True
    )
