"""The way into the command `metaray`, under a name that nothing else has: it looks whether the four rooms are ours before it imports one.

A package called `cluster` that stands in front of ours would be imported in its place, and never say so.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

ROOMS_FILE = Path(__file__).resolve().parent / "cluster" / "rooms.py"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (that of the process when None) and return its exit code."""
    problem = _shadowed_room()
    if problem is not None:
        print(f"metaray: {problem}", file=sys.stderr)
        return 2
    from cluster.main import main as run

    return run(arguments)


def _shadowed_room() -> str | None:
    """`cluster.rooms.shadowed_room`, loaded from the file beside this one and not by its name."""
    spec = importlib.util.spec_from_file_location("metaray_rooms", ROOMS_FILE)
    if spec is None or spec.loader is None or not ROOMS_FILE.exists():
        return f"metaray's package 'cluster' is missing from {ROOMS_FILE.parents[1]}: install metaray again"
    rooms = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rooms)
    problem: str | None = rooms.shadowed_room()
    return problem


if __name__ == "__main__":
    sys.exit(main())
