"""A longer run of an outer loop: the schedules of guidance and step size, the line about them, and the replay of its journal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cluster.algorithms import find
from cluster.config import EpgRunConfig
from cluster.main import main
from cluster.run.replay import rebuild
from cluster.run.resuming import resumed
from cluster.store.journal import EpochRecord, read
from cluster.store.run_directory import RunDirectory
from learners import evolution
from learners.evolution import EvolutionConfig
from tests.cluster.epg.evolving import Watcher, evolve, sized
from tests.cluster.epg.sleeping import Sleeping

GUIDED = EvolutionConfig(guidance_share=0.5)


def extended(folder: Path, config: EpgRunConfig, epochs: str) -> EpgRunConfig:
    folder.mkdir(parents=True, exist_ok=True)
    return resumed(find("epg").workload(config), RunDirectory(path=folder), {"num_epochs": epochs})[0]


def over(config: EpgRunConfig) -> int:
    """The epochs that its schedules are laid over."""
    return find("epg").workload(config).scheduled


def schedule_line(config: EpgRunConfig, epoch: int) -> str | None:
    return find("epg").workload(config).schedule_line(epoch)


def test_more_epochs_leave_guidance_and_step_size_where_they_were_laid(tmp_path: Path) -> None:
    once = extended(tmp_path, sized(num_epochs=500), "600")
    twice = extended(tmp_path, once, "4500")
    for config in (once, twice):
        assert over(config) == 500
        for epoch in (0, 16, 62, 499, 500, 599):
            assert evolution.guidance_alpha(config.evolution, epoch, over(config)) == evolution.guidance_alpha(
                GUIDED, 4 * epoch, 500
            )
            assert evolution.learning_rate(config.evolution, epoch, over(config)) == evolution.learning_rate(GUIDED, epoch, 500)
    assert over(extended(tmp_path, sized(num_epochs=500), "200")) == 500
    assert extended(tmp_path, sized(num_epochs=500), "500") == sized(num_epochs=500)
    anew = replace(twice, schedule_epochs=None)  # as a person may write it into config.json
    assert (over(anew), extended(tmp_path, anew, "4500").schedule_epochs) == (4500, None)


def test_schedules_of_another_length_than_the_run_are_reported_in_one_line() -> None:
    assert schedule_line(sized(num_epochs=500), 7) is None
    assert schedule_line(sized(num_epochs=500, schedule_epochs=500), 7) is None
    assert schedule_line(sized(num_epochs=1000, schedule_epochs=500), 500) == (
        "the schedules of guidance and step size last 500 epochs (schedule_epochs; null for all 1,000): "
        "alpha 0, lr 0.001 at epoch 500, alpha 0, lr 0.001 at the end"
    )
    shorter = str(schedule_line(sized(num_epochs=80, schedule_epochs=800), 50))
    assert shorter.endswith("alpha 0.5, lr 0.0089 at epoch 50, alpha 0.2, lr 0.0082 at the end")


@pytest.mark.parametrize("stopped_at", [2, 6], ids=["in the middle of its schedules", "at its end"])
def test_a_longer_run_is_the_shorter_one_and_more(tmp_path: Path, stopped_at: int) -> None:
    config = sized(evolution=GUIDED)
    evolve(tmp_path / "whole", config)
    whole = [record for record in read(tmp_path / "whole" / "journal.jsonl") if isinstance(record, EpochRecord)]
    watcher = Watcher(when=lambda status: status.rounds == stopped_at)
    watcher._deed = lambda: setattr(watcher, "wants_stop", True)
    evolve(tmp_path / "run", config, observer=watcher, collector=Sleeping(sleep_s=0.005))
    longer = extended(tmp_path / "run", config, "12")
    again = Watcher()
    result = evolve(tmp_path / "run", longer, observer=again)
    begun = {one.epoch: one for one in read(tmp_path / "run" / "journal.jsonl") if isinstance(one, EpochRecord)}
    assert [begun[one.epoch] for one in whole] == whole
    assert [one.alpha for one in begun.values()] == [1 - epoch / 3 if epoch < 3 else 0 for epoch in range(12)]
    assert {one.num_epochs for one in begun.values()} == {6}
    assert all(scalars["evolution/learning_rate"] == pytest.approx(1e-3) for _, scalars in again.metrics if scalars["epoch"] > 3)
    np.testing.assert_array_equal(rebuild(tmp_path / "run" / "journal.jsonl").phi, result.parameters["phi"])
    assert (again.events, watcher.events) == ([], [])


def test_a_journal_whose_schedules_were_stretched_by_an_older_version_is_replayed_as_written(tmp_path: Path) -> None:
    """Its records say what each epoch's step size hung on, whatever is made of `--epochs` today."""
    evolve(tmp_path, sized(evolution=GUIDED))
    result = evolve(tmp_path, sized(evolution=GUIDED, num_epochs=12))
    records = [record for record in read(tmp_path / "journal.jsonl") if isinstance(record, EpochRecord)]
    assert [record.num_epochs for record in records] == [6] * 6 + [12] * 6
    np.testing.assert_array_equal(rebuild(tmp_path / "journal.jsonl").phi, result.parameters["phi"])


def test_a_resume_for_longer_says_what_its_schedules_are_laid_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cluster.run.lifetimes.make_collector", Sleeping())
    run = tmp_path / "run"
    small = ["train", "epg", "--preset", "point-goal", "--family", "cartpole", "--local", "--no-progress", "--workers", "16"]
    sizes = ["--vectors", "8", "--lives-per-chunk", "4", "--set", "evaluation_lives=3", "evaluation_lives_per_chunk=3"]
    assert main([*small, *sizes, "--epochs", "4", "--out", str(run)]) == 0
    assert "schedules of guidance" not in capsys.readouterr().out
    assert main(["resume", str(run), "--epochs", "6", "--no-progress"]) == 0
    line = "the schedules of guidance and step size last 4 epochs (schedule_epochs; null for all 6): alpha 0, lr 0.003"
    assert line in capsys.readouterr().out
    assert line in (run / "log.txt").read_text()
    config = json.loads((run / "config.json").read_text())
    assert (config["num_epochs"], config["schedule_epochs"]) == (6, 4)
    assert main(["journal", str(run), "--verify"]) == 0
    (run / "config.json").write_text(json.dumps(config | {"schedule_epochs": None}))
    assert main(["resume", str(run), "--epochs", "8", "--no-progress"]) == 0
    begun = [record.num_epochs for record in read(run / "journal.jsonl") if isinstance(record, EpochRecord)]
    assert begun == [4] * 6 + [6] * 2
