"""Phi is the same, bit for bit, on any backend, after faults, after any change of size, and after a resume."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from actors.chunks import ChunkResult, chunks_of
from actors.messages import Work
from cluster.backends.base import Collected, Lost
from cluster.run.replay import phi_sha256, rebuild
from cluster.run.rounds import WorkLostError
from cluster.store import scaling
from cluster.store.journal import EpochRecord, UpdateRecord, read
from cluster.store.run_directory import RunDirectory
from tests.cluster.epg.evolving import CONFIG, Watcher, evolve, local, sized
from tests.cluster.epg.sleeping import Sleeping


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of phi of the run in one thread in which nothing goes wrong."""
    return phi_sha256(evolve(tmp_path_factory.mktemp("calm")).parameters["phi"])


def test_a_run_in_one_thread_counts_judges_and_keeps_everything(tmp_path: Path, calm: str) -> None:
    watcher = Watcher()
    result = evolve(tmp_path, observer=watcher)
    assert (result.reason, result.rounds) == ("total epochs", 6)
    assert phi_sha256(result.parameters["phi"]) == calm
    assert result.counts["lives"] == 6 * 16 + 3 * 3  # evaluations after epochs 2, 4 and 6
    assert result.env_steps == 100 * result.counts["lives"]
    assert [scalars["round"] for _, scalars in watcher.metrics] == [1, 2, 3, 4, 5, 6]
    scores = [scalars["evaluation/score"] for _, scalars in watcher.metrics if "evaluation/score" in scalars]
    assert len(scores) == 3
    assert result.figures["evaluation/best"] == max(scores)
    assert watcher.metrics[-1][0] == result.env_steps
    assert watcher.metrics[0][1]["life/length"] == 4.0
    assert [payload["first_round"] for payload in watcher.checkpoints] == [2, 4, 6]
    last = watcher.statuses[-1]
    assert (last.rounds, last.total_rounds, last.actors_alive, last.num_actors) == (6, 6, 1, 1)


def test_the_score_is_of_phi_itself_without_guidance(tmp_path: Path) -> None:
    kinds: list[tuple[str, int, float, int]] = []

    class Looks(Sleeping):
        def compute(self, chunk, phi):  # type: ignore[no-untyped-def]
            kinds.append((chunk.kind, chunk.epoch, chunk.alpha, chunk.count))
            return super().compute(chunk, phi)

    evolve(tmp_path, sized(num_epochs=2), collector=Looks())
    assert kinds[:4] == [("perturbed", 0, 1.0, 4)] * 4
    assert kinds[-2:] == [("evaluation", 2, 0.0, 2), ("evaluation", 2, 0.0, 1)]


def test_epochs_change_phi_and_seeds_differ(tmp_path: Path, calm: str) -> None:
    assert phi_sha256(evolve(tmp_path / "a", sized(num_epochs=5)).parameters["phi"]) != calm
    assert phi_sha256(evolve(tmp_path / "b", sized(seed=1)).parameters["phi"]) != calm


def test_processes_die_raise_and_hang_and_phi_is_the_same(tmp_path: Path, calm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "cluster.run.round_units.STRAGGLER_MIN_S", 1e9
    )  # else a copy of what hangs ends the run before its deadline
    deeds = tmp_path / "deeds"
    deeds.mkdir()
    for name in ("die-1-0", "raise-2-3", "hang-3-1", "die-evaluation"):
        (deeds / name).touch()
    watcher = Watcher()
    config = sized(num_actors=2, chunk_deadline_s=2.0)
    result = evolve(tmp_path / "run", config, collector=Sleeping(deeds=str(deeds)), observer=watcher)
    assert phi_sha256(result.parameters["phi"]) == calm
    assert result.lost_actors == 3
    assert list(deeds.iterdir()) == []
    assert sum("died; a new one takes its place" in line for line in watcher.events) == 2
    assert sum("hung: no answer" in line for line in watcher.events) == 1
    assert any(
        "chunk 3 of epoch 2 (perturbed, lifetimes 12 to 15) failed: ArithmeticError: on purpose" in line
        for line in watcher.events
    )


