"""The plot of runs: which of them are seeds of one experiment, the labels of others, and what is drawn of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from cluster.config import EpgRunConfig, RunConfig
from cluster.overrides import apply
from cluster.reports import curves
from cluster.reports.atari.scores import interquartile_mean
from cluster.reports.bootstrap import mean_intervals
from cluster.store.run_directory import RunDirectory
from envs.errors import InvalidInputError

BAND = ", band: 95 % interval"


def run_of(path: Path, records: list[dict[str, Any]] | None = None, base: Any = None, **settings: Any) -> RunDirectory:
    """A run of 50 records, whose return rises by 10 from one to the next and begins at its seed; `__` stands for the dot of a setting."""
    changes = {name.replace("__", "."): value for name, value in settings.items()}
    config = apply(base or RunConfig(preset="cartpole"), changes)
    directory = RunDirectory(path=path)
    directory.begin(config, {})
    rng = np.random.default_rng(config.seed)
    usual = [
        {
            "env_steps": 1000 * (i + 1) + config.seed,
            "wall_s": 2.0 * (i + 1),
            "throughput/env_steps_per_s": 1e4 + rng.normal(),
            "lag/mean": rng.random(),
            "return/mean_100": 10.0 * i + config.seed,
            "return/p10_100": 10.0 * i + config.seed - 5,
            "return/p90_100": 10.0 * i + config.seed + 5,
        }
        for i in range(50)
    ]
    directory.metrics_file.write_text("".join(json.dumps(record) + "\n" for record in (usual if records is None else records)))
    return directory


def records_of(directory: RunDirectory) -> list[dict[str, Any]]:
    return [json.loads(line) for line in directory.metrics_file.read_text().splitlines()]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that are drawn from here on."""
    figures: list[Figure] = []

    def note(*args: Any, **options: Any) -> Figure:
        figures.append(Figure(*args, **options))
        return figures[-1]

    monkeypatch.setattr(curves, "Figure", note)
    return figures


def legend_of(figure: Figure) -> dict[str, str]:
    """The colour of each line of the legend."""
    (legend,) = figure.legends
    texts = [" ".join(text.get_text().split()) for text in legend.get_texts()]
    return {text: to_hex(line.get_color()) for text, line in zip(texts, legend.get_lines(), strict=True)}


def title_of(figure: Figure) -> str:
    return str(figure.legends[0].get_title().get_text())


def test_one_run_is_drawn_with_labels_units_and_its_values(tmp_path: Path, drawn: list[Figure]) -> None:
    curves.draw_runs([run_of(tmp_path / "a", seed=3)], tmp_path / "a.png")
    image = imread(tmp_path / "a.png")
    assert image.shape[1] > 1000 and image[..., :3].std() > 0.05
    top, speed, lag = drawn[0].axes
    assert (top.get_xlabel(), top.get_ylabel()) == ("environment steps", "return (mean of the last 100 episodes)")
    assert (speed.get_ylabel(), lag.get_ylabel()) == ("steps/s", "lag (updates)")
    assert title_of(drawn[0]) == "cartpole"
    assert list(legend_of(drawn[0])) == ["seed 3, band: 10th to 90th percentile of these episodes"]
    np.testing.assert_allclose(top.lines[0].get_ydata(), [10.0 * i + 3 for i in range(50)])
    np.testing.assert_allclose(top.lines[0].get_xdata(), [1000 * (i + 1) + 3 for i in range(50)])
    np.testing.assert_allclose(top.collections[0].get_datalim(top.transData).intervaly, [-2, 498])


def test_runs_of_one_config_are_seeds_whose_mean_has_a_95_percent_interval(tmp_path: Path, drawn: list[Figure]) -> None:
    seeds = (0, 6, 30)
    curves.draw_runs([run_of(tmp_path / f"s{seed}", seed=seed) for seed in seeds], tmp_path / "all.png")
    assert list(legend_of(drawn[0])) == [f"mean of 3 seeds{BAND}"]
    top = drawn[0].axes[0]
    (mean,) = (line for line in top.lines if line.get_linewidth() == 2.0)
    x, y = mean.get_xdata(), mean.get_ydata()
    assert (x[0], x[-1]) == (1030, 50_000)  # from where all have begun to where the first one ended
    of_each = np.stack([np.interp(x, np.arange(1, 51) * 1000 + seed, np.arange(50) * 10.0 + seed) for seed in seeds])
    expected, low, high = mean_intervals(of_each)
    np.testing.assert_allclose(y, expected)
    limits = top.collections[0].get_datalim(top.transData).intervaly
    np.testing.assert_allclose(limits, [low.min(), high.max()])
    assert limits[1] > of_each.max()  # wider than from the lowest to the highest: there are three of them


