"""Metrics as lines and as TensorBoard's events."""

import json
import math
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cluster.store.metrics import MetricsLog, read_metrics, series


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"histograms": 0, "scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def test_scalars_and_histograms_are_read_back_from_both(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", tmp_path / "tb")
    log.write(100, {"return/mean_100": 1.5, "loss/policy": math.nan}, {"lag/histogram": np.array([0, 2, 2, 1])})
    log.write(200, {"return/mean_100": 2.5, "loss/policy": math.inf}, {"lag/histogram": np.array([], dtype=int)})
    log.close()
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert [record["env_steps"] for record in records] == [100, 200]
    assert records[0]["loss/policy"] is None
    assert records[0]["histograms"] == {"lag/histogram": [[0, 1, 2], [1, 1, 2]]}
    assert "histograms" not in records[1]
    np.testing.assert_array_equal(series(records, "return/mean_100"), [[100, 200], [1.5, 2.5]])
    assert series(records, "loss/policy")[0].size == 0
    found = events(tmp_path / "tb")
    assert [(event.step, event.value) for event in found.Scalars("return/mean_100")] == [(100, 1.5), (200, 2.5)]
    histogram = found.Histograms("lag/histogram")[0].histogram_value
    assert (histogram.min, histogram.max, histogram.num, histogram.sum) == (0, 2, 4, 5)
    assert sum(histogram.bucket) == 4
    assert len(histogram.bucket) == len(histogram.bucket_limit)


def test_a_wide_histogram_is_binned_and_counts_everything(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", tmp_path / "tb")
    samples = np.random.default_rng(0).normal(size=1000)
    log.write(1, {}, {"x": np.append(samples, [np.nan, np.inf]), "constant": np.full(3, 2.0), "none": np.array([np.nan])})
    log.close()
    histograms = read_metrics(tmp_path / "metrics.jsonl")[0]["histograms"]
    assert sum(histograms["x"][1]) == 1000
    assert sum(histograms["constant"][1]) == 3
    assert histograms["none"] == [[], []]


def test_every_line_is_strict_json(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", tmp_path / "tb")
    log.write(1, {"a": math.nan, "b": np.float32(1.5)}, {})  # type: ignore[dict-item]
    log.close()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)


def test_a_line_is_on_disk_before_the_next_is_written_and_a_torn_tail_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    log = MetricsLog(file, tmp_path / "tb")
    log.write(100, {"a": 1.0}, {})
    assert len(read_metrics(file)) == 1  # nothing waits in a buffer that a kill would empty
    log.close()
    with file.open("a") as stream:
        stream.write('{"env_steps": 200, "wall_s": 2.0, "a"')
    assert [record["env_steps"] for record in read_metrics(file)] == [100]
    log = MetricsLog(file, tmp_path / "tb", resumed_at=150)
    log.write(300, {"a": 3.0}, {})
    log.close()
    assert [record["env_steps"] for record in read_metrics(file)] == [100, 300]


def test_after_a_resume_nothing_is_left_of_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    log = MetricsLog(file, tmp_path / "tb")
    for step in (100, 200, 300):
        log.write(step, {"a": float(step)}, {})
    log.close()
    walls = [record["wall_s"] for record in read_metrics(file)]
    log = MetricsLog(file, tmp_path / "tb", resumed_at=200)
    assert log.wall_s >= walls[1]  # time goes on from the checkpoint, not from zero
    log.write(250, {"a": -1.0}, {})
    log.close()
    assert [record["env_steps"] for record in read_metrics(file)] == [100, 200, 250]
    assert [event.step for event in events(tmp_path / "tb").Scalars("a")] == [100, 200, 250]


def test_no_file_means_no_records(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []
