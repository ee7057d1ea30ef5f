"""The outer loop on Ray: the same phi as in one thread, whichever workers die, join or leave."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cluster.run.replay import phi_sha256
from cluster.store import scaling
from cluster.store.run_directory import RunDirectory
from tests.cluster.epg import evolving
from tests.cluster.epg.evolving import Watcher, evolve, sized
from tests.cluster.epg.sleeping import Sleeping


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of phi of the run in one thread."""
    return phi_sha256(evolve(tmp_path_factory.mktemp("calm")).parameters["phi"])


def on_ray(folder: Path, name: str, collector: Sleeping | None = None, observer: Watcher | None = None, **changes: Any) -> Any:
    config = sized(**changes)
    return evolve(folder, config, backend=evolving.on_ray(config, collector or Sleeping(), name), observer=observer or Watcher())


def pid_of(ray: Any, name: str) -> int:
    return int(ray.get(ray.get_actor(name).place.remote()).pid)


@pytest.mark.parametrize("num_actors", [1, 3])
def test_phi_is_that_of_one_thread(ray_local: Any, tmp_path: Path, calm: str, num_actors: int) -> None:
    result = on_ray(tmp_path, f"same-{num_actors}", num_actors=num_actors)
    assert phi_sha256(result.parameters["phi"]) == calm
    assert (result.lost_actors, result.counts["lives"]) == (0, 6 * 16 + 3 * 3)


def test_processes_carry_telling_names(ray_local: Any, tmp_path: Path) -> None:
    seen: list[int] = []
    watcher = Watcher(lambda: seen.extend(pid_of(ray_local, f"named/actor-{i}") for i in range(2)), when=lambda s: s.rounds == 1)
    on_ray(tmp_path, "named", Sleeping(sleep_s=0.02), watcher, num_actors=2)
    assert len(set(seen)) == 2


def test_a_chunk_that_fails_three_times_stops_the_run_with_its_error(ray_local: Any, tmp_path: Path) -> None:
    deeds = tmp_path / "deeds"
    deeds.mkdir()
    (deeds / "always-raise-1-2").touch()
    with pytest.raises(ArithmeticError, match="this chunk always fails") as caught:
        on_ray(tmp_path / "run", "thrice", Sleeping(deeds=str(deeds)), num_actors=2)
    notes = "".join(caught.value.__notes__)
    assert "chunk 2 of epoch 1 (perturbed, lifetimes 8 to 11) failed 3 times" in notes
    assert "in compute" in notes  # the far side's traceback


def test_more_actors_than_cpus_wait_and_are_mentioned(ray_local: Any, tmp_path: Path, calm: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("cluster.backends.ray.backend.PENDING_NOTICE_S", 0.2)
    watcher = Watcher()
    result = on_ray(tmp_path, "many", Sleeping(sleep_s=0.02), watcher, num_actors=6)
    assert phi_sha256(result.parameters["phi"]) == calm
    assert any("actors wait for a place; the Ray cluster has" in line for line in watcher.events)
    assert watcher.statuses[-1].actors_alive <= 4


def test_actors_come_and_go_in_the_middle(ray_local: Any, tmp_path: Path, calm: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(scaling, "POLL_EVERY_S", 0.0)
    directory = RunDirectory(path=tmp_path)
    sizes = iter((4, 1, 2))

    class Restless(Watcher):
        def on_status(self, status: Any) -> None:
            super().on_status(status)
            if status.rounds > 2 * (3 - len(left)) and (size := next(sizes, None)) is not None:
                left.pop()
                scaling.ask(directory, num_actors=size)

    left = [0, 0, 0]
    watcher = Restless()
    result = on_ray(tmp_path, "restless", Sleeping(sleep_s=0.05), watcher, num_actors=2)
    assert phi_sha256(result.parameters["phi"]) == calm
    assert result.lost_actors == 0
    assert sum("actors from now on" in line for line in watcher.events) >= 2


@pytest.mark.slow
def test_workers_are_killed_and_stopped_in_the_middle(ray_local: Any, tmp_path: Path, calm: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        "cluster.run.round_units.STRAGGLER_MIN_S", 1e9
    )  # else a copy of what hangs ends the run before its deadline
    deeds = tmp_path / "deeds"
    deeds.mkdir()
    for name in ("die-1-0", "hang-3-1", "die-evaluation"):
        (deeds / name).touch()
    killed: list[int] = []

    def kill() -> None:
        killed.append(pid_of(ray_local, "killed/actor-1"))
        os.kill(killed[0], signal.SIGKILL)

    watcher = Watcher(kill, when=lambda status: status.rounds == 2)
    collector = Sleeping(sleep_s=0.02, deeds=str(deeds))
    result = on_ray(tmp_path / "run", "killed", collector, watcher, num_actors=2, chunk_deadline_s=4.0)
    assert phi_sha256(result.parameters["phi"]) == calm
    assert result.lost_actors >= 3
    assert list(deeds.iterdir()) == []
    assert any(f"pid {killed[0]} on " in line and "died" in line for line in watcher.events)
    assert any("hung: no answer for" in line for line in watcher.events)


@pytest.mark.slow
def test_a_straggler_is_given_to_an_idle_worker(ray_local: Any, tmp_path: Path, calm: str) -> None:
    deeds = tmp_path / "deeds"
    deeds.mkdir()
    (deeds / "slow-4-3").touch()
    result = on_ray(tmp_path / "run", "straggler", Sleeping(sleep_s=0.01, deeds=str(deeds)), num_actors=2)
    assert phi_sha256(result.parameters["phi"]) == calm
    assert result.reissued == 1


@pytest.mark.slow
def test_a_run_begun_in_one_thread_continues_on_ray(ray_local: Any, tmp_path: Path, calm: str) -> None:
    watcher = Watcher(when=lambda status: status.rounds == 3)
    watcher._deed = lambda: setattr(watcher, "wants_stop", True)
    evolve(tmp_path, collector=Sleeping(sleep_s=0.02), observer=watcher)
    result = on_ray(tmp_path, "resumed", num_actors=2)
    assert phi_sha256(result.parameters["phi"]) == calm
