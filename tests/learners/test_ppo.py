"""PPO against rounds worked out one step at a time, its borders, its stops, its purity, and that it learns."""

from __future__ import annotations

import os
import shutil
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from oracles.ppo import SlowPpo
from oracles.trajectories import double, trajectory
from torch import Tensor

from envs.errors import InvalidInputError
from learners import actor_critic, ppo
from learners.algorithm import Progress, Setup
from learners.batch import batch_of
from learners.networks.agent import Agent, NetworkConfig, NetworkInputs, SpaceSpec
from learners.on_policy import Rows, rows_of, values
from learners.ops import optimisers
from learners.ppo import LearnerConfig, State
from learners.seeds import Stream, generator
from learners.state_dict import state_from_arrays, state_to_arrays
from learners.trajectory import Trajectory

CPU = torch.device("cpu")
DISCRETE = SpaceSpec((3,), "float32", num_actions=4)
CONTINUOUS = SpaceSpec((3,), "float32", action_size=2)
NETWORKS = {
    "feed-forward": NetworkConfig(hidden_sizes=(8,), normalise_observations=True),
    "two torsos": NetworkConfig(hidden_sizes=(8,), separate_value=True, use_previous_action=True, use_previous_reward=True),
    "lstm": NetworkConfig(hidden_sizes=(8,), core="lstm", core_size=5, use_previous_action=True, use_previous_reward=True),
    "gru": NetworkConfig(hidden_sizes=(8,), core="gru", core_size=5, normalise_observations=True),
}
LEARNER = LearnerConfig(
    gamma=0.9,
    lambda_=0.8,
    passes=3,
    num_minibatches=4,
    learning_rate=0.02,
    value_clip=0.1,
    entropy_cost=0.03,
    reward_scale=0.7,
    reward_clip=2.0,
)
TOTAL = 10_000


def progress(number: int = 0, seed: int = 7) -> Progress:
    return Progress(round=number, total=TOTAL, run_seed=seed)


def on_policy(agent: Agent, state: State, it: Trajectory, noise: float = 0.3) -> Trajectory:
    """The unroll as if a policy near this one had acted, so that ratios lie on both sides of one."""
    batch = batch_of([it], slice(None), CPU)
    found = actor_critic.outputs(agent.float(), {k: v.float() for k, v in weights(state).items()}, batch, "fp32").log_prob
    drawn = np.random.default_rng(0).normal(scale=noise, size=it.reward.shape)
    return replace(it, behaviour_log_prob=(found.detach().numpy() + drawn).astype(np.float32))


def weights(state: State) -> dict[str, Tensor]:
    return ppo.weights(ppo.Config(), state, progress())


def made(learner: LearnerConfig, network: NetworkConfig, spec: SpaceSpec) -> tuple[Agent, State, list[Trajectory]]:
    """A learner whose heads are as large as a trained one's, and two rounds of two actors each."""
    agent, state = ppo.init(ppo.Config(learner=learner), Setup(spec=spec, network=network, run_seed=0, device=CPU))
    params = {name: 3 * tensor if "head" in name else tensor for name, tensor in state.learner.params.items()}
    state = replace(state, learner=replace(state.learner, params=params))
    return agent, state, [on_policy(agent, state, trajectory(spec, network, seed)) for seed in range(4)]


def in_double(agent: Agent, state: State) -> tuple[Agent, State]:
    params = {name: tensor.double() for name, tensor in state.learner.params.items()}
    fresh = optimisers.init(LEARNER.optimiser, params)
    return agent.double(), replace(state, learner=replace(state.learner, params=params, optimiser=fresh))


