"""The journal: what a run has lived and learned, record by record, so that nothing of it is ever done twice.

A record is a line, and each line is JSON, so that any program can read it:

    ["1c291ca3", {"record": "chunk", "kind": "perturbed", "epoch": 3, "index": 0, "fitness": [12.5, 9.25], "env_steps": 16384, ...}]

in front the CRC-32 of the bytes that follow the comma's blank, up to the closing bracket. A number that JSON does not have is a text,
"nan", "inf" or "-inf". Records come in this order:

    run                              the config, the size and digest of the first phi, versions
    epoch, chunk, chunk, ..., update one epoch; its chunks in the order in which they came, an evaluation's among them

Phi is not in it: it follows from the first phi, which the config makes, and the fitness of every life (`cluster.run.replay`). Records are
synced to disk before anything is done that depends on them. A killed driver may leave half a line; a disk may lose one: what follows the
last good record is cut off, and is lived again.
"""

from __future__ import annotations

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
    """An epoch begins.

    Attributes:
        epoch: epochs finished before it.
        num_workers, num_vectors, lives_per_chunk: W, V and K of this epoch.
        alpha: weight of PPO's guidance in it.
        num_epochs: how many epochs the schedules are laid over, which the step size depends on; not how many the run has.
        chunks: of how many chunks it is made.
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
    """An epoch is over.

    Attributes:
        epoch: epochs finished with it.
        sha256: digest of phi after it.
        score: mean fitness of the evaluation of that phi; None where there was none.
        train_s: seconds of training so far, those before a resume included.
    """

    epoch: int
    sha256: str
    score: float | None
    train_s: float


Record = RunRecord | EpochRecord | ChunkResult | UpdateRecord

_TYPES: dict[str, type[Any]] = {"run": RunRecord, "epoch": EpochRecord, "chunk": ChunkResult, "update": UpdateRecord}
_NOT_KEPT = ("figures", "episodes", "settled", "state")
"""Fields of a chunk that are for metrics only."""
_OPTIONAL = ("not_finite", "cut_episodes")
"""Fields of a chunk that are left out of its line where they are empty."""
_NAMES = {kind: name for name, kind in _TYPES.items()}


class DamagedError(Exception):
    """A line that is no whole record."""


def encode(record: Record) -> bytes:
    """Write a record as a line."""
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    if isinstance(record, ChunkResult):
        fields |= {"fitness": [value if math.isfinite(value) else str(value) for value in record.fitness]}
        fields |= {"not_finite": [dataclasses.asdict(one) for one in record.not_finite]}
        fields = {name: value for name, value in fields.items() if name not in _NOT_KEPT and (value or name not in _OPTIONAL)}
    body = json.dumps({"record": _NAMES[type(record)], **fields}, allow_nan=False).encode()
    return b'["%08x", %s]\n' % (zlib.crc32(body), body)


def decode(line: bytes) -> Record:
    """Read a line.

    Raises:
        DamagedError: it was cut short or changed.
    """
    if not (line.startswith(b'["') and line[10:13] == b'", ' and line.endswith(b"]\n")):
        raise DamagedError("it is cut short")
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
    with path.open("rb") as file:
        for line in file:
            try:
                record = decode(line)
            except DamagedError:
                return
            yield record


def mend(path: Path, warn: Callable[[str], None]) -> None:
    """Cut off what follows the last good record, and say so in one line. What was cut stays beside the journal, as `journal.jsonl.cut`.

    Raises:
        InvalidInputError: not even the first record is good.
    """
    good, number, reason = 0, 0, ""
    with path.open("rb") as file:
        for line in file:
            try:
                decode(line)
            except DamagedError as error:
                reason = str(error)
                break
            good, number = good + len(line), number + 1
        file.seek(good)
        cut = file.read()
    if not number:
        raise InvalidInputError(f"{path} has no good record ({reason or 'it is empty'}): the run cannot go on; start it again")
    if not cut:
        return
    path.with_name(f"{path.name}.cut").write_bytes(cut)
    with path.open("r+b") as file:
        file.truncate(good)
        os.fsync(file.fileno())
    warn(f"{path}: record {number + 1} is damaged ({reason}); {len(cut):,} bytes cut off, what they held is lived again")


class Journal:
    """A journal that is written to.

    Args:
        path: where it is; made when it is not there. One that is there has been mended.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def append(self, records: Sequence[Record]) -> None:
        """Write records and wait until they are on disk, all of them with one wait."""
        if records:
            lines = b"".join(map(encode, records))
            written = self._file.write(lines)
            if written != len(lines):  # the disk is full: the next write says so
                self._file.write(lines[written:])
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close it."""
        self._file.close()
