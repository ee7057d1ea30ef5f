"""The house holds: imports run one way, files and functions stay short, and the command starts light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("cluster", "actors", "learners", "envs")
MAX_FILE_LINES = 320
MAX_FUNCTION_LINES = 60


def sources() -> list[Path]:
    return sorted(path for room in (*ROOMS, "benchmarks") for path in (ROOT / room).rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_the_rooms_are_there() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in sources()} >= set(ROOMS)


def test_imports_keep_their_contracts() -> None:
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_no_file_grows_past_one_concept() -> None:
    long = {
        str(path.relative_to(ROOT)): lines for path in sources() if (lines := len(path.read_text().splitlines())) > MAX_FILE_LINES
    }
    assert not long


def test_no_function_grows_past_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sources()
        for node in functions(path)
        if (node.end_lineno or node.lineno) - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert not long


def test_the_command_starts_without_ray_and_torch() -> None:
    done = run_python("import sys, cluster.main; print(sorted({'ray', 'torch'} & set(sys.modules)))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_envs_load_without_torch() -> None:
    done = run_python(
        "import sys, importlib, pkgutil, envs\n"
        "for module in pkgutil.walk_packages(envs.__path__, 'envs.'): importlib.import_module(module.name)\n"
        "print(sorted({'ray', 'torch'} & set(sys.modules)))"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
