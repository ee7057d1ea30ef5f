"""The command line: wrong input, and one small run from start to plot."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from cluster.main import main
from cluster.run.recorder import Recorder
from cluster.store.checkpoint import TENSORS, newest_step, saved
from cluster.store.metrics import read_metrics
from envs.errors import InvalidInputError
from tests import processes
from tests.processes import wait_for

ROOT = Path(__file__).resolve().parents[3]
SMALL = ["train", "impala", "--preset", "cartpole", "--local", "--no-progress"]


def started(*arguments: str, cwd: Path, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return processes.started("cluster.main", *arguments, cwd=cwd, before=before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trained for a few thousand steps and finished."""
    path = tmp_path_factory.mktemp("runs") / "finished"
    assert (
        main([*SMALL, "--steps", "8e3", "--seed", "3", "--out", str(path), "--set", "log_every_s=0.05", "learner.gamma=0.95"])
        == 0
    )
    return path


WRONG = [
    (["trian"], "unknown command 'trian'; did you mean train"),
    (["train", "impla"], "unknown algorithm 'impla'; did you mean impala?"),
    (["train", "impala"], "give --preset NAME or --config FILE"),
    (["train", "impala", "--preset", "cartpol"], "unknown preset 'cartpol'; did you mean cartpole?"),
    ([*SMALL, "--family", "cartpoles"], "unknown task family 'cartpoles'; did you mean cartpole"),
    ([*SMALL, "--set", "learner.gama=0.9"], "unknown key 'learner.gama'; did you mean learner.gamma?"),
    ([*SMALL, "--set", "learner.gamma=1.5"], "learner.gamma = 1.5 is out of range: allowed is a number in [0, 1]"),
    ([*SMALL, "--set", "learner.gamma"], "--set learner.gamma: expected key=value"),
    ([*SMALL, "--set", "family=nope"], "unknown task family 'nope'"),
    ([*SMALL, "--set", "network.torso=deep"], "torso deep needs images"),
    ([*SMALL, "--set", "batch_unrolls=33"], "batch_unrolls = 33 must be a multiple or a divisor"),
    ([*SMALL, "--set", "eta=gama"], "unknown meta-parameter in eta: 'gama'; did you mean gamma"),
    ([*SMALL, "--set", "eta=gamma", "meta.gamma_range=0.99,1"], "learner.gamma = 0.98 is where meta-parameter gamma starts"),
    ([*SMALL, "--set", "eta=gamma", "meta.gamma_range=0.9"], "meta.gamma_range = '0.9': expected"),
    ([*SMALL, "--set", "eta=gamma", "meta.outer_gamma=1", "family=pendulum"], "meta.outer_gamma = 1 and the tasks of pendulum"),
    ([*SMALL, "--set", "learner_device=cuda"], "learner_device = cuda, and torch finds no GPU here: allowed here is cpu or auto"),
    ([*SMALL, "--actors", "-3"], "num_actors = -3 is out of range"),
    ([*SMALL, "--actors", "many"], "num_actors = 'many': expected an integer"),
    ([*SMALL, "--steps", "0"], "total_env_steps = 0 is out of range"),
    ([*SMALL, "--seed", "-1"], "seed = -1 is out of range"),
    ([*SMALL, "--ray", "auto"], "--local and --ray contradict each other"),
    ([*SMALL, "--out", "/dev/null"], "--out /dev/null is a file"),
    (["train", "impala", "--config", "nowhere.json", "--local"], "cannot read --config nowhere.json"),
    (["train", "impala", "--preset", "cartpole", "--ray", "nonsense"], "Ray address 'nonsense' is not one"),
    (["resume", "nowhere"], "the run directory nowhere does not exist"),
    (["evaluate", "nowhere"], "the run directory nowhere does not exist"),
    (["evaluate", "nowhere", "--episodes", "0"], "--episodes = 0 is out of range"),
    (["evaluate", "nowhere", "--episodes", "9", "--num-tasks", "10"], "--num-tasks = 10 is out of range: allowed is [1, 9]"),
    (["plot", "nowhere"], "the run directory nowhere does not exist"),
    (["presets", "nope"], "unknown preset 'nope'"),
    (  # a name of several algorithms is listed once
        ["presets", "nop"],
        "unknown preset 'nop' (one of: atari-impala, atari-metagradient-gamma, atari-metagradient-gamma-lambda, "
        "atari-metagradient-lambda, cartpole, delayed-reward",
    ),
    (["tasks", "nope"], "unknown task family 'nope'"),
    (["tasks", "cartpole", "--sample", "-1"], "--sample = -1 is out of range"),
    (["tasks", "--sample", "3"], "--sample and --check need a family"),
]


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def test_a_run_that_reached_its_return_or_its_time_trains_on_when_asked_for_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for limit, reason, lifted in (
        ("stop_return=1", "return reached", "stop_return"),
        ("max_train_seconds=0.001", "time limit", "max_train_seconds"),
    ):
        run = tmp_path / lifted
        assert (
            main(["train", "impala", "--preset", "cartpole", "--local", "--no-progress", "--out", str(run), "--set", limit]) == 0
        )
        stopped = json.loads((run / "summary.json").read_text())
        assert stopped["reason"] == reason
        assert main(["resume", str(run)]) == 2
        assert f"({reason}, " in capsys.readouterr().err
        steps = stopped["env_steps"] + 2000
        assert main(["resume", str(run), "--steps", str(steps), "--no-progress"]) == 0
        after = json.loads((run / "summary.json").read_text())
        assert (after["reason"], after["env_steps"] >= steps) == ("total steps", True)
        assert json.loads((run / "config.json").read_text())[lifted] is None


