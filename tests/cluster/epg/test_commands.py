"""The commands of an outer loop: wrong input, a run from start to plot, signals, kills, resume, scale, journal."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from actors.chunks import ChunkResult
from cluster.main import main
from cluster.store.journal import read
from cluster.store.metrics import read_metrics
from tests import processes
from tests.cluster.epg.sleeping import Sleeping
from tests.processes import wait_for

ROOT = Path(__file__).resolve().parents[3]
SMALL = ["train", "epg", "--preset", "point-goal", "--family", "cartpole", "--local", "--no-progress"]
SIZES = ["--workers", "16", "--vectors", "8", "--lives-per-chunk", "4"]
SETTINGS = ["--set", "evaluate_every=2", "evaluation_lives=3", "checkpoint_every_epochs=2", "log_every_s=0.02"]
RUN = [*SMALL, *SIZES, *SETTINGS]


@pytest.fixture(autouse=True)
def _sleeping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.run.lifetimes.make_collector", Sleeping())


def started(*arguments: str, cwd: Path, sleep_s: float = 0.01) -> subprocess.Popen[str]:
    """The command, whose lifetimes sleep instead."""
    return processes.started("tests.cluster.epg.driver", str(sleep_s), *arguments, cwd=cwd)


def chunks(run: Path) -> list[ChunkResult]:
    path = run / "journal.jsonl"
    return [record for record in read(path) if isinstance(record, ChunkResult)] if path.exists() else []


def sha256(run: Path) -> str:
    return str(json.loads((run / "summary.json").read_text())["parameters_sha256"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six epochs."""
    path = tmp_path_factory.mktemp("runs") / "finished"
    with started(*RUN, "--epochs", "6", "--out", str(path), cwd=path.parent, sleep_s=0.0) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return path


WRONG = [
    (["train", "epg"], "give --preset NAME or --config FILE"),
    (["train", "epg", "--preset", "random-hoper"], "unknown preset 'random-hoper'; did you mean random-hopper"),
    (["train", "epg", "--preset", "cartpole"], "preset cartpole belongs to impala: `metaray train impala --preset cartpole`"),
    (["train", "impala", "--preset", "goal-ant"], "preset goal-ant belongs to epg: `metaray train epg --preset goal-ant`"),
    ([*SMALL, "--steps", "1e6"], "--steps 1e6 is not an option of epg, which has --actors, --workers"),
    (
        ["train", "impala", "--preset", "cartpole", "--local", "--epochs", "3"],
        "--epochs 3 is not an option of impala, which has --actors, --steps",
    ),
    ([*SMALL, "--workers", "100"], "num_workers = 100 must be a multiple of num_vectors = 256"),
    ([*SMALL, "--vectors", "7"], "num_vectors = 7 must be even"),
    ([*SMALL, "--lives-per-chunk", "3"], "lives_per_chunk = 3 must be even"),
    ([*SMALL, "--set", "life.buffer_rows=3"], "life.buffer_rows = 3 is shorter than the convolutions"),
    ([*SMALL, "--set", "learner.gamma=0.9"], "unknown key 'learner.gamma'"),
    ([*SMALL, "--epochs", "0"], "num_epochs = 0 is out of range"),
    ([*SMALL, "--actors", "many"], "num_actors = 'many': expected an integer"),
    (["scale", "nowhere"], "the run directory nowhere does not exist"),
    (["journal", "nowhere"], "the run directory nowhere does not exist"),
]


