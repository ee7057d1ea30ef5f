"""`metaray scale`: the size of a running outer loop: show it or change it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cluster import algorithms
from cluster.commands.arguments import RunArgument, option
from cluster.commands.journal import check_outer_loop
from cluster.run.display import speed
from cluster.store import run_directory

if TYPE_CHECKING:
    from cluster.store.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Change the size of a run of epg while it runs: actors at once, W and V from the next epoch on. Without options, show it."""

    run_directory: RunArgument
    actors: Annotated[str, option("processes that train lifetimes", "N")] = ""
    workers: Annotated[str, option("lifetimes of an epoch", "W")] = ""
    vectors: Annotated[str, option("perturbations of an epoch", "V")] = ""

    def run(self, command: str) -> int:
        """Store the requested size, or print the present one."""
        directory = run_directory.open_run(Path(self.run_directory))
        check_outer_loop(directory)
        given = {name: value for name in ("actors", "workers", "vectors") if (value := getattr(self, name))}
        if given:
            self._ask(directory, given)
        else:
            _show(directory)
        return 0

    def _ask(self, directory: RunDirectory, given: dict[str, str]) -> None:
        from cluster.run.resuming import wanted_sizes
        from cluster.store import scaling

        row, config = algorithms.find(directory.algorithm), algorithms.config_of_run(directory)
        sizes = algorithms.check_options(row, given, resumes=True)
        after = scaling.ask(directory, **wanted_sizes(row, directory, config, sizes))
        follows = "the driver follows" if directory.is_locked() else "no process drives it now; `metaray resume` will follow"
        print(f"{directory.path}: {_sizes(after)} (revision {after.revision}); {follows}")


def _show(directory: RunDirectory) -> None:
    from cluster.store import scaling

    driver = f"driven by {directory.holder()}" if directory.is_locked() else "no process drives it now"
    print(f"{directory.path}: {driver}")
    wanted, seen = scaling.desired(directory), scaling.observed(directory)
    if wanted.revision:
        followed = "" if seen is not None and seen.revision == wanted.revision else ", not followed yet"
        print(f"wanted    {_sizes(wanted)} (revision {wanted.revision}{followed})")
    if seen is None:
        print("observed  nothing yet")
        return
    sizes = ", ".join(f"{NAMES[name]} {value}" for name, value in seen.sizes.items())
    print(
        f"observed  actors {seen.actors_alive} of {seen.num_actors}; epoch {seen.rounds} of {seen.total_rounds}, "
        f"{seen.done} of {seen.total} chunks; {sizes}; {speed(seen.rates)}; {time.time() - seen.time:.0f} s ago"
    )


NAMES = {"num_actors": "actors", "num_workers": "W", "num_vectors": "V"}


def _sizes(desired: object) -> str:
    from cluster.store.scaling import SIZES

    given = [f"{NAMES[size]} {value}" for size in SIZES if (value := getattr(desired, size)) is not None]
    return ", ".join(given) or "as configured"