@pytest.mark.parametrize(("deed", "num_actors"), [("raise", 1), ("die", 2)])
def test_a_chunk_that_fails_three_times_stops_the_run_with_its_error(tmp_path: Path, deed: str, num_actors: int) -> None:
    deeds = tmp_path / "deeds"
    deeds.mkdir()
    (deeds / f"always-{deed}-1-2").touch()
    watcher = Watcher()
    config = sized(num_actors=num_actors)
    error: type[Exception] = ArithmeticError if deed == "raise" else WorkLostError
    with pytest.raises(error) as caught:
        evolve(tmp_path / "run", config, collector=Sleeping(deeds=str(deeds)), observer=watcher)
    text = str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    assert "chunk 2 of epoch 1 (perturbed, lifetimes 8 to 11) failed 3 times" in text
    (deeds / f"always-{deed}-1-2").unlink()
    chunks = [record for record in read(tmp_path / "run" / "journal.jsonl") if isinstance(record, ChunkResult)]
    assert len(chunks) >= 4  # finished chunks are kept


def test_actors_come_and_go_and_phi_is_the_same(tmp_path: Path, calm: str) -> None:
    directory = RunDirectory(path=tmp_path)
    wanted = iter((3, 1, 2))

    class Restless(Watcher):
        def on_status(self, status: object) -> None:
            super().on_status(status)
            if len(self.statuses) % 4 == 0 and (size := next(wanted, None)) is not None:
                scaling.ask(directory, num_actors=size)

    watcher = Restless()
    config = sized(num_actors=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaling, "POLL_EVERY_S", 0.0)
        result = evolve(tmp_path, config, collector=Sleeping(sleep_s=0.05), observer=watcher)
    assert phi_sha256(result.parameters["phi"]) == calm
    assert result.lost_actors == 0
    assert [line for line in watcher.events if "actors from now on" in line][:2] == [
        "3 actors from now on, 2 before",
        "1 actors from now on, 3 before",
    ]
    seen = scaling.observed(directory)
    assert seen is not None and seen.rounds == 6


def test_one_thread_grows_into_processes_and_its_chunk_is_kept(tmp_path: Path, calm: str) -> None:
    directory = RunDirectory(path=tmp_path)
    watcher = Watcher(lambda: scaling.ask(directory, num_actors=2) and None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaling, "POLL_EVERY_S", 0.0)
        result = evolve(tmp_path, collector=Sleeping(sleep_s=0.02), observer=watcher)
    assert phi_sha256(result.parameters["phi"]) == calm
    assert watcher.statuses[-1].num_actors == 2


def test_the_size_of_an_epoch_changes_at_its_border_and_is_in_the_journal(tmp_path: Path) -> None:
    directory = RunDirectory(path=tmp_path)
    deed = lambda: scaling.ask(directory, num_workers=32, num_vectors=16) and None  # noqa: E731
    watcher = Watcher(deed, when=lambda status: status.rounds == 2 and status.part == "train" and status.total)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaling, "POLL_EVERY_S", 0.0)
        result = evolve(tmp_path, collector=Sleeping(sleep_s=0.005), observer=watcher)
    sizes = [(r.num_workers, r.num_vectors, r.chunks) for r in read(directory.journal_file) if isinstance(r, EpochRecord)]
    assert sizes == [(16, 8, 4)] * 3 + [(32, 16, 8)] * 3
    shown = [(scalars["evolution/workers"], scalars["evolution/vectors"]) for _, scalars in watcher.metrics]
    assert shown == [(16, 8)] * 3 + [(32, 16)] * 3
    np.testing.assert_array_equal(rebuild(directory.journal_file).phi, result.parameters["phi"])


def test_an_impossible_size_is_reported_and_changes_nothing(tmp_path: Path, calm: str) -> None:
    tmp_path.mkdir(exist_ok=True)
    scaling.ask(RunDirectory(path=tmp_path), num_workers=17)
    watcher = Watcher()
    assert phi_sha256(evolve(tmp_path, observer=watcher).parameters["phi"]) == calm
    assert "num_workers = 17 must be a multiple of num_vectors = 8" in watcher.events[0]


