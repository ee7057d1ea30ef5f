"""The meta-gradient against double backward and central differences, its trace, its purity, and its state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from oracles import metagradient as oracle
from oracles.trajectories import double, trajectory
from torch import Tensor

from envs.errors import InvalidInputError
from learners import actor_critic, metagradient, vtrace_loss
from learners.batch import Batch, batch_of
from learners.metagradient import MetaState, PendingUpdate, Trace
from learners.metagradient_config import MetaConfig, MetaGradient, check
from learners.networks.agent import Agent, NetworkConfig, SpaceSpec
from learners.ops.meta_parameters import META_PARAMETERS
from learners.ops.optimisers import OptimiserConfig
from learners.state_dict import state_from_arrays, state_to_arrays
from learners.vtrace_loss import ImpalaConfig

CPU = torch.device("cpu")
DISCRETE = SpaceSpec((3,), "float32", num_actions=4)
CONTINUOUS = SpaceSpec((3,), "float32", action_size=2)
NETWORKS = {
    "feed-forward": NetworkConfig(hidden_sizes=(8,), normalise_observations=True),
    "two torsos": NetworkConfig(hidden_sizes=(8,), separate_value=True),
    "lstm": NetworkConfig(hidden_sizes=(8,), core="lstm", core_size=5, use_previous_action=True, use_previous_reward=True),
    "gru": NetworkConfig(hidden_sizes=(8,), core="gru", core_size=5),
}
OPTIMISERS = {
    "rmsprop, inside": OptimiserConfig(kind="rmsprop_inside_sqrt", epsilon=0.1),
    "rmsprop, inside, momentum": OptimiserConfig(kind="rmsprop_inside_sqrt", epsilon=0.01, momentum=0.6),
    "rmsprop, outside": OptimiserConfig(kind="rmsprop_outside_sqrt", epsilon=0.01),
    "rmsprop, outside, momentum": OptimiserConfig(kind="rmsprop_outside_sqrt", epsilon=0.01, momentum=0.6),
    "adam": OptimiserConfig(kind="adam", epsilon=1e-5),
}
CLIPS = {"clip active": 0.5, "clip inactive": 1e9}
LEARNER = ImpalaConfig(
    gamma=0.9,
    lambda_=0.8,
    leak_rho=0.7,
    leak_c=0.6,
    clip_rho=1.2,
    clip_c=0.9,
    clip_pg_rho=1.1,
    reward_clip=1.5,
    entropy_cost=0.03,
    learning_rate=0.02,
)
ALL = tuple(META_PARAMETERS)
META = MetaConfig(outer_gamma=0.97, outer_lambda=0.95, batch_unrolls=3)


def make(
    config: MetaGradient, network: NetworkConfig, spec: SpaceSpec = DISCRETE, seed: int = 0
) -> tuple[Agent, MetaState, list[Batch]]:
    """A learner in float64 that has made three updates, so that its optimiser remembers some, and batches to go on with."""
    agent, state = metagradient.init(spec, network, config, seed, CPU)
    agent = agent.double()
    generator = torch.Generator().manual_seed(seed)
    params = {
        name: (3 * tensor if "head" in name else tensor).double() + 0.05 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in state.learner.params.items()
    }
    optimiser = metagradient.optimisers.init(config.learner.optimiser, params)
    state = replace(state, learner=replace(state.learner, params=params, optimiser=optimiser))
    batches = [double(batch_of([trajectory(spec, network, seed=k)], slice(None), CPU)) for k in range(5)]
    for batch in batches[:3]:
        state, _ = metagradient.update(agent, config, state, batch, 10_000)
    return agent, state, batches[3:]


def eta_of(config: MetaGradient, logits: Tensor) -> dict[str, Tensor]:
    """Every meta-parameter, those of eta as leaves at their present values."""
    values = metagradient.values_of(logits, config.ranges)
    tuned = {name: value.clone().requires_grad_() for name, value in zip(config.eta, values, strict=True)}
    return oracle.constants(config.learner) | tuned


def both(config: MetaGradient, network: NetworkConfig, spec: SpaceSpec = DISCRETE) -> tuple[Tensor, Tensor]:
    """dJ/deta of an update by this code and by double backward."""
    agent, before, (tau, judge) = make(config, network, spec)
    after, _ = metagradient.update(agent, config, before, tau, 10_000)
    judging = judge.columns(slice(config.meta.batch_unrolls))
    arrays = metagradient.network_arrays(config, after)
    params = {name: tensor.detach().requires_grad_() for name, tensor in after.learner.params.items()}
    objective = oracle.outer_objective(agent, config, arrays | params, judging)
    cotangent = dict(
        zip(params, torch.autograd.grad(objective, list(params.values()), allow_unused=True, materialize_grads=True), strict=True)
    )
    assert after.pending is not None
    got = metagradient.meta_gradient(agent, config, after.pending, cotangent)
    eta = eta_of(config, after.logits)
    rate = actor_critic.learning_rate(config.learner, before.learner.env_steps, 10_000)
    before_arrays = metagradient.network_arrays(config, before)
    moved = oracle.updated(agent, config, before.learner, before_arrays, tau, eta, rate)
    want = torch.autograd.grad(oracle.outer_objective(agent, config, arrays | moved, judging), [eta[name] for name in config.eta])
    return got.double(), torch.stack(want)


def assert_equal(got: Tensor, want: Tensor, what: str) -> None:
    """Each derivative to 1e-7 of itself; `pytest -rP` shows how near it is."""
    difference = ((got - want).abs() / want.abs()).max().item()
    print(f"largest relative difference {difference:.1e}: {what}")
    assert difference < 1e-7


@pytest.mark.parametrize("derivative", ["jvp", "vjp"])
@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_equals_double_backward_for_every_optimiser_and_clip(optimiser: str, clip: str, derivative: Any) -> None:
    learner = replace(LEARNER, optimiser=OPTIMISERS[optimiser], max_gradient_norm=CLIPS[clip])
    config = MetaGradient(learner=learner, eta=ALL, meta=replace(META, derivative=derivative))
    for network in ("feed-forward", "lstm"):
        got, want = both(config, NETWORKS[network])
        assert (want.abs() > 1e-12).all()  # every meta-parameter matters here
        assert_equal(got, want, f"{optimiser}, {clip}, {network}, {derivative}")


@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("critic", ["outer", "inner"])
def test_equals_double_backward_for_every_network(network: str, spec: SpaceSpec, critic: Any) -> None:
    config = MetaGradient(
        learner=replace(LEARNER, optimiser=OPTIMISERS["rmsprop, inside"], max_gradient_norm=0.5),
        eta=ALL,
        meta=replace(META, outer_critic=critic),
    )
    got, want = both(config, NETWORKS[network], spec)
    assert_equal(got, want, f"{network}, {'discrete' if spec is DISCRETE else 'continuous'}, {critic} critic")


def test_one_meta_parameter_alone_has_the_derivative_that_it_has_among_all() -> None:
    learner = replace(LEARNER, optimiser=OPTIMISERS["adam"])
    for name in ALL:
        got, want = both(MetaGradient(learner=learner, eta=(name,), meta=META), NETWORKS["feed-forward"])
        assert_equal(got, want, f"{name} alone")


def test_equals_central_differences_of_whole_updates() -> None:
    """No autograd at all: the update is run at eta + h and eta - h, and J looked at after each."""
    learner = replace(LEARNER, optimiser=OPTIMISERS["rmsprop, inside"], max_gradient_norm=0.5)
    config = MetaGradient(learner=learner, eta=ALL, meta=replace(META, batch_unrolls=4))
    agent, before, (tau, judge) = make(config, NETWORKS["lstm"])
    before = replace(before, pending=None)  # so that the logits stay where they are put
    at_rest, _ = metagradient.update(agent, config, before, tau, 10_000)
    arrays = metagradient.network_arrays(config, at_rest)

    def objective(logits: Tensor) -> Tensor:
        # eta reaches the returns alone: the network goes on being told of the old one
        inner = metagradient.tuned(config, logits)
        fixed = MetaGradient(learner=inner, eta=ALL, meta=config.meta)
        constants = {name: value.detach() for name, value in oracle.constants(inner).items()}
        rate = actor_critic.learning_rate(learner, before.learner.env_steps, 10_000)
        base = replace(fixed, learner=replace(inner, baseline_cost=learner.baseline_cost))
        moved = oracle.updated(agent, base, before.learner, metagradient.network_arrays(config, before), tau, constants, rate)
        # J is judged by advantages that do not move with theta', as a policy gradient's are
        return _judged(moved)

    params = {name: tensor.detach().requires_grad_() for name, tensor in at_rest.learner.params.items()}
    log_prob, _, _, outer_value = oracle.answers(agent, arrays | params, judge)
    advantage = oracle.returns(log_prob, outer_value, judge, learner, oracle.constants(config.outer)).advantage.detach()

    def _judged(at: dict[str, Tensor]) -> Tensor:
        return -(judge.weight * advantage * oracle.answers(agent, arrays | at, judge)[0]).sum() / judge.weight.sum()

    gradient = torch.autograd.grad(_judged(params), list(params.values()), allow_unused=True, materialize_grads=True)
    assert at_rest.pending is not None
    by_eta = metagradient.meta_gradient(agent, config, at_rest.pending, dict(zip(params, gradient, strict=True)))
    got = by_eta * metagradient.slopes_of(before.logits, config.ranges)
    h = 1e-4
    for m in range(len(ALL)):
        step = torch.zeros_like(before.logits)
        step[m] = h
        want = (objective(before.logits + step) - objective(before.logits - step)).detach() / (2 * h)
        print(f"relative difference {abs(got[m].item() / want.item() - 1):.1e} to central differences: {ALL[m]}")
        assert got[m].item() == pytest.approx(want.item(), rel=1e-5)


def test_the_meta_step_moves_the_logits_against_the_meta_gradient() -> None:
    config = MetaGradient(learner=LEARNER, eta=("gamma", "lambda"), meta=replace(META, learning_rate=0.01))
    agent, before, (tau, judge) = make(config, NETWORKS["feed-forward"])
    middle, _ = metagradient.update(agent, config, before, tau, 10_000)
    fresh = metagradient.optimisers.init(config.meta.optimiser, {"logits": middle.logits})
    after, scalars = metagradient.update(agent, config, replace(middle, optimiser=fresh), judge, 10_000)
    for m, name in enumerate(config.eta):
        slope = scalars[f"meta/gradient/{name}"].item()
        # the first step of Adam has the length of its learning rate
        assert (after.logits - middle.logits)[m].item() == pytest.approx(-0.01 * np.sign(slope), rel=1e-3)
    assert scalars["eta/gamma"].item() == pytest.approx(torch.sigmoid(after.logits[0]).item())


def test_a_decayed_trace_keeps_what_earlier_updates_did() -> None:
    plain = MetaGradient(learner=LEARNER, eta=("gamma", "entropy_cost"), meta=replace(META, derivative="vjp"))
    kept = replace(plain, meta=replace(plain.meta, trace_decay=0.5, learning_rate=1e-9))
    plain = replace(plain, meta=replace(plain.meta, learning_rate=1e-9))  # eta stays, so that both make the same updates
    agent, state, (tau, judge) = make(plain, NETWORKS["feed-forward"])
    first, _ = metagradient.update(agent, plain, state, tau, 10_000)
    second, _ = metagradient.update(agent, plain, first, judge, 10_000)
    decayed, _ = metagradient.update(agent, kept, first, judge, 10_000)
    assert isinstance(first.pending, Trace)
    assert isinstance(second.pending, Trace)
    assert isinstance(decayed.pending, Trace)
    for name, z in second.pending.z.items():
        torch.testing.assert_close(decayed.pending.z[name], z + 0.5 * first.pending.z[name])


def test_no_gradient_reaches_eta_through_its_embedding_and_the_network_hears_of_it() -> None:
    config = MetaGradient(learner=LEARNER, eta=("gamma", "lambda"), meta=META)
    agent, state, (tau, _) = make(config, NETWORKS["feed-forward"])
    arrays = metagradient.network_arrays(config, state)
    assert not arrays["eta"].requires_grad
    torch.testing.assert_close(arrays["eta"], torch.sigmoid(state.logits))
    told = actor_critic.outputs(agent, arrays, tau, "fp32").value
    other = actor_critic.outputs(agent, arrays | {"eta": arrays["eta"] * 0.5}, tau, "fp32").value
    assert (told - other).abs().max() > 1e-3


def test_the_update_is_pure_and_the_inner_step_is_impalas() -> None:
    config = MetaGradient(learner=LEARNER, eta=("gamma",), meta=replace(META, outer_critic="inner", embedding_size=0))
    agent, state, (tau, _) = make(config, NETWORKS["feed-forward"])
    state = replace(state, pending=None)
    first, _ = metagradient.update(agent, config, state, tau, 10_000)
    second, _ = metagradient.update(agent, config, state, tau, 10_000)
    inner = metagradient.tuned(config, state.logits)
    plain, _ = vtrace_loss.update(agent, inner, state.learner, tau, 10_000)
    for name, tensor in first.learner.params.items():
        assert torch.equal(tensor, second.learner.params[name])
        torch.testing.assert_close(tensor, plain.params[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("derivative", ["jvp", "vjp"])
@pytest.mark.parametrize("network", ["feed-forward", "lstm"])
def test_a_checkpointed_state_continues_bit_for_bit(network: str, derivative: Any) -> None:
    config = MetaGradient(learner=LEARNER, eta=("gamma", "lambda"), meta=replace(META, derivative=derivative))
    agent, state, (tau, judge) = make(config, NETWORKS[network])
    state, _ = metagradient.update(agent, config, state, tau, 10_000)
    like = metagradient.init(DISCRETE, NETWORKS[network], config, 9, CPU)[1]
    back = state_from_arrays(state_to_arrays(state), like=like, device=CPU)
    want, got = (metagradient.update(agent, config, one, judge, 10_000)[0] for one in (state, back))
    assert torch.equal(want.logits, got.logits)
    assert not torch.equal(want.logits, state.logits)
    assert all(torch.equal(want.learner.params[name], got.learner.params[name]) for name in want.learner.params)
    assert isinstance(got.pending, PendingUpdate if derivative == "jvp" else Trace)


def test_a_state_of_another_eta_is_refused() -> None:
    untold = replace(META, embedding_size=0)
    configs = [MetaGradient(learner=LEARNER, eta=eta, meta=untold) for eta in (("gamma",), ("gamma", "lambda"))]
    states = [metagradient.init(DISCRETE, NETWORKS["feed-forward"], config, 0, CPU)[1] for config in configs]
    with pytest.raises(InvalidInputError, match="it holds 1 meta-parameters, the config names 2"):
        state_from_arrays(state_to_arrays(states[0]), like=states[1], device=CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eta": ("gama",)}, "unknown meta-parameter in eta: 'gama'; did you mean gamma"),
        ({"eta": ("gamma", "gamma")}, "gamma is named twice"),
        ({"meta": replace(META, gamma_range=(0.95, 1.0))}, r"learner.gamma = 0.9 .* outside of its range \[0.95, 1\]"),
        ({"meta": replace(META, gamma_range=(0.9, 0.9))}, "expected low < high"),
        ({"meta": replace(META, trace_decay=0.5)}, "set meta.derivative=vjp"),
    ],
)
def test_wrong_input_is_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    config = replace(MetaGradient(learner=LEARNER, eta=("gamma",), meta=META), **change)
    with pytest.raises(InvalidInputError, match=message):
        check(config)
