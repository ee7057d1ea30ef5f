"""The journal: damage by a kill, a disk or another NumPy, and phi replayed from it alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actors.chunks import ChunkResult
from cluster.run.replay import ReplayError, epochs, last_epoch, phi_sha256, rebuild, resume
from cluster.store import journal as journals
from cluster.store.journal import EpochRecord, Journal, UpdateRecord, decode, encode, read, repair
from envs.errors import InvalidInputError
from learners import epg
from tests.cluster.epg.evolving import Watcher, evolve, sized

CHUNK = ChunkResult(kind="perturbed", epoch=3, index=1, fitness=(0.1, -1e300, 1 / 3), env_steps=300, busy_s=0.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The journal of a finished run."""
    evolve(tmp_path)
    return tmp_path / "journal.jsonl"


def test_a_record_comes_back_as_it_was_and_every_line_is_json() -> None:
    line = encode(CHUNK)
    assert decode(line) == CHUNK
    checksum, fields = json.loads(line)
    assert len(checksum) == 8
    assert fields["record"] == "chunk"
    odd = decode(encode(replace(CHUNK, fitness=(float("nan"), float("inf")))))
    assert isinstance(odd, ChunkResult)
    assert np.isnan(odd.fitness[0]) and odd.fitness[1] == np.inf


@pytest.mark.parametrize("change", [lambda line: line[:-1], lambda line: line[:20], lambda line: b"\n", lambda line: b""])
def test_half_a_line_is_no_record(change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(journals.DamagedError):
        decode(change(encode(CHUNK)))


def test_any_flipped_bit_is_found() -> None:
    line = encode(CHUNK)
    for position in range(len(line)):
        flipped = bytearray(line)
        flipped[position] ^= 4
        with pytest.raises(journals.DamagedError):
            decode(bytes(flipped))


def test_phi_is_rebuilt_from_the_journal_alone(tmp_path: Path) -> None:
    result = evolve(tmp_path)
    seen: list[int] = []
    state = rebuild(tmp_path / "journal.jsonl", lambda epoch, state: seen.append(state.epoch))
    np.testing.assert_array_equal(state.phi, result.parameters["phi"])
    assert state.best_score == result.figures["evaluation/best"]
    assert seen == [1, 2, 3, 4, 5, 6]
    assert last_epoch(tmp_path / "journal.jsonl") == 6


def test_records_come_in_the_order_that_the_page_says(path: Path) -> None:
    names = [type(record).__name__.removesuffix("Record").removesuffix("Result").lower() for record in read(path)]
    assert names[0] == "run"
    assert names[1:7] == ["epoch", *["chunk"] * 4, "update"]
    assert names[7:15] == ["epoch", *["chunk"] * 6, "update"]  # with an evaluation of two chunks


@pytest.mark.parametrize("bytes_left", [1, 40])
def test_a_torn_tail_is_cut_off_in_one_line_and_computed_again(tmp_path: Path, bytes_left: int) -> None:
    want = evolve(tmp_path / "calm")
    evolve(tmp_path / "run")
    path = tmp_path / "run" / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9]) + lines[9][:bytes_left])
    said: list[str] = []
    repair(path, said.append)
    (line,) = said
    assert f"record 10 is damaged (it is truncated); {bytes_left} bytes are cut off" in line
    assert path.read_bytes() == b"".join(lines[:9])
    assert path.with_name("journal.jsonl.cut").read_bytes() == lines[9][:bytes_left]
    repair(path, said.append)
    assert len(said) == 1
    assert phi_sha256(evolve(tmp_path / "run").parameters["phi"]) == phi_sha256(want.parameters["phi"])


def test_a_damaged_record_in_the_middle_takes_what_follows_with_it(tmp_path: Path) -> None:
    want = evolve(tmp_path)
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert b"fitness" in lines[18]
    lines[18] = lines[18].replace(b"fitness", b"fitmess")
    path.write_bytes(b"".join(lines))
    assert len(list(read(path))) == 18
    said: list[str] = []
    repair(path, said.append)
    assert "it does not match its checksum" in said[0]
    assert phi_sha256(evolve(tmp_path).parameters["phi"]) == phi_sha256(want.parameters["phi"])
    assert rebuild(path).epoch == 6


def test_a_journal_without_a_good_record_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"nonsense\n")
    with pytest.raises(InvalidInputError, match="has no valid record"):
        repair(path, print)


def test_a_checkpoint_beyond_the_journals_end_does_not_count(tmp_path: Path) -> None:
    watcher = Watcher()
    want = evolve(tmp_path, observer=watcher)
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:12]))
    assert resume(path, watcher.checkpoints[-1])["first_round"] == 1
    assert phi_sha256(evolve(tmp_path, checkpoint=watcher.checkpoints[-1]).parameters["phi"]) == phi_sha256(
        want.parameters["phi"]
    )
    assert rebuild(path).epoch == 6


def test_a_replay_starts_at_the_checkpoint(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = Watcher()
    evolve(tmp_path / "again", observer=watcher)
    replayed: list[int] = []
    update = epg.update

    def counted(agent, config, state, *arguments):  # type: ignore[no-untyped-def]
        replayed.append(state.epoch)
        return update(agent, config, state, *arguments)

    monkeypatch.setattr(epg, "update", counted)
    resumption = resume(path, watcher.checkpoints[1])
    assert watcher.checkpoints[1]["first_round"] == 4
    assert replayed == [4, 5]
    assert (resumption["first_round"], resumption["statistics"]["counts"]["lives"]) == (6, 6 * 16 + 3 * 3)


def test_another_numpy_is_named_where_phi_differs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = epg.update

    def other(agent, config, state, *arguments):  # type: ignore[no-untyped-def]
        after, scalars = update(agent, config, state, *arguments)
        return replace(after, phi=np.nextafter(after.phi, np.float32(2))), scalars

    monkeypatch.setattr(epg, "update", other)
    with pytest.raises(ReplayError, match=r"phi after epoch 1 is another than it was, although the libraries are the same"):
        rebuild(path)
    monkeypatch.setattr("cluster.run.replay.library_versions", lambda: {"numpy": "3.0.0"})
    with pytest.raises(ReplayError, match=r"the run began with .*numpy 2\.[\d.]+, here 3\.0\.0") as caught:
        rebuild(path)
    assert "\n" not in str(caught.value)


def test_an_epoch_that_is_not_whole_cannot_be_rebuilt(path: Path) -> None:
    records = [
        record for record in read(path) if not (isinstance(record, ChunkResult) and (record.epoch, record.index) == (1, 2))
    ]
    path.unlink()
    journal = Journal(path)
    journal.append(records)
    journal.close()
    with pytest.raises(ReplayError, match="epoch 1 is not whole"):
        rebuild(path)


def test_an_epoch_in_progress_is_recognised(tmp_path: Path) -> None:
    evolve(tmp_path, sized(num_epochs=1))
    journal = Journal(tmp_path / "journal.jsonl")
    begun = EpochRecord(epoch=1, num_workers=16, num_vectors=8, lives_per_chunk=4, alpha=0.5, num_epochs=6, chunks=4)
    journal.append([begun, replace(CHUNK, epoch=1)])
    journal.close()
    *_, last = epochs(tmp_path / "journal.jsonl")
    assert last.update is None
    assert [result.index for result in last.fitness] == [1]
    resumption = resume(tmp_path / "journal.jsonl", None)
    assert resumption["epoch"] is not None
    assert resumption["first_round"] == 1
    assert isinstance(list(read(tmp_path / "journal.jsonl"))[-3], UpdateRecord)
