"""The first signal requests a stop, the second one ends the program, and ignored ones stay ignored."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from cluster.run.stop_flag import SIGNALS, StopFlag


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Whatever a test does to the signals of this process is undone."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_first_signal_asks_and_the_second_one_ends(number: signal.Signals, code: int) -> None:
    stop = StopFlag()
    with stop.installed():
        stop.has_begun = True
        assert (stop.signal_number, stop.exit_code) == (None, 0)
        os.kill(os.getpid(), number)
        assert (stop.signal_number, stop.exit_code) == (number, code)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert stop.exit_code == code


@pytest.mark.parametrize("number", SIGNALS)
def test_before_anything_has_begun_the_first_one_ends_it(number: signal.Signals) -> None:
    stop = StopFlag()
    with stop.installed(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    assert stop.exit_code == 128 + number


def test_the_exit_code_follows_from_the_last_signal() -> None:
    stop = StopFlag()
    stop.has_begun = True
    with stop.installed():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert stop.exit_code == 143


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """Under `nohup` the terminal's end is none of the run's business."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = StopFlag()
    with stop.installed():
        stop.has_begun = True
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.signal_number is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.exit_code == 143
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_what_listened_before_listens_again() -> None:
    with StopFlag().installed():
        assert all(signal.getsignal(number) is not signal.default_int_handler for number in SIGNALS)
    assert all(signal.getsignal(number) is signal.default_int_handler for number in SIGNALS)
