"""`metaray plot`: learning curves of one or more runs as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from envs.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Draw the learning curves of runs; runs of one preset and family are drawn as seeds of one experiment."""

    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN [RUN ...]", help="run directories", help_behavior_hint="")]
    out: Annotated[
        str,
        arg(
            metavar="FILE",
            help="picture to write, .png, .pdf or .svg (default: RUN/learning_curve.png, for several runs comparison.png)",
            help_behavior_hint="",
        ),
    ] = ""

    def run(self, command: str) -> int:
        """Read, draw, and say where the picture is."""
        from cluster.store import run_directory

        if not self.runs:
            raise InvalidInputError("give at least one run directory: metaray plot RUN...")
        directories = [run_directory.open_run(Path(run)) for run in dict.fromkeys(self.runs)]
        names = sorted({directory.algorithm for directory in directories})
        if len(names) > 1:
            raise InvalidInputError(f"runs of {' and '.join(names)} cannot stand in one picture: plot them apart")
        from cluster import algorithms

        default = directories[0].picture if len(directories) == 1 else Path("comparison.png")
        file = Path(self.out) if self.out else default
        algorithms.find(names[0]).draw(directories, file)
        print(file)
        return 0
