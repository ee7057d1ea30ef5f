"""Calls to Ray, with its errors sorted into lost processes or machines and defects of the program.

Ray has one family of errors for a process that died, one for an object that went with its machine, and wraps what our own code raised in
a third.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ActorAlreadyExistsError, ObjectLostError, RayActorError, RayError, RayTaskError

NAME_WAIT_S = 2.0
"""How long a dead worker's name may stay taken before its successor's carries a number."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
MAX_NUMBER = 9
"""Far more names in use than one run can leave behind."""


class LostError(Exception):
    """A result was lost with its process or its machine."""


def fetch(ref: Any, who: str) -> Any:
    """The value of a finished call.

    Args:
        ref: reference to it.
        who: whose call it was, in words.

    Raises:
        LostError: its process or machine is gone.
        Exception: what the call itself raised, with the remote traceback as a note.
    """
    try:
        return ray.get(ref)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ObjectLostError):  # an argument of the call
            raise LostError(_one_line(cause)) from error
        if not isinstance(cause, Exception) or isinstance(cause, RayError):
            raise RuntimeError(f"{who} failed: {error}") from error
        cause.add_note(f"raised by {who}, where the traceback was:\n{_COLOUR.sub('', str(error))}")
        raise cause from None
    except RayError as error:
        raise LostError(_one_line(error)) from error


def _one_line(error: BaseException) -> str:
    """The informative part of one of Ray's long messages."""
    text = " ".join(_COLOUR.sub("", str(error)).split())
    for start in ("Worker exit detail: ", "The actor is dead because "):
        if isinstance(error, RayActorError) and start in text:
            text = text.partition(start)[2]
            break
    return f"{type(error).__name__}: {text.partition('. ')[0][:200].rstrip('.')}"


def named(make: Callable[[str], Any], name: str) -> Any:
    """Make an actor called `name`; a name that a dead one still holds is waited for, and then numbered."""
    give_up, number = time.monotonic() + NAME_WAIT_S, 1
    while True:
        try:
            return make(name if number == 1 else f"{name}~{number}")
        except ActorAlreadyExistsError:
            if number > MAX_NUMBER:
                raise
            if time.monotonic() >= give_up:
                number += 1
            else:
                time.sleep(0.02)


def resources(*, free: bool) -> dict[str, float]:
    """Resources of the cluster (`CPU`, `GPU`), in all or still free."""
    found: dict[str, float] = ray.available_resources() if free else ray.cluster_resources()  # type: ignore[no-untyped-call]
    return {"CPU": 0.0, "GPU": 0.0} | found


def first_ready(refs: list[Any], timeout_s: float) -> list[Any]:
    """Wait until one of `refs` is ready, at most `timeout_s`; return all that are, in the order in which they were given."""
    if not refs:
        time.sleep(min(timeout_s, 0.05))
        return []
    done, rest = ray.wait(refs, num_returns=1, timeout=timeout_s, fetch_local=False)
    if done and rest:
        done += ray.wait(rest, num_returns=len(rest), timeout=0, fetch_local=False)[0]
    return list(done)


def pending_line(pending: int, total: int) -> str:
    """A line about pending actors and the CPUs of the cluster."""
    free, cpus = resources(free=True)["CPU"], resources(free=False)["CPU"]
    return f"{pending} of {total} actors wait for a place; the Ray cluster has {free:.0f} of {cpus:.0f} CPUs free"


def kill(worker: Any) -> None:
    """Kill the process of a worker, if it is still there."""
    with contextlib.suppress(RayError, ValueError):
        ray.kill(worker, no_restart=True)
