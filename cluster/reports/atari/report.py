"""The table of the meta-gradient paper's figure 2 from your own runs: medians by meta-parameters (rows) and gamma-bar (columns).

The runs of a cell have the same meta-parameters, gamma-bar, network, agent (one network for each game, or one for all 57) and training
(with sticky actions or without). Other differences between its runs, and differences from the published cell, are notes of the cell: a
median over three games is not the median over 57.

Reference: Xu, van Hasselt and Silver (2018), arXiv 1805.09801, figure 2; `envs.atari.published` for its numbers.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.overrides import flattened
from cluster.reports.atari.evaluation import Evaluation, newest
from cluster.reports.atari.scores import Aggregate, aggregate
from cluster.store.run_directory import open_run, read_json
from envs.atari.families import ATARI_FAMILIES
from envs.atari.games import GAMES, IMPALA, SUFFIX_STICKY, human_normalised
from envs.atari.protocols import ACTION_REPEAT, PROTOCOLS
from envs.atari.published import GAMMA_BARS, METAGRADIENT_MEDIANS
from envs.errors import InvalidInputError

PUBLISHED_FRAMES = 200_000_000

_SETTINGS = ("learner.", "network.", "meta.", "rollout.unroll_length", "batch_unrolls", "total_env_steps")
"""Settings of an experiment, or their prefixes; the others are about resources, game and seed."""


@dataclass(frozen=True, kw_only=True, order=True)
class Row:
    """What the runs of a row have in common.

    Attributes:
        is_multi_task: one network for all games; False for one network for each, as published.
        is_sticky: trained with sticky actions.
        torso: the network.
        eta: names of the meta-parameters, sorted; empty without meta-gradients.
    """

    is_multi_task: bool = False
    is_sticky: bool = False
    torso: str = "deep"
    eta: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """`{gamma, lambda}`, and the differences from the published rows."""
        extras = [
            *([] if self.torso == "deep" else [f"{self.torso} network"]),
            *(["one network for all games"] if self.is_multi_task else []),
            *(["trained with sticky actions"] if self.is_sticky else []),
        ]
        return ", ".join([f"{{{', '.join(self.eta)}}}", *extras])

    def published(self, gamma_bar: float, protocol: str) -> float | None:
        """The published median over 57 games, in percent; None where there is none."""
        if protocol != "no-op" or self.is_multi_task or self.is_sticky or gamma_bar not in GAMMA_BARS:
            return None
        if self.torso == "deep" and self.eta in METAGRADIENT_MEDIANS:
            return METAGRADIENT_MEDIANS[self.eta][GAMMA_BARS.index(gamma_bar)]
        if self.torso == "shallow" and not self.eta and gamma_bar == GAMMA_BARS[0]:
            return round(100 * statistics.median(human_normalised(game, IMPALA[game][1]) for game in GAMES), 1)
        return None


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """A run, its cell in the table, and its evaluation.

    Attributes:
        path: the run.
        row: of its cell.
        gamma_bar: the discount of the outer objective; that of the learner without meta-gradients.
        seed: of the run.
        settings: of the experiment, by dotted key.
        evaluation: the one that is used; None without one under the protocol.
    """

    path: Path
    row: Row
    gamma_bar: float
    seed: int
    settings: Mapping[str, Any]
    evaluation: Evaluation | None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the table.

    Attributes:
        row, gamma_bar: its position.
        published: the published median in percent; None where there is none.
        runs: of the cell; may be empty.
        percents: game -> human-normalised score of each run, in percent.
        over: median and interquartile mean of `percents`; None without runs.
        notes: differences from the published cell, and between its runs.
    """

    row: Row
    gamma_bar: float
    published: float | None
    runs: tuple[ScoredRun, ...]
    percents: Mapping[str, tuple[float, ...]]
    over: Aggregate | None
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """The table: the rows of the paper, and further rows of the runs.

    Attributes:
        protocol: of the scores.
        gamma_bars: its columns.
        cells: row by row.
        missing: runs without an evaluation under the protocol.
    """

    protocol: str
    gamma_bars: tuple[float, ...]
    cells: tuple[Cell, ...]
    missing: tuple[ScoredRun, ...]


