"""What a person sees of an outer loop."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from cluster.epg.observer import EpgStatus
from cluster.epg.progress import EpgDrawing, plain_line
from rich.console import Console

from cluster.run.display import LivePanel, PlainLines, progress_of

STATUS = EpgStatus(
    epoch=12,
    num_epochs=200,
    phase="lives",
    chunks_done=5,
    chunks=8,
    num_workers=256,
    num_vectors=64,
    env_steps=25_165_824,
    lives=3072,
    lives_per_s=1.75,
    env_steps_per_s=14_336.0,
    fitness_mean=123.4,
    fitness_std=56.7,
    score=130.0,
    best_score=151.0,
    alpha=0.52,
    learning_rate=0.0094,
    actors_alive=3,
    num_actors=4,
    lost_actors=1,
    elapsed_s=1755.0,
    eta_s=27_000.0,
    last_event="actor 2 died; a new one takes its place",
)


def drawn(status: EpgStatus) -> str:
    target = Console(file=io.StringIO(), force_terminal=True, width=110, highlight=False, color_system=None)
    drawing = EpgDrawing("epg - random-hopper", "runs/x")
    target.print(drawing.panel(status))
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def test_a_line_has_everything_that_a_log_needs() -> None:
    line = plain_line(STATUS)
    for part in (
        "epoch    12/200",
        "lives 5/8 chunks",
        "1.75 lives/s, 14,336 steps/s",
        "fitness 123.4 ± 56.7",
        "score 130, best 151",
        "alpha 0.52, lr 0.0094",
        "actors 3/4",
        "7:30:00 left",
    ):
        assert part in line


def test_the_panel_shows_a_long_epoch_from_within() -> None:
    panel = drawn(STATUS)
    for part in (
        "epoch 12 of 200",
        "5/8 chunks",
        "W 256, V 64",
        "123.4 ± 56.7",
        "3 of 4, 1 lost and replaced",
        "takes its place",
    ):
        assert part in panel
    assert "evaluation" in drawn(replace(STATUS, phase="evaluation"))


def test_before_the_first_epoch_there_are_dashes() -> None:
    young = replace(
        STATUS, epoch=0, fitness_mean=None, fitness_std=None, score=None, best_score=None, learning_rate=None, eta_s=None
    )
    assert "fitness -  score -  alpha 0.52  actors" in plain_line(young)
    assert "None" not in drawn(young)


@pytest.mark.parametrize(
    ("changes", "share"),
    [({}, (12 + 5 / 8) / 200), ({"time_share": 0.5}, 0.5), ({"phase": "evaluation"}, 0.06), ({"epoch": 200}, 1.0)],
)
def test_the_share_counts_chunks_and_the_clock(changes: dict[str, object], share: float) -> None:
    assert replace(STATUS, **changes).share == pytest.approx(share)  # type: ignore[arg-type]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_terminal_gets_a_panel_and_a_pipe_gets_lines(terminal: bool) -> None:
    target = Console(file=io.StringIO(), force_terminal=terminal, width=110, color_system=None)
    progress = progress_of(
        EpgDrawing("epg", "runs/x"), "epg", "runs/x", "4 processes on this machine", quiet=False, console=target
    )
    assert type(progress) is (LivePanel if terminal else PlainLines)
    progress.update(STATUS)
    progress.event("actor 3 was lost")
    progress.close()
    assert isinstance(target.file, io.StringIO)
    assert "starting 4 processes on this machine" in target.file.getvalue()
    assert "actor 3 was lost" in target.file.getvalue()
