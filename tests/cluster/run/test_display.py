"""The progress display."""

from __future__ import annotations

import io
import logging
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from cluster.algorithms import find
from cluster.run import display
from cluster.run.display import Drawing, LivePanel, PlainLines, Progress, Terminal, clock, make_progress, short, sparkline
from cluster.run.observer import Status, WallShares

STATUS = Status(
    env_steps=250_000,
    share=0.25,
    figures={
        "throughput/env_steps_per_s": 12_345.6,
        "throughput/updates": 1794.0,
        "return/mean_100": 497.5,
        "return/best_100": 500.0,
        "lag/mean": 2.1,
        "lag/max": 4.0,
    },
    actors_alive=3,
    num_actors=4,
    waiting=WallShares(actors=0.9, learner=0.17, transport=0.05),
    elapsed_s=83.0,
    eta_s=3725.0,
)
YOUNG = replace(STATUS, figures={"throughput/env_steps_per_s": 1.0}, eta_s=None)
EPOCHS = Status(
    env_steps=25_165_824,
    share=0.063,
    rounds=12,
    total_rounds=200,
    part="train",
    done=5,
    total=8,
    figures={
        "throughput/lives_per_s": 1.75,
        "throughput/env_steps_per_s": 14_336.0,
        "fitness/mean": 123.4,
        "fitness/std": 56.7,
        "evaluation/score": 130.0,
        "evaluation/best": 151.0,
        "alpha": 0.52,
        "evolution/learning_rate": 0.0094,
        "evolution/workers": 256.0,
        "evolution/vectors": 64.0,
    },
    actors_alive=3,
    num_actors=4,
    lost_actors=1,
    elapsed_s=1755.0,
    eta_s=27_000.0,
    last_event="actor 2 died; a new one takes its place",
)


def console(*, terminal: bool, width: int = 100) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=width, highlight=False, color_system="standard" if terminal else None
    )


def printed(target: Console) -> str:
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def progress_on(target: Console, *, title: str = "title", run: str = "runs/x", quiet: bool = False) -> Progress:
    return make_progress(find("impala"), title, run, "in this process", unit="unroll", quiet=quiet, console=target)


def line_of(status: Status, algorithm: str = "impala") -> str:
    return Drawing(find(algorithm), "title", "runs/x", "chunk").line(status)


def panel_of(status: Status, algorithm: str = "impala", width: int = 110) -> str:
    target = console(terminal=False, width=width)
    target.print(Drawing(find(algorithm), "title", "runs/x", "chunk").panel(status))
    return printed(target)


def test_a_pipe_gets_plain_lines_not_too_many_and_always_the_last() -> None:
    target = console(terminal=False)
    progress = progress_on(target)
    assert type(progress) is PlainLines
    for steps in range(0, 250_000, 1000):
        progress.update(replace(STATUS, env_steps=steps))
    assert len(printed(target).splitlines()) == 2
    progress.event("actor 3 [pid 12] was lost")
    progress.close()
    start, first, event, last = printed(target).splitlines()
    assert start == "title: starting in this process -> runs/x"
    assert " 0 steps" in first
    assert event == "actor 3 [pid 12] was lost"
    assert "249,000 steps  25%" in last
    assert "\x1b" not in printed(target)


