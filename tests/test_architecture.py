"""The house rules: imports go one way, files and functions stay short, and the command starts light."""

from __future__ import annotations

import ast
import functools
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("cluster", "actors", "learners", "envs")
MAX_FILE_LINES = 320
MAX_FUNCTION_LINES = 60
HEAVY = frozenset({"torch", "ray", "matplotlib"})
"""What a module may be imported late for: the command starts without them."""
LATE = {
    "cluster.backends.ray.auth": "grpc",
    "cluster.commands.adapt": "cluster.run.preflight",
    "cluster.commands.evaluate": "cluster.reports.evaluation cluster.run.recorder "
    "envs.atari.families envs.contract envs.registry",
    "cluster.commands.report": "cluster.reports.atari.report cluster.reports.atari.tables",
    "cluster.commands.tasks": "cluster.run.preflight envs.check envs.contract envs.registry",
    "cluster.main": "cluster.commands.command_line cluster.run.stop_flag envs.errors",
    "cluster.run.preflight": "envs.contract",
    "envs.atari.families": "envs.atari.engine envs.atari.env",
    "envs.gymnasium_ids": "ale_py",
    "envs.registry": "envs.atari.families envs.classic.families envs.fetch envs.gymnasium_env envs.mujoco.families envs.user",
    "learners.compiled": "torch._inductor torch._inductor.exc torch.fx.experimental.proxy_tensor",
}
"""Imports inside of functions that load neither torch, Ray nor matplotlib, by importing module. Most keep simulators or torch's compiler
out of what does not need them, and the command's own packages are looked for before one is imported. No module comes to this list."""


def sources() -> list[Path]:
    return sorted(path for room in (*ROOMS, "benchmarks") for path in (ROOT / room).rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sources()}


@functools.cache
def imports(module: str) -> frozenset[tuple[str, bool]]:
    """What one of our modules imports, and whether in a function; what is for its types alone is left out."""
    found: set[tuple[str, bool]] = set()

    def look(node: ast.AST, *, is_late: bool) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update((alias.name, is_late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found.update((name if name in MODULES else str(node.module), is_late) for name in names.values())
        for child in ast.iter_child_nodes(node):
            look(child, is_late=is_late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    look(ast.parse(MODULES[module].read_text()), is_late=False)
    return frozenset(found)


def loads(module: str) -> frozenset[str]:
    """Which of the heavy packages come with a module, by the imports at the head of it and of all that it imports."""
    seen, to_see = set[str](), [module]
    while to_see:
        if (name := to_see.pop()) in seen:
            continue
        seen.add(name)
        to_see += [other for other, is_late in imports(name) if not is_late] if name in MODULES else []
    return HEAVY & {name.partition(".")[0] for name in seen}


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


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Not in a function either."""
    graph = {module: {other for other, _ in imports(module) if other in MODULES and other != module} for module in MODULES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"import circle: {' <- '.join(error.args[1])}")


def test_an_import_in_a_function_saves_something_heavy() -> None:
    """It hides what a module depends on, so it is for what the importing module can do without, and loads torch, Ray or matplotlib."""
    late = {
        (module, other)
        for module, path in MODULES.items()
        if path.relative_to(ROOT).parts[0] in ROOMS
        for other, is_late in imports(module)
        if is_late and not loads(other) - loads(module)
    }
    listed = {(module, other) for module, others in LATE.items() for other in others.split()}
    assert late - listed == set(), "import these at the head of their modules"
    assert listed - late == set(), "these are mended: take them off the list"


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
