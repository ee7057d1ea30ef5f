"""The meta-gradient of TD(lambda) is exact, an episode border stops it, and it finds the right eta in both illustrative processes."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import torch
from oracles import td_metagradient as oracle
from oracles.unrolls import Unroll, unroll

from benchmarks.reward_processes import MRP_GAMMA, MRP_LAMBDA, RewardProcess, Walk
from benchmarks.td_metagradient import (
    EtaName,
    History,
    Steps,
    TDConfig,
    TDState,
    eta_of,
    init,
    iterate,
    meta_gradient,
    outer_gradient,
    steps_of,
    target,
    td_update,
    update,
)

NUM_STATES = 6
CONFIGS = [
    TDConfig(eta=("gamma", "lambda"), learning_rate=0.3, outer_gamma=1.0, outer_lambda=1.0),
    TDConfig(eta=("gamma", "lambda"), learning_rate=0.3, outer_gamma=0.95, outer_lambda=0.8),
    TDConfig(eta=("gamma",), learning_rate=0.7),
    TDConfig(eta=("lambda",), learning_rate=0.7, outer_lambda=0.0),
]


def wandering(data: Unroll, seed: int) -> Walk:
    """A walk that visits states at random, some twice, over terminations and truncations."""
    states = np.random.default_rng(seed).integers(NUM_STATES, size=data.value.shape)
    is_first = np.concatenate([np.ones_like(data.is_reset[:1]), data.is_reset])
    return Walk(state=states, reward=data.reward, terminated=data.terminated, is_first=is_first)


def learner(config: TDConfig, seed: int = 0) -> tuple[TDState, Steps, Unroll, Unroll]:
    """Learners after one update from random values and logits, the validation walk, and what both walks were made of."""
    data, later = unroll(seed), unroll(seed + 1)
    rng = np.random.default_rng(seed + 2)
    shape = (NUM_STATES, data.reward.shape[1])
    value = torch.tensor(rng.normal(size=shape))
    logits: dict[EtaName, torch.Tensor] = {name: torch.tensor(rng.normal(size=shape)) for name in config.eta}
    state = update(config, TDState(value=value, logits=logits, pending=None), wandering(data, seed))
    return state, steps_of(wandering(later, seed + 1)), data, later


def by_double_backward(config: TDConfig, state: TDState, validation: Steps) -> dict[EtaName, torch.Tensor]:
    """dJ'/dx by autograd through the inner gradient step and all."""
    assert state.pending is not None
    steps, before = state.pending
    logits = {name: logit.clone().requires_grad_() for name, logit in state.logits.items()}
    value = before.clone().requires_grad_()
    inner_error = target(before, eta_of(logits), steps) - value.gather(0, steps.state[:-1])
    inner_loss = 0.5 * (steps.weight * inner_error.square()).sum()
    (slope,) = torch.autograd.grad(inner_loss, value, create_graph=True)
    after = value - config.learning_rate * slope
    outer: dict[EtaName, torch.Tensor] = {
        "gamma": torch.full_like(before, config.outer_gamma),
        "lambda": torch.full_like(before, config.outer_lambda),
    }
    outer_error = target(after.detach(), outer, validation) - after.gather(0, validation.state[:-1])
    outer_loss = (validation.weight * outer_error.square() / validation.weight.sum(dim=0)).sum()
    return dict(zip(logits, torch.autograd.grad(outer_loss, list(logits.values())), strict=True))


