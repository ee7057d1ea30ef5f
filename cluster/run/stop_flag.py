"""SIGINT, SIGTERM and SIGHUP: the first signal requests a clean stop, the second one ends the program at once."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGHUP comes from a terminal that is closed: the run saves and stops, as it does for SIGTERM."""


class StopFlag:
    """Set by the first signal; the second one raises KeyboardInterrupt wherever the program is.

    Before training has started there is nothing to save, and the first one raises: a cluster may take a minute to start.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.has_begun = False

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals inside the block; one that is ignored (SIGHUP under nohup) stays ignored."""
        handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._handle) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_urgent = self.signal_number is not None or not self.has_begun
        self.signal_number = number  # nothing is printed here: the signal may interrupt a print
        if is_urgent:
            raise KeyboardInterrupt

    @property
    def exit_code(self) -> int:
        """The exit code of a program that a signal ended; 0 without a signal."""
        return 0 if self.signal_number is None else 128 + self.signal_number
