"""Which chunk is given out when, and what becomes of answers that nobody waits for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cluster.epg.round import ChunkLostError, Pace, Round

from actors.chunks import Chunk, ChunkResult, chunks_of
from cluster.epg import round as rounds

CHUNKS = chunks_of("perturbed", 5, 16, 8, 4, 0.0)


def result_of(chunk: Chunk, value: float = 0.0) -> ChunkResult:
    fitness = tuple(value + life for life in range(chunk.first, chunk.first + chunk.count))
    return ChunkResult(
        kind=chunk.kind, epoch=chunk.epoch, index=chunk.index, fitness=fitness, env_steps=1, busy_s=0.1, scalars={}
    )


@pytest.fixture
def round_() -> Round:
    return Round(CHUNKS, {}, Pace(), 3)


def drained(round_: Round) -> list[Chunk]:
    chunks = []
    while (chunk := round_.next()) is not None:
        chunks.append(chunk)
    return chunks


def test_fitness_is_by_life_and_never_by_arrival(round_: Round) -> None:
    assert drained(round_) == CHUNKS
    for chunk in (CHUNKS[2], CHUNKS[0], CHUNKS[3], CHUNKS[1]):
        assert not round_.is_complete
        assert round_.take_in(result_of(chunk))
    assert round_.is_complete
    np.testing.assert_array_equal(round_.fitness, np.arange(16.0))


def test_what_is_done_already_is_not_given_out(round_: Round) -> None:
    resumed = Round(CHUNKS, {1: result_of(CHUNKS[1])}, Pace(), 3)
    assert [chunk.index for chunk in drained(resumed)] == [0, 2, 3]


def test_a_second_answer_and_one_of_another_round_are_dropped(round_: Round) -> None:
    drained(round_)
    assert round_.take_in(result_of(CHUNKS[0]))
    assert not round_.take_in(result_of(CHUNKS[0], value=9.0))
    assert not round_.take_in(replace(result_of(CHUNKS[1]), epoch=4))
    assert not round_.take_in(replace(result_of(CHUNKS[1]), kind="evaluation"))
    assert round_.results[0].fitness[0] == 0.0


def test_a_straggler_gets_one_copy_at_a_time_and_waits_again_only_when_both_are_lost(
    round_: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(rounds.time, "monotonic", lambda: now)
    drained(round_)
    now += 2.0
    for chunk in CHUNKS[:3]:
        round_.take_in(result_of(chunk))
    assert round_.next() is None  # as long as the others
    now += 2.5
    assert round_.next() == CHUNKS[3]
    assert round_.next() is None
    assert round_.reissued == 1
    round_.give_back(CHUNKS[3], "it died")
    assert round_.next() == CHUNKS[3]  # a copy again, for the first one is still under way
    assert round_.reissued == 2
    round_.give_back(CHUNKS[3], None)
    round_.give_back(CHUNKS[3], "the first one died as well")
    assert round_.next() == CHUNKS[3]
    assert round_.reissued == 2


def test_a_removal_is_nobodys_fault_and_the_third_failure_is_the_last(round_: Round) -> None:
    for _ in range(5):
        assert round_.next() == CHUNKS[0]
        round_.give_back(CHUNKS[0], None)
    for _ in range(2):
        assert round_.next() == CHUNKS[0]
        round_.give_back(CHUNKS[0], "actor 1 died")
    round_.next()
    with pytest.raises(ChunkLostError, match=r"chunk 0 of epoch 5 .* failed 3 times, the last time because actor 1 hung"):
        round_.give_back(CHUNKS[0], "actor 1 hung")


def test_the_failure_of_an_old_copy_harms_nobody(round_: Round) -> None:
    drained(round_)
    round_.take_in(result_of(CHUNKS[0]))
    for _ in range(5):
        round_.give_back(CHUNKS[0], ValueError("late"))
        round_.give_back(replace(CHUNKS[1], epoch=4), ValueError("of another epoch"))
