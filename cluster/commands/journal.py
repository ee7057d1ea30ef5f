"""`metaray journal`: the epochs in a run's journal, and whether replaying them reproduces its phi."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from cluster.commands.arguments import RunArgument, option
from cluster.run.display import number, table_console
from cluster.store import run_directory
from envs.errors import InvalidInputError

if TYPE_CHECKING:
    from cluster.store.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class Journal:
    """List the epochs in a run's journal; with --verify, replay all updates from it alone and compare phi after each epoch."""

    run_directory: RunArgument
    verify: Annotated[bool, option("replay every update and compare phi with its digest")] = False

    def run(self, command: str) -> int:
        """Read, and print the table or the result of the replay."""
        directory = run_directory.open_run(Path(self.run_directory))
        check_outer_loop(directory)
        if not directory.journal_file.exists():
            raise InvalidInputError(f"the run {directory.path} has no journal yet")
        if self.verify:
            _verify(directory)
        else:
            _print(directory)
        return 0


def check_outer_loop(directory: RunDirectory) -> None:
    """Make sure that a run has a journal; InvalidInputError when not."""
    if directory.algorithm != "epg":
        raise InvalidInputError(
            f"the run {directory.path} was trained by {directory.algorithm}: only runs of epg have a journal and a size"
        )


def _print(directory: RunDirectory) -> None:

    from cluster.run.replay import epochs

    console = table_console()
    console.print(f"[bold]{'epoch':>7}{'W':>7}{'V':>6}{'chunks':>9}{'alpha':>7}{'fitness':>22}{'score':>11}  phi[/]")
    for epoch in epochs(directory.journal_file):
        record, update, results = epoch.record, epoch.update, epoch.fitness
        values = np.array([value for result in results for value in result.fitness if np.isfinite(value)])
        fitness = f"{number(values.mean())} ± {number(values.std())}" if values.size else "-"
        score = "-" if update is None or update.score is None else number(update.score)
        done = "in progress" if update is None else update.sha256[:12]
        console.print(
            f"{record.epoch + 1:>7}{record.num_workers:>7}{record.num_vectors:>6}{f'{len(results)}/{record.chunks}':>9}"
            f"{record.alpha:>7.2f}{fitness:>22}{score:>11}  {done}",
            soft_wrap=True,
        )


def _verify(directory: RunDirectory) -> None:
    from cluster.run.replay import phi_sha256, rebuild

    state = rebuild(directory.journal_file)
    print(f"{state.epoch} epochs replayed, phi equal after each; phi now: {phi_sha256(state.phi)}")