def test_a_sweep_is_named_by_what_differs_and_keeps_its_colours_in_any_order(tmp_path: Path, drawn: list[Figure]) -> None:
    runs = [
        run_of(tmp_path / f"{index}-{seed}", seed=seed, learner__learning_rate=rate)
        for index, rate in enumerate((0.01, 1e-4, 0.001, 0.1))
        for seed in (0, 1)
    ]
    curves.draw_runs(runs, tmp_path / "a.png")
    curves.draw_runs(runs[::-1], tmp_path / "b.svg")
    rates = ("0.0001", "0.001", "0.01", "0.1")
    assert list(legend_of(drawn[0])) == [f"learning_rate = {rate}: mean of 2 seeds{BAND}" for rate in rates]
    assert legend_of(drawn[0]) == legend_of(drawn[1])


ANNEALED, CONSTANT = ({"learner__anneal": flag} for flag in (True, False))


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ({"preset": "x"}, {"log_every_s": 3.0, "checkpoint_every_s": 9.0, "stop_return": 3.0, "max_train_seconds": 5.0}, [""]),
        ({"total_env_steps": 1000} | CONSTANT, {"total_env_steps": 2000} | CONSTANT, [""]),
        (ANNEALED | {"total_env_steps": 1000}, ANNEALED | {"total_env_steps": 2000, "schedule_env_steps": 1000}, [""]),
        (
            ANNEALED | {"total_env_steps": 1000},
            ANNEALED | {"total_env_steps": 2000},
            ["total_env_steps = 1000: ", "total_env_steps = 2000: "],
        ),
        ({"num_actors": 1}, {"num_actors": 2}, ["num_actors = 1: ", "num_actors = 2: "]),
        ({}, {"eta": ["gamma", "lambda"]}, ["eta = {gamma, lambda}: ", "eta = {}: "]),
        (
            {"learner__gamma": 0.9, "meta__outer_gamma": 0.9},
            {"learner__gamma": 0.99, "meta__outer_gamma": 0.8},
            ["gamma = 0.9, outer_gamma = 0.9: ", "gamma = 0.99, outer_gamma = 0.8: "],
        ),
    ],
)
def test_runs_are_seeds_of_one_experiment_where_nothing_differs_that_changes_them(
    one: dict[str, Any], other: dict[str, Any], names: list[str], tmp_path: Path, drawn: list[Figure]
) -> None:
    runs = [run_of(tmp_path / "a", seed=0, **one), run_of(tmp_path / "b", seed=1, **other)]
    curves.draw_runs(runs, tmp_path / "a.png")
    found = list(legend_of(drawn[0]))
    assert len(found) == len(names)
    assert all(text.startswith(name or "mean of 2 seeds") for text, name in zip(found, sorted(names), strict=True))


def test_many_differences_are_summarised_by_preset_or_count(tmp_path: Path, drawn: list[Figure]) -> None:
    many = {"learner__gamma": 0.9, "learner__lambda_": 0.9, "batch_unrolls": 64, "lag": 2, "learner__entropy_cost": 0.5}
    runs = [run_of(tmp_path / "a"), run_of(tmp_path / "b", preset="mine", **many)]
    curves.draw_runs(runs, tmp_path / "a.png")
    assert list(legend_of(drawn[0])) == ["preset cartpole: seed 0", "preset mine: seed 0"]
    curves.draw_runs([runs[0], run_of(tmp_path / "c", **many)], tmp_path / "a.png")
    first = "batch_unrolls = 32, lag = 1, entropy_cost = 0.01, gamma = 0.99 and 1 more: seed 0"
    assert [text for text in legend_of(drawn[1]) if text == first] == [first]


def test_runs_that_were_begun_twice_are_not_called_seeds(tmp_path: Path, drawn: list[Figure]) -> None:
    curves.draw_runs([run_of(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))], tmp_path / "a.png")
    assert list(legend_of(drawn[0])) == [f"mean of 3 runs of 2 seeds{BAND}"]


def test_where_one_run_ends_early_the_legend_says_how_far_the_mean_goes(tmp_path: Path, drawn: list[Figure]) -> None:
    runs = [run_of(tmp_path / f"s{seed}", seed=seed) for seed in (0, 1, 2)]
    runs[0].metrics_file.write_text("".join(json.dumps(record) + "\n" for record in records_of(runs[0])[:20]))
    curves.draw_runs(runs, tmp_path / "a.png")
    assert list(legend_of(drawn[0])) == [f"mean of 3 seeds up to 20k, where the first ends{BAND}"]
    thin = [line for line in drawn[0].axes[0].lines if line.get_linewidth() == 0.6]
    assert [line.get_xdata()[-1] for line in thin] == [20_000, 50_001, 50_002]


def test_curves_over_seconds(tmp_path: Path, drawn: list[Figure]) -> None:
    curves.draw_runs([run_of(tmp_path / "a")], tmp_path / "a.png", x="seconds")
    for axes in drawn[0].axes:
        assert axes.get_xlabel() == "seconds since the run began"
        np.testing.assert_allclose(axes.lines[0].get_xdata(), 2.0 * np.arange(1, 51))


