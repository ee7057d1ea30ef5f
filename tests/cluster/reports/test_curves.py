"""The picture of a run."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from cluster.config import RunConfig
from cluster.reports import curves
from cluster.store import run_directory
from envs.errors import InvalidInputError


def run_of(path: Path, preset: str, seed: int, *, episodes: bool = True) -> run_directory.RunDirectory:
    directory = run_directory.create(path, RunConfig(preset=preset, family="cartpole", seed=seed), {})
    rng = np.random.default_rng(seed)
    with directory.metrics_file.open("w") as file:
        for i in range(50):
            record = {"env_steps": 1000 * (i + 1) + seed, "wall_s": float(i), "throughput/env_steps_per_s": 1e4 + rng.normal()}
            record |= {"lag/mean": rng.random()}
            if episodes:
                mean = 10.0 * i + seed
                record |= {"return/mean_100": mean, "return/p10_100": mean - 5, "return/p90_100": mean + 5}
            file.write(json.dumps(record) + "\n")
    return directory


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn from here on."""
    drawn: list[Figure] = []

    def note(*args: object, **options: object) -> Figure:
        drawn.append(Figure(*args, **options))  # type: ignore[arg-type]
        return drawn[-1]

    monkeypatch.setattr(curves, "Figure", note)
    return drawn


def test_one_run_is_drawn_with_labels_units_and_its_values(tmp_path: Path, figures: list[Figure]) -> None:
    curve = curves.read_curve(run_of(tmp_path / "a", "cartpole", 3))
    curves.draw([curve], tmp_path / "a.png")
    image = imread(tmp_path / "a.png")
    assert image.shape[1] > 1000
    assert image[..., :3].std() > 0.05
    top, speed, lag = figures[0].axes
    assert (top.get_xlabel(), top.get_ylabel()) == ("environment steps", "return (mean of the last 100 episodes)")
    assert (speed.get_ylabel(), lag.get_ylabel()) == ("steps/s", "lag (updates)")
    assert top.get_title(loc="left") == "cartpole"
    assert top.get_legend() is None
    np.testing.assert_allclose(top.lines[0].get_ydata(), [10.0 * i + 3 for i in range(50)])
    np.testing.assert_allclose(top.lines[0].get_xdata(), [1000 * (i + 1) + 3 for i in range(50)])


def test_runs_of_one_preset_are_seeds_of_one_experiment(tmp_path: Path, figures: list[Figure]) -> None:
    runs = [run_of(tmp_path / f"s{seed}", "cartpole", seed) for seed in (0, 6)]
    curves.draw([curves.read_curve(run) for run in runs], tmp_path / "both.png")
    top = figures[0].axes[0]
    mean = next(line for line in top.lines if line.get_linewidth() == 2.0)
    np.testing.assert_allclose(
        mean.get_ydata(), np.interp(mean.get_xdata(), np.arange(1, 51) * 1000 + 3, np.arange(50) * 10.0 + 3), atol=0.2
    )
    assert mean.get_xdata()[0] == 1006  # where both have begun
    assert mean.get_xdata()[-1] == 50_000  # to where the first one ended


def test_different_presets_stand_apart_in_a_legend(tmp_path: Path, figures: list[Figure]) -> None:
    runs = [run_of(tmp_path / preset, preset, 0) for preset in ("cartpole", "quickstart")]
    curves.draw([curves.read_curve(run) for run in runs], tmp_path / "both.svg")
    legend = figures[0].axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["cartpole", "cartpole, preset quickstart"]


def test_a_run_without_a_finished_episode_is_drawn_and_says_so(tmp_path: Path, figures: list[Figure]) -> None:
    curves.draw([curves.read_curve(run_of(tmp_path / "a", "cartpole", 0, episodes=False))], tmp_path / "a.png")
    assert "no episode has ended yet" in [text.get_text() for text in figures[0].axes[0].texts]


def test_nothing_to_plot_and_nowhere_to_put_it_are_lines(tmp_path: Path) -> None:
    empty = run_directory.create(tmp_path / "empty", RunConfig(), {})
    with pytest.raises(InvalidInputError, match="has no metrics yet"):
        curves.read_curve(empty)
    curve = curves.read_curve(run_of(tmp_path / "a", "cartpole", 0))
    with pytest.raises(InvalidInputError, match="cannot write the picture"):
        curves.draw([curve], tmp_path / "nowhere" / "a.png")
    with pytest.raises(InvalidInputError, match="cannot write the picture"):
        curves.draw([curve], tmp_path / "a.docx")


def test_runs_that_tune_other_things_are_no_seeds_of_one_experiment(tmp_path: Path) -> None:
    plain, tuned = run_of(tmp_path / "a", "cartpole", 0), run_of(tmp_path / "b", "cartpole", 1)
    config = json.loads(tuned.config_file.read_text()) | {"eta": ["gamma", "lambda"]}
    tuned.config_file.write_text(json.dumps(config))
    assert [curves.read_curve(run).group for run in (plain, tuned)] == ["cartpole", "cartpole, eta = {gamma, lambda}"]


def test_each_tuned_meta_parameter_has_a_row_of_its_own_course(tmp_path: Path, figures: list[Figure]) -> None:
    directory = run_of(tmp_path / "a", "cartpole", 3)
    records = [json.loads(line) for line in directory.metrics_file.read_text().splitlines()]
    for i, record in enumerate(records):
        record |= {"eta/gamma": 0.9 + i / 1000, "eta/entropy_cost": 0.01}
    directory.metrics_file.write_text("".join(json.dumps(record) + "\n" for record in records))
    plain = run_of(tmp_path / "b", "acrobot", 0)  # a run that tunes nothing stands beside it
    curves.draw([curves.read_curve(directory), curves.read_curve(plain)], tmp_path / "a.png")
    labels = [axes.get_ylabel() for axes in figures[0].axes]
    assert labels == ["return (mean of the last 100 episodes)", "steps/s", "lag (updates)", "gamma", "entropy cost"]
    np.testing.assert_allclose(figures[0].axes[3].lines[0].get_ydata(), [0.9 + i / 1000 for i in range(50)])
