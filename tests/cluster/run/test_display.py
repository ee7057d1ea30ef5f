"""What a person sees while a run trains."""

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from cluster.config import RunConfig
from cluster.run.display import LivePanel, PlainLines, Quiet, clock, make_progress, panel, plain_line, short, sparkline
from cluster.run.observer import Status, WallShares
from cluster.run.statistics import Statistics

STATUS = Status(
    env_steps=250_000,
    total_env_steps=1_000_000,
    env_steps_per_s=12_345.6,
    learner_updates=1794,
    mean_return=497.5,
    best_return=500.0,
    mean_lag=2.1,
    max_lag=4,
    actors_alive=3,
    num_actors=4,
    waiting=WallShares(actors=0.9, learner=0.17, transport=0.05),
    elapsed_s=83.0,
    eta_s=3725.0,
)


def console(*, terminal: bool, width: int = 100) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=width, highlight=False, color_system="standard" if terminal else None
    )


def printed(target: Console) -> str:
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def test_a_pipe_gets_plain_lines_not_too_many_and_always_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    target = console(terminal=False)
    progress = make_progress("title", "runs/x", "in this process", quiet=False, console=target)
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


def test_what_is_tuned_is_shown_where_anything_is() -> None:
    tuned = replace(STATUS, tuned={"gamma": 0.98123, "entropy_cost": 0.01})
    assert plain_line(tuned).endswith("gamma 0.9812, entropy cost 0.01")
    assert "gamma" not in plain_line(STATUS)
    for status, is_shown in ((tuned, True), (STATUS, False)):
        target = console(terminal=True)
        target.print(panel(status, [], "title", "runs/x"))
        assert ("gamma 0.9812, entropy cost 0.01" in printed(target)) == is_shown


def test_a_run_that_ends_by_the_clock_is_measured_by_the_clock() -> None:
    line = plain_line(replace(STATUS, time_share=0.75))
    assert "250,000 steps  75%" in line
    assert "250,000 steps  25%" in plain_line(replace(STATUS, time_share=0.1))
    config = RunConfig(total_env_steps=10**9, max_train_seconds=1000.0)
    saved = Statistics(config, None).state() | {"train_s": 600.0}
    status, _, _ = Statistics(config, saved).interval(alive=1, dropped=0, last_event="")
    assert status.share == pytest.approx(0.6, abs=0.01)
    assert status.eta_s == pytest.approx(400, abs=5)
    endless, _, _ = Statistics(RunConfig(), None).interval(alive=1, dropped=0, last_event="")
    assert (endless.share, endless.eta_s) == (0.0, None)


def test_a_plain_line_says_it_all() -> None:
    line = plain_line(STATUS)
    for part in (
        "1:23",
        "250,000 steps  25%",
        "12,346 steps/s",
        "497.5",
        "lag  2.1 (max 4)",
        "3/4",
        "learner waits for actors 83%",
    ):
        assert part in line
    assert "return        -" in plain_line(replace(STATUS, mean_return=None))


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_terminal_gets_a_panel_that_fits(width: int) -> None:
    target = console(terminal=True, width=width)
    progress = make_progress("a [title]", "runs/[x]", "in this process", quiet=False, console=target)
    assert type(progress) is LivePanel
    progress.update(STATUS)
    progress.event("something happened")
    progress.update(replace(STATUS, mean_return=None, best_return=None, eta_s=None, last_event="actor 1 hung"))
    progress.close()
    text = printed(target)
    assert "a [title]" in text
    assert "something happened" in text
    assert "\x1b[?25h" in text  # the cursor is shown again
    plain = console(terminal=False, width=width)
    plain.print(panel(STATUS, [1.0, 2.0], "title", "runs/x"))
    lines = printed(plain).splitlines()
    assert all(len(line) == width for line in lines)
    assert any("12,346 steps/s" in line for line in lines)


def test_quiet_shows_events_only_and_a_dumb_terminal_no_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    target = console(terminal=True)
    progress = make_progress("title", "runs/x", "in this process", quiet=True, console=target)
    progress.update(STATUS)
    progress.event("lost")
    progress.close()
    assert type(progress) is Quiet
    assert printed(target) == "lost\n"
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_progress("title", "runs/x", "in this process", quiet=False, console=console(terminal=True))) is PlainLines


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
