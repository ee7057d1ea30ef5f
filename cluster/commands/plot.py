"""`metaray plot`: learning curves of one or more runs as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from cluster.store import run_directory
from envs.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Draw the learning curves of runs of one family; those whose settings differ in the seed alone as seeds of one experiment."""

    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN [RUN ...]", help="run directories", help_behavior_hint="")]
    out: Annotated[
        str,
        arg(
            metavar="FILE",
            help="picture to write, .png, .pdf or .svg (default: RUN/learning_curve.png, for several runs comparison.png)",
            help_behavior_hint="",
        ),
    ] = ""
    x: Annotated[
        Literal["steps", "seconds"], arg(help="what runs along the axis: steps of the algorithm, or seconds since the run began")
    ] = "steps"
    iqm: Annotated[
        bool, arg(help="show the interquartile mean over seeds (from 4 on) in place of the mean", help_behavior_hint="")
    ] = False

    def run(self, command: str) -> int:
        """Read, draw, and say where the picture is."""
        if not self.runs:
            raise InvalidInputError("give at least one run directory: metaray plot RUN...")
        directories = [run_directory.open_run(Path(run)) for run in dict.fromkeys(self.runs)]
        is_alone, shown = len(directories) == 1, f"{'-seconds' if self.x == 'seconds' else ''}{'-iqm' if self.iqm else ''}"
        default = directories[0].picture if is_alone else Path("comparison.png")
        file = Path(self.out) if self.out else default.with_stem(default.stem + shown)
        again = " (written over)" if file.exists() and not self.out and not is_alone else ""
        from cluster.reports.curves import draw_runs

        draw_runs(directories, file, x=self.x, iqm=self.iqm)
        print(f"{file}{again}")
        return 0
