"""Processes of a run on Ray are killed and stopped: lost actors are replaced and named once, a lost learner ends the run, nothing hangs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from cluster.backends.ray.backend import RayBackend
from cluster.config import RolloutConfig, RunConfig
from cluster.run.observer import RunObserver, Status
from learners.impala import ImpalaConfig
from learners.networks.agent import NetworkConfig
from tests.cluster.run.running import digest, on_ray, run

pytestmark = pytest.mark.slow

CONFIG = RunConfig(
    family="cartpole-physics",
    num_actors=2,
    total_env_steps=200_000,
    batch_unrolls=16,
    log_every_s=0.1,
    learner_device="cpu",
    rollout=RolloutConfig(envs_per_actor=16, unroll_length=20),
    network=NetworkConfig(hidden_sizes=(16,)),
    learner=ImpalaConfig(learning_rate=1e-3),
)


class Saboteur(RunObserver):
    """Does `deed` once, when the run has made `at` steps, and keeps the events that follow."""

    def __init__(self, deed: Callable[[], None], at: int) -> None:
        self._deed, self._at = deed, at
        self.done_at: float | None = None
        self.events: list[str] = []

    def on_status(self, status: Status) -> None:
        if self.done_at is None and status.env_steps >= self._at:
            self._deed()
            self.done_at = time.monotonic()

    def on_event(self, line: str) -> None:
        self.events.append(line)

    @property
    def losses(self) -> list[str]:
        return [line for line in self.events if "takes its place" in line]


def pid_of(ray: Any, name: str) -> int:
    return int(ray.get(ray.get_actor(name).place.remote()).pid)


def test_a_killed_actor_is_replaced_and_a_free_run_continues(ray_local: Any) -> None:
    killed: list[int] = []

    def kill() -> None:
        killed.append(pid_of(ray_local, "free/actor-1"))
        os.kill(killed[0], signal.SIGKILL)

    observer = Saboteur(kill, at=20_000)
    result = run(CONFIG, observer, backend=on_ray(CONFIG, "free"))
    assert result.reason == "total steps"
    assert result.lost_actors == 1
    (loss,) = observer.losses
    assert loss.startswith("actor 1 (")
    assert f"pid {killed[0]} on " in loss
    assert "died" in loss


def test_a_killed_actor_changes_nothing_in_a_deterministic_run(ray_local: Any) -> None:
    config = replace(CONFIG, deterministic=True, lag=1, total_env_steps=60_000)
    want = digest(run(config))
    observer = Saboteur(lambda: os.kill(pid_of(ray_local, "exact/actor-0"), signal.SIGKILL), at=15_000)
    result = run(config, observer, backend=on_ray(config, "exact"))
    assert len(observer.losses) == result.lost_actors == 1
    assert digest(result) == want


def test_a_hung_actor_is_replaced_when_its_deadline_is_over(ray_local: Any) -> None:
    config = replace(CONFIG, deterministic=True, lag=1, total_env_steps=60_000, actor_deadline_s=6.0)
    want = digest(run(config))
    stopped: list[int] = []

    def stop() -> None:
        stopped.append(pid_of(ray_local, "hung/actor-1"))
        os.kill(stopped[0], signal.SIGSTOP)

    observer = Saboteur(stop, at=15_000)
    result = run(config, observer, backend=on_ray(config, "hung"))
    (loss,) = observer.losses
    assert f"pid {stopped[0]} on " in loss
    assert "hung" in loss
    assert digest(result) == want
    assert not is_running(stopped[0])


def is_running(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("is_deterministic", [False, True])
def test_a_killed_learner_ends_the_run_with_its_name(ray_local: Any, is_deterministic: bool) -> None:
    config = replace(CONFIG, deterministic=is_deterministic, total_env_steps=10**9)
    name = f"learner-{is_deterministic}"
    killed: list[int] = []

    def kill() -> None:
        killed.append(pid_of(ray_local, f"{name}/learner"))
        os.kill(killed[0], signal.SIGKILL)

    observer = Saboteur(kill, at=10_000)
    from cluster.backends.ray.learner import LearnerLostError

    with pytest.raises(LearnerLostError, match=r"the learner \(.*\) died: ") as caught:
        run(config, observer, backend=on_ray(config, name))
    assert f"pid {killed[0]}" in str(caught.value)
    assert observer.done_at is not None
    assert time.monotonic() - observer.done_at < 20


@pytest.fixture
def idle(ray_local: Any) -> Iterator[Any]:
    backend = on_ray(CONFIG, "idle")
    backend.start(None)
    yield backend
    backend.close()


def test_a_learner_that_dies_while_it_has_nothing_to_do_is_missed(ray_local: Any, idle: RayBackend) -> None:
    from cluster.backends.ray.learner import LearnerLostError

    os.kill(pid_of(ray_local, "idle/learner"), signal.SIGKILL)
    with pytest.raises(LearnerLostError):
        wait_for(idle, seconds=30)


def wait_for(backend: RayBackend, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        backend.wait(0.25)


def test_workers_that_never_finish_a_unit_end_the_run(ray_local: Any) -> None:
    """A deadline that no unroll can meet must not replace workers for ever."""
    config = replace(CONFIG, num_actors=1, actor_deadline_s=0.2, rollout=replace(CONFIG.rollout, unroll_length=100_000))
    with pytest.raises(RuntimeError, match="5 workers in a row were lost without finishing a single unroll; the last one hung"):
        run(config, backend=on_ray(config, "never"))


def test_more_actors_than_the_cluster_has_room_for_do_not_hold_up_the_others(
    ray_local: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.backends.ray.backend.PENDING_NOTICE_S", 3.0)
    config = replace(
        CONFIG, num_actors=6, total_env_steps=10**9, max_train_seconds=25.0
    )  # of which three have room beside the learner
    observer = Saboteur(lambda: None, at=0)
    result = run(config, observer, backend=on_ray(config, "crowd"))
    assert result.env_steps > 0
    assert result.lost_actors == 0
    (line,) = observer.events
    assert "of 6 actors wait for a place" in line
