"""Each fault of an environment gives one line that names it: before training, or after the learner was saved."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from cluster.main import main
from cluster.store import checkpoint
from tests.cluster.commands.broken import ENV_ID, Broken, Fault, faults

SMALL = ["--preset", "cartpole", "--local", "--no-progress", "--set", "rollout.envs_per_actor=2", "rollout.unroll_length=5"]
TINY = [*SMALL, "batch_unrolls=2", "network.hidden_sizes=4", "stop_return=none", "total_env_steps=1e9"]


@pytest.fixture(autouse=True)
def _unregistered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("cluster.run.printed_summary.picture_of", lambda *_: None)  # which takes longer than all the rest
    yield
    gymnasium.registry.pop(ENV_ID, None)


def register(fault: Fault | None) -> None:
    gymnasium.registry.pop(ENV_ID, None)
    gymnasium.register(ENV_ID, entry_point=Broken, kwargs={"fault": fault})


def typed(*arguments: str) -> tuple[int, str]:
    """The exit code of a command, and what it says on standard error."""
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        code = main(arguments)
    return code, error.getvalue()


runs = itertools.count()


def check(fault: Fault, folder: Path) -> None:
    """Train on an environment with this fault, and once it is mended go on."""
    run = folder / f"run-{next(runs)}"
    register(fault)
    code, error = typed("train", "impala", "--family", f"gym:{ENV_ID}", "--out", str(run), *TINY)
    assert error.startswith(f"metaray: environment gym:{ENV_ID}, ")
    assert error.count("\n") == 1, error
    assert fault.said in error
    if fault.is_early:
        assert code == 2
        assert not run.exists()
        return
    assert code == 1
    assert ", actor 0, slot 0" in error
    assert f"; `metaray resume {run}` goes on from there" in error
    taken = checkpoint.load_newest(run / "checkpoints", warn=pytest.fail).step
    register(None if fault.space == "vector" else Fault(space=fault.space, call="none", first=1, part="none", how="none"))
    assert typed("resume", str(run), "--no-progress", "--steps", str(taken + 20)) == (0, "")
    assert json.loads((run / "summary.json").read_text())["env_steps"] >= taken + 20


COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "phases": (Phase.explicit, Phase.generate)}


@given(fault=faults())
@settings(max_examples=25, derandomize=True, **COMMON)
def test_a_broken_environment_ends_in_one_line(tmp_path_factory: pytest.TempPathFactory, fault: Fault) -> None:
    check(fault, tmp_path_factory.mktemp("broken"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@given(fault=faults())
@settings(max_examples=300, **COMMON)
def test_any_broken_environment_ends_in_one_line(tmp_path_factory: pytest.TempPathFactory, fault: Fault) -> None:
    check(fault, tmp_path_factory.mktemp("broken"))
