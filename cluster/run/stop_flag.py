"""Ctrl-C and its relatives: the first signal asks for a clean stop, the second one ends the program where it is."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGHUP is what a terminal that is closed sends: a run in it saves and stops, as it does for SIGTERM."""


class StopFlag:
    """Set by the first signal; the second one raises KeyboardInterrupt wherever the program is.

    Before training has begun there is nothing to save and the first one raises: a cluster may take a minute to start.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.has_begun = False

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Listen for the signals inside of the block; one that is ignored (SIGHUP under nohup) stays ignored."""
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._handle) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_urgent = self.signal_number is not None or not self.has_begun
        self.signal_number = number  # no word here: the signal may have come in the middle of a print
        if is_urgent:
            raise KeyboardInterrupt

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that a signal ended; 0 when there was none."""
        return 0 if self.signal_number is None else 128 + self.signal_number