@pytest.mark.usefixtures("no_gpu")
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


@pytest.mark.parametrize("arguments", [["train", "impala", "--preest", "x"], ["evaluate", "x", "--episodes", "many"]])
def test_what_cannot_be_parsed_leaves_with_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


COMMANDS = ["", "train", "resume", "scale", "journal", "evaluate", "adapt", "plot", "report", "presets", "tasks", "version"]


def test_an_output_without_the_letters_of_a_text_or_a_path_stops_nothing(tmp_path: Path) -> None:
    code = f"""
        import json, sys
        from cluster.main import main
        for command in {COMMANDS}:
            try:
                main([*command.split(), "--help"])
            except SystemExit as done:
                assert done.code == 0, command
        sys.exit(main([*{SMALL[:-1]}, "--steps", "2000", "--out", "l\\u00e4ufe/\\u0444-\\u5b57"]))
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "run      l\\xe4ufe/\\u0444-\\u5b57" in done.stdout
    run = tmp_path / "l\u00e4ufe" / "\u0444-\u5b57"
    assert json.loads((run / "summary.json").read_text())["finished"]
    assert "end: " in (run / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["presets"],
        ["tasks", "--help"],
        ["train", "impala", "--preset", "x"],
        ["resume", "x"],
        ["version"],
    ],
)
def test_light_commands_load_neither_torch_nor_ray(arguments: list[str]) -> None:
    code = f"""
import sys
from cluster.main import main
try:
    main({arguments!r})
except SystemExit:
    pass
