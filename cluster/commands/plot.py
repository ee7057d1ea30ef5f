"""`metaray plot`: learning curves of one or more runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from cluster.commands.arguments import RunArguments, check_any, option
from cluster.store import run_directory


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Plot learning curves of runs of one family; runs that differ in the seed alone are seeds of one experiment."""

    runs: RunArguments
    out: Annotated[
        str,
        option("file to write, .png, .pdf or .svg (default: RUN/learning_curve.png, for several runs comparison.png)", "FILE"),
    ] = ""
    x: Annotated[
        Literal["steps", "seconds"], arg(help="horizontal axis: steps of the algorithm, or seconds since the run began")
    ] = "steps"
    iqm: Annotated[bool, option("show the interquartile mean over seeds (4 or more) in place of the mean")] = False

    def run(self, command: str) -> int:
        """Read, plot, and print the path of the plot."""
        check_any(self.runs, "metaray plot")
        directories = [run_directory.open_run(Path(run)) for run in dict.fromkeys(self.runs)]
        is_alone, shown = len(directories) == 1, f"{'-seconds' if self.x == 'seconds' else ''}{'-iqm' if self.iqm else ''}"
        default = directories[0].picture if is_alone else Path("comparison.png")
        file = Path(self.out) if self.out else default.with_stem(default.stem + shown)
        again = " (overwritten)" if file.exists() and not self.out and not is_alone else ""
        from cluster.reports.curves import draw_runs

        draw_runs(directories, file, x=self.x, iqm=self.iqm)
        print(f"{file}{again}")
        return 0
