"""`metaray adapt`: wrong input before anything starts, and one small run from the loss to the plot."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from actors.chunks import spaces_of
from cluster.config import EpgRunConfig
from cluster.main import main
from cluster.overrides import to_tree
from cluster.reports.adaptation.source import LOSS_FILES
from cluster.store.loss_files import LossFiles
from cluster.store.run_directory import RunDirectory, write_json
from learners import evolution
from learners.learned_loss.inner_loop import LifetimeConfig
from learners.learned_loss.loss import FILE_NAME, LearnedLoss
from learners.learned_loss.network import LossConfig, LossShape, draw_phi
from learners.state_dict import state_to_arrays

ROOT = Path(__file__).resolve().parents[4]
FAMILY = "halfcheetah-direction"
LIFE = LifetimeConfig(num_updates=14, update_every=16, buffer_rows=32, minibatch_rows=8, fitness_episodes=1)
"""Long enough that an episode of 200 steps ends."""

LOSS = LossConfig(architecture="paper", reward_input=False)


def a_run(path: Path, family: str = FAMILY) -> Path:
    """A run directory of EPG as far as `adapt` reads it: with a loss that nobody evolved."""
    path.mkdir(parents=True)
    tree = {"life": to_tree(LIFE), "loss": to_tree(LOSS), "lives_per_chunk": 3}
    write_json(path / "config.json", {"algorithm": "epg", "family": family, "seed": 7, "num_epochs": 3, **tree})
    shape = LossShape.of(LOSS, spaces_of(family))
    for seed, name in enumerate(LOSS_FILES.values()):
        LearnedLoss(shape, draw_phi(shape, np.random.default_rng(seed))).save(path / name)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return a_run(tmp_path / "run")


def test_the_best_loss_is_the_one_that_a_user_loads() -> None:
    assert LOSS_FILES["best"] == FILE_NAME


def test_both_sides_against_ppo(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four lifetimes in chunks of three, in two processes, of which the file holds every number."""
    assert main(["adapt", str(run), "--tasks", "both", "--seeds", "4", "--actors", "2", "--set", "baseline.passes=2"]) == 0
    out = capsys.readouterr().out
    for words in ("training tasks", "held-out tasks", "learned loss", "PPO", "of 4 tasks won", "224 steps each"):
        assert words in out
    found = json.loads((run / "adaptation-both-s0-seeds-4-baseline.passes-2.json").read_text())
    assert [(group["tasks"], group["trained_by"], group["num_lives"]) for group in found["groups"]] == [
        ("train", "learned", 4),
        ("train", "ppo", 4),
        ("test", "learned", 4),
        ("test", "ppo", 4),
    ]
    assert (found["settings"]["baseline"]["passes"], found["settings"]["baseline"]["minibatch_rows"]) == (2, 16)
    assert found["settings"]["life"] == json.loads((run / "config.json").read_text())["life"]
    assert found["command"].startswith("metaray adapt")
    assert found["env_steps"] == 4 * 4 * (14 * 16 + 200)
    for group in found["groups"]:
        fitness = [
            lifetime["fitness"]
            for lifetime in found["lives"]
            if (lifetime["tasks"], lifetime["trained_by"]) == (group["tasks"], group["trained_by"])
        ]
        assert group["fitness"]["value"] == pytest.approx(np.mean(fitness))
        assert group["fitness"]["low"] <= group["fitness"]["value"] <= group["fitness"]["high"]
        assert group["curve"]["steps"] == [13 * 16, 14 * 16]
    assert [lifetime["episodes"]["end_step"] for lifetime in found["lives"]] == [[200]] * 16
    assert [one["num_tasks"] for one in found["comparisons"]] == [4, 4]
    assert (run / "adaptation-both-s0-seeds-4-baseline.passes-2.png").stat().st_size > 10_000


