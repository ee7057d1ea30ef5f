"""From a trained run to its score and its report: the commands, on a real run of a few updates."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.main import main
from cluster.reports.atari import scoring
from cluster.reports.atari.evaluation import newest, read
from envs.atari import families
from envs.atari.games import human_normalised
from envs.atari.protocols import PROTOCOLS
from envs.errors import InvalidInputError

ROOT = Path(__file__).resolve().parents[3]
SMALL = [
    "--local",
    "--no-progress",
    "--actors",
    "1",
    "--set",
    "network.torso=shallow",
    "rollout.envs_per_actor=8",
    "batch_unrolls=8",
]


def train(path: Path, *options: str, preset: str = "atari-impala") -> Path:
    assert main(["train", "impala", "--preset", preset, "--steps", "320", "--out", str(path), *SMALL, *options]) == 0
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two updates on Breakout."""
    return train(tmp_path_factory.mktemp("runs") / "breakout")


@pytest.fixture(scope="module")
def pong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two updates on Pong, never scored."""
    return train(tmp_path_factory.mktemp("runs") / "pong", "--family", "atari:pong", "--seed", "1")


@pytest.fixture(scope="module")
def cartpole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "cartpole"
    assert (
        main(["train", "impala", "--preset", "cartpole", "--local", "--no-progress", "--steps", "500", "--out", str(path)]) == 0
    )
    return path


def the_only(run: Path, name: str) -> Path:
    (file,) = run.glob(f"{name}.json")
    return file


def test_a_run_is_scored_under_the_noop_protocol_and_fewer_episodes_are_reported(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = []
    for _ in range(2):
        assert main(["evaluate", str(run), "--protocol", "no-op", "--episodes", "3", "--seed", "7"]) == 0
        contents.append(the_only(run, "evaluation-no-op-3-episodes-s7-*-steps").read_text())
    assert contents[0] == contents[1]
    out = capsys.readouterr().out
    assert out.count("(overwritten: it had the same settings)") == 1
    assert "3 episodes a game in place of 200" in out
    assert "% of the human score" in out
    written = json.loads(contents[0])
    assert written["deviations"] == ["3 episodes a game in place of 200"]
    assert (written["protocol"], written["family"], written["episodes_per_game"]) == ("no-op", "atari:breakout", 3)
    assert written["env_steps"] >= 320
    (game,) = written["games"]
    assert len(game["returns"]) == len(game["lengths"]) == 3
    assert game["mean_return"] == pytest.approx(sum(game["returns"]) / 3)
    assert game["human_normalised_percent"] == pytest.approx(100 * human_normalised("breakout", game["mean_return"]))
    assert min(game["lengths"]) > 60  # whole games: five lives of a ball that is missed take longer than one


def test_the_sticky_protocol_gives_other_games(run: Path) -> None:
    assert main(["evaluate", str(run), "--protocol", "sticky", "--episodes", "3", "--seed", "7"]) == 0
    assert main(["evaluate", str(run), "--protocol", "no-op", "--episodes", "3", "--seed", "7"]) == 0
    sticky, noop = (read(the_only(run, f"evaluation-{name}-3-episodes-s7-*-steps")) for name in ("sticky", "no-op"))
    assert sticky.games[0].lengths != noop.games[0].lengths


def test_the_number_of_episodes_is_exact_where_slots_run_several(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "MAX_SLOTS", 2)
    assert main(["evaluate", str(run), "--protocol", "no-op", "--episodes", "5", "--untrained"]) == 0
    evaluation = read(run / "evaluation-no-op-5-episodes-s0-untrained.json")
    assert len(evaluation.games[0].returns) == 5
    assert evaluation.env_steps == 0


def test_as_many_episodes_as_the_protocol_asks_for_are_no_deviation(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PROTOCOLS, "no-op", replace(PROTOCOLS["no-op"], num_episodes=2))  # 200 games take minutes
    assert main(["evaluate", str(run), "--protocol", "no-op"]) == 0
    assert "  episodes 2, as in the protocol" in capsys.readouterr().out
    evaluation = read(the_only(run, "evaluation-no-op-s0-*-steps"))
    assert evaluation.deviations == ()
    assert newest(run, "no-op") is not None


def test_every_game_of_a_run_on_all_of_them_gets_its_own_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tmp_path / "all", "--family", "atari57")
    monkeypatch.setattr(families, "GAMES", ("breakout", "pong"))  # 57 games take minutes
    assert main(["evaluate", str(run), "--protocol", "no-op", "--episodes", "2"]) == 0
    evaluation = read(the_only(run, "evaluation-no-op-2-episodes-s0-*-steps"))
    assert [(score.game, len(score.returns)) for score in evaluation.games] == [("breakout", 2), ("pong", 2)]
    assert evaluation.games[1].mean_return < 0 <= evaluation.games[0].mean_return
    assert "over 2 games" in capsys.readouterr().out


WRONG = [
    (["--protocol", "human-starts"], "protocol 'human-starts' cannot be played: its start states"),
    (["--protocol", "noops"], "unknown protocol 'noops'; did you mean no-op?"),
    (["--protocol", "no-op", "--greedy"], "--greedy and --protocol no-op contradict each other"),
    (["--protocol", "no-op", "--max-episode-steps", "9"], "--max-episode-steps and --protocol no-op contradict each other"),
    (["--protocol", "no-op", "--tasks", "train"], "--tasks and --protocol no-op contradict each other"),
    (["--protocol", "sticky", "--episodes", "0"], "--episodes = 0 is out of range"),
]


@pytest.mark.parametrize(("options", "line"), WRONG, ids=[" ".join(options) for options, _ in WRONG])
def test_wrong_protocols_are_one_line(options: list[str], line: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(run.iterdir())
    assert main(["evaluate", str(run), *options]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"metaray: {line}") and captured.err.count("\n") == 1
    assert captured.out == "" and sorted(run.iterdir()) == before


def test_a_protocol_on_anything_but_atari_is_refused_before_torch_is_loaded(cartpole: Path, run: Path) -> None:
    for arguments, line in (
        (["evaluate", str(cartpole), "--protocol", "no-op"], f"--protocol is for Atari, and {cartpole} was trained on cartpole"),
        (["report", "atari", str(run), str(cartpole)], f"the run {cartpole} was trained on cartpole: the report is for"),
    ):
        code = f"import sys; from cluster.main import main; code = main({arguments!r}); assert 'torch' not in sys.modules; sys.exit(code)"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith(f"metaray: {line}") and done.stderr.count("\n") == 1


def test_without_a_protocol_evaluation_is_as_ever(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--episodes", "2"]) == 0
    assert json.loads(the_only(run, "evaluation-test-s0-*-steps-episodes-2").read_text())["num_episodes"] == 2
    assert "episodes 2 of 1 task" in capsys.readouterr().out


def test_from_evaluations_to_the_report(
    run: Path, pong: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), "--protocol", "no-op", "--episodes", "3", "--seed", "7"]) == 0
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["report", "atari", str(run), str(pong), str(run)]) == 0
    out = capsys.readouterr().out
    assert "{}, shallow network" in out and "(1 game)" in out and "191.8 %" in out
    assert f"{pong} has no evaluation under no-op: `metaray evaluate {pong} --protocol no-op` makes one" in out
    assert (tmp_path / "report-atari.md").read_text().startswith("# Atari")
    written = json.loads((tmp_path / "report-atari.json").read_text())
    (cell,) = (cell for cell in written["cells"] if cell["num_games"])
    assert (cell["eta"], cell["gamma_bar"], cell["torso"], cell["runs"]) == ([], 0.99, "shallow", [str(run)])
    assert written["without_evaluation"] == [{"run": str(pong), "command": f"metaray evaluate {pong} --protocol no-op"}]


def test_a_run_that_tunes_gamma_is_scored_and_stands_in_its_own_row(tmp_path: Path) -> None:
    at = ["meta.outer_gamma=0.995", "learner.gamma=0.98"]
    run = train(tmp_path / "gamma", "--set", *at, preset="atari-metagradient-gamma")
    assert main(["evaluate", str(run), "--protocol", "no-op", "--episodes", "1"]) == 0
    assert main(["report", "atari", str(run), "--out", str(tmp_path / "report.md")]) == 0
    (cell,) = (cell for cell in json.loads((tmp_path / "report.json").read_text())["cells"] if cell["num_games"])
    assert (cell["eta"], cell["gamma_bar"], cell["torso"]) == (["gamma"], 0.995, "shallow")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--out", "report.txt"], "--out report.txt must end with .md"),
        (["--out", "nowhere/report.md"], "--out nowhere/report.md cannot be written: nowhere is not a folder"),
        (["--protocol", "human-starts"], "protocol 'human-starts' cannot be played"),
        ([], "the run PONG has no evaluation under no-op: `metaray evaluate PONG --protocol no-op` makes one"),
        (["CARTPOLE"], "the run CARTPOLE was trained on cartpole: the report is for runs on atari:<game> or atari57"),
        (["nowhere"], "the run directory nowhere does not exist"),
    ],
    ids=str,
)
def test_a_report_that_cannot_be_made_is_one_line_and_writes_nothing(
    options: list[str],
    line: str,
    pong: Path,
    cartpole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    def named(text: str) -> str:
        return text.replace("PONG", str(pong)).replace("CARTPOLE", str(cartpole))

    assert main(["report", "atari", str(pong), *map(named, options)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"metaray: {named(line)}") and captured.err.count("\n") == 1
    assert captured.out == "" and list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_evaluation_is_named(tmp_path: Path) -> None:
    file = tmp_path / "evaluation-no-op-s0.json"
    file.write_text('{"protocol": "no-op"}')
    with pytest.raises(InvalidInputError, match=f"{file} holds no Evaluation: .*missing required field"):
        newest(tmp_path, "no-op")