@pytest.mark.parametrize(("num_seeds", "what"), [(3, "mean"), (8, "IQM")])
def test_the_interquartile_mean_leaves_out_the_run_that_failed(
    num_seeds: int, what: str, tmp_path: Path, drawn: list[Figure]
) -> None:
    seeds = [*range(num_seeds - 1), 9000]
    curves.draw_runs([run_of(tmp_path / f"s{seed}", seed=seed) for seed in seeds], tmp_path / "a.png", iqm=True)
    (text,) = legend_of(drawn[0])
    assert text.startswith(f"{what} of {num_seeds} seeds")
    (line,) = (line for line in drawn[0].axes[0].lines if line.get_linewidth() == 2.0)
    x = line.get_xdata()[0]
    values = [np.interp(x, np.arange(1, 51) * 1000 + seed, np.arange(50) * 10.0 + seed) for seed in seeds]
    wanted = interquartile_mean([np.array([values])])[0] if what == "IQM" else np.mean(values)
    assert line.get_ydata()[0] == pytest.approx(wanted)


def test_what_has_no_axis_in_common_is_refused(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / "a"), run_of(tmp_path / "b", family="acrobot")]
    with pytest.raises(InvalidInputError, match="runs of acrobot and cartpole cannot share an axis: plot them separately"):
        curves.draw_runs(runs, tmp_path / "a.png")
    epg = run_of(tmp_path / "c", base=EpgRunConfig(), family="cartpole")
    with pytest.raises(InvalidInputError, match="runs of epg and impala cannot share an axis"):
        curves.draw_runs([runs[0], epg], tmp_path / "a.png")


def test_a_run_without_a_finished_episode_is_drawn_and_says_so(tmp_path: Path, drawn: list[Figure]) -> None:
    records = [{"env_steps": 10, "wall_s": 1.0, "lag/mean": 0.0}]
    curves.draw_runs([run_of(tmp_path / "a", records)], tmp_path / "a.png")
    assert "no episode has ended yet" in [text.get_text() for text in drawn[0].axes[0].texts]


def test_nothing_to_plot_and_nowhere_to_put_it_are_lines(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="has no metrics yet"):
        curves.draw_runs([run_of(tmp_path / "empty", [])], tmp_path / "a.png")
    run = run_of(tmp_path / "a")
    for file in (tmp_path / "nowhere" / "a.png", tmp_path / "a.docx"):
        with pytest.raises(InvalidInputError, match="cannot write the plot"):
            curves.draw_runs([run], file)


def test_each_tuned_meta_parameter_has_a_panel_of_its_own(tmp_path: Path, drawn: list[Figure]) -> None:
    tuned, plain = run_of(tmp_path / "a", eta=["gamma", "entropy_cost"]), run_of(tmp_path / "b")
    etas = [record | {"eta/gamma": 0.9 + i / 1000, "eta/entropy_cost": 0.01} for i, record in enumerate(records_of(tuned))]
    tuned.metrics_file.write_text("".join(json.dumps(record) + "\n" for record in etas))
    curves.draw_runs([tuned, plain], tmp_path / "a.png")
    labels = [axes.get_ylabel() for axes in drawn[0].axes]
    assert labels == ["return (mean of the last 100 episodes)", "gamma", "entropy cost", "steps/s", "lag (updates)"]
    np.testing.assert_allclose(drawn[0].axes[1].lines[0].get_ydata(), [0.9 + i / 1000 for i in range(50)])


def test_an_outer_loop_shows_fitness_over_epochs_with_its_evaluations(tmp_path: Path, drawn: list[Figure]) -> None:
    records = [
        {"env_steps": 100 * i, "wall_s": 1.0 * i, "epoch": i, "fitness/mean": -1.0 * i, "fitness/std": 2.0, "alpha": 1 / i}
        | {"throughput/lives_per_s": 3.0}
        | ({"evaluation/score": -0.5 * i} if i % 2 else {})
        for i in range(1, 6)
    ]
    runs = [run_of(tmp_path / name, records, base=EpgRunConfig(num_actors=actors)) for name, actors in (("a", 1), ("b", 2))]
    curves.draw_runs(runs[:1], tmp_path / "a.png")
    labels = ["fitness (return with the final policy)", "lifetimes/s", "guidance (alpha)"]
    assert [axes.get_ylabel() for axes in drawn[0].axes] == labels
    assert {axes.get_xlabel() for axes in drawn[0].axes} == {"epochs"}
    points = "evaluation of the unperturbed phi, without guidance"
    assert list(legend_of(drawn[0])) == ["seed 0, band: one standard deviation over lifetimes", points]
    (line,) = (line for line in drawn[0].axes[0].lines if line.get_label() == points)
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([1, 3, 5], [-0.5, -1.5, -2.5])
    curves.draw_runs(runs, tmp_path / "a.png")  # the number of actors changes nothing
    assert next(iter(legend_of(drawn[1]))) == "mean of 2 runs of seed 0"