@pytest.mark.parametrize(("arguments", "line"), WRONG, ids=[" ".join(arguments[-2:]) for arguments, _ in WRONG])
def test_wrong_input_is_one_line_and_exit_code_2_and_leaves_nothing(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"metaray: {line}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_run_leaves_all_that_its_directory_promises(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["algorithm"], summary["finished"], summary["reason"]) == ("epg", True, "total epochs")
    assert (summary["rounds"], summary["counts"]["lives"]) == (6, 6 * 16 + 3 * 3)
    assert summary["env_steps"] == 100 * summary["counts"]["lives"]
    assert len(summary["parameters_sha256"]) == 64
    assert 0 <= summary["driver_share"] <= 1
    assert summary["figures"]["evaluation/best"] is not None
    assert json.loads((finished / "config.json").read_text())["num_workers"] == 16
    assert (finished / "learning_curve.png").stat().st_size > 10_000
    assert list((finished / "tb").glob("events.out.tfevents.*"))
    records = read_metrics(finished / "metrics.jsonl")
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert {"fitness/mean", "fitness/std", "evaluation/score", "throughput/lives_per_s", "alpha"} <= records[1].keys()


def test_presets_are_listed_by_algorithm(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    out = capsys.readouterr().out
    assert out.index("impala: ") < out.index("quickstart") < out.index("epg: ") < out.index("random-hopper")
    assert main(["presets", "goal-ant"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("num_workers ")]
    assert "256" in line


def test_the_journal_is_listed_and_verified(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", str(finished)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 7
    assert main(["journal", str(finished), "--verify"]) == 0
    out = capsys.readouterr().out
    assert out == f"6 epochs replayed, phi equal after each; phi now: {sha256(finished)}\n"


def test_runs_are_plotted_and_algorithms_do_not_mix(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", str(finished), "--out", str(tmp_path / "x.pdf")]) == 0
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    capsys.readouterr()
    assert main(["plot", str(finished), str(tmp_path / "other")]) == 2
    assert "runs of epg and impala cannot share an axis" in capsys.readouterr().err
    assert main(["scale", str(tmp_path / "other"), "--actors", "2"]) == 2
    assert "was trained by impala: only runs of epg have a journal and a size" in capsys.readouterr().err
    assert main(["evaluate", str(finished)]) == 2
    assert "evolved a loss (epg) and holds no policy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "holds no"),
        ('{"revision": 1}', "missing required field"),
        ('{"revision": "x"}', "at `$"),
    ],
)
@pytest.mark.parametrize("name", ["desired.json", "observed.json"])
def test_a_torn_or_foreign_state_is_one_line(
    finished: Path, name: str, content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / name).write_text(content)
    if name == "desired.json" and message == "missing required field":
        message = ""  # all its fields have defaults
    code = main(["scale", str(run)])
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == ((2, 1) if message else (0, 0)), error
    assert message in error


def test_a_finished_run_is_only_resumed_for_longer(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main([*RUN, "--epochs", "4", "--out", str(run)]) == 0
    capsys.readouterr()
    assert main(["resume", str(run)]) == 2
    assert f"`metaray resume {run} --epochs E` trains it for longer" in capsys.readouterr().err
    assert main(["resume", str(run), "--epochs", "3"]) == 2
    assert "already has 4 epochs: give more" in capsys.readouterr().err
    assert main(["resume", str(run), "--steps", "3"]) == 2
    assert "--steps 3 is not an option of epg, which has --actors, --workers, --vectors, --epochs" in capsys.readouterr().err
    assert main(["resume", str(run), "--epochs", "6", "--workers", "17"]) == 2
    assert "num_workers = 17 must be a multiple" in capsys.readouterr().err
    assert json.loads((run / "config.json").read_text())["num_epochs"] == 4
    assert main(["resume", str(run), "--epochs", "6", "--workers", "32", "--no-progress"]) == 0
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["rounds"], summary["counts"]["lives"]) == (6, 4 * 16 + 2 * 32 + 3 * 3)
    assert main(["journal", str(run), "--verify"]) == 0
    assert [record["epoch"] for record in read_metrics(run / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_used_up_its_time_continues_with_more_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main([*RUN, "max_train_seconds=0.001", "--epochs", "50", "--out", str(run)]) == 0
    stopped = json.loads((run / "summary.json").read_text())
    assert (stopped["reason"], stopped["rounds"]) == ("time limit", 1)
    assert main(["resume", str(run)]) == 2
    assert "(time limit, 1 epochs): `metaray resume" in capsys.readouterr().err
    assert main(["resume", str(run), "--epochs", "3", "--no-progress"]) == 0
    out = capsys.readouterr().out
    assert "last 50 epochs (schedule_epochs; null for all 3)" in out and " at epoch 1, " in out
    assert json.loads((run / "summary.json").read_text())["rounds"] == 3
    assert json.loads((run / "config.json").read_text())["max_train_seconds"] is None


@pytest.mark.parametrize("num_actors", ["1", "2"])
def test_a_killed_driver_redoes_nothing_and_ends_with_the_same_phi(finished: Path, tmp_path: Path, num_actors: str) -> None:
    run = tmp_path / "run"
    with started(*RUN, "--epochs", "6", "--actors", num_actors, "--out", "run", cwd=tmp_path) as process:
        wait_for(lambda: len(chunks(run)) >= 10)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
    wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))  # its workers end with it
    assert bool(children) == (num_actors == "2")
    before = chunks(run)
    assert 10 <= len(before) < 27
    assert not (run / "summary.json").exists()
    assert main(["resume", str(run), "--no-progress"]) == 0
    after = chunks(run)
    assert after[: len(before)] == before
    assert len({(record.kind, record.epoch, record.index) for record in after}) == len(after) == 6 * 4 + 3
    assert sha256(run) == sha256(finished)


@pytest.mark.parametrize(
    ("number", "num_actors", "code"), [(signal.SIGINT, "1", 130), (signal.SIGINT, "2", 130), (signal.SIGTERM, "2", 143)]
)
def test_a_signal_stops_with_everything_kept(
    finished: Path, tmp_path: Path, number: signal.Signals, num_actors: str, code: int
) -> None:
    run = tmp_path / "run"
    with started(*RUN, "--epochs", "6", "--actors", num_actors, "--out", "run", cwd=tmp_path, sleep_s=0.02) as process:
        wait_for(lambda: len(chunks(run)) >= 6)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err == ""
    assert f"{number.name}: stopping; all that was collected is in the journal" in out
    assert "metaray resume run --local" in out
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["finished"], summary["reason"]) == (False, "stopped by signal")
    assert main(["resume", str(run), "--no-progress"]) == 0
    assert sha256(run) == sha256(finished)


@pytest.mark.parametrize(
    ("number", "num_actors", "code"), [(signal.SIGINT, "1", 130), (signal.SIGTERM, "1", 143), (signal.SIGTERM, "2", 143)]
)
def test_one_signal_ends_a_run_whose_chunks_never_end(tmp_path: Path, number: signal.Signals, num_actors: str, code: int) -> None:
    """A thread that cannot be ended, in a simulator that hangs, is left behind."""
    run = tmp_path / "run"
    with started(*RUN, "--epochs", "6", "--actors", num_actors, "--out", "run", cwd=tmp_path, sleep_s=1000.0) as process:
        wait_for(lambda: (run / "observed.json").exists())
        try:
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, err) == (code, "")
    assert "metaray resume run --local" in out
    assert json.loads((run / "summary.json").read_text())["reason"] == "stopped by signal"
    assert (run / "journal.jsonl").exists()


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with started(*RUN, "--epochs", "6", "--out", "run", cwd=tmp_path, sleep_s=3.0) as process:
        wait_for(lambda: (run / "observed.json").exists())
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None  # it waits for the chunk under way
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=5)
    assert process.returncode == 130
    assert "metaray: stopped at once" in err
    assert "Traceback" not in err


