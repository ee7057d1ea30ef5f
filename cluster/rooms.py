"""Whether `cluster`, `actors`, `learners` and `envs` are ours: their names are common, and another package may come first on the path.

Standard library only, and imported before anything else of the project.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOMS = ("cluster", "actors", "learners", "envs")


def shadowed_room(root: Path | None = None) -> str | None:
    """Return one line that says which package hides a room of metaray, or None when all four are the ones beside this file.

    Args:
        root: the checkout or site-packages folder that the rooms belong to; that of this file when left out.
    """
    root = (root or Path(__file__).resolve().parents[1]).resolve()
    for room in ROOMS:
        found = _location(room)
        if found is None:
            return f"metaray's package {room!r} is missing from {root}: install metaray again"
        if found.resolve() != root / room:
            return (
                f"the name {room!r} is taken by {found}, which hides metaray's own package in {root}: "
                f"rename or move it, or take {found.parent} off PYTHONPATH, or run from another folder"
            )
    return None


def _location(room: str) -> Path | None:
    """Folder (or file, of a module) that `import room` means, without importing it."""
    loaded = sys.modules.get(room)
    if loaded is not None and not hasattr(loaded, "__file__"):
        return None
    try:
        spec = importlib.util.find_spec(room)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:  # a package, with or without an __init__.py
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin else None