def test_a_reader_that_goes_away_ends_no_run(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """`| head -1`: what is told from then on goes nowhere, and Python's own flush at the end of the process as well."""

    class Gone(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(display.sys, "stdout", SimpleNamespace(fileno=lambda: 17))
    instead: list[int] = []
    monkeypatch.setattr(display.os, "dup2", lambda new, old: instead.append(old))
    progress = progress_on(Terminal(file=Gone(), width=100))
    with caplog.at_level(logging.WARNING, "metaray"):
        progress.update(STATUS)
        progress.event("and on it goes")
        progress.close()
    assert instead == [17]
    (record,) = caplog.records
    assert record.message == ("the reader of standard output has closed it; the run continues without progress")


def test_what_is_tuned_is_shown_where_anything_is() -> None:
    tuned = replace(STATUS, figures={**STATUS.figures, "eta/gamma": 0.98123, "eta/entropy_cost": 0.01})
    assert line_of(tuned).endswith("gamma 0.9812, entropy cost 0.01")
    assert "gamma" not in line_of(STATUS)
    assert "gamma 0.9812, entropy cost 0.01" in panel_of(tuned)
    assert "tuned" not in panel_of(STATUS)


def test_a_plain_line_says_it_all() -> None:
    line = line_of(STATUS)
    for part in (
        "1:23",
        "250,000 steps  25%",
        "12,346 steps/s",
        "return 497.5, best 500",
        "lag      2.1",
        "max lag        4",
        "actors 3/4",
        "learner waits for actors 83%",
    ):
        assert part in line
    assert "return        -" in line_of(YOUNG)


def test_a_plain_line_of_rounds_has_everything_that_a_log_needs() -> None:
    line = line_of(EPOCHS, "epg")
    for part in (
        "epoch    12/200   6%",
        "chunks 5/8",
        "1.75 lifetimes/s, 14,336 steps/s",
        "fitness 123.4 ± 56.7",
        "score      151",
        "newest      130",
        "alpha     0.52",
        "lr   0.0094",
        "W      256  V       64",
        "actors 3/4",
        "7:30:00 left",
    ):
        assert part in line
    assert "evaluation chunks 1/2" in line_of(replace(EPOCHS, part="evaluate", done=1, total=2), "epg")


def test_the_panel_of_rounds_shows_a_long_one_from_within() -> None:
    panel = panel_of(EPOCHS, "epg")
    for part in (
        "epoch 12 of 200",
        "5 of 8",
        "123.4 ± 56.7",
        "151",
        "130",
        "256",
        "64",
        "3 of 4, 1 lost and replaced",
        "takes its place",
        "Ctrl-C saves and stops",
    ):
        assert part in panel
    assert "evaluation chunks 1 of 2" in panel_of(replace(EPOCHS, part="evaluate", done=1, total=2), "epg")


def test_before_there_is_anything_there_are_dashes() -> None:
    young = replace(EPOCHS, rounds=0, figures={}, eta_s=None)
    assert "fitness        -  score        -  newest        -" in line_of(young, "epg")
    for panel in (panel_of(young, "epg"), panel_of(YOUNG)):
        assert "None" not in panel and "left" not in panel


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_terminal_gets_a_panel_that_fits(width: int) -> None:
    target = console(terminal=True, width=width)
    progress = progress_on(target, title="a [title]", run="runs/[x]")
    assert type(progress) is LivePanel
    progress.update(STATUS)
    progress.event("something happened")
    progress.update(replace(YOUNG, last_event="actor 1 hung"))
    progress.close()
    text = printed(target)
    assert "starting in this process" in text
    assert "a [title]" in text
    assert "something happened" in text
    assert "actor 1 hung" in text
    assert "\x1b[?25h" in text  # the cursor is shown again
    for panel in (panel_of(STATUS, width=width), panel_of(EPOCHS, "epg", width=width)):
        assert all(len(line) == width for line in panel.splitlines())
    assert any("12,346 steps/s" in line for line in panel_of(STATUS, width=width).splitlines())


def test_the_panel_draws_the_course_of_the_headline() -> None:
    drawing = Drawing(find("impala"), "title", "runs/x", "chunk")
    for value in range(8):
        target = console(terminal=False)
        target.print(drawing.panel(replace(STATUS, figures={"return/mean_100": float(value)})))
    assert "▁▂▃▄▅▆▇█" in printed(target)


def test_quiet_shows_events_only_and_a_dumb_terminal_no_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    target = console(terminal=True)
    progress = progress_on(target, quiet=True)
    progress.update(STATUS)
    progress.event("lost")
    progress.close()
    assert type(progress) is Progress
    assert printed(target) == "lost\n"
    monkeypatch.setenv("TERM", "dumb")
    assert type(progress_on(console(terminal=True))) is PlainLines


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        (WallShares(actors=0.95, learner=0.17), "learner waits for actors 83%"),
        (WallShares(actors=0.4, learner=1.0), "actors wait for learner 60%"),
        (WallShares(actors=0.2, learner=0.1, transport=0.7), "both wait for transport 70%"),
    ],
)
def test_who_waits_for_whom(shares: WallShares, words: str) -> None:
    assert shares.in_words() == words


def test_a_sparkline_spans_from_lowest_to_highest() -> None:
    assert sparkline([], 8) == ""
    assert sparkline([3.0], 8) == "▁"
    assert sparkline(list(range(8)), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([float(i // 10) for i in range(80)], 8) == "▁▂▃▄▅▆▇█"
    assert len(sparkline([math.sin(i) for i in range(1000)], 28)) == 28


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (41.9, "0:41"), (725, "12:05"), (3723, "1:02:03"), (-1, "0:00")])
def test_times_read_like_times(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(950, "950"), (9_999, "9999"), (12_340, "12.3k"), (4_000_000, "4.00M"), (12_345_678, "12.3M"), (2 * 10**9, "2.00G")],
)
def test_counts_are_short(count: int, text: str) -> None:
    assert short(count) == text
