"""The source of the loss: a run of `metaray train epg`, of which only JSON is read (wrong input is refused before torch is loaded), or a
loss file, which holds the settings that it was evolved for.
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
"""In a run directory: phi with the highest evaluation score, and phi of the newest epoch."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A learned loss, and the settings of the run that evolved it.

    Attributes:
        loss_file: phi.
        folder: default folder of the results.
        family: task family to adapt to.
        tree: config of the run, completed with former defaults; empty for a file that lacks it.
        loss: content of a file, which had to be read for its family.
    """

    loss_file: Path
    folder: Path
    family: str
    tree: dict[str, Any] = field(default_factory=dict)
    loss: LearnedLoss | None = None


def find_source(path: Path, *, family: str, phi: Phi) -> Source:
    """Return the source at `path`.

    Args:
        path: a run directory or a .safetensors file.
        family: of the user; that of the run where empty.
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
            f"the run {path} has no {file.name} yet: let it finish an epoch, or continue it with `metaray resume {path}`"
        )
    return Source(loss_file=file, folder=path, family=family or str(tree.get("family", "")), tree=completed(tree))


def _of_file(path: Path, family: str, phi: Phi) -> Source:
    if path.suffix != ".safetensors":
        raise InvalidInputError(
            f"{path} is not a learned loss: allowed is a run directory, or a file that ends with .safetensors"
        )
    if phi != "best":
        raise InvalidInputError(f"--phi {phi} selects one of the losses of a run, and {path} is a single file: leave it out")
    from learners.learned_loss.loss import LearnedLoss

    loss = LearnedLoss.load(path)
    family = family or str(loss.evolved.get("family", ""))
    if not family:
        raise InvalidInputError(f"{path} does not name a task family: give --family (`metaray tasks` lists them)")
    return Source(loss_file=path, folder=path.parent, family=family, tree=completed(loss.evolved), loss=loss)
