"""Checkpoints that survive a kill at any moment: the newest valid one is used.

    checkpoints/000000001024000/tensors.safetensors   every array
                                tree.json             other data (see `cluster.store.packing`)
                                manifest.json         format, step, sha256 of the two, library versions

A checkpoint is written under a temporary name, synced to disk and renamed, so one without `.tmp-` is complete unless the disk
failed; the checksums detect that, and loading then falls back to the one before.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from cluster.store.packing import pack, unpack
from cluster.store.versions import library_versions
from envs.errors import InvalidInputError

FORMAT = 1
"""Increased whenever older code cannot read what newer code writes."""

TENSORS, TREE, MANIFEST = "tensors.safetensors", "tree.json", "manifest.json"
_NAME = re.compile(r"(\d{15})(?:-(\d+))?")


class CorruptCheckpointError(Exception):
    """This checkpoint cannot be read; an older one may be."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint read back.

    Attributes:
        step: environment steps when it was taken.
        payload: the state that was saved.
    """

    step: int
    payload: Any


def save(directory: Path, step: int, payload: Any, *, keep: int = 3) -> Path:
    """Write a checkpoint, atomically and durably, then delete all but the newest `keep`.

    Args:
        directory: the folder of all checkpoints of the run; only one process may save into it.
        step: environment steps so far.
        payload: nested plain data and arrays.
        keep: number of checkpoints to keep, at least 1.

    Returns:
        The folder of the new checkpoint.

    Raises:
        TypeError: `payload` holds a value of a type that cannot be stored.
    """
    tensors, tree = pack(payload)
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob(".tmp-*"):  # of a save that was killed; no other process writes here
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = directory / f".tmp-{os.getpid()}-{step}"
    try:
        _write(temporary, step, tensors, tree)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)  # else a full disk would stay full
        raise
    path = _free_name(directory, step)
    temporary.rename(path)
    _sync(directory)
    for old in saved(directory)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def _write(folder: Path, step: int, tensors: dict[str, np.ndarray], tree: Any) -> None:
    """Create `folder` with the files of a checkpoint, synced to disk."""
    folder.mkdir()
    save_file(tensors, folder / TENSORS)
    (folder / TREE).write_text(json.dumps(tree, allow_nan=False))
    manifest = {
        "format": FORMAT,
        "step": step,
        "sha256": {name: _sha256(folder / name) for name in (TENSORS, TREE)},
        "versions": library_versions(),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2))
    for name in (TENSORS, TREE, MANIFEST):
        _sync(folder / name)
    _sync(folder)


def saved(directory: Path) -> list[Path]:
    """The checkpoints in `directory`, oldest first, valid or not."""
    if not directory.is_dir():
        return []
    named = [(match, path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(named, key=lambda pair: (int(pair[0][1]), int(pair[0][2] or 0)))]


def newest_step(directory: Path) -> int:
    """Environment steps of the newest checkpoint in `directory`, 0 when there is none."""
    paths = saved(directory)
    return int(paths[-1].name.partition("-")[0]) if paths else 0


def read(path: Path) -> Checkpoint:
    """Read the checkpoint at `path`, checking every byte of it.

    Raises:
        CorruptCheckpointError: a file is missing, truncated or changed, or a newer version wrote it.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        if manifest["format"] != FORMAT:
            raise CorruptCheckpointError(f"format {manifest['format']}, and this version reads format {FORMAT}")
        content = {name: (path / name).read_bytes() for name in (TENSORS, TREE)}
        for name, data in content.items():
            if hashlib.sha256(data).hexdigest() != manifest["sha256"][name]:
                raise CorruptCheckpointError(f"{name} does not match its checksum")
        match = _NAME.fullmatch(path.name)
        if match and int(match[1]) != manifest["step"]:
            raise CorruptCheckpointError(f"{MANIFEST} is of step {manifest['step']}")
        payload = unpack(load(content[TENSORS]), json.loads(content[TREE]))
        return Checkpoint(step=int(manifest["step"]), payload=payload)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        reason = f"{type(error).__name__}: {error}" if not isinstance(error, OSError) else error.strerror or str(error)
        raise CorruptCheckpointError(reason) from error


def load_newest(directory: Path, warn: Callable[[str], None]) -> Checkpoint:
    """Read the newest valid checkpoint in `directory`.

    Args:
        directory: the folder of all checkpoints of a run.
        warn: called with one line for each newer one that is corrupt.

    Raises:
        InvalidInputError: there is none, or none is valid.
    """
    paths = saved(directory)
    if not paths:
        raise InvalidInputError(f"no checkpoint in {directory}: the run stopped before its first one; start it again")
    reasons: list[str] = []
    for path in reversed(paths):
        try:
            checkpoint = read(path)
        except CorruptCheckpointError as error:
            reasons.append(f"{path.name} ({error})")
            continue
        for reason in reasons:
            warn(f"corrupt checkpoint skipped: {reason}; falling back to {path.name}")
        return checkpoint
    raise InvalidInputError(f"no valid checkpoint in {directory}: {'; '.join(reasons)}")


def parameters_sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """Digest of parameters, to compare runs: over names in order, each with dtype, shape and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _free_name(directory: Path, step: int) -> Path:
    """Name for `step`; a second checkpoint at the same step gets a suffix, as a rename cannot replace a folder."""
    tails = [int(match[2] or 0) for path in saved(directory) if (match := _NAME.fullmatch(path.name)) and int(match[1]) == step]
    return directory / (f"{step:015d}-{max(tails) + 1}" if tails else f"{step:015d}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Sync a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
