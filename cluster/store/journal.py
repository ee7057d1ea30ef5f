"""The journal of EPG: all results of a run, record by record, so that no work is done twice.

A record is a line of JSON:

    ["1c291ca3", {"record": "chunk", "kind": "perturbed", "epoch": 3, "index": 0, "fitness": [12.5, 9.25], "env_steps": 16384, ...}]

First the CRC-32 of the bytes from after the comma and blank up to the closing bracket. Numbers that JSON does not have are the strings
"nan", "inf" and "-inf". Order of records:

    run                              the config, the size and digest of the first phi, versions
    epoch, chunk, chunk, ..., update one epoch; its chunks in the order of arrival, with those of its evaluation

Phi is not in it: it is a function of the initial phi, which the config determines, and the fitness of all lifetimes (`cluster.run.replay`).
Records are synced to disk before anything that depends on them is done. A killed driver may leave half a line, and a disk may lose one:
everything after the last valid record is cut off and computed again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.chunks import ChunkResult, NotFinite
from envs.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The first record.

    Attributes:
        config: the whole config, as in config.json.
        num_parameters: P, the size of phi.
        sha256: digest of the first phi.
        versions: of the libraries that made it.
    """

    config: dict[str, Any]
    num_parameters: int
    sha256: str
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """The beginning of an epoch.

    Attributes:
        epoch: epochs finished before it.
        num_workers, num_vectors, lives_per_chunk: W, V and K of this epoch.
        alpha: weight of PPO's guidance in it.
        num_epochs: epochs of the schedules, on which the step size depends; not those of the run.
        chunks: number of its chunks.
    """

    epoch: int
    num_workers: int
    num_vectors: int
    lives_per_chunk: int
    alpha: float
    num_epochs: int
    chunks: int


@dataclass(frozen=True, kw_only=True)
class UpdateRecord:
    """The end of an epoch.

    Attributes:
        epoch: epochs finished, with this one.
        sha256: digest of phi after it.
        score: mean fitness of its evaluation; None without one.
        train_s: seconds of training so far, those before a resume included.
    """

    epoch: int
    sha256: str
    score: float | None
    train_s: float


Record = RunRecord | EpochRecord | ChunkResult | UpdateRecord

_TYPES: dict[str, type[Any]] = {"run": RunRecord, "epoch": EpochRecord, "chunk": ChunkResult, "update": UpdateRecord}
_NOT_KEPT = ("figures", "episodes", "settled", "state", "counts", "samples")
"""Fields of a chunk that are for metrics only, or follow from the others."""
_OPTIONAL = ("not_finite", "cut_episodes")
"""Fields of a chunk that are left out of its line where they are empty."""
_NAMES = {kind: name for name, kind in _TYPES.items()}


class DamagedError(Exception):
    """A line that is not a valid record."""


def encode(record: Record) -> bytes:
    """Return a record as a line."""
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    if isinstance(record, ChunkResult):
        fields |= {"fitness": [value if math.isfinite(value) else str(value) for value in record.fitness]}
        fields |= {"not_finite": [dataclasses.asdict(one) for one in record.not_finite]}
        fields = {name: value for name, value in fields.items() if name not in _NOT_KEPT and (value or name not in _OPTIONAL)}
    body = json.dumps({"record": _NAMES[type(record)], **fields}, allow_nan=False).encode()
    return b'["%08x", %s]\n' % (zlib.crc32(body), body)


def decode(line: bytes) -> Record:
    """Return the record of a line.

    Raises:
        DamagedError: it is truncated or was changed.
    """
    if not (line.startswith(b'["') and line[10:13] == b'", ' and line.endswith(b"]\n")):
        raise DamagedError("it is truncated")
    body = line[13:-2]
    if line[2:10] != b"%08x" % zlib.crc32(body):
        raise DamagedError("it does not match its checksum")
    fields = json.loads(body)
    if "fitness" in fields:
        fields["fitness"] = tuple(map(float, fields["fitness"]))  # older versions wrote NaN, which Python reads as well
        fields["not_finite"] = tuple(NotFinite(**one) for one in fields.get("not_finite", ()))
    record: Record = _TYPES[fields.pop("record")](**fields)
    return record


def read(path: Path) -> Iterator[Record]:
    """The records of a journal, in order, up to the first that is damaged."""
    with path.open("rb") as file, contextlib.suppress(DamagedError):
        for line in file:
            yield decode(line)


def repair(path: Path, warn: Callable[[str], None]) -> None:
    """Cut off everything after the last valid record, with a warning; it is kept as `journal.jsonl.cut`.

    Raises:
        InvalidInputError: not even the first record is valid.
    """
    good, number, reason = 0, 0, ""
    with path.open("rb") as file:
        try:
            for line in file:
                decode(line)
                good, number = good + len(line), number + 1
        except DamagedError as error:
            reason = str(error)
        file.seek(good)
        cut = file.read()
    if not number:
        raise InvalidInputError(
            f"{path} has no valid record ({reason or 'it is empty'}): the run cannot be resumed; start it again"
        )
    if not cut:
        return
    path.with_name(f"{path.name}.cut").write_bytes(cut)
    with path.open("r+b") as file:
        file.truncate(good)
        os.fsync(file.fileno())
    warn(f"{path}: record {number + 1} is damaged ({reason}); {len(cut):,} bytes are cut off, and their results computed again")


class Journal:
    """A journal open for writing.

    Args:
        path: of the file; created if it does not exist, else it has been repaired.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def append(self, records: Sequence[Record]) -> None:
        """Write records and sync them to disk, once for all of them."""
        if records:
            lines = b"".join(map(encode, records))
            written = self._file.write(lines)
            if written != len(lines):  # the disk is full: the next write raises
                self._file.write(lines[written:])
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close it."""
        self._file.close()