heavy = {{"torch", "ray", "matplotlib", "mujoco", "tensorboard"}} & set(sys.modules)
assert not heavy, heavy
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_tasks_and_presets_print_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "cartpole-physics", "--sample", "3", "--seed", "1"]) == 0
    first = capsys.readouterr().out
    assert first.count("cartpole-physics(") == 3
    assert "gravity" in first
    main(["tasks", "cartpole-physics", "--sample", "3", "--seed", "1"])
    assert capsys.readouterr().out == first
    assert main(["presets", "cartpole"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("learner.gamma ")]
    assert "a number in [0, 1]" in line  # in a pipe a row is one line
    assert main(["tasks"]) == 0
    assert "cartpole-physics" in capsys.readouterr().out


def test_a_run_leaves_all_that_its_directory_promises(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["finished"] is True
    assert summary["reason"] == "total steps"
    assert (summary["preset"], summary["family"], summary["seed"]) == ("cartpole", "cartpole", 3)
    assert summary["env_steps"] >= 8000
    assert summary["learner_updates"] >= 10
    assert summary["wall_s"] >= summary["train_s"] > 0
    assert summary["env_steps_per_s"] == pytest.approx(summary["env_steps"] / summary["train_s"], rel=0.01)
    assert 0 < summary["learner_utilisation"] <= 1
    assert 0 < summary["actor_utilisation"] <= 1
    assert summary["episodes"] > 10
    assert summary["final_return"] > 0
    assert len(summary["parameters_sha256"]) == 64
    assert {"torch", "numpy", "python"} <= set(summary["versions"])
    assert json.loads((finished / "config.json").read_text())["learner"]["gamma"] == 0.95
    assert summary["command"].startswith("metaray train impala --preset cartpole --local --no-progress --steps 8e3")
    assert list((finished / "tb").glob("events.out.tfevents.*"))
    assert (finished / "learning_curve.png").stat().st_size > 10_000
    assert "start: " in (finished / "log.txt").read_text()
    records = read_metrics(finished / "metrics.jsonl")
    steps = [record["env_steps"] for record in records]
    assert steps == sorted(steps)
    assert steps[-1] == summary["env_steps"]
    names = {name for record in records for name in record}
    assert {"return/mean_100", "lag/mean", "loss/policy", "throughput/env_steps_per_s"} <= names
    assert any("lag/histogram" in record.get("histograms", {}) for record in records)


def test_the_config_of_a_run_runs_again(finished: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    arguments = ["train", "impala", "--config", str(finished / "config.json"), "--local", "--no-progress", "--out", str(again)]
    assert main([*arguments, "--steps", "2000"]) == 0
    first, second = (json.loads((path / "config.json").read_text()) for path in (finished, again))
    assert second == {**first, "total_env_steps": 2000}


def test_a_finished_run_is_not_resumed_but_may_be_trained_for_longer(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(finished)]) == 2
    assert f"`metaray resume {finished} --steps N` trains it for longer" in capsys.readouterr().err
    assert main(["resume", str(finished), "--steps", "1000"]) == 2
    assert "environment steps: give more" in capsys.readouterr().err
    before = json.loads((finished / "summary.json").read_text())
    assert main(["resume", str(finished), "--steps", "12e3", "--no-progress"]) == 0
    after = json.loads((finished / "summary.json").read_text())
    assert after["env_steps"] >= 12_000
    assert after["learner_updates"] > before["learner_updates"]
    assert after["episodes"] > before["episodes"]
    assert after["wall_s"] > before["wall_s"]


@pytest.mark.usefixtures("no_gpu")
def test_a_run_of_a_gpu_is_evaluated_without_one_and_not_resumed_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main([*SMALL, "--steps", "2000", "--out", str(run)]) == 0
    config, summary = run / "config.json", (run / "summary.json").read_text()
    config.write_text(json.dumps(json.loads(config.read_text()) | {"learner_device": "cuda"}))
    assert main(["evaluate", str(run), "--episodes", "2"]) == 0
    capsys.readouterr()
    assert main(["resume", str(run), "--steps", "4000", "--no-progress"]) == 2
    assert capsys.readouterr().err.startswith("metaray: learner_device = cuda")
    assert (run / "summary.json").read_text() == summary  # nothing happened to it


def test_a_run_that_never_began_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise InvalidInputError("no room")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cluster.backends.local.LocalBackend.start", refuse)
    assert main(SMALL) == 2
    assert capsys.readouterr().err == "metaray: no room\n"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs").mkdir()
    assert main(SMALL) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_an_existing_run_is_not_overwritten(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--out", str(finished)]) == 2
    assert f"`metaray resume {finished}` continues it" in capsys.readouterr().err


def test_evaluation_is_the_same_twice_and_writes_its_episodes(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = []
    for _ in range(2):
        assert main(["evaluate", str(finished), "--episodes", "70", "--seed", "5"]) == 0
        (file,) = finished.glob("evaluation-test-s5-*-steps-episodes-70.json")
        contents.append(json.loads(file.read_text()))
    assert contents[0] == contents[1]
    assert len(contents[0]["episodes"]) == contents[0]["num_episodes"] == 70
    assert main(["evaluate", str(finished), "--episodes", "20", "--untrained", "--greedy", "--tasks", "train"]) == 0
    untrained = json.loads((finished / "evaluation-train-s0-greedy-untrained-episodes-20.json").read_text())
    assert untrained["env_steps"] == 0 < contents[0]["env_steps"]
    out = capsys.readouterr().out
    assert "mean over 70 episodes; 95 % interval" in out and "episodes 70 of 1 task" in out
    assert out.count("(overwritten: it had the same settings)") == 1


def test_a_run_of_ppo_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    assert main(["train", "ppo", "--preset", "cartpole", "--local", "--steps", "2000", "--out", run, "--no-progress"]) == 0
    assert main(["evaluate", run, "--episodes", "4"]) == 0
    assert "episodes 4 of 1 task" in capsys.readouterr().out


def test_results_of_other_settings_stand_beside_one_another_or_are_refused(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {*finished.glob("evaluation-*")}
    for options in ([], ["--episodes", "64"], ["--episodes", "7"], ["--max-episode-steps", "50"], ["--greedy"]):
        assert main(["evaluate", str(finished), "--seed", "9", *options]) == 0
    files = {*finished.glob("evaluation-*")} - before
    assert len(files) == 4
    file = min(files, key=lambda path: len(path.name))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"max_episode_steps": 7}))
    capsys.readouterr()
    assert main(["evaluate", str(finished), "--seed", "9"]) == 2
    said = f"{file} holds a result of other settings (max_episode_steps = 7, and here 30000): move it away"
    assert capsys.readouterr().err == f"metaray: {said}\n"
    assert main(["evaluate", str(finished), "--num-tasks", "2"]) == 2
    assert "--num-tasks 2: cartpole has a single task, so leave it out" in capsys.readouterr().err


def test_runs_are_plotted(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", str(finished), "--out", str(tmp_path / "x.pdf")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'x.pdf'}\n"
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")
    picture = (finished / "learning_curve.png").read_bytes()
    assert main(["plot", str(finished), "--x", "seconds"]) == 0
    assert capsys.readouterr().out == f"{finished / 'learning_curve-seconds.png'}\n"
    assert (finished / "learning_curve.png").read_bytes() == picture


def test_a_corrupt_checkpoint_falls_back_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main([*SMALL, "--steps", "3000", "--out", str(run)]) == 0
    assert main(["resume", str(run), "--steps", "5000", "--no-progress"]) == 0
    older, newest = saved(run / "checkpoints")
    tensors = bytearray((newest / TENSORS).read_bytes())
    tensors[-1] ^= 1
    (newest / TENSORS).write_bytes(tensors)
    capsys.readouterr()
    assert main(["resume", str(run), "--steps", "9000", "--no-progress"]) == 0
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"corrupt checkpoint skipped: {newest.name} (tensors.safetensors does not match its checksum)" in error
    assert f"falling back to {older.name}" in error
    steps = [record["env_steps"] for record in read_metrics(run / "metrics.jsonl")]
    assert steps == sorted(steps)


LONG = ["train", "impala", "--preset", "cartpole", "--local", "--steps", "1e9", "--out", "run", "--set", "checkpoint_every_s=0.3"]
ENDLESS = [*LONG, "stop_return=null", "log_every_s=0.1"]
STOPS = [(signal.SIGINT, 130), (signal.SIGHUP, 129), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("number", "code"), STOPS)
def test_a_signal_checkpoints_and_exits_cleanly_and_resume_continues(number: signal.Signals, code: int, tmp_path: Path) -> None:
    with started(*ENDLESS, cwd=tmp_path) as process:
        wait_for(lambda: len(read_metrics(tmp_path / "run" / "metrics.jsonl")) > 2)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err == ""
    assert f"{number.name}: saving a checkpoint and stopping" in out
    assert "metaray resume run --local" in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["finished"], summary["reason"]) == (False, "stopped by signal")
    assert newest_step(tmp_path / "run" / "checkpoints") == summary["env_steps"]  # by the clock or by the signal, or both
    config = tmp_path / "run" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"total_env_steps": summary["env_steps"] + 1000}))
    assert main(["resume", str(tmp_path / "run"), "--no-progress"]) == 0
    after = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert after["finished"] is True
    assert summary["env_steps"] + 1000 <= after["env_steps"] < summary["env_steps"] + 20_000
    assert after["learner_updates"] > summary["learner_updates"]


