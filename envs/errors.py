"""Errors of invalid input and of faulty environments, and the wording that all packages share."""

from __future__ import annotations

import difflib
import os
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_NOT_THE_USERS = (
    *(f"{_ROOT / room}{os.sep}" for room in ("cluster", "actors", "learners", "envs")),
    *(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")),
)
"""Folders whose code is not the user's own: metaray's, Python's and installed packages'."""


class InvalidInputError(ValueError):
    """Input that the user can correct: one line that names the value, what is allowed and the nearest match.

    The command line prints the line and leaves with exit code 2; a library caller gets a `ValueError`.
    """


class EnvFaultError(RuntimeError):
    """An environment raised, or returned what its own spaces do not allow: one line that says which environment, where, and what.

    The run ends with it, after the learner was saved. It survives pickling, so that a process far away can raise it here.

    Args:
        call: what was asked of it: `reset`, `step`, ...
        problem: what it did then, such as `raised ValueError: boom`.
        family: name of the environment.
        slot: which of the environments in lockstep; None where it is unknown.
        step: of the slot's episode, from 1 on, or of the longest episode where no slot is named; None at a reset.

    Attributes:
        actor: the actor whose environment it is; None outside of training.
    """

    def __init__(self, call: str, problem: str, *, family: str = "", slot: int | None = None, step: int | None = None) -> None:
        super().__init__(call, problem)
        self.call, self.problem, self.family, self.slot, self.step = call, problem, family, slot, step
        self.actor: int | None = None

    def __str__(self) -> str:
        """The line."""
        places = {"actor": self.actor, "slot": self.slot, "step": self.step}
        where = "".join(f", {name} {number}" for name, number in places.items() if number is not None)
        return f"environment {self.family}{where}: {self.call} {self.problem}"


def raised(error: BaseException) -> str:
    """Say in one line what was raised: `raised ValueError: boom`."""
    return f"raised {described(error)}"


def described(error: BaseException) -> str:
    """Describe an exception of foreign code in one line, with the place where it was raised: `ValueError: boom (my_env.py:12)`."""
    try:
        text = one_line(str(error))
    except Exception:  # an exception whose own text cannot be had
        text = ""
    place = _place(error)
    return type(error).__name__ + (f": {text}" if text else "") + (f" ({place})" if place else "")


def _place(error: BaseException) -> str:
    """The last line of the user's own code in the traceback, which is not shown; empty where there is none."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [(file, line) for file, line in frames if not file.startswith((*_NOT_THE_USERS, "<"))]
    return f"{Path(own[-1][0]).name}:{own[-1][1]}" if own else ""


def one_line(text: str, max_length: int = 300) -> str:
    """Return `text` with every run of white space made one space, and cut where it is long."""
    words = " ".join(text.split())
    return words if len(words) <= max_length else words[: max_length - 3] + "..."


def unknown(what: str, value: str, allowed: Iterable[str]) -> InvalidInputError:
    """Return the error for a `value` that is none of `allowed`, with the nearest names first."""
    names = sorted(allowed)
    close = difflib.get_close_matches(value, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return InvalidInputError(f"unknown {what} {value!r}{hint} (one of: {', '.join(names)})")


def out_of_range(what: str, value: object, allowed: str) -> InvalidInputError:
    """Return the error for a `value` outside the range that `allowed` spells out, such as `[0, 1]`."""
    return InvalidInputError(f"{what} = {value} is out of range: allowed is {allowed}")
