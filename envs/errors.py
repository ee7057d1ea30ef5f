"""The one error that a person's wrong input raises, and the wording that all rooms share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InvalidInputError(ValueError):
    """Input that a person can mend: one line that names the value, what is allowed and the nearest match.

    The command line prints the line and leaves with exit code 2; a library caller gets a `ValueError`.
    """


def unknown(what: str, value: str, allowed: Iterable[str]) -> InvalidInputError:
    """Return the error for a `value` that is none of `allowed`, with the nearest names first."""
    names = sorted(allowed)
    close = difflib.get_close_matches(value, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return InvalidInputError(f"unknown {what} {value!r}{hint} (one of: {', '.join(names)})")


def out_of_range(what: str, value: object, allowed: str) -> InvalidInputError:
    """Return the error for a `value` outside the range that `allowed` spells out, such as `[0, 1]`."""
    return InvalidInputError(f"{what} = {value} is out of range: allowed is {allowed}")