def read_run(path: Path, protocol: str) -> ScoredRun:
    """Read a run's config, without loading torch, and its evaluation.

    Raises:
        InvalidInputError: not a run, not on Atari, or an incomplete config.
    """
    directory = open_run(path)
    tree = read_json(directory.config_file)
    try:
        family, seed, eta = str(tree["family"]), int(tree["seed"]), tuple(sorted(map(str, tree.get("eta") or ())))
        gamma_bar = float(tree["meta"]["outer_gamma"] if eta else tree["learner"]["gamma"])
        torso = str(tree["network"]["torso"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"{directory.config_file} is not the config of a run ({type(error).__name__}: {error})") from None
    if family not in ATARI_FAMILIES:
        raise InvalidInputError(f"the run {path} was trained on {family}: the report is for runs on atari:<game> or atari57")
    sticky = family.endswith(SUFFIX_STICKY)
    row = Row(is_multi_task=family.startswith("atari57"), is_sticky=sticky, torso=torso, eta=eta)
    settings = {key: value for key, value in flattened(tree) if key.startswith(_SETTINGS)}
    return ScoredRun(
        path=path, row=row, gamma_bar=gamma_bar, seed=seed, settings=settings, evaluation=newest(directory.path, protocol)
    )


def make_report(runs: Sequence[ScoredRun], protocol: str) -> Report:
    """Make the table.

    Raises:
        InvalidInputError: no run has an evaluation.
    """
    scored = [run for run in runs if run.evaluation is not None]
    if not scored:
        which = f"the run {runs[0].path}" if len(runs) == 1 else f"none of the {len(runs)} runs"
        raise InvalidInputError(
            f"{which} has {'no' if len(runs) == 1 else 'an'} evaluation under {protocol}: {evaluate_command(runs[0].path, protocol)}"
        )
    published = [Row(eta=eta) for eta in METAGRADIENT_MEDIANS]
    rows = [*published, *sorted({run.row for run in scored} - set(published))]
    gamma_bars = tuple(sorted({*GAMMA_BARS, *(run.gamma_bar for run in scored)}))
    cells = tuple(
        _cell(row, gamma_bar, protocol, [run for run in scored if (run.row, run.gamma_bar) == (row, gamma_bar)])
        for row in rows
        for gamma_bar in gamma_bars
    )
    missing = tuple(run for run in runs if run.evaluation is None)
    return Report(protocol=protocol, gamma_bars=gamma_bars, cells=cells, missing=missing)


def evaluate_command(run: Path, protocol: str) -> str:
    """The command for the evaluation that a run lacks."""
    return f"`metaray evaluate {run} --protocol {protocol}` makes one"


def _cell(row: Row, gamma_bar: float, protocol: str, runs: Sequence[ScoredRun]) -> Cell:
    percents: dict[str, tuple[float, ...]] = {}
    for run in runs:
        for score in run.evaluation.games if run.evaluation else ():
            percents[score.game] = (*percents.get(score.game, ()), score.human_normalised_percent)
    return Cell(
        row=row,
        gamma_bar=gamma_bar,
        published=row.published(gamma_bar, protocol),
        runs=tuple(runs),
        percents={game: percents[game] for game in GAMES if game in percents},
        over=aggregate(percents) if percents else None,
        notes=tuple(_notes(percents, runs, protocol)),
    )


def frames(runs: Sequence[ScoredRun]) -> tuple[int, int]:
    """The minimum and maximum of training frames of `runs`."""
    counts = [run.evaluation.env_steps * ACTION_REPEAT for run in runs if run.evaluation is not None]
    return min(counts), max(counts)


def episodes(runs: Sequence[ScoredRun]) -> tuple[int, int]:
    """The minimum and maximum of episodes of a game in the evaluations of `runs`."""
    counts = [run.evaluation.episodes_per_game for run in runs if run.evaluation is not None]
    return min(counts), max(counts)


def span(low: float, high: float, unit: str = "") -> str:
    """A range as text: `3` or `3 to 5`."""
    return f"{low:,.4g}{unit}" if low == high else f"{low:,.4g} to {high:,.4g}{unit}"


def _notes(percents: Mapping[str, Sequence[float]], runs: Sequence[ScoredRun], protocol: str) -> Iterator[str]:
    if not runs:
        return
    if len(percents) < len(GAMES):
        of = f"{len(percents)} {'game' if len(percents) == 1 else 'games'}"
        yield f"a median over {of} is not the median over {len(GAMES)}"
    counts = {len(of_game) for of_game in percents.values()}
    if counts == {1}:
        yield "one seed for each game: no interval"
    elif len(counts) > 1:
        yield f"games have {span(min(counts), max(counts))} seeds, and those with more have more weight in the interquartile mean"
        if 1 in counts:
            single = sum(len(of_game) == 1 for of_game in percents.values())
            yield f"{single} {'game has' if single == 1 else 'games have'} a single seed: the intervals lack its spread, too narrow"
    fewest, most = episodes(runs)
    if fewest != PROTOCOLS[protocol].num_episodes or most != fewest:
        yield f"a score is the mean of {span(fewest, most)} episodes, not of {PROTOCOLS[protocol].num_episodes}"
    fewest, most = frames(runs)
    if not 0.99 * PUBLISHED_FRAMES <= fewest <= most <= 1.01 * PUBLISHED_FRAMES:
        yield f"trained for {span(fewest / 1e6, most / 1e6)} M frames, not 200 M"
    keys = sorted({key for run in runs for key in run.settings})
    if different := [key for key in keys if len({repr(run.settings.get(key)) for run in runs}) > 1]:
        yield f"runs differ in {', '.join(different)}"
    pairs = Counter((score.game, run.seed) for run in runs for score in (run.evaluation.games if run.evaluation else ()))
    if twice := [f"{game} with seed {seed}" for (game, seed), count in pairs.items() if count > 1]:
        yield f"more than one run of {', '.join(twice[:3])}{' and others' if len(twice) > 3 else ''}"