@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_a_stop_keeps_everything_and_a_resume_ends_with_the_same_phi(tmp_path: Path, calm: str, with_checkpoint: bool) -> None:
    watcher = Watcher(when=lambda status: status.rounds == 3 and status.done == 2)

    def stop() -> None:
        watcher.wants_stop = True

    watcher._deed = stop
    part = evolve(tmp_path, sized(log_every_s=1e-6), collector=Sleeping(sleep_s=0.01), observer=watcher)
    assert (part.reason, part.rounds) == ("stopped by signal", 3)
    before = [record for record in read(tmp_path / "journal.jsonl") if isinstance(record, ChunkResult)]
    rest = Watcher()
    result = evolve(tmp_path, observer=rest, checkpoint=watcher.checkpoints[-1] if with_checkpoint else None)
    assert phi_sha256(result.parameters["phi"]) == calm
    assert (result.counts["lives"], result.env_steps) == (6 * 16 + 3 * 3, 100 * (6 * 16 + 3 * 3))
    after = [record for record in read(tmp_path / "journal.jsonl") if isinstance(record, ChunkResult)]
    assert after[: len(before)] == before
    keys = [(record.kind, record.epoch, record.index) for record in after]
    assert len(set(keys)) == len(keys) == 6 * 4 + 3 * 2  # no chunk was computed twice


def test_a_straggler_is_given_out_again_and_the_first_answer_counts(tmp_path: Path, calm: str) -> None:
    deeds = tmp_path / "deeds"
    deeds.mkdir()
    (deeds / "slow-4-3").touch()
    result = evolve(tmp_path / "run", sized(num_actors=2), collector=Sleeping(sleep_s=0.01, deeds=str(deeds)))
    assert phi_sha256(result.parameters["phi"]) == calm
    assert result.reissued == 1
    keys = [(r.kind, r.epoch, r.index) for r in read(tmp_path / "run" / "journal.jsonl") if isinstance(r, ChunkResult)]
    assert len(set(keys)) == len(keys)


def test_a_time_limit_ends_with_an_evaluation(tmp_path: Path) -> None:
    config = sized(max_train_seconds=0.2, evaluate_every=1000, num_epochs=1000)
    watcher = Watcher()
    result = evolve(tmp_path, config, collector=Sleeping(sleep_s=0.01), observer=watcher)
    assert result.reason == "time limit"
    assert 0 < result.rounds < 1000
    (score,) = [r.score for r in read(tmp_path / "journal.jsonl") if isinstance(r, UpdateRecord) and r.score is not None]
    assert result.figures["evaluation/best"] == score
    assert (watcher.statuses[-1].rounds, watcher.statuses[-1].figures["evaluation/best"]) == (
        result.rounds,
        score,
    )  # the verdict is seen


def test_worker_processes_end_with_their_backend() -> None:
    backend = local(sized(num_actors=2), Sleeping(sleep_s=30.0))
    backend.start(None)
    while len(backend.free()) < 2:
        backend.wait(0.25)
    processes = [one.worker._process for one in backend.watched()]  # type: ignore[attr-defined]
    os.kill(processes[0].pid, signal.SIGINT)  # as the terminal of a person who presses Ctrl-C sends it to all
    backend.wait(0.2)
    assert backend.num_alive() == 2 and processes[0].is_alive()
    backend.close()
    deadline = time.monotonic() + 10
    while any(process.is_alive() for process in processes) and time.monotonic() < deadline:
        time.sleep(0.02)  # the executor's own thread reaps them too: a join beside it can return before the exit code is there
    assert all(process.exitcode is not None for process in processes)


def test_a_worker_process_that_dies_while_it_has_nothing_to_do_is_missed_with_the_next_work() -> None:
    backend = local(sized(num_actors=2), Sleeping())
    _, weights = backend.start(None)
    while len(backend.free()) < 2:
        backend.wait(0.25)
    process = backend.supervisors[1].worker._process  # type: ignore[attr-defined]
    process.kill()
    process.join(10)
    work = Work(round=0, index=0, request=chunks_of("perturbed", 0, 4, 2, 4, 0.0)[0])
    backend.submit(work, 1, weights)
    events = backend.wait(10.0)
    assert [(type(event), event.work) for event in events] == [(Lost, work)]  # type: ignore[union-attr]
    while len(backend.free()) < 2:
        assert backend.wait(0.25) == []
    backend.submit(work, 1, weights)
    assert [type(event) for event in backend.wait(10.0)] == [Collected]
    backend.close()


def test_a_runner_that_cannot_be_made_ends_the_run_with_its_error(tmp_path: Path) -> None:
    class Broken(Sleeping):
        def __call__(self, *arguments: object) -> Sleeping:
            raise FileNotFoundError("no such robot")

    with pytest.raises(FileNotFoundError, match="no such robot"):
        evolve(tmp_path, CONFIG, collector=Broken())
