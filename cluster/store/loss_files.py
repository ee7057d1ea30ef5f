"""The loss files of an EPG run (`learners.learned_loss.loss.LearnedLoss`).

loss.safetensors         phi of the best evaluation so far; the newest phi before the first evaluation
loss-last.safetensors    the newest phi
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.chunks import spaces_of
from cluster.config import EpgRunConfig
from cluster.overrides import to_tree
from cluster.store.run_directory import RunDirectory
from cluster.store.versions import library_versions
from learners.learned_loss.loss import EVOLVED, FILE_NAME, LearnedLoss
from learners.learned_loss.network import LossShape

LAST_FILE_NAME = "loss-last.safetensors"


class LossFiles:
    """Writes the loss files of a run."""

    def __init__(self, config: EpgRunConfig, directory: RunDirectory) -> None:
        self._folder, self._shape = directory.path, LossShape.of(config.loss, spaces_of(config.family))
        tree = to_tree(config)
        self._evolved = {name: tree[name] for name in EVOLVED}
        self._evolved["metaray"] = library_versions()["metaray"]

    def __call__(self, state: Mapping[str, Any]) -> None:
        """Write both files for the learner's state, each atomically."""
        best = state["phi"] if state["best_phi"] is None else state["best_phi"]
        for phi, name in ((best, FILE_NAME), (state["phi"], LAST_FILE_NAME)):
            LearnedLoss(self._shape, phi, self._evolved).save(self._folder / name)
