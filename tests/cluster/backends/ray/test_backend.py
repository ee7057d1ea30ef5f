"""Ray's backend against that of one process, and its guarantees about processes."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.messages import Report, Work
from cluster.backends.base import CallLost, Collected, Event, Failed, LearnCall, Learned, LearnReport, Notice
from cluster.config import RunConfig
from cluster.run.observer import RunObserver
from envs.errors import InvalidInputError
from learners.metagradient_config import MetaConfig
from learners.trajectory import Snapshot, Trajectory
from tests.cluster.run.playing import PROGRESS
from tests.cluster.run.running import digest, on_ray, run
from tests.oracles.trajectories import check_shapes

CALL = LearnCall(progress=PROGRESS)


def await_event(backend: Any, kind: type[Event]) -> Any:
    for _ in range(400):
        for event in backend.wait(0.25):
            if not isinstance(event, Notice):  # of a slow machine
                assert isinstance(event, kind), event
                return event
    raise AssertionError(f"no {kind.__name__}")


def await_actors(backend: Any, count: int) -> None:
    give_up = time.monotonic() + 100
    while backend.num_alive() < count and time.monotonic() < give_up:
        assert all(isinstance(event, Notice) for event in backend.wait(0.25))
    assert backend.num_alive() == count


@pytest.fixture(scope="module")
def backend(ray_local: Any, config: RunConfig) -> Iterator[Any]:
    backend: Any = on_ray(replace(config, num_actors=2, deterministic=False), "wired")
    report, backend.weights = backend.start(None)
    backend.version = report.version
    await_actors(backend, 2)
    yield backend
    backend.close()


@pytest.mark.parametrize("num_actors", [1, 2])
def test_parameters_equal_those_of_the_run_in_one_process(ray_local: Any, config: RunConfig, num_actors: int) -> None:
    config = replace(config, num_actors=num_actors, lag=num_actors - 1)
    want = run(config)
    got = run(config, backend=on_ray(config, f"equal-{num_actors}"))
    assert digest(got) == digest(want)
    assert (got.env_steps, got.mean_return, got.mean_lag) == (want.env_steps, want.mean_return, want.mean_lag)
    assert got.lost_actors == 0


def test_a_learner_that_tunes_itself_equals_the_one_in_one_process(ray_local: Any, config: RunConfig) -> None:
    config = replace(config, eta=("gamma", "lambda"), meta=MetaConfig(batch_unrolls=4, learning_rate=0.01))
    want = run(config)
    got = run(config, backend=on_ray(config, "tuned"))
    assert digest(got) == digest(want)
    np.testing.assert_array_equal(got.parameters["eta"], want.parameters["eta"])


class Keeper(RunObserver):
    """Keeps the first checkpoint, and asks for an end after it."""

    payload: dict[str, Any] | None = None

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        self.payload = self.payload or copy.deepcopy(payload)

    def stop_requested(self) -> bool:
        return self.payload is not None


def test_a_run_begun_in_one_process_continues_on_ray_bit_for_bit(ray_local: Any, config: RunConfig) -> None:
    config = replace(config, checkpoint_every_rounds=5)
    want = run(config)
    keeper = Keeper()
    part = run(config, keeper)
    assert part.learner_updates < want.learner_updates
    got = run(config, checkpoint=keeper.payload, backend=on_ray(config, "resumed"))
    assert digest(got) == digest(want)
    assert (got.learner_updates, got.num_episodes) == (want.learner_updates, want.num_episodes)


def test_an_unroll_and_an_update_go_round(ray_local: Any, backend: Any) -> None:
    assert sorted(backend.free()) == [0, 1]
    backend.submit(Work(round=0, index=1, actor=1), 1, backend.weights)
    assert backend.free() == [0]
    unrolled = await_event(backend, Collected)
    assert isinstance(unrolled.report, Report)
    assert (unrolled.work, unrolled.report.env_steps > 0) == (Work(round=0, index=1, actor=1), True)
    assert isinstance(unrolled.payload, ray_local.ObjectRef)  # the driver holds no trajectory, only a reference
    trajectory = ray_local.get(unrolled.payload)
    assert isinstance(trajectory, Trajectory)
    check_shapes(trajectory)
    backend.learner.learn(CALL, [unrolled.payload])
    learned = await_event(backend, Learned)
    assert isinstance(learned.report, LearnReport)
    assert isinstance(learned.weights, ray_local.ObjectRef)
    snapshot = backend.get(learned.weights)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.version == learned.report.version == backend.version + 1
    state = backend.learner.state()
    assert state["version"] == snapshot.version
    for name, array in state["params"].items():
        np.testing.assert_array_equal(array, snapshot.arrays[name])
    again = backend.get(backend.put(snapshot))
    assert again.version == snapshot.version
    backend.version = snapshot.version


def test_large_arrays_are_read_where_they_lie(ray_local: Any, config: RunConfig) -> None:
    """A trajectory passes through the object store with its arrays out of band: what comes out is a view of shared memory."""
    zeros = np.zeros((21, 64, 512), dtype=np.float32)
    got = ray_local.get(ray_local.put(Snapshot(version=1, arrays={"zeros": zeros})))
    assert not got.arrays["zeros"].flags.writeable
    assert not got.arrays["zeros"].flags.owndata


def test_processes_carry_telling_names(ray_local: Any, backend: Any) -> None:
    from cluster.backends.ray.workers import CollectorWorker, LearnerWorker

    places = [ray_local.get(ray_local.get_actor(f"wired/{role}").place.remote()) for role in ("actor-0", "actor-1", "learner")]
    assert len({place.pid for place in places}) == 3
    assert re.fullmatch(r"[0-9a-f]{12}, pid \d+ on \S+ \([\d.]+\)", str(places[0]))
    assert repr(CollectorWorker(partial(int), "wired", 3, "/")) == "CollectorWorker(actor=3)"
    assert repr(LearnerWorker(partial(int), "wired", "/")) == "LearnerWorker(wired)"


def test_workers_take_one_thread(ray_local: Any, backend: Any) -> None:
    place = ray_local.get(ray_local.get_actor("wired/actor-1").place.remote())
    assert b"OMP_NUM_THREADS=1" in Path(f"/proc/{place.pid}/environ").read_bytes().split(b"\0")


def test_a_lost_trajectory_costs_its_call_and_nothing_else(ray_local: Any, backend: Any) -> None:
    class Owner:
        """Dies with an object of its own, as a machine does with those that it holds."""

        def put(self) -> list[Any]:
            return [ray_local.put(np.zeros(1_000_000))]

    owner = ray_local.remote(Owner).options(num_cpus=0).remote()
    (lost,) = ray_local.get(owner.put.remote())
    ray_local.kill(owner)
    while _is_there(ray_local, lost):
        time.sleep(0.05)
    backend.learner.learn(CALL, [lost])
    event = await_event(backend, CallLost)
    assert re.search(r"experience.*: OwnerDiedError: ", event.reason)
    assert "\x1b" not in event.reason
    assert "\n" not in event.reason
    backend.learner.learn(CALL, [_one_trajectory(backend, 1)])
    assert await_event(backend, Learned).report.version == backend.version + 1
    backend.version += 1


def _is_there(ray: Any, ref: Any) -> bool:
    try:
        ray.get(ref)
    except ray.exceptions.OwnerDiedError:
        return False
    return True


def _one_trajectory(backend: Any, round_: int) -> Any:
    backend.submit(Work(round=round_, index=0, actor=0), 0, backend.weights)
    return await_event(backend, Collected).payload


def test_an_error_of_an_actor_comes_as_it_was_over_there(ray_local: Any, backend: Any) -> None:
    work = Work(round=9, index=0, actor=0, state={"env": {}})
    backend.submit(work, 0, backend.weights)
    event = await_event(backend, Failed)
    assert (event.work, event.worker.startswith("actor 0 (")) == (work, True)
    error = event.error
    assert isinstance(error, KeyError)
    assert error.args == ("tasks",)
    note = "".join(error.__notes__)
    assert "raised by " in note
    assert "in restore" in note  # the far side's traceback
    assert "\x1b" not in note


def test_a_name_that_is_taken_gets_a_number(ray_local: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.backends.ray import calls

    monkeypatch.setattr(calls, "NAME_WAIT_S", 0.1)
    asked: list[str] = []

    def make(name: str) -> str:
        asked.append(name)
        if not name.endswith("~2"):
            raise ray_local.exceptions.ActorAlreadyExistsError(name)
        return name

    assert calls.named(make, "run/actor-0") == "run/actor-0~2"
    assert set(asked) == {"run/actor-0", "run/actor-0~2"}


def test_a_cluster_that_is_too_small_is_one_line(ray_local: Any, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.backends.ray.backend.PLACEMENT_WAIT_S", 0.0)
    wide = replace(config, rollout=replace(config.rollout, env_threads=64))
    backend = on_ray(wide, "wide")
    try:
        with pytest.raises(InvalidInputError, match=r"has 4 CPUs in all, a learner and one actor need 65"):
            backend.start(None)
    finally:
        backend.close()
    assert ray_local.is_initialized()  # which was there before, and stays


def test_a_gpu_that_no_node_has_is_one_line(ray_local: Any, config: RunConfig) -> None:
    backend = on_ray(replace(config, learner_device="cuda"), "gpu")
    try:
        with pytest.raises(InvalidInputError, match="no node of the Ray cluster has a GPU"):
            backend.start(None)
    finally:
        backend.close()
