"""A report on Atari as tables for the terminal, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from cluster.reports.atari.report import Cell, Report, episodes, evaluate_command, frames, span
from cluster.reports.bootstrap import Estimate
from cluster.store.run_directory import write_json
from envs.atari.games import GAMES, IMPALA, human_normalised
from envs.atari.published import GAMMA_BARS

SCALE = "percent of the human score: a random policy has 0, the human tester 100"
NOTHING = "-"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A title, a header, rows of text, and lines below them."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[str, ...] = ()


def figure_2(report: Report) -> Table:
    """Medians by meta-parameters (rows) and gamma-bar (columns), beside the published ones."""
    header = ["eta"]
    for gamma_bar in report.gamma_bars:
        header += [f"gamma-bar {gamma_bar:g}", *(["published"] if gamma_bar in GAMMA_BARS else [])]
    rows: list[list[str]] = []
    for cell in report.cells:
        if cell.gamma_bar == report.gamma_bars[0]:
            rows.append([cell.row.label])
        rows[-1] += [_median(cell), *([_published(cell)] if cell.gamma_bar in GAMMA_BARS else [])]
    return Table(
        title=f"Median human-normalised score, protocol {report.protocol}",
        header=tuple(header),
        rows=tuple(map(tuple, rows)),
        lines=(f"In {SCALE}. Published medians are over {len(GAMES)} games.",),
    )


def cell_runs(report: Report) -> Table:
    """The runs behind each cell, and its differences from the published one."""
    filled = [(cell, cell.over) for cell in report.cells if cell.over is not None]
    rows = [
        (
            cell.row.label,
            f"{cell.gamma_bar:g}",
            f"{over.num_games} of {len(GAMES)}",
            span(over.min_seeds, over.max_seeds),
            span(frames(cell.runs)[0] / 1e6, frames(cell.runs)[1] / 1e6),
            span(*episodes(cell.runs)),
            _estimate(over.iqm),
        )
        for cell, over in filled
    ]
    header = ("eta", "gamma-bar", "games", "seeds", "frames, M", "episodes", "interquartile mean")
    lines = [f"{cell.row.label} at {cell.gamma_bar:g}: {note}" for cell, _ in filled for note in cell.notes]
    return Table(title="Runs of each cell", header=header, rows=tuple(rows), lines=tuple(lines))


def game_by_game(report: Report) -> Table:
    """Every game of every cell, beside IMPALA's published score."""
    rows = [
        (
            cell.row.label,
            f"{cell.gamma_bar:g}",
            game,
            f"{len(percents)}",
            f"{fmean(percents):.1f} %",
            f"{100 * human_normalised(game, IMPALA[game][0]):.1f} %",
        )
        for cell in report.cells
        for game, percents in cell.percents.items()
    ]
    header = ("eta", "gamma-bar", "game", "seeds", "mean", "IMPALA, deep, published")
    return Table(title="Games", header=header, rows=tuple(rows))


def _median(cell: Cell) -> str:
    """A median with the number of its games."""
    if cell.over is None:
        return NOTHING
    return f"{_estimate(cell.over.median)} ({cell.over.num_games} {'game' if cell.over.num_games == 1 else 'games'})"


def _published(cell: Cell) -> str:
    return NOTHING if cell.published is None else f"{cell.published:.1f} %"


def _estimate(estimate: Estimate) -> str:
    interval = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.1f}, {estimate.high:.1f}]"
    return f"{estimate.value:.1f} %{interval}"


def missing_lines(report: Report) -> list[str]:
    """A line for each run without an evaluation, with its command."""
    under = report.protocol
    return [f"{run.path} has no evaluation under {under}: {evaluate_command(run.path, under)}" for run in report.missing]


def show(report: Report, console: Console) -> None:
    """Print the tables and the missing evaluations."""
    for table in (figure_2(report), cell_runs(report)):
        shown = RichTable(
            title=table.title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), header_style="bold"
        )
        for name in table.header:
            shown.add_column(name, overflow="fold")
        for row in table.rows:
            shown.add_row(*map(escape, row))
        console.print(shown)
        for line in table.lines:
            console.print(f"[dim]{escape(line)}[/]", soft_wrap=True)
        console.print()
    for line in missing_lines(report):
        console.print(f"[yellow]{escape(line)}[/]", soft_wrap=True)


def write(report: Report, file: Path, *, command: str) -> Path:
    """Write Markdown to `file` and JSON beside it, and return the path of the JSON."""
    beside = file.with_suffix(".json")
    file.write_text("\n".join(_markdown(report, command)))
    write_json(beside, _tree(report, command))
    return beside


def _markdown(report: Report, command: str) -> Iterator[str]:
    yield f"# Atari: meta-parameters against gamma-bar\n\n`{command}`\n"
    yield (
        "Intervals are 95 %: Student's, with the standard error of a bootstrap over the seeds of each game and the degrees of freedom "
        "that those seeds leave; none where all seeds are equal. Published: Xu, van Hasselt and Silver (2018), figure 2, "
        "and Espeholt et al. (2018), table C.1, after 200 M frames.\n"
    )
    for table in (figure_2(report), cell_runs(report), game_by_game(report)):
        yield f"## {table.title}\n"
        yield f"| {' | '.join(table.header)} |"
        yield f"|{'---|' * len(table.header)}"
        yield from (f"| {' | '.join(text.replace('|', '/') for text in row)} |" for row in table.rows)
        yield ""
        yield from (f"* {line}" for line in table.lines)
        yield ""
    if report.missing:
        yield "## Without an evaluation\n"
        yield from (f"* {line}" for line in missing_lines(report))
        yield ""


def _tree(report: Report, command: str) -> dict[str, Any]:
    return {
        "command": command,
        "protocol": report.protocol,
        "unit": SCALE,
        "cells": [_cell_tree(cell) for cell in report.cells],
        "without_evaluation": [
            {"run": str(run.path), "command": f"metaray evaluate {run.path} --protocol {report.protocol}"}
            for run in report.missing
        ],
    }


def _cell_tree(cell: Cell) -> dict[str, Any]:
    place = {
        "eta": list(cell.row.eta),
        "gamma_bar": cell.gamma_bar,
        "torso": cell.row.torso,
        "is_multi_task": cell.row.is_multi_task,
        "is_trained_sticky": cell.row.is_sticky,
        "published_median": cell.published,
    }
    if cell.over is None:
        return place | {"num_games": 0, "median": None}
    return place | {
        "num_games": cell.over.num_games,
        "seeds_per_game": [cell.over.min_seeds, cell.over.max_seeds],
        "frames": list(frames(cell.runs)),
        "episodes_per_game": list(episodes(cell.runs)),
        "median": cell.over.median.value,
        "median_interval": [cell.over.median.low, cell.over.median.high],
        "iqm": cell.over.iqm.value,
        "iqm_interval": [cell.over.iqm.low, cell.over.iqm.high],
        "notes": list(cell.notes),
        "games": {game: list(percents) for game, percents in cell.percents.items()},
        "runs": [str(run.path) for run in cell.runs],
    }
