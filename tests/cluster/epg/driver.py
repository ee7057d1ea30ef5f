"""The command line in a process of its own, with lives that sleep: `python -m tests.cluster.epg.driver SECONDS metaray's arguments`."""

from __future__ import annotations

import sys

from cluster.epg.lives import Recipe

from cluster.epg import replay, training
from cluster.main import main
from tests.cluster.epg.evolving import first_phi
from tests.cluster.epg.sleeping import Sleeping


def recipe_of(config: object) -> Recipe:
    return Sleeping(sleep_s=float(sys.argv[1]))


if __name__ == "__main__":
    training.recipe_of = recipe_of
    training.LossFiles = lambda config, directory: lambda state: None  # type: ignore[assignment,misc]  # a phi of no loss
    training.first_phi = replay.first_phi = first_phi
    sys.exit(main(sys.argv[2:]))
