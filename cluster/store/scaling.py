"""How large a run is while it runs: what a person wants, and what the driver sees, as two small files in the run directory.

    metaray scale RUN --actors 8      desired.json    {"revision": 3, "num_actors": 8, "num_workers": null, "num_vectors": null}
    metaray scale RUN                 observed.json   {"revision": 3, "actors_alive": 6, "num_actors": 8, "rounds": 12, ...}

Not commands but a state: the driver looks at what is wanted now, so nothing is lost when it is not there and nothing happens twice.
Actors change at once; W and V at the next border of an epoch, for they belong to the algorithm.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from cluster.config import EpgRunConfig
from cluster.store.run_directory import RunDirectory, read_json, write_json

DESIRED, OBSERVED = "desired.json", "observed.json"
LOOK_EVERY_S = 0.5
"""A person waits for no more than this, and a look costs the driver 2 us."""


@dataclass(frozen=True, kw_only=True)
class Desired:
    """What a person wants; None where the config's own value holds.

    Attributes:
        revision: counts the changes.
        num_actors: processes.
        num_workers, num_vectors: W and V.
    """

    revision: int = 0
    num_actors: int | None = None
    num_workers: int | None = None
    num_vectors: int | None = None

    def upon(self, config: EpgRunConfig) -> EpgRunConfig:
        """The config with what is wanted in it."""
        wanted = {name: value for name in SIZES if (value := getattr(self, name)) is not None}
        return dataclasses.replace(config, **wanted)


SIZES = ("num_actors", "num_workers", "num_vectors")


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What the driver sees.

    Attributes:
        revision: of the desired state that it follows.
        actors_alive, num_actors: that answer, and that are wanted.
        rounds, total_rounds: finished, and asked for.
        done, total: units of the round under way.
        sizes: of the round under way, by setting.
        rates: over the last seconds, by metric name.
        time: seconds since 1970 when this was written.
    """

    revision: int
    actors_alive: int
    num_actors: int
    rounds: int
    total_rounds: int
    done: int
    total: int
    sizes: dict[str, int]
    rates: dict[str, float]
    time: float


def desired(directory: RunDirectory) -> Desired:
    """What is wanted of a run now; InvalidInputError when the file is broken."""
    path = directory.path / DESIRED
    if not path.exists():
        return Desired()
    return msgspec.convert(read_json(path), Desired)


def ask(directory: RunDirectory, **sizes: int) -> Desired:
    """Write down what is wanted; what is not given stays as it was asked for before."""
    before = desired(directory)
    after = dataclasses.replace(before, revision=before.revision + 1, **sizes)
    write_json(directory.path / DESIRED, dataclasses.asdict(after))
    return after


def observed(directory: RunDirectory) -> Observed | None:
    """What the driver saw last; None while it has seen nothing."""
    path = directory.path / OBSERVED
    return msgspec.convert(read_json(path), Observed) if path.exists() else None


class Scale:
    """The driver's side: follows what is wanted, and writes down what it sees.

    Args:
        directory: of the run; None for a run without one, in which nothing is ever wanted or written.
    """

    def __init__(self, directory: RunDirectory | None) -> None:
        self._folder = directory.path if directory is not None else None
        self._next_look, self._stamp = 0.0, -1
        self.desired = Desired()

    def look(self) -> str | None:
        """Look whether something else is wanted by now; return a line for a person when the file cannot be read."""
        now = time.monotonic()
        if self._folder is None or now < self._next_look:
            return None
        self._next_look = now + LOOK_EVERY_S
        path = self._folder / DESIRED
        try:
            stamp = path.stat().st_mtime_ns
            if stamp != self._stamp:
                self._stamp = stamp
                self.desired = msgspec.json.decode(path.read_bytes(), type=Desired)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            return f"{path} cannot be followed: {error}"
        return None

    def write(self, **seen: Any) -> None:
        """Write down what the driver sees. Not synced to disk: it is of now, and the next one comes in a second."""
        if self._folder is not None:
            content = Observed(revision=self.desired.revision, time=time.time(), **seen)
            temporary = self._folder / f".{OBSERVED}.tmp"
            temporary.write_text(json.dumps(dataclasses.asdict(content)) + "\n")
            temporary.replace(self._folder / OBSERVED)
