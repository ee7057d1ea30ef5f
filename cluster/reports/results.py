"""Names for what commands leave in a run, so that no result takes the place of one of other settings unsaid."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.store.run_directory import read_json
from envs.errors import InvalidInputError, one_line

MAX_NAME = 120
"""Letters of a name; a file system takes 255 bytes, and what is longer goes by its digest."""

AGAIN = " (again: it held the same settings)"
"""Said of a file that was written over."""


def own_name(*parts: str, changed: Mapping[str, Any]) -> str:
    """The name, without its ending, of a result: `parts`, and each setting that is not its default."""
    words = [*parts, *(f"{key}-{value}" for key, value in changed.items())]
    name = "-".join("".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in word) for word in words)
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def is_again(file: Path, settings: Mapping[str, Any]) -> bool:
    """Whether `file` is there and holds a result of these very settings, as JSON has them.

    Raises:
        InvalidInputError: it holds something else.
    """
    if not file.exists():
        return False
    found = read_json(file)
    for name, value in settings.items():
        if not isinstance(found, dict) or found.get(name) != value:
            other = one_line(str(found.get(name)) if isinstance(found, dict) else str(found), 60)
            raise InvalidInputError(
                f"{file} holds a result of other settings ({name} = {other}, and here it is {one_line(str(value), 60)}): move it away"
            )
    return True