def test_a_running_run_is_scaled_and_says_what_it_sees(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with started(*RUN, "--epochs", "6", "--out", "run", cwd=tmp_path, sleep_s=0.1) as process:
        wait_for(lambda: (run / "observed.json").exists())
        assert main(["scale", str(run), "--workers", "17"]) == 2
        capsys.readouterr()
        assert main(["scale", str(run), "--actors", "2"]) == 0
        assert capsys.readouterr().out == f"{run}: actors 2 (revision 1); the driver follows\n"
        wait_for(lambda: json.loads((run / "observed.json").read_text())["actors_alive"] == 2)
        assert main(["scale", str(run)]) == 0
        out = capsys.readouterr().out
        assert f"{run}: driven by process {process.pid} on" in out
        assert "wanted    actors 2 (revision 1)\n" in out
        assert "observed  actors 2 of 2; epoch " in out
        process.communicate(timeout=120)
    assert process.returncode == 0
    assert sha256(run) == sha256(finished)


def test_a_corrupt_checkpoint_is_passed_over_and_a_torn_journal_is_mended(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main([*RUN, "--epochs", "4", "--out", str(run)]) == 0
    newest = sorted((run / "checkpoints").iterdir())[-1]
    (newest / "tree.json").write_text("{}")
    with (run / "journal.jsonl").open("ab") as file:
        file.write(b'["0badcafe", {"record": "chu')
    capsys.readouterr()
    assert main(["resume", str(run), "--epochs", "6", "--no-progress"]) == 0
    err = capsys.readouterr().err
    assert "corrupt checkpoint skipped" in err
    assert "is damaged (it is truncated); 28 bytes are cut off" in err
    assert main(["journal", str(run), "--verify"]) == 0


def test_a_run_that_fails_says_why_and_can_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds = tmp_path / "deeds"
    deeds.mkdir()
    (deeds / "always-raise-1-1").touch()
    monkeypatch.setattr("cluster.run.lifetimes.make_collector", Sleeping(deeds=str(deeds)))
    run = tmp_path / "run"
    assert main([*RUN, "--epochs", "6", "--out", str(run)]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("metaray: the run failed: ArithmeticError: this chunk always fails (details in ")
    assert last.endswith(f"`metaray resume {run}` goes on from there")
    (deeds / "always-raise-1-1").unlink()
    assert main(["resume", str(run), "--no-progress"]) == 0