def test_a_killed_run_resumes_from_its_newest_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    with started(*ENDLESS, cwd=tmp_path) as process:
        wait_for(lambda: len(saved(run / "checkpoints")) > 1)
        assert main(["resume", str(run)]) == 2
        assert f"is in use by process {process.pid} on" in capsys.readouterr().err
        process.kill()
    assert not (run / "summary.json").exists()
    newest = newest_step(run / "checkpoints")
    assert main(["resume", str(run), "--steps", str(newest + 1000), "--no-progress"]) == 0
    assert json.loads((run / "summary.json").read_text())["env_steps"] >= newest + 1000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_training_began_stops_at_once_and_leaves_nothing(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start_slowly(*_: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(30)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cluster.backends.local.LocalBackend.start", start_slowly)
    assert main(SMALL) == 128 + number
    assert capsys.readouterr().err == "metaray: stopped before training began\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once(second: signal.Signals, tmp_path: Path) -> None:
    with started(*ENDLESS, cwd=tmp_path) as process:
        wait_for(lambda: len(read_metrics(tmp_path / "run" / "metrics.jsonl")) > 0)
        process.send_signal(signal.SIGINT)
        process.send_signal(second)
        _, err = process.communicate(timeout=60)
    assert process.returncode in {130, 128 + second}
    assert "Traceback" not in err


def test_the_end_of_its_terminal_stops_a_run_unless_under_nohup(tmp_path: Path) -> None:
    with started(*ENDLESS, cwd=tmp_path, before=("nohup",)) as process:
        wait_for(lambda: len(read_metrics(tmp_path / "run" / "metrics.jsonl")) > 0)
        process.send_signal(signal.SIGHUP)
        num_before = len(read_metrics(tmp_path / "run" / "metrics.jsonl"))
        wait_for(lambda: len(read_metrics(tmp_path / "run" / "metrics.jsonl")) > num_before + 3)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "SIGHUP" not in out


def test_a_reader_that_goes_away_does_not_end_a_run(tmp_path: Path) -> None:
    """`metaray train ... | head -1`"""
    options = ["--steps", "2e4", "--set", "stop_return=null", "log_every_s=0.05"]
    with started("train", "impala", "--preset", "cartpole", "--local", "--out", "run", *options, cwd=tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("impala - cartpole - seed 0: starting in this process")
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["finished"] is True
    assert "the reader of standard output has closed it" in (tmp_path / "run" / "log.txt").read_text()


def test_a_table_whose_reader_has_closed_the_pipe_ends_without_a_word(tmp_path: Path) -> None:
    command = f"{sys.executable} -m cluster.main presets | head -1"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


def test_a_run_that_fails_says_why_and_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    options = ["--set", "learner.learning_rate=1", "learner.reward_scale=1e30", "learner.optimiser.epsilon=1e-30"]
    assert main([*SMALL, "--steps", "1e6", "--out", str(run), *options]) == 1
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert last.startswith("metaray: the run failed: FloatingPointError: the learner diverged")
    assert f"details in {run / 'log.txt'}" in last
    assert "Traceback" in (run / "log.txt").read_text()
    assert not (run / "summary.json").exists()


@pytest.mark.parametrize(("kilobytes", "seconds"), [(16, 1000.0), (40, 0.01)], ids=["metrics", "checkpoint"])
def test_a_disk_that_is_full_fails_the_run_with_one_reason(kilobytes: int, seconds: float, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writing beyond it fails in the same place."""
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes << 10}, {kilobytes << 10}))
from cluster.main import main
sys.exit(main(sys.argv[1:]))
"""
    options = ["--steps", "1e9", "--out", "run", "--set", "stop_return=null", "log_every_s=0.01", f"checkpoint_every_s={seconds}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *SMALL, *options]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("metaray: the run failed: ")
    assert "File too large" in ran.stderr.splitlines()[-1]
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def test_a_deterministic_run_that_was_stopped_and_resumed_ends_with_the_same_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--steps", "12e3", "--actors", "2", "--set", "deterministic=true", "checkpoint_every_rounds=4"]
    assert main([*SMALL, *options, "--out", str(tmp_path / "whole")]) == 0
    asked = 0

    def stop_after_a_while(recorder: Recorder) -> bool:
        nonlocal asked
        asked += 1
        return asked > 8

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "stop_requested", stop_after_a_while)
        main([*SMALL, *options, "--out", str(tmp_path / "stopped")])
    whole, stopped = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "stopped"))
    assert 0 < stopped["env_steps"] < whole["env_steps"]
    assert main(["resume", str(tmp_path / "stopped"), "--no-progress"]) == 0
    resumed = json.loads((tmp_path / "stopped" / "summary.json").read_text())
    assert resumed["parameters_sha256"] == whole["parameters_sha256"]
    counted = ("env_steps", "episodes", "learner_updates", "final_return")
    assert {name: resumed[name] for name in counted} == {name: whole[name] for name in counted}
