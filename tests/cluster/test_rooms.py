"""Packages of ours that another one hides."""

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.rooms import ROOMS, shadowed_room

ROOT = Path(__file__).resolve().parents[2]


ENTRY_POINT = "import sys; from metaray import main; sys.exit(main())"
"""What an installed command `metaray` does."""


def run(*arguments: str, cwd: Path, path: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_here_nothing_is_shadowed() -> None:
    assert shadowed_room() is None


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_in_front_of_ours_is_named(tmp_path: Path, room: str) -> None:
    (tmp_path / room).mkdir()
    (tmp_path / room / "__init__.py").write_text("raise SystemExit('the wrong package was imported')")
    ran = run("-c", ENTRY_POINT, "presets", cwd=ROOT.parent, path=f"{tmp_path}:{ROOT}")
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert f"the name '{room}' is taken by {tmp_path / room}, which hides metaray's own package in {ROOT}" in ran.stderr


def test_a_module_in_front_of_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "envs.py").touch()
    ran = run("-m", "cluster.main", "presets", cwd=tmp_path, path=str(ROOT))
    assert ran.returncode == 2
    assert str(tmp_path / "envs.py") in ran.stderr


def test_a_folder_without_init_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    ran = run("-m", "cluster.main", "presets", cwd=tmp_path, path=str(ROOT))
    assert ran.returncode == 0, ran.stderr


def test_the_module_runs_as_the_command_does(tmp_path: Path) -> None:
    ran = run("-m", "metaray", "presets", "nope", cwd=tmp_path, path=str(ROOT))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("metaray: unknown preset 'nope'")


def test_the_command_is_the_one_that_looks_first() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    assert settings["options.entry_points"]["console_scripts"].strip() == "metaray = metaray:main"
    assert settings["options"]["py_modules"] == "metaray"


def test_a_missing_room_is_named(tmp_path: Path) -> None:
    (tmp_path / "cluster").symlink_to(ROOT / "cluster")
    line = shadowed_room(tmp_path)
    assert line is not None
    assert "'cluster'" in line
