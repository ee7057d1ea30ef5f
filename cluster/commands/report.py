"""`metaray report`: results of runs beside published ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from cluster.commands.arguments import RunArguments, check_any, option
from cluster.run.display import table_console
from envs.atari.protocols import find_protocol
from envs.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write a published table from your own runs, beside the published numbers.

    atari: figure 2 of the meta-gradient paper, medians of human-normalised scores by meta-parameters (rows) and gamma-bar (columns), from
    the evaluations of `metaray evaluate RUN --protocol ...`. Each median is shown with the number of its games.
    """

    table: Annotated[Positional[Literal["atari"]], option("which table")]
    runs: RunArguments
    protocol: Annotated[str, arg(metavar="NAME", help="protocol of the evaluations: no-op or sticky")] = "no-op"
    out: Annotated[str, arg(metavar="FILE", help="Markdown file to write, .md, with a .json beside it")] = "report-atari.md"

    def run(self, command: str) -> int:
        """Read, print and write."""
        check_any(self.runs, "metaray report atari")
        protocol = find_protocol(self.protocol).name
        file = Path(self.out)
        _check_out(file)
        from cluster.reports.atari.report import make_report, read_run

        report = make_report([read_run(Path(run), protocol) for run in dict.fromkeys(self.runs)], protocol)
        from cluster.reports.atari.tables import show, write

        show(report, table_console())
        again = " (overwritten)" if file.exists() else ""
        beside = write(report, file, command=command)
        print(f"written  {file} and {beside}{again}")
        return 0


def _check_out(file: Path) -> None:
    """Make sure that the report can be written before anything is read."""
    if file.suffix != ".md":
        raise InvalidInputError(f"--out {file} must end with .md; the JSON is written beside it")
    if not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise InvalidInputError(f"--out {file} cannot be written: {file.parent} is not a folder that can be written to")
    for path in (file, file.with_suffix(".json")):
        if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
            raise InvalidInputError(f"--out {file} cannot be written: {path} is not a file that can be written to")