def column(data: Unroll, states: torch.Tensor, n: int) -> oracle.Column:
    return oracle.Column(
        state=states[:, n].numpy(),
        reward=data.reward[:, n],
        terminated=data.terminated[:, n],
        ended=data.ended[:, n],
        is_reset=data.is_reset[:, n],
    )


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_it_equals_double_backward_through_the_whole_update(config: TDConfig) -> None:
    for seed in range(3):
        state, validation, _, _ = learner(config, seed)
        got, want = meta_gradient(config, state, validation), by_double_backward(config, state, validation)
        assert list(got) == list(config.eta)
        for name in config.eta:
            assert (got[name] - want[name]).norm() < 1e-12 * want[name].norm()
            assert (want[name].abs().sum(dim=0) > 1e-6).all()  # of every learner


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_it_equals_central_differences_of_the_slow_truth(config: TDConfig) -> None:
    state, validation, data, later = learner(config)
    assert state.pending is not None
    steps, before = state.pending
    got = meta_gradient(config, state, validation)
    for n in range(data.reward.shape[1]):
        inner, outer = column(data, steps.state, n), column(later, validation.state, n)

        def after(
            shifted: dict[EtaName, np.ndarray], n: int = n, inner: oracle.Column = inner, before: torch.Tensor = before
        ) -> np.ndarray:
            eta = {name: 1.0 / (1.0 + np.exp(-logit)) for name, logit in shifted.items()}
            gamma, lambda_ = (eta.get(name, np.ones(NUM_STATES)) for name in ("gamma", "lambda"))
            return oracle.updated(inner, before[:, n].numpy(), gamma, lambda_, config.learning_rate)

        logits = {name: logit[:, n].numpy() for name, logit in state.logits.items()}
        np.testing.assert_allclose(state.value[:, n], after(logits), rtol=0, atol=1e-12)
        fixed = [np.full(NUM_STATES, outside) for outside in (config.outer_gamma, config.outer_lambda)]
        targets = oracle.returns(outer, after(logits), *fixed)  # constants: a semi-gradient
        h = 1e-4
        for name in config.eta:
            for s in range(NUM_STATES):
                high, low = (
                    oracle.outer_objective(
                        outer, after(logits | {name: logits[name] + sign * h * np.eye(NUM_STATES)[s]}), targets
                    )
                    for sign in (1, -1)
                )
                assert got[name][s, n].item() == pytest.approx((high - low) / (2 * h), rel=1e-5, abs=1e-8)


def test_the_outer_gradient_is_that_of_the_slow_truth() -> None:
    config = CONFIGS[1]
    state, validation, _, later = learner(config)
    got, h = outer_gradient(config, state.value, validation), 1e-5
    for n in range(later.reward.shape[1]):
        outer, value = column(later, validation.state, n), state.value[:, n].numpy()
        targets = oracle.returns(outer, value, np.full(NUM_STATES, config.outer_gamma), np.full(NUM_STATES, config.outer_lambda))
        for s in range(NUM_STATES):
            high, low = (oracle.outer_objective(outer, value + sign * h * np.eye(NUM_STATES)[s], targets) for sign in (1, -1))
            assert got[s, n].item() == pytest.approx((high - low) / (2 * h), rel=1e-6, abs=1e-9)


def test_the_return_is_differentiated_to_its_end_and_not_only_through_the_next_step() -> None:
    walk = MRP_GAMMA.walk([np.random.default_rng(0)])
    steps = steps_of(walk)
    gamma = torch.full((11, 1), 0.5, dtype=torch.float64, requires_grad=True)
    returns = target(torch.zeros(11, 1, dtype=torch.float64), {"gamma": gamma}, steps)
    (slope,) = torch.autograd.grad(returns[0, 0], gamma)
    after = [sum(0.5 ** (k - t) * walk.reward[k, 0] for k in range(t, 10)) for t in range(10)]
    want = [0.0] + [0.5 ** (k - 1) * after[k] for k in range(1, 10)] + [0.0]  # gamma of state k acts on all that comes after it
    np.testing.assert_allclose(slope[:, 0], want, rtol=1e-12)
    assert slope[5, 0] != 0


@pytest.mark.parametrize(("learner_index", "border"), [(0, 2), (1, 3)], ids=["termination", "truncation"])
def test_nothing_crosses_an_episode_border(learner_index: int, border: int) -> None:
    """The update of the states before a border does not answer for rewards and eta after it."""
    config = CONFIGS[0]
    data = unroll()
    states = np.broadcast_to(np.arange(10)[:, None], data.value.shape).copy()  # each state once: row t is state t
    walk = dataclasses.replace(wandering(data, 0), state=states)
    start = init(config, 10, data.reward.shape[1])
    value = torch.tensor(np.random.default_rng(1).normal(size=states.shape))

    def returns_before(changed: Walk, logit: float) -> tuple[torch.Tensor, torch.Tensor]:
        logits = {name: tensor.clone() for name, tensor in start.logits.items()}
        for tensor in logits.values():
            tensor[border + 2 :, learner_index] = logit
        eta = {name: tensor.requires_grad_() for name, tensor in eta_of(logits).items()}
        before = target(value, eta, steps_of(changed))[: border + 1, learner_index]
        return before.detach(), torch.autograd.grad(before.sum(), eta["gamma"])[0][:, learner_index]

    reward = walk.reward.copy()
    reward[border + 2 :, learner_index] += 100.0
    got, slope = returns_before(walk, 0.0)
    same, same_slope = returns_before(dataclasses.replace(walk, reward=reward), 2.0)
    assert torch.equal(got, same) and torch.equal(slope, same_slope)
    assert not slope[border + 2 :].any() and slope[1 : border + 1].all()
    after = td_update(config, value, eta_of(start.logits), steps_of(walk))
    assert after[border + 1, learner_index] == value[border + 1, learner_index]  # the reset row teaches nothing


