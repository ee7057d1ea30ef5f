"""Where the loss comes from: a run of `metaray train epg`, of which only names and JSON are read, so that wrong input is answered at once,
or a file, which says itself what it was evolved for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cluster.store.former import DEFAULT_ALGORITHM, completed
from cluster.store.run_directory import open_run, read_json
from envs.errors import InvalidInputError

if TYPE_CHECKING:
    from learners.learned_loss.loss import LearnedLoss

Phi = Literal["best", "last"]

LOSS_FILES: dict[Phi, str] = {"best": "loss.safetensors", "last": "loss-last.safetensors"}
"""In a run directory: phi of the evaluation with the highest score, and phi of the newest epoch."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A learned loss, and what is known of the run that evolved it.

    Attributes:
        loss_file: phi.
        folder: where results go that were given no place.
        family: whose tasks are to be learned.
        tree: config of the run, with the former values of what it lacks; empty for a file that does not say.
        loss: what the file holds, where it was read.
    """

    loss_file: Path
    folder: Path
    family: str
    tree: dict[str, Any] = field(default_factory=dict)
    loss: LearnedLoss | None = None


def find_source(path: Path, *, family: str, phi: Phi) -> Source:
    """Return what `path` is.

    Args:
        path: a run directory or a .safetensors file.
        family: the family that was asked for; that of the run where empty.
        phi: which loss of a run.

    Raises:
        InvalidInputError: it is neither, was trained by another algorithm, has no loss yet, or a file comes without a family.
    """
    if path.is_file():
        return _of_file(path, family, phi)
    directory = open_run(path)
    tree = read_json(directory.config_file)
    algorithm = tree.get("algorithm", DEFAULT_ALGORITHM) if isinstance(tree, dict) else "no algorithm"
    if algorithm != "epg":
        raise InvalidInputError(
            f"the run {path} was trained by {algorithm}: allowed is a run of `metaray train epg`, or a loss file"
        )
    file = path / LOSS_FILES[phi]
    if not file.is_file():
        raise InvalidInputError(
            f"the run {path} has no {file.name} yet: let it finish an epoch, or go on with `metaray resume {path}`"
        )
    return Source(loss_file=file, folder=path, family=family or str(tree.get("family", "")), tree=completed(tree))


def _of_file(path: Path, family: str, phi: Phi) -> Source:
    if path.suffix != ".safetensors":
        raise InvalidInputError(f"{path} is no learned loss: allowed is a run directory, or a file that ends with .safetensors")
    if phi != "best":
        raise InvalidInputError(f"--phi {phi} chooses among the losses of a run, and {path} is a single one: leave it out")
    from learners.learned_loss.loss import LearnedLoss

    loss = LearnedLoss.load(path)
    family = family or str(loss.evolved.get("family", ""))
    if not family:
        raise InvalidInputError(f"{path} does not say what to learn: give --family (`metaray tasks` lists them)")
    return Source(loss_file=path, folder=path.parent, family=family, tree=completed(loss.evolved), loss=loss)
