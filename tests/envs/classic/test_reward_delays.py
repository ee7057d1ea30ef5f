"""The two problems with delayed rewards, against slow oracles: one episode at a time, in plain Python, from the rules in words."""

from __future__ import annotations

import numpy as np
import pytest

from envs.batched import BatchedEnv
from envs.errors import InvalidInputError
from envs.registry import resolve
from envs.task import Task

Step = tuple[list[float], float, bool]
"""Observation, reward, terminated."""


def chain_episode(actions: list[int], better: int) -> list[Step]:
    """The chain of the first action pays on its step, 1.1 on the better one and 1 on the others."""
    pays_on_step = [1, 3, 10, 30, 100][actions[0]]
    payoff = 1.1 if pays_on_step == better else 1.0
    return [([actions[0], n / 100], payoff if n == pays_on_step else 0.0, n == 100) for n in range(1, 101)]


def delayed_episode(actions: list[int], delay: int) -> list[Step]:
    """Step n pays 0.3 where it took, and 1 where the step `delay` before it invested."""
    steps: list[Step] = []
    for n in range(100):
        reward = 0.3 * (actions[n] == 0) + 1.0 * (n >= delay and actions[n - delay] == 1)
        due = [float(k <= delay <= n + k and actions[n + k - delay] == 1) for k in range(1, 16)]
        steps.append(([(n + 1) / 100, delay / 15, *due], reward, n == 99))
    return steps


def played(env: BatchedEnv, actions: np.ndarray) -> list[list[Step]]:
    """The first episode of every slot under `actions` [100, B]."""
    episodes: list[list[Step]] = [[] for _ in range(env.num_envs)]
    for row in actions:
        obs, reward, terminated, truncated, _ = env.step(row)
        assert not truncated.any()
        for slot, steps in enumerate(episodes):
            steps.append((obs[slot].tolist(), float(reward[slot]), bool(terminated[slot])))
    return episodes


def assert_equal(got: list[Step], want: list[Step]) -> None:
    assert len(got) == len(want)
    for (obs, reward, terminated), (want_obs, want_reward, want_terminated) in zip(got, want, strict=True):
        np.testing.assert_allclose(obs, want_obs, rtol=0, atol=1e-6)
        assert reward == pytest.approx(want_reward, abs=1e-12)
        assert terminated == want_terminated


@pytest.mark.parametrize("better", [1, 3, 10, 30, 100])
def test_the_chain_pays_as_its_rules_say(better: int) -> None:
    env = resolve("discounting-chain").make([Task(family="discounting-chain", params=(("better", float(better)),))] * 10)
    actions = np.random.default_rng(better).integers(5, size=(101, 10))
    actions[0] = np.arange(10) % 5
    obs, _ = env.reset(seed=0)
    for _ in range(2):  # the second time after a reset by the environment itself
        np.testing.assert_array_equal(obs, [[-1.0, 0.0]] * 10)
        for slot, steps in enumerate(played(env, actions[:100])):
            assert_equal(steps, chain_episode(actions[:100, slot].tolist(), better))
        obs, reward, terminated, _, info = env.step(actions[100])
        assert info["is_first"].all() and not reward.any() and not terminated.any()


def test_the_tabular_chain_is_the_same_and_names_every_state_once() -> None:
    plain, tabular = (resolve(name).make([Task(family=name)] * 5) for name in ("discounting-chain", "discounting-chain-tabular"))
    first, _ = tabular.reset(seed=0)
    plain.reset(seed=0)
    assert np.argmax(first, axis=1).tolist() == [0] * 5
    seen = [0]
    for actions in np.random.default_rng(0).permuted(np.tile(np.arange(5), (101, 1)), axis=1):
        (obs, *want, _), (one_hot, *got, _) = plain.step(actions), tabular.step(actions)
        np.testing.assert_array_equal(got, want)
        assert (one_hot.sum(axis=1) == 1).all() and one_hot.shape == (5, 501)
        if obs[0, 1] > 0:  # not after the reset
            np.testing.assert_array_equal(np.argmax(one_hot, axis=1), np.rint(100 * obs[:, 0] + 100 * obs[:, 1]))
            seen += np.argmax(one_hot, axis=1).tolist()
    assert sorted(seen) == list(range(501))


def test_the_better_chain_is_that_of_30_steps_unless_the_task_says_otherwise() -> None:
    family = resolve("discounting-chain")
    (task,) = family.sample(1, np.random.default_rng(0))
    env = family.make([task] * 5)
    env.reset(seed=0)
    returns = [sum(reward for _, reward, _ in steps) for steps in played(env, np.tile(np.arange(5), (100, 1)))]
    assert returns == pytest.approx([1.0, 1.0, 1.0, 1.1, 1.0])


def test_investments_pay_as_their_rules_say() -> None:
    family = resolve("delayed-reward")
    tasks = [Task(family=family.name, params=(("delay", float(delay)),)) for delay in range(1, 16)]
    tasks += family.sample(9, np.random.default_rng(1))
    env = family.make(tasks)
    actions = np.random.default_rng(2).integers(2, size=(101, len(tasks)))
    obs, _ = env.reset(seed=0)
    for _ in range(2):
        assert (obs[:, 0] == 0).all() and not obs[:, 2:].any()
        for slot, steps in enumerate(played(env, actions[:100])):
            assert_equal(steps, delayed_episode(actions[:100, slot].tolist(), round(tasks[slot].number("delay"))))
        obs, reward, terminated, _, info = env.step(actions[100])
        assert info["is_first"].all() and not reward.any() and not terminated.any()


def test_taking_returns_30_and_investing_while_there_is_time_the_optimum() -> None:
    family = resolve("delayed-reward")
    delays = np.arange(6, 16)
    env = family.make([Task(family=family.name, params=(("delay", float(delay)),)) for delay in delays])
    env.reset(seed=0)
    take = played(env, np.zeros((100, 10), np.int64))
    assert [sum(reward for _, reward, _ in steps) for steps in take] == pytest.approx([30.0] * 10)
    env.reset()
    invest = played(env, (np.arange(100)[:, None] + delays < 100).astype(np.int64))
    assert [sum(reward for _, reward, _ in steps) for steps in invest] == pytest.approx((100 - 0.7 * delays).tolist())


def test_every_drawn_delay_is_one_that_a_discount_of_0_8_takes_and_0_95_invests_in() -> None:
    family = resolve("delayed-reward")
    for split in ("train", "test"):
        delays = np.rint([task.number("delay") for task in family.sample(300, np.random.default_rng(0), split)])
        assert set(delays) == set(range(6, 16))
        assert (0.8**delays < 0.3).all() and (0.95**delays > 0.3).all()


@pytest.mark.parametrize(
    ("name", "param", "value", "said"),
    [
        ("discounting-chain", "better", 31, "better = 31 is out of range: allowed is 1, 3, 10, 30, 100"),
        ("delayed-reward", "delay", 16, r"delay = 16 is out of range: allowed is \[1, 15\]"),
        ("delayed-reward", "delay", 0.2, "delay = 0.2 is out of range"),
        ("delayed-reward", "dealy", 7, "did you mean delay"),
    ],
)
def test_a_task_without_an_environment_is_refused(name: str, param: str, value: float, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        resolve(name).make([Task(family=name, params=((param, value),))])
