"""The main loop in one process: goals, determinism, resume, counters."""

from __future__ import annotations

import copy
import os
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cluster.config import RolloutConfig, RunConfig
from cluster.run.observer import RunObserver, Status
from learners.impala import ImpalaConfig
from learners.metagradient_config import MetaConfig
from learners.networks.agent import NetworkConfig
from tests.cluster.run.running import Local, digest, run

CONFIG = RunConfig(
    family="cartpole-physics",
    num_actors=2,
    total_env_steps=3200,
    batch_unrolls=8,
    deterministic=True,
    lag=1,
    checkpoint_every_rounds=4,
    rollout=RolloutConfig(envs_per_actor=8, unroll_length=10),
    network=NetworkConfig(hidden_sizes=(16,), core="lstm", core_size=8, use_previous_action=True, use_previous_reward=True),
    learner=ImpalaConfig(learning_rate=1e-3),
)


class Recorder(RunObserver):
    """Keeps checkpoints, and asks for a stop after `stop_after` of them."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.checkpoints: list[dict[str, Any]] = []
        self._stop_after = stop_after

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        self.checkpoints.append(copy.deepcopy(payload))

    def stop_requested(self) -> bool:
        return self._stop_after is not None and len(self.checkpoints) >= self._stop_after


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_a_seed_makes_the_same_run_twice(lag: int) -> None:
    config = replace(CONFIG, lag=lag)
    first, second = run(config), run(config)
    assert digest(first) == digest(second)
    assert (first.env_steps, first.mean_return, first.mean_lag) == (second.env_steps, second.mean_return, second.mean_lag)
    assert digest(run(replace(config, seed=1))) != digest(first)


@pytest.mark.parametrize("lag", [0, 1])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(lag: int) -> None:
    config = replace(CONFIG, lag=lag)
    calm, stopped = Recorder(), Recorder(stop_after=2)
    want = run(config, calm)
    part = run(config, stopped)
    assert part.reason == "stopped by signal"
    assert part.learner_updates < want.learner_updates
    got = run(config, Recorder(), stopped.checkpoints[-1])
    assert digest(got) == digest(want)
    assert (got.env_steps, got.num_episodes, got.mean_return) == (want.env_steps, want.num_episodes, want.mean_return)
    assert (got.mean_lag, got.learner_updates) == (want.mean_lag, want.learner_updates)


@pytest.mark.parametrize("derivative", ["jvp", "vjp"])
@pytest.mark.parametrize("lag", [0, 1])
def test_a_run_that_tunes_itself_resumes_as_if_it_had_never_stopped(lag: int, derivative: Any) -> None:
    meta = MetaConfig(derivative=derivative, trace_decay=0.5 if derivative == "vjp" else 0.0, batch_unrolls=4, learning_rate=0.01)
    config = replace(CONFIG, lag=lag, eta=("gamma", "lambda", "entropy_cost"), meta=meta)
    calm, stopped = Recorder(), Recorder(stop_after=2)
    want = run(config, calm)
    part = run(config, stopped)
    assert part.learner_updates < want.learner_updates
    got = run(config, Recorder(), stopped.checkpoints[-1])
    assert digest(got) == digest(want)
    assert "eta" in got.parameters and "outer_value_head.weight" in got.parameters
    np.testing.assert_array_equal(got.parameters["eta"], want.parameters["eta"])
    assert np.abs(got.parameters["eta"] - part.parameters["eta"]).max() > 1e-4  # eta went on moving


def test_a_run_of_an_environment_that_cannot_be_saved_resumes_by_replay() -> None:
    config = replace(CONFIG, family="gym:CartPole-v1", total_env_steps=1600)
    stopped = Recorder(stop_after=1)
    want = run(config)
    run(config, stopped)
    assert digest(run(config, Recorder(), stopped.checkpoints[-1])) == digest(want)


def test_free_mode_counts_every_step_once_and_stops_at_the_goal() -> None:
    config = replace(CONFIG, deterministic=False, max_lag=1000)
    result = run(config)
    assert result.reason == "total steps"
    assert 3200 <= result.env_steps < 3200 + 4 * 80
    assert result.learner_updates * 80 >= result.env_steps
    assert result.dropped == 0
    assert result.num_episodes > 0
    assert 0 < result.shares.learner <= 1
    assert 0 < result.shares.actors <= 1


def test_free_mode_resumes_with_the_learner_as_it_was() -> None:
    config = replace(CONFIG, deterministic=False, checkpoint_every_s=0.2, total_env_steps=30_000)
    stopped = Recorder(stop_after=1)
    part = run(config, stopped)
    saved = stopped.checkpoints[-1]["learner"]
    for name, array in saved["params"].items():
        np.testing.assert_array_equal(array, part.parameters[name])
    rest = run(config, Recorder(), stopped.checkpoints[-1])
    assert rest.env_steps >= 30_000
    assert rest.learner_updates > part.learner_updates


def test_a_stop_does_not_wait_for_actors_that_never_come(monkeypatch: pytest.MonkeyPatch) -> None:
    class OneHasNoPlace(Local):
        def free(self) -> list[int]:
            return [actor for actor in super().free() if actor == 0]

        def num_alive(self) -> int:
            return 1

    class Stopping(Recorder):
        def on_status(self, status: Status) -> None:
            self.is_under_way = True

        def stop_requested(self) -> bool:
            return hasattr(self, "is_under_way")

        def on_event(self, line: str) -> None:
            events.append(line)

    events: list[str] = []
    monkeypatch.setattr("cluster.run.loop.STOP_PATIENCE_S", 0.5)
    monkeypatch.setattr("cluster.run.loop.ACTOR_GRACE_S", 0.0)
    observer = Stopping()
    config = replace(CONFIG, log_every_s=0.1)
    with pytest.raises(KeyboardInterrupt):
        run(config, observer, backend=OneHasNoPlace(config))
    assert events == ["the round's last actors have no place, so it cannot be finished: stopping without a new checkpoint"]
    assert observer.checkpoints == []


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_last_row_of_metrics_agrees_with_the_summary(deterministic: bool) -> None:
    """Also of a run that is stopped soon after a row."""

    class StoppingAfterARow(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.rows: list[tuple[int, dict[str, float]]] = []

        def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
            self.rows.append((env_steps, scalars))

        def stop_requested(self) -> bool:
            return bool(self.rows)

    observer = StoppingAfterARow()
    result = run(replace(CONFIG, deterministic=deterministic, total_env_steps=10_000_000, log_every_s=2.0), observer)
    env_steps, last = observer.rows[-1]
    assert env_steps == result.env_steps
    assert last["return/mean_100"] == result.mean_return
    assert (last["throughput/updates"], last["episodes/total"]) == (result.learner_updates, result.num_episodes)


def test_a_failing_learner_ends_the_run_with_its_error() -> None:
    config = replace(CONFIG, learner=ImpalaConfig(learning_rate=1.0, max_gradient_norm=1e30, reward_scale=1e30))
    with pytest.raises(FloatingPointError, match="diverged"):
        run(config)


def test_the_return_goal_stops_a_run() -> None:
    result = run(replace(CONFIG, stop_return=5.0, total_env_steps=100_000))
    assert result.reason == "return reached"
    assert result.env_steps < 100_000


def test_a_compiled_run_is_the_same_twice_and_learns_what_an_eager_one_does() -> None:
    if not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("needs a C++ compiler")
    config = replace(CONFIG, network=NetworkConfig(hidden_sizes=(16,)), total_env_steps=320)
    eager, first, second = (run(replace(config, learner_compile=compiled)) for compiled in (False, True, True))
    assert digest(first) == digest(second) != digest(eager)
    for name, parameter in eager.parameters.items():
        np.testing.assert_allclose(first.parameters[name], parameter, rtol=1e-3, atol=1e-4)