def test_a_file_with_a_family_and_without_baseline(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = run / LOSS_FILES["last"], tmp_path / "new" / "folder"
    options = ["--family", FAMILY, "--baseline", "none", "--seeds", "2", "--updates", "2", "--out", str(out), "--no-progress"]
    small = ["--set", "life.update_every=16", "life.minibatch_rows=8", "life.fitness_episodes=1"]
    assert main(["adapt", str(file), *options, *small]) == 0
    assert "PPO" not in capsys.readouterr().out
    (file,) = out.glob(f"adaptation-test-s0-seeds-2-baseline-none-family-{FAMILY}-life.update_every-16-*.json")
    assert len(file.name) < 130  # the rest of the settings as a digest
    found = json.loads(file.read_text())
    assert (found["comparisons"], found["groups"][0]["curve"], found["steps_of_a_life"]) == ([], None, 32)
    assert found["settings"]["loss"]["architecture"] == "paper"
    assert file.with_suffix(".png").exists()


def test_the_file_of_a_run_is_used_with_the_inner_loop_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = EpgRunConfig(family=FAMILY, life=LIFE, loss=LOSS, lives_per_chunk=2)
    shape = LossShape.of(LOSS, spaces_of(FAMILY))
    state = evolution.init(config.evolution, draw_phi(shape, np.random.default_rng(0)))
    LossFiles(config, RunDirectory(path=tmp_path))(state_to_arrays(state))
    assert main(["adapt", str(tmp_path / FILE_NAME), "--baseline", "none", "--seeds", "2", "--no-progress"]) == 0
    assert capsys.readouterr().err == ""
    found = json.loads((tmp_path / "adaptation-test-s0-seeds-2-baseline-none.json").read_text())
    assert (found["family"], found["steps_of_a_life"]) == (FAMILY, 14 * 16)
    assert (found["settings"]["life"], found["settings"]["lives_per_chunk"]) == (json.loads(json.dumps(to_tree(LIFE))), 2)


def test_the_best_and_the_last_loss_are_two(run: Path) -> None:
    options = ["--baseline", "none", "--seeds", "2", "--updates", "2", "--no-progress"]
    assert main(["adapt", str(run), *options]) == 0
    assert main(["adapt", str(run), *options, "--phi", "last"]) == 0
    stem, end = "adaptation-test-s0-seeds-2-baseline-none", "-life.num_updates-2.json"
    best, last = (json.loads((run / f"{stem}{name}{end}").read_text())["groups"][0] for name in ("", "-phi-last"))
    assert best["fitness"]["value"] != last["fitness"]["value"]


def test_the_same_adaptation_again_says_so_and_one_of_another_loss_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["adapt", str(run), "--baseline", "none", "--seeds", "2", "--updates", "2", "--no-progress"]
    for times in (0, 1):
        assert main(command) == 0
        assert capsys.readouterr().out.count("(overwritten: it had the same settings)") == times
    (file,) = run.glob("adaptation-*.json")
    content = file.read_text()
    (run / LOSS_FILES["last"]).replace(run / LOSS_FILES["best"])  # as after some more epochs
    assert main(command) == 2
    assert capsys.readouterr().err.startswith(f"metaray: {file} holds a result of other settings (phi_sha256 = ")
    assert file.read_text() == content


WRONG = [
    (["--seeds", "1"], "--seeds = 1 is out of range: allowed is [2, 100,000]: an interval needs two policies"),
    (["--actors", "0"], "--actors = 0 is out of range"),
    (["--seed", "-1"], "--seed = -1 is out of range"),
    (["--family", "halfcheeta-direction"], "unknown task family 'halfcheeta-direction'; did you mean halfcheetah-direction"),
    (["--family", "hopper-dynamics"], "the loss reads observations of 17 numbers, those of hopper-dynamics have shape (11,)"),
    (["--updates", "0"], "life.num_updates = 0 is out of range"),
    (["--updates", "few"], "life.num_updates = 'few': expected an integer"),
    (["--set", "baseline.passs=3"], "unknown key 'baseline.passs'; did you mean baseline.passes"),
    (["--set", "baseline.minibatch_rows=5"], "baseline.minibatch_rows = 5 must divide life.update_every = 16"),
    (["--set", "life.minibatch_rows=32"], "life.minibatch_rows = 32 must divide life.update_every = 16"),
    (
        ["--set", "life.buffer_rows=20"],
        "life.buffer_rows = 20 is shorter than the convolutions of the paper loss, which need 29 steps: try 29 or more",
    ),
    (["--set", "loss.architecture=release"], "the loss was evolved with paper and false, which cannot be changed"),
]


@pytest.mark.parametrize(("options", "line"), WRONG, ids=[" ".join(options) for options, _ in WRONG])
def test_wrong_input_is_one_line_and_nothing_is_written(
    options: list[str], line: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(run.iterdir())
    assert main(["adapt", str(run), *options]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert sorted(run.iterdir()) == before


def test_wrong_paths_are_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: str) -> str:
        assert main(["adapt", *arguments]) == 2
        return capsys.readouterr().err

    assert f"does not exist; the newest runs here are {run}" in refused(str(tmp_path / "nowhere"))
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((run / FILE_NAME).read_bytes())
    assert "give --family" in refused(str(alone))
    assert "leave it out" in refused(str(run / FILE_NAME), "--phi", "last")
    assert "allowed is a run directory, or a file that ends with .safetensors" in refused(str(run / "config.json"))
    (tmp_path / "taken").write_text("")
    assert "give --out" in refused(str(run), "--out", str(tmp_path / "taken"))
    (run / FILE_NAME).unlink()
    assert "has no loss.safetensors yet" in refused(str(run))
    write_json(run / "config.json", {"preset": "cartpole", "family": "cartpole"})
    assert "was trained by impala" in refused(str(run))


def test_errors_that_need_no_torch_do_not_import_it(run: Path) -> None:
    code = (
        "import sys; from cluster.main import main\n"
        f"assert main(['adapt', {str(run)!r}, '--family', 'halfcheeta']) == 2\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def children_of(process: subprocess.Popen[str]) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def hear_ctrl_c() -> None:
    """A shell that runs the tests in its background has them, and what they start, ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("actors", "number", "code"),
    [
        (1, signal.SIGINT, 130),
        (2, signal.SIGINT, 130),
        (2, signal.SIGTERM, 143),
        (2, signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_a_signal_ends_it_and_no_process_stays(actors: int, number: signal.Signals, code: int, run: Path) -> None:
    command = [sys.executable, "-m", "cluster.main", "adapt", str(run), "--updates", "100000", "--actors", str(actors)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        cwd=run,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    ) as process:
        try:
            # in the middle of lifetimes; with two actors in the middle of their imports, beside multiprocessing's own helper
            wait_for(lambda: actors == 1 or len(children_of(process)) == actors + 1)
            time.sleep(5.0 if actors == 1 else 0.5)
            children = children_of(process)
            if number == signal.SIGINT:
                os.killpg(process.pid, number)  # as a terminal sends it: to all of them
            else:
                process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == code, err
    assert (out, "Traceback" in err) == ("", False), err
    wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
