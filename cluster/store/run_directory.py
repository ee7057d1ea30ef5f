"""The run directory, and its lock.

runs/quickstart-s0-20260102-030405/
    config.json          the whole config; `metaray train impala --config FILE` trains with it again
    launch.json          the command, whether it ran in this process or on Ray, and the config of the last start
    checkpoints/         see `cluster.store.checkpoint`
    journal.jsonl        of EPG: see `cluster.store.journal`, and `cluster.store.scaling` for two small files beside it
    metrics.jsonl, tb/   see `cluster.store.metrics`
    log.txt              the log
    summary.json         the final figures
    learning_curve.png   the plot
    lock                 held by the driver's process
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cluster.overrides import to_tree
from cluster.store.checkpoint import saved
from cluster.store.former import DEFAULT_ALGORITHM
from envs.errors import InvalidInputError

LOCK = "lock"


class _Entry:
    """The path of a file or folder in a run directory."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, directory: RunDirectory, owner: type) -> Path:
        return directory.path / self._name


@dataclass(frozen=True, kw_only=True)
class RunDirectory:
    """The paths of a run. Made by `claimed` for a new run and by `open_run` for one that exists."""

    path: Path

    config_file = _Entry("config.json")
    """The whole config."""
    launch_file = _Entry("launch.json")
    """The command that started the run, and where it ran."""
    checkpoints = _Entry("checkpoints")
    """Folder of the checkpoints."""
    metrics_file = _Entry("metrics.jsonl")
    """Line-delimited metrics."""
    tensorboard = _Entry("tb")
    """Folder of TensorBoard's events."""
    log_file = _Entry("log.txt")
    """The log."""
    summary_file = _Entry("summary.json")
    """The final figures."""
    picture = _Entry("learning_curve.png")
    """The learning curve."""
    journal_file = _Entry("journal.jsonl")
    """The journal of EPG; other runs have none."""

    @property
    def algorithm(self) -> str:
        """Name of the algorithm that trains here, read without loading anything."""
        tree = read_json(self.config_file)
        return str(tree.get("algorithm", DEFAULT_ALGORITHM)) if isinstance(tree, dict) else DEFAULT_ALGORITHM

    def has_something(self) -> bool:
        """Whether training has begun, so that the directory must not be discarded."""
        if saved(self.checkpoints) or (self.metrics_file.exists() and self.metrics_file.stat().st_size):
            return True
        return self.journal_file.exists() and b'"record": "epoch"' in self.journal_file.read_bytes()

    def can_resume(self) -> bool:
        """Whether there is anything to resume from."""
        return bool(saved(self.checkpoints)) or (self.journal_file.exists() and self.has_something())

    def write_config(self, config: object, launch: dict[str, Any] | None = None) -> None:
        """Write the whole config, and into `launch.json` what the run starts with, so that a config edited by hand is detected."""
        tree = to_tree(config)
        write_json(self.launch_file, (self.read_launch() if launch is None else launch) | {"config": tree})
        write_json(self.config_file, tree)  # last: a folder with a config is a run

    def begin(self, config: object, launch: dict[str, Any]) -> None:
        """Write the first files of a new run."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.write_config(config, launch)

    def read_launch(self) -> dict[str, Any]:
        """Return the content of `launch.json`; empty when there is none."""
        return read_json(self.launch_file) if self.launch_file.exists() else {}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run for this process; the system releases the lock when the process ends in any way.

        Raises:
            InvalidInputError: another process holds the lock.
        """
        with (self.path / LOCK).open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InvalidInputError(
                    f"the run {self.path} is in use by {self.holder()}: stop that first, or wait for it"
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {os.uname().nodename}\n")
            file.flush()
            yield

    def holder(self) -> str:
        """The process that holds the lock, as it wrote itself into it."""
        return (self.path / LOCK).read_text().strip() or "another process"

    def is_locked(self) -> bool:
        """Whether a process holds the lock now."""
        try:
            with (self.path / LOCK).open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False


def default_path(preset: str, family: str | None, seed: int) -> Path:
    """The run directory without `--out`: `runs/quickstart-hopper-dynamics-s0-20260102-030405`.

    That of a submitted job is in `runs` in the home folder of the driver's node, as Ray deletes the job's working folder.

    Args:
        preset: name of the preset.
        family: task family, where it is not that of the preset.
        seed: seed of the run.
    """
    parts = [preset, *([family] if family else []), f"s{seed}", time.strftime("%Y%m%d-%H%M%S")]
    name = "-".join(parts)
    home = Path("runs") if working_folder_of_job() is None else Path.home() / "runs"
    return home / "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)


def working_folder_of_job() -> Path | None:
    """The folder that `ray job submit --working-dir` unpacked for this process; None outside of such a job.

    It is among Ray's own temporary files on one node, and deleted with them.
    """
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    return Path.cwd() if (job.get("runtime_env") or {}).get("working_dir") else None


def check_free(path: Path) -> None:
    """Make sure that a run can be created at `path`.

    Raises:
        InvalidInputError: there is a run or something else, no permission to write, or Ray will delete the folder.
    """
    folder = working_folder_of_job()
    if folder is not None and path.absolute().is_relative_to(folder):
        raise InvalidInputError(
            f"--out {path} is in the job's working folder, which Ray deletes: give an absolute path, best on a disk that all nodes share"
        )
    if (path / "config.json").exists():
        directory = RunDirectory(path=path)
        if directory.is_locked():
            then = f"is in use by {directory.holder()}: give another --out"
        elif saved(directory.checkpoints) or directory.journal_file.exists():
            then = f"exists: `metaray resume {path}` continues it; else give another --out"
        else:
            then = "exists and has no checkpoint to resume from: remove it, or give another --out"
        raise InvalidInputError(f"the run directory {path} {then}")
    if path.exists() and not path.is_dir():
        raise InvalidInputError(f"--out {path} is a file: give a folder that does not exist yet")
    if RunDirectory(path=path).is_locked():
        raise InvalidInputError(
            f"the run directory {path} is being created by {RunDirectory(path=path).holder()}: give another --out"
        )
    if path.exists() and any(entry.name != LOCK for entry in path.iterdir()):
        raise InvalidInputError(f"--out {path} is a folder with other files in it: give one that is empty or does not exist yet")
    parent = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InvalidInputError(f"--out {path} cannot be created: no permission to write to {parent}")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A new run directory, locked by this process.

    Attributes:
        has_new_parent: its parent folder was created for it.
    """

    directory: RunDirectory
    has_new_parent: bool

    def discard(self) -> None:
        """Remove it where training has not begun, and its parent folder if that was created for it."""
        if self.directory.has_something():
            return
        shutil.rmtree(self.directory.path, ignore_errors=True)
        if self.has_new_parent:
            with contextlib.suppress(OSError):  # not empty: another run is in it
                self.directory.path.parent.rmdir()


@contextlib.contextmanager
def claimed(path: Path, *, is_default: bool = False) -> Iterator[Claim]:
    """Create and lock a new run directory; it is discarded if the block raises InvalidInputError.

    Args:
        path: of the directory.
        is_default: append a number if the name is taken, as the user did not choose it.

    Raises:
        InvalidInputError: see `check_free`; or another process is creating a run there.
    """
    has_new_parent = not path.parent.exists()
    directory = RunDirectory(path=_created(path) if is_default else path)
    directory.path.mkdir(parents=True, exist_ok=True)
    with directory.locked():
        if directory.config_file.exists():  # another process was faster
            raise InvalidInputError(f"the run directory {path} exists by now: give another --out")
        claim = Claim(directory=directory, has_new_parent=has_new_parent)
        try:
            yield claim
        except InvalidInputError:
            claim.discard()
            raise


def _created(path: Path) -> Path:
    """Create a folder of this name, or of this name and the first free number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        with contextlib.suppress(FileExistsError):
            candidate.mkdir()
            return candidate
    raise AssertionError("numbers do not end")


def open_run(path: Path) -> RunDirectory:
    """Return the run at `path`.

    Raises:
        InvalidInputError: there is none; the message names the newest runs nearby.
    """
    directory = RunDirectory(path=path)
    if directory.config_file.is_file():
        return directory
    folder = path if path.is_dir() else path.parent
    runs = sorted((file.parent for file in folder.glob("*/config.json")), key=lambda run: run.stat().st_mtime, reverse=True)
    newest = f"; the newest runs here are {', '.join(str(run) for run in runs[:3])}" if runs else ""
    what = "has no config.json, so it is not a run" if path.exists() else "does not exist"
    raise InvalidInputError(f"the run directory {path} {what}{newest}")


def read_json(file: Path, kind: Any = Any) -> Any:
    """Read a JSON file as a `kind`, such as a dataclass; InvalidInputError where that fails."""
    try:
        return msgspec.convert(json.loads(file.read_text()), kind)
    except OSError as error:
        raise InvalidInputError(f"cannot read {file}: {error.strerror}") from None
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"{file} holds no {kind.__name__}: {error}") from None
    except ValueError as error:
        raise InvalidInputError(f"{file} is not valid JSON: {error}") from None


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file atomically: a reader sees the old content or the new."""
    temporary = file.with_name(f".{file.name}.tmp")
    with temporary.open("w") as stream:
        json.dump(content, stream, indent=2, allow_nan=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
