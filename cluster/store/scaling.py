"""Scaling of a running EPG run: the desired and the observed state, as two small files in the run directory.

    metaray scale RUN --actors 8      desired.json    {"revision": 3, "num_actors": 8, "num_workers": null, "num_vectors": null}
    metaray scale RUN                 observed.json   {"revision": 3, "actors_alive": 6, "num_actors": 8, "rounds": 12, ...}

Files of a state, not commands: nothing is lost while there is no driver, and nothing is done twice. The number of actors changes at once; W
and V change at the next epoch, as they belong to the algorithm.
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
POLL_EVERY_S = 0.5
"""The longest delay of a change; polling takes the driver 2 us."""


@dataclass(frozen=True, kw_only=True)
class Desired:
    """The desired state; None for the config's own value.

    Attributes:
        revision: number of changes.
        num_actors: processes.
        num_workers, num_vectors: W and V.
    """

    revision: int = 0
    num_actors: int | None = None
    num_workers: int | None = None
    num_vectors: int | None = None

    def upon(self, config: EpgRunConfig) -> EpgRunConfig:
        """The config with the desired sizes."""
        wanted = {name: value for name in SIZES if (value := getattr(self, name)) is not None}
        return dataclasses.replace(config, **wanted)


SIZES = ("num_actors", "num_workers", "num_vectors")


@dataclass(frozen=True, kw_only=True)
class Observed:
    """The observed state.

    Attributes:
        revision: of the desired state that the driver has read.
        actors_alive, num_actors: actors that are up, and that are desired.
        rounds, total_rounds: finished, and of the whole run.
        done, total: units of work of the current round.
        sizes: of the current round, by setting.
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
    """The desired state of a run; InvalidInputError when the file is not JSON or does not fit."""
    path = directory.path / DESIRED
    found: Desired = read_json(path, Desired) if path.exists() else Desired()
    return found


def ask(directory: RunDirectory, **sizes: int) -> Desired:
    """Change the desired state; sizes that are not given stay."""
    before = desired(directory)
    after = dataclasses.replace(before, revision=before.revision + 1, **sizes)
    write_json(directory.path / DESIRED, dataclasses.asdict(after))
    return after


def observed(directory: RunDirectory) -> Observed | None:
    """The last observed state; None before the first; InvalidInputError when the file is not JSON or does not fit."""
    path = directory.path / OBSERVED
    return read_json(path, Observed) if path.exists() else None


class Scale:
    """The driver's side: reads the desired state and writes the observed state.

    Args:
        directory: of the run; None for a run without one, which is never scaled.
    """

    def __init__(self, directory: RunDirectory | None) -> None:
        self._folder = directory.path if directory is not None else None
        self._next_poll, self._stamp = 0.0, -1
        self.desired = Desired()

    def look(self) -> str | None:
        """Read the desired state if it has changed; return an error message when the file cannot be read."""
        now = time.monotonic()
        if self._folder is None or now < self._next_poll:
            return None
        self._next_poll = now + POLL_EVERY_S
        path = self._folder / DESIRED
        try:
            stamp = path.stat().st_mtime_ns
            if stamp != self._stamp:
                self._stamp = stamp
                self.desired = msgspec.json.decode(path.read_bytes(), type=Desired)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            return f"cannot read {path}: {error}"
        return None

    def write(self, **seen: Any) -> None:
        """Write the observed state; not synced to disk, as it is written again in a second."""
        if self._folder is not None:
            content = dataclasses.asdict(Observed(revision=self.desired.revision, time=time.time(), **seen))
            temporary = self._folder / f".{OBSERVED}.tmp"
            temporary.write_text(json.dumps(content) + "\n")
            temporary.replace(self._folder / OBSERVED)