@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
@pytest.mark.parametrize("network", NETWORKS)
def test_rounds_equal_those_worked_out_step_by_step(network: str, spec: SpaceSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters after two rounds, in float64: with a core, each environment by hand through its episodes, from its first state."""
    agent, state, unrolls = made(LEARNER, NETWORKS[network], spec)
    agent, state = in_double(agent, state)
    monkeypatch.setattr(ppo, "batch_of", lambda *given: double(batch_of(*given)))
    slow = SlowPpo(agent, LEARNER, state.learner.params, is_normalised=NETWORKS[network].normalise_observations)
    for number in range(2):
        its = unrolls[2 * number : 2 * number + 2]
        rate = actor_critic.learning_rate(LEARNER, state.learner.env_steps, TOTAL)
        order = generator(7, Stream.MINIBATCHES, number)
        truncated = np.concatenate([one.truncated for one in its], axis=1)
        slow.round(double(batch_of(its, slice(None), CPU)), truncated, rate, order)
        state, scalars = ppo.update(agent, ppo.Config(learner=LEARNER), state, its, progress(number))
        for name, parameter in slow.params.items():
            torch.testing.assert_close(state.learner.params[name], parameter.detach(), rtol=1e-8, atol=1e-10)
        assert float(scalars["policy/kl"]) == pytest.approx(np.mean(slow.divergences[-3:]), rel=1e-8)
    assert slow.num_value_clips > 10
    assert slow.num_ratio_clips > 10
    assert state.version == 2
    assert state.learner.env_steps == sum(one.env_steps for one in unrolls)
    assert state.learner.optimiser.step == 2 * 3 * 4


@pytest.mark.parametrize(
    "change",
    [
        {"value_clip": 0.0},
        {"normalise_advantages": False},
        {"normalise_rewards": False},
        {"max_gradient_norm": 1e9, "reward_clip": 0.0, "entropy_cost": 0.0},
    ],
)
def test_every_option_equals_its_slow_truth(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    learner = replace(LEARNER, **change)
    agent, state, unrolls = made(learner, NETWORKS["feed-forward"], CONTINUOUS)
    agent, state = in_double(agent, state)
    monkeypatch.setattr(ppo, "batch_of", lambda *given: double(batch_of(*given)))
    slow = SlowPpo(agent, learner, state.learner.params, is_normalised=True)
    slow.round(double(batch_of(unrolls[:1], slice(None), CPU)), unrolls[0].truncated, 0.02, generator(7, Stream.MINIBATCHES, 0))
    after, _ = ppo.update(agent, ppo.Config(learner=learner), state, unrolls[:1], progress())
    plain, _ = ppo.update(
        agent, ppo.Config(learner=LEARNER), state if state.rewards else unscaled(state), unrolls[:1], progress()
    )
    for name, parameter in slow.params.items():
        torch.testing.assert_close(after.learner.params[name], parameter.detach(), rtol=1e-8, atol=1e-10)
    assert any(not torch.allclose(after.learner.params[name], plain.learner.params[name]) for name in slow.params)


def unscaled(state: State) -> State:
    return replace(
        state,
        rewards=ppo.init(ppo.Config(), Setup(spec=CONTINUOUS, network=NETWORKS["feed-forward"], run_seed=0, device=CPU))[
            1
        ].rewards,
    )


@pytest.mark.parametrize("network", ["feed-forward", "lstm"])
def test_the_gradient_is_that_of_central_differences(network: str) -> None:
    agent, state, unrolls = made(LEARNER, NETWORKS[network], CONTINUOUS)
    batch = double(batch_of(unrolls[:1], slice(None), CPU))
    agent, state = in_double(agent, state)
    rows, _ = rows_of(agent, LEARNER, state.learner, None, batch)
    arrays = weights(state)
    name = "policy_head.weight"

    def total(weight: Tensor) -> Tensor:
        return ppo.loss(agent, LEARNER, arrays | {name: weight}, rows)[0]

    assert torch.autograd.gradcheck(total, (arrays[name].clone().requires_grad_(),), eps=1e-7, atol=1e-5)


def test_minibatches_are_the_rows_in_order_and_each_once() -> None:
    for network in ("feed-forward", "lstm"):
        agent, state, unrolls = made(LEARNER, NETWORKS[network], DISCRETE)
        batch = batch_of(unrolls[:1], slice(None), CPU)
        rows, _ = rows_of(agent, LEARNER, state.learner, None, batch)
        assert rows.size == (5 if network == "lstm" else 9 * 5)
        order = torch.from_numpy(np.random.default_rng(0).permutation(rows.size))
        parts = list(rows.minibatches(order, 4))
        sizes = [part.size for part in parts]
        assert max(sizes) - min(sizes) <= 1
        for field in fields(Rows):
            if field.name == "initial_state":
                for index, whole in enumerate(rows.initial_state):
                    assert torch.equal(torch.cat([part.initial_state[index] for part in parts]), whole[order])
            else:
                together = torch.cat([getattr(part, field.name) for part in parts], dim=1)
                assert torch.equal(together, getattr(rows, field.name)[:, order])
        assert len(list(rows.minibatches(order, 1000))) == rows.size


def test_values_in_parts_are_the_values_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, state, unrolls = made(LEARNER, NETWORKS["gru"], DISCRETE)
    batch = batch_of(unrolls, slice(None), CPU)
    whole = values(agent, LEARNER, state.learner, batch)
    monkeypatch.setattr("learners.on_policy.ROWS_AT_ONCE", 33)
    torch.testing.assert_close(values(agent, LEARNER, state.learner, batch), whole)


def test_the_kl_stop_ends_the_passes_after_the_first_whose_mean_went_too_far() -> None:
    learner = replace(LEARNER, passes=6, learning_rate=0.01)
    agent, state, unrolls = made(learner, NETWORKS["feed-forward"], DISCRETE)
    unrolls = [on_policy(agent, state, it, noise=0.0) for it in unrolls]

    def run(learner: LearnerConfig) -> tuple[State, dict[str, Any]]:
        return ppo.update(agent, ppo.Config(learner=learner), state, unrolls[:2], progress(seed=seed))

    rows, _ = rows_of(agent, learner, state.learner, state.rewards, batch_of(unrolls[:2], slice(None), CPU))
    for seed in range(20):  # until a pass's mean is the first above what its last minibatch is not above
        order = generator(seed, Stream.MINIBATCHES, 0)
        _, watched = ppo.passes(agent, ppo.Config(learner=learner), state.learner, rows, 0.01, order, most=6)
        kl = watched[..., ppo.WATCHED.index("policy/kl")]
        means, last = kl.mean(dim=1), kl[:, -1]
        found = [k for k in range(1, 5) if means[:k].max() < means[k] - 1e-5 and last[k] < means[k] - 1e-5]
        if found:
            break
    number = found[0]
    target = float(means[number]) - 1e-6
    stopped, scalars = run(replace(learner, target_kl=target))
    assert scalars["ppo/passes"] == number + 1
    assert_same(stopped, run(replace(learner, passes=number + 1))[0])
    assert run(replace(learner, target_kl=1e9))[1]["ppo/passes"] == 6


def test_what_happens_on_a_reset_row_changes_nothing() -> None:
    agent, state, unrolls = made(LEARNER, NETWORKS["two torsos"], DISCRETE)
    it = unrolls[0]
    assert it.is_first[4, 1] and it.terminated[2, 1]
    changed = replace(it, reward=it.reward.copy(), action=it.action.copy(), behaviour_log_prob=it.behaviour_log_prob.copy())
    changed.reward[3, 1], changed.behaviour_log_prob[3, 1] = 99.0, np.nan
    changed.action[3, 1] = (changed.action[3, 1] + 1) % 4
    config = ppo.Config(learner=LEARNER)
    (want, watched), (got, scalars) = (ppo.update(agent, config, state, [one], progress()) for one in (it, changed))
    assert_same(got, want)
    assert {name: float(value) for name, value in scalars.items()} == {name: float(value) for name, value in watched.items()}
    changed.reward[4, 1] += 0.3
    other = ppo.update(agent, config, state, [changed], progress())[0]
    assert any(not torch.equal(want.learner.params[name], other.learner.params[name]) for name in want.learner.params)


def test_a_truncated_step_bootstraps_from_its_final_observation_and_a_terminated_one_does_not() -> None:
    agent, state, unrolls = made(LEARNER, NETWORKS["two torsos"], DISCRETE)

    def advantage(it: Trajectory) -> Tensor:
        rows, _ = rows_of(agent, LEARNER, state.learner, None, batch_of([it], slice(None), CPU))
        return rows.advantage.view(9, 5)

    it = unrolls[0]
    assert it.truncated[5, 2] and it.terminated[2, 1]
    before = advantage(it)
    for (row, env), moves in (((6, 2), True), ((3, 1), False)):
        changed = replace(it, obs=it.obs.copy())
        changed.obs[row, env] += 1.0
        difference = (advantage(changed) - before).abs()
        assert (difference[row - 1, env] > 1e-4) == moves
        assert torch.equal(difference[row + 1 :], torch.zeros_like(difference[row + 1 :]))
        assert difference[: row - 1, env].max() > 1e-5 if moves else difference.max() == 0


def test_rewards_are_scaled_by_returns_that_continue_from_round_to_round() -> None:
    """Two rounds of four steps are one of eight, but for the moment at which the deviation is taken."""
    learner = replace(LEARNER, reward_clip=0.0)
    agent, state, _ = made(learner, NETWORKS["feed-forward"], DISCRETE)
    whole = trajectory(DISCRETE, NETWORKS["feed-forward"], 3, length=9)
    first = slice_of(whole, 0, 4)
    second = slice_of(whole, 4, 9)
    assert state.rewards is not None
    batches = [batch_of([one], slice(None), CPU) for one in (whole, first, second)]
    _, at_once = rows_of(agent, learner, state.learner, state.rewards, batches[0])
    _, half = rows_of(agent, learner, state.learner, state.rewards, batches[1])
    _, both = rows_of(agent, learner, state.learner, half, batches[2])
    assert at_once is not None and both is not None and half is not None
    assert at_once.running is not None and both.running is not None
    torch.testing.assert_close(both.running, at_once.running)
    torch.testing.assert_close(both.moments.m2, at_once.moments.m2)
    narrow = batch_of([whole], slice(0, 3), CPU)
    _, fewer = rows_of(agent, learner, state.learner, half, narrow)  # other environments: their returns begin anew
    _, alone = rows_of(agent, learner, state.learner, state.rewards, narrow)
    assert fewer is not None and alone is not None
    assert fewer.running is not None and alone.running is not None
    assert torch.equal(fewer.running, alone.running)
    begun = replace(batches[2], is_first=batches[2].is_first.clone())
    begun.is_first[0, 4] = True  # an episode that begins with the round, as a collector may cut it
    _, anew = rows_of(agent, learner, state.learner, half, begun)
    assert anew is not None and anew.running is not None
    assert anew.running[4] != both.running[4]
    assert torch.equal(anew.running[:4], both.running[:4])


def slice_of(it: Trajectory, start: int, stop: int) -> Trajectory:
    rows = {name: getattr(it, name)[start : stop + 1] for name in ("obs", "is_first")}
    steps = {
        name: getattr(it, name)[start:stop] for name in ("action", "reward", "terminated", "truncated", "behaviour_log_prob")
    }
    return replace(it, **rows, **steps)


def assert_same(got: State, want: State) -> None:
    assert all(torch.equal(got.learner.params[name], want.learner.params[name]) for name in want.learner.params)
    assert (got.version, got.learner.env_steps) == (want.version, want.learner.env_steps)


@pytest.mark.parametrize("network", ["feed-forward", "lstm"])
def test_a_round_is_determined_by_seed_and_number_and_continues_from_a_checkpoint_bit_for_bit(network: str) -> None:
    config = ppo.Config(learner=LEARNER)
    agent, start, unrolls = made(LEARNER, NETWORKS[network], CONTINUOUS)
    before = {name: tensor.clone() for name, tensor in start.learner.params.items()}
    first, _ = ppo.update(agent, config, start, unrolls[:2], progress(0))
    again, _ = ppo.update(agent, config, start, unrolls[:2], progress(0))
    assert_same(again, first)
    assert all(torch.equal(start.learner.params[name], tensor) for name, tensor in before.items())
    like = ppo.init(config, Setup(spec=CONTINUOUS, network=NETWORKS[network], run_seed=9, device=CPU))[1]
    back = state_from_arrays(state_to_arrays(first), like=like, device=CPU)
    want, got = (ppo.update(agent, config, one, unrolls[2:], progress(1))[0] for one in (first, back))
    assert_same(got, want)
    for other in (progress(2), progress(1, seed=8)):
        changed = ppo.update(agent, config, first, unrolls[2:], other)[0]
        assert any(not torch.equal(changed.learner.params[name], want.learner.params[name]) for name in want.learner.params)


def test_the_step_size_falls_to_zero_over_the_run() -> None:
    agent, state, unrolls = made(LEARNER, NETWORKS["feed-forward"], DISCRETE)
    done = replace(state, learner=replace(state.learner, env_steps=TOTAL))
    after, scalars = ppo.update(agent, ppo.Config(learner=LEARNER), done, unrolls[:1], progress())
    assert all(torch.equal(after.learner.params[name], tensor) for name, tensor in done.learner.params.items())
    assert scalars["learning_rate"] == 0


def test_images_are_learned_from() -> None:
    spec, network = SpaceSpec((2, 36, 36), "uint8", num_actions=3, frame_stack=2), NetworkConfig(torso="shallow")
    learner = replace(LEARNER, num_minibatches=2, passes=2)
    agent, state = ppo.init(ppo.Config(learner=learner), Setup(spec=spec, network=network, run_seed=0, device=CPU))
    rng = np.random.default_rng(0)
    vectors = trajectory(replace(spec, obs_shape=(2,), obs_dtype="float32", frame_stack=1), NetworkConfig())
    it = replace(
        vectors,
        obs=rng.integers(256, size=(10, 5, 36, 36), dtype=np.uint8),
        frame_history=rng.integers(256, size=(1, 5, 36, 36), dtype=np.uint8),
    )
    after, scalars = ppo.update(agent, ppo.Config(learner=learner), state, [it], progress())
    assert all(np.isfinite(float(value)) for value in scalars.values())
    assert any(not torch.equal(after.learner.params[name], tensor) for name, tensor in state.learner.params.items())


needs_compiler = pytest.mark.skipif(
    not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler"
)


@needs_compiler
def test_the_step_that_was_compiled_before_the_first_round_equals_the_eager_one(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = replace(LEARNER, num_minibatches=3, target_kl=10.0)
    agent, state, unrolls = made(learner, NETWORKS["feed-forward"], CONTINUOUS)
    rollout = SimpleNamespace(unroll_length=9, envs_per_actor=5)
    ppo.prepare(agent, SimpleNamespace(learner=learner, learner_compile=True, rollout=rollout, num_actors=2), state)
    monkeypatch.setattr("learners.compiled.machine_code", None)  # the blank round stood for all of its shape
    got = want = state
    for number in range(2):
        want, scalars = ppo.update(agent, ppo.Config(learner=learner), want, unrolls[:2], progress(number))
        got, compiled = ppo.update(agent, ppo.Config(learner=learner, learner_compile=True), got, unrolls[:2], progress(number))
        assert compiled.keys() == scalars.keys()
        for name, value in scalars.items():
            assert float(compiled[name]) == pytest.approx(float(value), rel=1e-3, abs=1e-4)
    torch.testing.assert_close(got.learner.params, want.learner.params, rtol=1e-3, atol=1e-4)
    assert got.learner.optimiser.step == want.learner.optimiser.step
    with pytest.raises(InvalidInputError, match=r"learner_compile = true is allowed with network.core = none only"):
        ppo.init(ppo.Config(learner_compile=True), Setup(spec=CONTINUOUS, network=NETWORKS["lstm"], run_seed=0, device=CPU))


class Recall:
    """A synthetic source: every episode shows a cue; what pays at its last step is to name it (or, for continuous actions, to match it)."""

    def __init__(self, spec: SpaceSpec, network: NetworkConfig, length: int, num_envs: int = 32) -> None:
        self.spec, self.network, self.length, self.num_envs = spec, network, length, num_envs
        self.rng = np.random.default_rng(0)

    def unroll(self, agent: Agent, arrays: dict[str, Tensor]) -> tuple[Trajectory, float]:
        """One episode of each environment, cut at its end; returns it and the mean reward of last steps."""
        steps, envs = self.length, self.num_envs
        cue = self.rng.integers(2, size=envs)
        obs = np.zeros((steps + 1, envs, 2), np.float32)
        obs[0, np.arange(envs), cue] = 1.0
        if self.network.core == "none":
            obs[:] = obs[0]
        is_first, is_last = np.zeros((steps + 1, envs), bool), np.zeros((steps, envs), bool)
        is_first[0], is_last[-1] = True, True
        previous = np.zeros((envs, *self.spec.action_shape), np.int64 if self.spec.is_discrete else np.float32)
        state, actions, log_probs = tuple(agent.initial_state(envs)), [], []
        with torch.no_grad():
            for t in range(steps):
                inputs = NetworkInputs(
                    obs=torch.from_numpy(obs[t : t + 1]),
                    is_first=torch.from_numpy(is_first[t : t + 1]),
                    previous_action=torch.from_numpy(previous)[None],
                    previous_reward=torch.zeros(1, envs),
                    initial_state=state,
                )
                output = torch.func.functional_call(agent, arrays, (inputs,))
                distribution, state = agent.distribution(output.distribution_params[0]), output.state
                actions.append(distribution.sample())
                log_probs.append(distribution.log_prob(actions[-1]))
        action, log_prob = torch.stack(actions).numpy(), torch.stack(log_probs).numpy()
        reward = np.zeros((steps, envs), np.float32)
        last = action[-1]
        reward[-1] = last == cue if self.spec.is_discrete else -np.square(last[:, 0] - (2 * cue - 1))
        empty = trajectory(replace(self.spec, obs_shape=(2,)), self.network, length=9, num_envs=envs)
        it = replace(
            empty,
            obs=obs,
            frame_history=np.empty((0, envs, 2), np.float32),
            is_first=is_first,
            action=action,
            reward=reward,
            terminated=is_last,
            truncated=np.zeros_like(is_last),
            behaviour_log_prob=log_prob,
            initial_state=tuple(one.numpy() for one in agent.initial_state(envs)),
        )
        return it, float(reward[-1].mean())


@pytest.mark.parametrize(
    ("spec", "core", "least"),
    [
        (SpaceSpec((2,), "float32", num_actions=2), "none", 0.95),
        (SpaceSpec((2,), "float32", action_size=1), "none", -0.2),
        (SpaceSpec((2,), "float32", num_actions=2), "gru", 0.95),
    ],
    ids=["discrete", "continuous", "a cue to be remembered"],
)
def test_it_learns(spec: SpaceSpec, core: Any, least: float) -> None:
    torch.manual_seed(0)
    network = NetworkConfig(hidden_sizes=(16,), core=core, core_size=16, initial_log_std=-0.5)
    config = ppo.Config(learner=LearnerConfig(passes=4, num_minibatches=4, learning_rate=0.01, anneal=False))
    agent, state = ppo.init(config, Setup(spec=spec, network=network, run_seed=0, device=CPU))
    source, paid = Recall(spec, network, length=4), list[float]()
    for number in range(60):
        it, mean = source.unroll(agent, ppo.weights(config, state, progress(number)))
        paid.append(mean)
        state, _ = ppo.update(agent, config, state, [it], progress(number))
    assert np.mean(paid[:3]) < least - 0.2
    assert np.mean(paid[-5:]) > least, paid


def test_a_batch_of_several_actors_is_their_columns_in_order() -> None:
    agent, state, unrolls = made(LEARNER, NETWORKS["feed-forward"], DISCRETE)
    config = ppo.Config(learner=LEARNER)
    want, got = (ppo.update(agent, config, state, its, progress())[0] for its in (unrolls[:2], unrolls[1::-1]))
    assert any(not torch.equal(got.learner.params[name], want.learner.params[name]) for name in want.learner.params)
