"""Names of result files, so that no result silently overwrites one of other settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.store.run_directory import read_json
from envs.errors import InvalidInputError, one_line

MAX_NAME = 120
"""Characters of a name; file systems allow 255 bytes, and longer names are cut and end with a digest."""

AGAIN = " (overwritten: it had the same settings)"
"""Printed after the name of a file that existed."""


def own_name(*parts: str, changed: Mapping[str, Any]) -> str:
    """The name, without suffix, of a result file: `parts`, and each setting that is not its default."""
    words = [*parts, *(f"{key}-{value}" for key, value in changed.items())]
    name = "-".join("".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in word) for word in words)
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def again(file: Path, settings: Mapping[str, Any]) -> str:
    """What is printed after the name of `file`: that it exists, with a result of exactly these settings in their JSON form, or nothing.

    Raises:
        InvalidInputError: it holds a result of other settings.
    """
    if not file.exists():
        return ""
    found = read_json(file)
    for name, value in settings.items():
        if not isinstance(found, dict) or found.get(name) != value:
            other = one_line(str(found.get(name)) if isinstance(found, dict) else str(found), 60)
            raise InvalidInputError(
                f"{file} holds a result of other settings ({name} = {other}, and here {one_line(str(value), 60)}): move it away"
            )
    return AGAIN
