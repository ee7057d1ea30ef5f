"""The folder of a run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster.algorithms import config_of_run
from cluster.config import RunConfig
from cluster.store import run_directory
from cluster.store.run_directory import RunDirectory
from envs.errors import InvalidInputError


def create(path: Path, config: RunConfig, launch: dict[str, Any]) -> RunDirectory:
    run_directory.check_free(path)
    directory = RunDirectory(path=path)
    directory.begin(config, launch)
    return directory


def test_a_run_is_created_opened_and_read(tmp_path: Path) -> None:
    config = RunConfig(family="cartpole", seed=7)
    made = create(tmp_path / "runs" / "a", config, {"command": "metaray train", "local": True})
    opened = run_directory.open_run(made.path)
    assert config_of_run(opened) == config
    assert opened.read_launch()["local"] is True
    with pytest.raises(InvalidInputError, match=r"the run directory .* exists and has no checkpoint to resume from: remove it"):
        create(made.path, config, {})
    with made.locked(), pytest.raises(InvalidInputError, match=f"is in use by process {os.getpid()} on .*: give another"):
        create(made.path, config, {})
    (made.checkpoints / "000000000001000").mkdir()
    with pytest.raises(InvalidInputError, match=r"the run directory .* exists: `metaray resume"):
        create(made.path, config, {})


def test_an_empty_folder_may_become_a_run_and_a_full_one_may_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    create(tmp_path / "empty", RunConfig(), {})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(InvalidInputError, match="other files in it"):
        create(tmp_path / "full", RunConfig(), {})
    with pytest.raises(InvalidInputError, match="is a file"):
        create(tmp_path / "full" / "thesis.tex", RunConfig(), {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(InvalidInputError, match="no permission"):
        run_directory.check_free(tmp_path / "closed" / "run")


def test_a_submitted_job_keeps_its_run_out_of_the_folder_that_ray_deletes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, home = tmp_path / "job", tmp_path / "home"
    job.mkdir()
    monkeypatch.chdir(job)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"runtime_env": {"working_dir": "gcs://_ray_pkg_1.zip"}}')
    assert run_directory.default_path("pong", None, 3).parent == home / "runs"
    for path in (Path("run"), job / "run"):
        with pytest.raises(InvalidInputError, match=r"is in the job's working folder, which Ray deletes"):
            run_directory.check_free(path)
    run_directory.check_free(tmp_path / "elsewhere")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"metadata": {"job_submission_id": "1"}}')  # without --working-dir
    assert run_directory.default_path("pong", None, 3).parent == Path("runs")
    run_directory.check_free(Path("run"))


def test_what_is_no_run_is_refused_with_the_newest_runs_beside_it(tmp_path: Path) -> None:
    create(tmp_path / "good", RunConfig(), {})
    with pytest.raises(InvalidInputError, match=r"does not exist; the newest runs here are .*good"):
        run_directory.open_run(tmp_path / "god")
    with pytest.raises(InvalidInputError, match=r"has no config.json, so it is not a run; .*good"):
        run_directory.open_run(tmp_path)


@pytest.mark.parametrize(
    ("content", "line"), [("{", "is not valid JSON"), ('{"sed": 1}', "did you mean seed"), ('{"seed": -1}', "out of range")]
)
def test_a_config_file_that_was_edited_wrongly_is_refused(tmp_path: Path, content: str, line: str) -> None:
    run = create(tmp_path / "a", RunConfig(), {})
    run.config_file.write_text(content)
    with pytest.raises(InvalidInputError, match=line) as caught:
        config_of_run(run)
    assert str(run.config_file) in str(caught.value)


HOLD = """
import sys
from pathlib import Path
from cluster.algorithms import config_of_run
from cluster.store.run_directory import RunDirectory
with RunDirectory(path=Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_drives_a_run_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    run = create(tmp_path / "a", RunConfig(), {})
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(InvalidInputError, match=f"is in use by process {holder.pid} on"), run.locked():
            pass
        holder.kill()
    with run.locked():
        pass
    with run.locked():
        pass


def test_default_names_tell_preset_family_and_seed() -> None:
    assert run_directory.default_path("quickstart", None, 3).name.startswith("quickstart-s3-2")
    name = run_directory.default_path("pong", "gym:CartPole-v1/../x", 0).name
    assert name.startswith("pong-gym-CartPole-v1-..-x-s0-")
    assert "/" not in name
