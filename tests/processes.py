"""Commands that tests start in processes of their own, as a person starts them, and end with the tests whatever ends those."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_SET_PARENT_DEATH_SIGNAL = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def started(*command: str, cwd: Path, before: tuple[str, ...] = (), new_session: bool = False) -> subprocess.Popen[str]:
    """Start `python -m COMMAND` with captured output, perhaps by way of another command before it.

    It hears the signals that a background shell or nohup has the tests ignore, and gets SIGTERM should the tests be killed: an endless
    training would else stay behind.
    """
    return subprocess.Popen(
        [*before, sys.executable, "-m", *command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=new_session,
        preexec_fn=_before_it_runs,
    )


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Return once the condition holds; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """Ids of the processes that its main thread started."""
    return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def _before_it_runs() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if _LIBC is not None:
        _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
