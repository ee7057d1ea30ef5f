"""IMPALA's loss against a slow truth, the purity of its update, and the cutting of batches."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from envs.errors import InvalidInputError
from envs.task import Task
from learners import actor_critic, impala, vtrace_loss
from learners.actor_critic import LearnerState
from learners.algorithm import Progress, Setup
from learners.batch import batch_of, batches
from learners.networks.agent import Agent, NetworkConfig, SpaceSpec
from learners.ops import optimisers
from learners.ops.optimisers import OptimiserConfig
from learners.state_dict import state_from_arrays, state_to_arrays
from learners.trajectory import Trajectory
from learners.vtrace_loss import ImpalaConfig

T, B, OBS, ACTIONS = 9, 4, 3, 5
CPU = torch.device("cpu")
SPEC = SpaceSpec((OBS,), "float32", num_actions=ACTIONS)
NETWORK = NetworkConfig(hidden_sizes=(8,), normalise_observations=True)
CONFIG = ImpalaConfig(gamma=0.9, lambda_=0.8, reward_clip=1.0, reward_scale=0.7, entropy_cost=0.05, max_gradient_norm=1e9)


def trajectory(seed: int = 0, num_envs: int = B) -> Trajectory:
    """Random experience with a termination (and its reset row) in environment 1 and a truncation in environment 2."""
    rng = np.random.default_rng(seed)
    is_first, terminated, truncated = (
        np.zeros((T + 1, num_envs), bool),
        np.zeros((T, num_envs), bool),
        np.zeros((T, num_envs), bool),
    )
    if num_envs > 2:
        terminated[2, 1], is_first[4, 1] = True, True
        truncated[5, 2], is_first[7, 2] = True, True
    return Trajectory(
        obs=rng.normal(size=(T + 1, num_envs, OBS)).astype(np.float32),
        frame_history=np.empty((0, num_envs, OBS), np.float32),
        is_first=is_first,
        action=rng.integers(ACTIONS, size=(T, num_envs)),
        reward=rng.normal(scale=2.0, size=(T, num_envs)).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        behaviour_log_prob=np.log(rng.uniform(0.05, 0.9, size=(T, num_envs))).astype(np.float32),
        previous_action=np.zeros(num_envs, np.int64),
        previous_reward=np.zeros(num_envs, np.float32),
        initial_state=(),
        policy_version=0,
        tasks=tuple(Task(family="none") for _ in range(num_envs)),
    )


@pytest.fixture
def learner() -> tuple[Agent, LearnerState]:
    agent, state = actor_critic.init(SPEC, NETWORK, CONFIG.optimiser, 0, CPU)
    # heads as large as those of a trained network, so that no term of the loss is near zero by chance
    params = {name: 3 * tensor if "head" in name else tensor for name, tensor in state.params.items()}
    return agent, replace(state, params=params)


def slow_targets(
    values: np.ndarray, ratios: np.ndarray, it: Trajectory, env: int, config: ImpalaConfig
) -> tuple[np.ndarray, np.ndarray]:
    """v_s by the sum of eq. 1 and the advantage of section 4.2, an episode at a time, for one environment."""
    rewards = np.clip(it.reward[:, env] * config.reward_scale, -config.reward_clip, config.reward_clip)
    targets, advantages = values[:-1].copy(), np.zeros(T)
    starts = [0, *[t for t in range(1, T + 1) if it.is_first[t, env]]]
    for start, stop in zip(
        starts, [*[s - 1 for s in starts[1:]], T], strict=True
    ):  # step stop - 1 ends the episode, row stop is its reset
        discount = np.where(it.terminated[start:stop, env], 0.0, config.gamma)
        rho, c = np.minimum(config.clip_rho, ratios[start:stop]), config.lambda_ * np.minimum(config.clip_c, ratios[start:stop])
        delta = rho * (rewards[start:stop] + discount * values[start + 1 : stop + 1] - values[start:stop])
        for s in range(stop - start):
            weights = [np.prod(discount[s:t] * c[s:t]) for t in range(s, stop - start)]
            targets[start + s] = values[start + s] + float(np.dot(weights, delta[s:]))
        for s in range(stop - start):
            after = values[start + s + 1]
            if s + 1 < stop - start:
                after = config.lambda_ * targets[start + s + 1] + (1 - config.lambda_) * after
            q = rewards[start + s] + discount[s] * after
            advantages[start + s] = min(config.clip_pg_rho, ratios[start + s]) * (q - values[start + s])
    return targets, advantages


def test_loss_equals_the_paper_s_formula_episode_by_episode(learner: tuple[Agent, LearnerState]) -> None:
    agent, state = learner
    it = trajectory()
    batch = batch_of([it], slice(None), CPU)
    total, terms = vtrace_loss.loss(agent, actor_critic.network_arrays(state), batch, CONFIG)
    output = torch.func.functional_call(agent, actor_critic.network_arrays(state), (batch,))
    log_probs = output.distribution_params[:-1].log_softmax(-1).detach().numpy().astype(np.float64)
    values = output.value.detach().numpy().astype(np.float64)
    policy = value = entropy = 0.0
    for env in range(B):
        chosen = log_probs[np.arange(T), env, it.action[:, env]]
        targets, advantages = slow_targets(values[:, env], np.exp(chosen - it.behaviour_log_prob[:, env]), it, env, CONFIG)
        for t in range(T):
            if it.is_first[t + 1, env]:
                continue
            policy -= chosen[t] * advantages[t]
            value += 0.5 * (targets[t] - values[t, env]) ** 2
            entropy -= float((np.exp(log_probs[t, env]) * log_probs[t, env]).sum())
    np.testing.assert_allclose(float(terms["loss/policy"]), policy, rtol=1e-4)
    np.testing.assert_allclose(float(terms["loss/value"]), value, rtol=1e-4)
    np.testing.assert_allclose(float(total), policy + 0.5 * value - 0.05 * entropy, rtol=1e-4)


def test_what_happens_on_a_reset_row_changes_nothing(learner: tuple[Agent, LearnerState]) -> None:
    agent, state = learner
    it = trajectory()
    changed = copy.deepcopy(it)
    changed.reward[3, 1] = 99.0  # row 3 of environment 1 is the reset after the termination at 2
    changed.action[3, 1] = (changed.action[3, 1] + 1) % ACTIONS
    changed.behaviour_log_prob[3, 1] -= 1.0
    want, got = (vtrace_loss.update(agent, CONFIG, state, batch_of([one], slice(None), CPU), 1000)[0] for one in (it, changed))
    for name in want.params:
        assert torch.equal(want.params[name], got.params[name])
    changed.reward[4, 1] += 0.3
    other = vtrace_loss.update(agent, CONFIG, state, batch_of([changed], slice(None), CPU), 1000)[0]
    assert any(not torch.equal(want.params[name], other.params[name]) for name in want.params)


def test_update_is_pure_and_counts(learner: tuple[Agent, LearnerState]) -> None:
    agent, state = learner
    before = {name: tensor.clone() for name, tensor in state.params.items()}
    batch = batch_of([trajectory()], slice(None), CPU)
    first, scalars = vtrace_loss.update(agent, CONFIG, state, batch, 1000)
    second, _ = vtrace_loss.update(agent, CONFIG, state, batch, 1000)
    for name, tensor in before.items():
        assert torch.equal(state.params[name], tensor)
        assert torch.equal(first.params[name], second.params[name])
        assert not torch.equal(first.params[name], tensor)
    assert (first.version, first.env_steps) == (1, T * B - 2)
    assert state.version == 0
    assert first.moments is not None
    assert float(first.moments.count) == T * B - 2
    assert all(torch.isfinite(scalar) for scalar in scalars.values())


def test_the_learning_rate_falls_to_zero_over_the_run(learner: tuple[Agent, LearnerState]) -> None:
    assert actor_critic.learning_rate(CONFIG, 250, 1000) == pytest.approx(0.75 * CONFIG.learning_rate)
    assert actor_critic.learning_rate(replace(CONFIG, anneal=False), 250, 1000) == CONFIG.learning_rate
    agent, state = learner
    done = replace(state, env_steps=1000)
    after, _ = vtrace_loss.update(agent, CONFIG, done, batch_of([trajectory()], slice(None), CPU), 1000)
    assert all(torch.equal(after.params[name], state.params[name]) for name in state.params)


def test_batches_cut_and_join_columns_and_nothing_else() -> None:
    wide = trajectory(num_envs=6)
    cut = list(batches([wide], 2, CPU))
    assert [batch.reward.shape for batch in cut] == [(T, 2)] * 3
    np.testing.assert_array_equal(torch.cat([batch.obs for batch in cut], dim=1).numpy(), wide.obs)
    narrow = [trajectory(seed, num_envs=2) for seed in range(3)]
    (joined,) = batches(narrow, 6, CPU)
    np.testing.assert_array_equal(joined.action.numpy(), np.concatenate([one.action for one in narrow], axis=1))
    assert joined.env_steps == 3 * T * 2
    assert sum(batch.env_steps for batch in cut) == wide.env_steps == 6 * T - 2


@pytest.mark.parametrize("kind", ["rmsprop_inside_sqrt", "rmsprop_outside_sqrt", "adam"])
def test_a_checkpointed_state_continues_bit_for_bit(kind: str) -> None:
    config = replace(CONFIG, optimiser=OptimiserConfig(kind=kind, momentum=0.0 if kind == "adam" else 0.5))  # type: ignore[arg-type]
    agent, state = actor_critic.init(SPEC, NETWORK, config.optimiser, 0, CPU)
    batch = batch_of([trajectory()], slice(None), CPU)
    for _ in range(3):
        state, _ = vtrace_loss.update(agent, config, state, batch, 1000)
    back = state_from_arrays(
        state_to_arrays(state), like=actor_critic.init(SPEC, NETWORK, config.optimiser, 9, CPU)[1], device=CPU
    )
    want, got = (vtrace_loss.update(agent, config, one, batch, 1000)[0] for one in (state, back))
    assert all(torch.equal(want.params[name], got.params[name]) for name in want.params)
    assert got.version == 4


def test_a_state_of_another_network_is_refused_by_name() -> None:
    _, state = actor_critic.init(SPEC, NETWORK, CONFIG.optimiser, 0, CPU)
    _, wider = actor_critic.init(SPEC, replace(NETWORK, hidden_sizes=(9,)), CONFIG.optimiser, 0, CPU)
    with pytest.raises(InvalidInputError, match=r"policy_head.weight is \(5, 8\) there, \(5, 9\) here"):
        state_from_arrays(state_to_arrays(state), like=wider, device=CPU)


def test_half_precision_stays_near_full_precision(learner: tuple[Agent, LearnerState]) -> None:
    agent, state = learner
    batch = batch_of([trajectory()], slice(None), CPU)
    full, _ = vtrace_loss.loss(agent, actor_critic.network_arrays(state), batch, CONFIG)
    half, _ = vtrace_loss.loss(agent, actor_critic.network_arrays(state), batch, replace(CONFIG, precision="bf16"))
    assert float(half) == pytest.approx(float(full), rel=0.05)
    assert float(half) != float(full)


def test_moments_are_of_the_observations_that_were_acted_on(learner: tuple[Agent, LearnerState]) -> None:
    """Row T belongs to the next unroll, whose row 0 it is; row 0 belongs to this one."""
    agent, state = learner
    batch = batch_of([trajectory()], slice(None), CPU)
    after, _ = vtrace_loss.update(agent, CONFIG, state, batch, 1000)
    acted_on = batch.obs[:-1][batch.weight.bool()].double()
    assert after.moments is not None
    torch.testing.assert_close(after.moments.mean.double(), acted_on.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(after.moments.m2.double() / len(acted_on), acted_on.var(0, correction=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("passes", [2, 3])
def test_passes_are_steps_on_one_batch_with_ratios_taken_anew(learner: tuple[Agent, LearnerState], passes: int) -> None:
    """By hand: the loss of the moved parameters under the moments of the beginning; what is counted, is counted once."""
    agent, state = learner
    config = replace(CONFIG, passes=passes, learning_rate=0.02)
    batch = batch_of([trajectory()], slice(None), CPU)
    got, scalars = vtrace_loss.update(agent, config, state, batch, 1000)
    params = {name: tensor.clone().requires_grad_() for name, tensor in state.params.items()}
    optimiser, rhos = state.optimiser, []
    for _ in range(passes):
        total, terms = vtrace_loss.loss(agent, actor_critic.network_arrays(state) | params, batch, config)
        slopes = dict(zip(params, torch.autograd.grad(total, list(params.values())), strict=True))
        moved, optimiser = optimisers.apply(config.optimiser, optimiser, params, slopes, config.learning_rate)
        params = {name: tensor.detach().requires_grad_() for name, tensor in moved.items()}
        rhos.append(float(terms["vtrace/rho"]))
    for name, tensor in params.items():
        torch.testing.assert_close(got.params[name], tensor.detach(), rtol=1e-5, atol=1e-6)
    assert len(set(rhos)) == passes
    assert float(scalars["vtrace/rho"]) == pytest.approx(np.mean(rhos), rel=1e-5)
    assert (got.version, got.env_steps, got.optimiser.step) == (1, T * B - 2, passes)
    once, _ = vtrace_loss.update(agent, CONFIG, state, batch, 1000)
    assert got.moments is not None
    assert once.moments is not None
    assert torch.equal(got.moments.m2, once.moments.m2)


def test_passes_end_before_the_first_that_starts_too_far_from_the_behaviour_policy(learner: tuple[Agent, LearnerState]) -> None:
    """The divergence by hand, step by step; a limit between two passes makes the earlier ones alone."""
    agent, state = learner
    config = replace(CONFIG, passes=5, learning_rate=0.02)
    batch = batch_of([trajectory()], slice(None), CPU)
    after, found = state, list[float]()
    for _ in range(5):
        out = actor_critic.outputs(agent, actor_critic.network_arrays(replace(after, moments=state.moments)), batch, "fp32")
        log_rho = (out.log_prob - batch.behaviour_log_prob).detach().numpy()[batch.weight.bool().numpy()]
        found.append(float(np.mean([math.exp(x) - 1 - x for x in log_rho.tolist()])))
        after, terms = vtrace_loss.one_pass(agent, config, replace(after, moments=state.moments), batch, config.learning_rate)
        assert float(terms["policy/kl"]) == pytest.approx(found[-1], rel=1e-4)
    stop = next(number for number in range(2, 5) if found[number] > max(found[1:number]))  # passes before a new maximum
    limit = (found[stop] + max(found[1:stop])) / 2
    got, scalars = vtrace_loss.update(agent, replace(config, target_kl=limit), state, batch, 1000)
    want, _ = vtrace_loss.update(agent, replace(config, passes=stop), state, batch, 1000)
    assert float(scalars["impala/passes"]) == stop == got.optimiser.step
    assert all(torch.equal(got.params[name], want.params[name]) for name in want.params)
    once, scalars = vtrace_loss.update(agent, replace(config, target_kl=1e-9), state, batch, 1000)
    assert float(scalars["impala/passes"]) == once.optimiser.step == 1, "lag alone stops no learning"


def run_of(config: impala.Config, length: int = 2) -> list[Any]:
    """The states of a short run by the protocol."""
    agent, state = impala.init(config, Setup(spec=SPEC, network=NETWORK, run_seed=5, device=CPU))
    states = [state]
    for number in range(length):
        progress = Progress(round=number, total=10_000, run_seed=5)
        state, scalars = impala.update(agent, config, state, [trajectory(number, num_envs=6)], progress)
        assert all(math.isfinite(float(value)) for name, value in scalars.items() if "meta" not in name)
        states.append(state)
    return states


def test_an_update_of_the_protocol_makes_one_for_each_batch() -> None:
    config = impala.Config(learner=CONFIG, batch_unrolls=2)
    first, second, third = run_of(config)
    assert [state.version for state in (first, second, third)] == [0, 3, 6]
    agent, state = actor_critic.init(SPEC, NETWORK, CONFIG.optimiser, 5, CPU)
    for batch in batches([trajectory(0, num_envs=6)], 2, CPU):
        state, _ = vtrace_loss.update(agent, CONFIG, state, batch, 10_000)
    assert all(torch.equal(state.params[name], second.params[name]) for name in state.params)
    sent = impala.weights(config, second, Progress(round=1, total=10_000, run_seed=5))
    assert set(sent) == {*second.params, "observation_mean", "observation_std"}


def test_eta_makes_it_the_meta_gradient_s() -> None:
    config = impala.Config(learner=CONFIG, batch_unrolls=6, eta=("gamma",))
    states = run_of(config)
    assert [state.version for state in states] == [0, 1, 2]
    assert not torch.equal(states[2].logits, states[1].logits)
    assert "eta" in impala.weights(config, states[0], Progress(round=0, total=1, run_seed=0))


def test_passes_and_eta_do_not_meet() -> None:
    config = impala.Config(learner=replace(CONFIG, passes=4), eta=("gamma",))
    with pytest.raises(InvalidInputError, match=r"learner.passes = 4 is allowed without eta only"):
        impala.check(config)
    impala.check(replace(config, eta=()))
    with pytest.raises(InvalidInputError, match=r"learner.target_kl = 0.02 needs learner.passes above 1"):
        impala.check(impala.Config(learner=replace(CONFIG, target_kl=0.02)))
