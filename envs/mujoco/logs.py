"""MuJoCo's warnings, sent to Python's logging instead of the console and a file MUJOCO_LOG.TXT in the user's folder.

MuJoCo has one handler for the whole process, also for warnings that its own threads raise, so installing it is a process-wide act: it
happens when an environment is made, and once. A library that installs a handler of its own later wins, as it would without this one.
"""

from __future__ import annotations

import atexit
import functools
import logging
import threading

import mujoco

LOGGER = logging.getLogger("metaray.mujoco")

_UNSTABLE = "Nan, Inf or huge value"
"""How MuJoCo's warning of a diverged simulation begins; the environment reports those itself, with the task and a count."""

_MAX_SEEN = 1000
"""Distinct messages remembered; they carry names of elements and numbers, so the set must not grow for ever."""

_lock = threading.Lock()
_seen: set[str] = set()


def _handle(message: str) -> None:
    """Log one warning; the same text only once. Called on whichever thread raised it, the engine's own included."""
    if message.startswith(_UNSTABLE):
        LOGGER.debug("%s", message)
        return
    with _lock:
        if message in _seen or len(_seen) >= _MAX_SEEN:
            return
        _seen.add(message)
    # gymnasium's own half_cheetah.xml uses a deprecated attribute: nothing that a user can or should mend
    LOGGER.log(logging.INFO if "deprecated" in message else logging.WARNING, "%s", message)


@functools.cache
def install_log_handler() -> None:
    """Send every warning of MuJoCo in this process to the logger `metaray.mujoco`; calling it again does nothing."""
    config = mujoco.MjLogConfig.get()
    config.logto_file = False  # for what no handler sees: warnings after it is taken down at exit
    config.logto_console = False
    config.set()
    mujoco.set_mju_user_warning(_handle)
    atexit.register(mujoco.set_mju_user_warning, None)  # no call into an interpreter that is going down