@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_reward_of_a_reset_and_the_value_of_a_terminal_state_are_unused(config: TDConfig, junk: float) -> None:
    def learned(left: float) -> list[torch.Tensor]:
        rng = np.random.default_rng(2)
        value = torch.tensor(rng.normal(size=(NUM_STATES + 1, 5)))
        value[NUM_STATES] = left
        logits: dict[EtaName, torch.Tensor] = {name: torch.tensor(rng.normal(size=value.shape)) for name in config.eta}
        state = TDState(value=value, logits=logits, pending=None)
        for seed in range(3):
            data = unroll(seed)
            walk = wandering(data, seed)
            states, reward = walk.state.copy(), np.where(data.is_reset, left, walk.reward)
            states[1:][data.terminated] = NUM_STATES
            state = update(config, state, dataclasses.replace(walk, state=states, reward=reward))
        return [state.value[:NUM_STATES], *state.logits.values()]

    want, got = learned(0.0), learned(junk)
    assert all(torch.equal(a, b) and b.isfinite().all() for a, b in zip(got, want, strict=True))


def test_an_episode_validates_the_update_before_it_and_then_teaches() -> None:
    config = TDConfig(eta=("gamma",))
    generators = [np.random.default_rng(seed) for seed in range(3)]
    first, second = MRP_GAMMA.walk(generators), MRP_GAMMA.walk(generators)
    start = init(config, 11, 3)
    once = update(config, start, first)
    assert torch.equal(once.logits["gamma"], start.logits["gamma"])  # nothing to validate yet
    twice = update(config, once, second)
    slope = meta_gradient(config, once, steps_of(second))["gamma"]
    torch.testing.assert_close(twice.logits["gamma"], once.logits["gamma"] - 5.0 * slope, rtol=0, atol=0)
    torch.testing.assert_close(twice.value, td_update(config, once.value, eta_of(twice.logits), steps_of(second)), rtol=0, atol=0)
    assert twice.logits["gamma"][0].eq(0).all()  # nothing enters the first state


def test_learners_side_by_side_do_not_touch() -> None:
    together, alone = trained(MRP_GAMMA, TDConfig(), [3, 4, 5], 50), trained(MRP_GAMMA, TDConfig(), [4], 50)
    # up to rounding, for torch adds in another order where arrays are wide enough for vector instructions
    np.testing.assert_allclose(together.eta["gamma"][:, :, 1:2], alone.eta["gamma"], rtol=1e-12)


def trained(process: RewardProcess, config: TDConfig, seeds: list[int], num_updates: int) -> History:
    generators = [np.random.default_rng(seed) for seed in seeds]
    state = init(config, process.num_states + 1, len(seeds))
    return iterate(config, state, lambda: process.walk(generators), num_updates=num_updates)[1]


def odd_and_even(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means [N] over the odd and over the even states that are entered (counted from one: neither the first nor the terminal one)."""
    entered = eta[1:-1]
    return entered[1::2].mean(axis=0), entered[::2].mean(axis=0)


def test_mrp_gamma_looks_ahead_from_signal_and_not_from_noise() -> None:
    started = time.process_time()
    history = trained(MRP_GAMMA, TDConfig(), list(range(10)), 2000)
    odd, even = odd_and_even(history.eta["gamma"][-1])
    assert (odd - even > 0.4).all(), (odd, even)
    assert time.process_time() - started < 20


def test_mrp_lambda_bootstraps_where_the_value_is_known() -> None:
    config = TDConfig(eta=("lambda",), learning_rate=0.2, meta_learning_rate=10.0)
    started = time.process_time()
    history = trained(MRP_LAMBDA, config, list(range(8)), 2000)
    odd, even = odd_and_even(history.eta["lambda"][-1])
    assert (even - odd).mean() > 0.2, (odd, even)
    assert time.process_time() - started < 60
