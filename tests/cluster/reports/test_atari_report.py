"""The report: the cell of each run, the contents of a cell, and the notes beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from cluster.algorithms import config_of, find_preset
from cluster.overrides import to_tree
from cluster.reports.atari import tables
from cluster.reports.atari.evaluation import Evaluation, GameScore, newest, write
from cluster.reports.atari.report import Cell, Report, Row, make_report, read_run
from envs.atari.games import GAMES, IMPALA, SCORES
from envs.atari.published import METAGRADIENT_MEDIANS
from envs.errors import InvalidInputError


def score(game: str, percent: float, num_episodes: int) -> GameScore:
    random, human = SCORES[game]
    mean = random + percent / 100 * (human - random)
    return GameScore(
        game=game,
        mean_return=mean,
        standard_error=1.0,
        human_normalised_percent=percent,
        min_return=mean,
        max_return=mean,
        mean_length=10.0,
        returns=(mean,) * num_episodes,
        lengths=(10,) * num_episodes,
    )


def scored(
    path: Path,
    percents: dict[str, float],
    *,
    family: str | None = None,
    seed: int = 0,
    steps: int = 50_000_000,
    episodes: int = 200,
    eta: tuple[str, ...] = (),
    gamma_bar: float = 0.99,
    torso: str = "deep",
    protocol: str = "no-op",
    **changes: float,
) -> Path:
    """A run directory as `metaray train` and `metaray evaluate` leave it, with the scores given."""
    family = family or f"atari:{next(iter(percents))}"
    tree = to_tree(config_of(*reversed(find_preset("atari-impala"))))
    tree |= {"family": family, "seed": seed, "eta": list(eta), "meta": {"outer_gamma": gamma_bar}}
    tree["learner"] |= {"gamma": 0.9 if eta else gamma_bar} | changes
    tree["network"] |= {"torso": torso}
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(tree))
    evaluate(path, percents, steps=steps, episodes=episodes, protocol=protocol)
    return path


def evaluate(path: Path, percents: dict[str, float], *, steps: int, episodes: int, protocol: str = "no-op") -> None:
    write(
        path,
        Evaluation(
            family="atari",
            protocol=protocol,
            episodes_per_game=episodes,
            deviations=() if episodes == 200 else ("fewer",),
            env_steps=steps,
            seed=0,
            command="",
            games=tuple(score(game, percent, episodes) for game, percent in percents.items()),
        ),
    )


def report_of(*runs: Path, protocol: str = "no-op") -> Report:
    return make_report([read_run(run, protocol) for run in runs], protocol)


def cell(report: Report, row: Row, gamma_bar: float = 0.99) -> Cell:
    (found,) = (cell for cell in report.cells if (cell.row, cell.gamma_bar) == (row, gamma_bar))
    return found


def test_the_published_table_is_the_frame_even_where_nothing_was_run(tmp_path: Path) -> None:
    report = report_of(scored(tmp_path / "a", {"pong": 100.0}))
    assert [cell.row.eta for cell in report.cells] == [eta for eta in METAGRADIENT_MEDIANS for _ in range(2)]
    assert [cell.published for cell in report.cells] == [191.8, 257.1, 185.5, 246.5, 280.9, 275.5, 242.6, 287.6]
    assert [len(cell.runs) for cell in report.cells] == [1, 0, 0, 0, 0, 0, 0, 0]
    table = tables.figure_2(report)
    assert table.rows[0] == ("{}", "100.0 % (1 game)", "191.8 %", "-", "257.1 %")
    assert table.rows[3] == ("{gamma, lambda}", "-", "242.6 %", "-", "287.6 %")


def test_each_run_goes_where_its_eta_and_gamma_bar_say(tmp_path: Path) -> None:
    plain = scored(tmp_path / "plain", {"pong": 1.0}, gamma_bar=0.995)
    both = scored(tmp_path / "both", {"pong": 2.0}, eta=("lambda", "gamma"), gamma_bar=0.995)
    gamma = scored(tmp_path / "gamma", {"pong": 3.0}, eta=("gamma",), gamma_bar=0.99)
    other = scored(tmp_path / "other", {"pong": 4.0}, eta=("entropy_cost",), gamma_bar=0.97)
    report = report_of(plain, both, gamma, other)
    assert report.gamma_bars == (0.97, 0.99, 0.995)
    assert cell(report, Row(), 0.995).runs[0].path == plain
    assert cell(report, Row(eta=("gamma", "lambda")), 0.995).runs[0].path == both
    assert cell(report, Row(eta=("gamma",)), 0.99).runs[0].path == gamma
    assert cell(report, Row(eta=("entropy_cost",)), 0.97).runs[0].path == other
    assert cell(report, Row(eta=("entropy_cost",)), 0.97).published is None
    assert sum(len(cell.runs) for cell in report.cells) == 4
    assert len(tables.figure_2(report).header) == len(tables.figure_2(report).rows[0]) == 6


def test_other_networks_agents_and_types_of_training_have_separate_rows(tmp_path: Path) -> None:
    report = report_of(
        scored(tmp_path / "deep", {"pong": 1.0}),
        scored(tmp_path / "shallow", {"pong": 2.0}, torso="shallow"),
        scored(tmp_path / "sticky", {"pong": 3.0}, family="atari:pong-sticky"),
        scored(tmp_path / "all", dict.fromkeys(GAMES, 4.0), family="atari57"),
    )
    added = [cell for cell in report.cells if cell.row not in {Row(eta=eta) for eta in METAGRADIENT_MEDIANS}]
    filled = {cell.row.label: cell for cell in added if cell.runs}
    assert set(filled) == {"{}, shallow network", "{}, trained with sticky actions", "{}, one network for all games"}
    assert filled["{}, shallow network"].published == 93.2
    assert filled["{}, one network for all games"].published is None
    all_games = filled["{}, one network for all games"].over
    assert all_games is not None and all_games.num_games == 57


def test_a_cell_pools_games_and_seeds(tmp_path: Path) -> None:
    runs = [
        scored(tmp_path / f"{game}-{seed}", {game: percent}, seed=seed)
        for game, percents in {"alien": (10.0, 30.0), "pong": (100.0, 140.0), "qbert": (500.0, 700.0)}.items()
        for seed, percent in enumerate(percents)
    ]
    pooled = cell(report_of(*runs), Row())
    assert pooled.percents == {"alien": (10.0, 30.0), "pong": (100.0, 140.0), "qbert": (500.0, 700.0)}
    assert pooled.over is not None
    assert pooled.over.median.value == pytest.approx(120.0)
    # two seeds of the game in the middle, 40 apart: standard error 20, and 12.7 of them to either side
    assert (pooled.over.median.low, pooled.over.median.high) == (pytest.approx(120 - 254, abs=6), pytest.approx(120 + 254, abs=6))
    assert pooled.notes == ("a median over 3 games is not the median over 57",)


def test_impala_game_by_game_has_the_published_median_and_nothing_to_note_but_its_seeds(tmp_path: Path) -> None:
    runs = []
    for game, (deep, _) in IMPALA.items():
        random, human = SCORES[game]
        runs.append(scored(tmp_path / game, {game: 100 * (deep - random) / (human - random)}))
    full = cell(report_of(*runs), Row())
    assert full.over is not None
    assert round(full.over.median.value, 1) == full.published == 191.8
    assert full.notes == ("one seed for each game: no interval",)


def test_whatever_a_cell_falls_short_in_is_noted(tmp_path: Path) -> None:
    runs = [
        scored(tmp_path / "a", {"pong": 1.0}, episodes=2, steps=1_000_000),
        scored(tmp_path / "b", {"pong": 2.0}, learning_rate=1e-3),
        scored(tmp_path / "c", {"alien": 2.0}, seed=4),
    ]
    assert cell(report_of(*runs), Row()).notes == (
        "a median over 2 games is not the median over 57",
        "games have 1 to 2 seeds, and those with more have more weight in the interquartile mean",
        "1 game has a single seed: the intervals lack its spread, too narrow",
        "a score is the mean of 2 to 200 episodes, not of 200",
        "trained for 4 to 200 M frames, not 200 M",
        "runs differ in learner.learning_rate",
        "more than one run of pong with seed 0",
    )


def test_of_several_evaluations_the_most_trained_weights_count_and_then_the_most_episodes(tmp_path: Path) -> None:
    run = scored(tmp_path / "a", {"pong": 1.0}, steps=100, episodes=200)
    evaluate(run, {"pong": 2.0}, steps=200, episodes=3)
    evaluate(run, {"pong": 3.0}, steps=200, episodes=5)
    evaluate(run, {"pong": 4.0}, steps=0, episodes=200)
    evaluate(run, {"pong": 5.0}, steps=300, episodes=7, protocol="sticky")
    found = newest(run, "no-op")
    assert found is not None and found.games[0].human_normalised_percent == 3.0


def test_nothing_is_published_under_the_sticky_protocol(tmp_path: Path) -> None:
    report = report_of(scored(tmp_path / "a", {"pong": 1.0}, protocol="sticky"), protocol="sticky")
    assert {cell.published for cell in report.cells} == {None}


def test_a_config_that_says_too_little_is_named(tmp_path: Path) -> None:
    run = scored(tmp_path / "a", {"pong": 1.0}, eta=("gamma",))
    tree = json.loads((run / "config.json").read_text())
    del tree["meta"]
    (run / "config.json").write_text(json.dumps(tree))
    with pytest.raises(InvalidInputError, match=r"config.json is not the config of a run \(KeyError: 'meta'\)"):
        read_run(run, "no-op")


def test_what_is_printed_and_written_says_how_many_games_a_median_is_of(tmp_path: Path) -> None:
    runs = [scored(tmp_path / "a", {"pong": 12.0}), scored(tmp_path / "b", {"alien": 20.0}, eta=("gamma",))]
    bare = scored(tmp_path / "bare", {"pong": 1.0})
    next(bare.glob("evaluation-*")).unlink()
    report = report_of(*runs, bare)
    console = Console(width=100, record=True)
    tables.show(report, console)
    printed = console.export_text()
    tables.write(report, tmp_path / "report.md", command="metaray report atari ...")
    written = (tmp_path / "report.md").read_text()
    for text in (printed, written):
        assert text.count("(1 game)") == 2
        assert "{} at 0.99: a median over 1 game is not the median over 57" in text
        assert f"{bare} has no evaluation under no-op: `metaray evaluate {bare} --protocol no-op` makes one" in text
    assert "| {} | 12.0 % (1 game) | 191.8 % | - | 257.1 % |" in written
    assert "| {gamma} | 0.99 | alien | 1 | 20.0 % | 228.0 % |" in written
    tree = json.loads((tmp_path / "report.json").read_text())
    assert [(cell["num_games"], cell["median"]) for cell in tree["cells"]][:5] == [(1, 12.0)] + [(0, None)] * 3 + [(1, 20.0)]
