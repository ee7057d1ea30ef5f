"""The command line in a process of its own, with lifetimes that sleep: `python -m tests.cluster.epg.driver SECONDS metaray's arguments`."""

from __future__ import annotations

import sys

from cluster.main import main
from cluster.run import lifetimes
from learners import epg
from tests.cluster.epg.evolving import small_init
from tests.cluster.epg.sleeping import Sleeping

if __name__ == "__main__":
    lifetimes.make_collector = Sleeping(sleep_s=float(sys.argv[1]))  # type: ignore[assignment]
    lifetimes.LossFiles = lambda config, directory: lambda state: None  # type: ignore[assignment,misc]  # a phi of no loss
    epg.init = small_init
    sys.exit(main(sys.argv[2:]))
