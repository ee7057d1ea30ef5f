"""Code shared by the benchmarks: their command lines, runs of metaray and of peers, figures, pictures, and the line of JSON."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cluster.reports.bootstrap import Estimate

ROOT = Path(__file__).resolve().parent.parent


def parser_of(document: str | None, *options: str) -> argparse.ArgumentParser:
    """Return a parser whose help is the script's docstring, with some of the options that several scripts have.

    Args:
        document: the script's docstring.
        options: of `local`, `set`, `seeds`, `rounds`, `kept` (the folder of the runs, and the picture).
    """
    parser = argparse.ArgumentParser(description=document, formatter_class=argparse.RawDescriptionHelpFormatter)
    if "local" in options:
        parser.add_argument("--local", action="store_true", help="in one process, without Ray")
    if "set" in options:
        parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings on top of the preset's")
    if "seeds" in options:
        parser.add_argument("--seeds", type=int, default=3)
    if "rounds" in options:
        parser.add_argument("--rounds", type=int, default=3)
    if "kept" in options:
        scratch = Path(tempfile.gettempdir()) / f"metaray-bench-{time.time_ns()}"
        parser.add_argument(
            "--runs", type=Path, default=scratch, help="folder of the runs; those that are finished are not repeated"
        )
        parser.add_argument("--out", type=Path, help="file of the picture")
    return parser


def where(options: argparse.Namespace) -> list[str]:
    """The argument of `metaray train` that chooses the driver."""
    return ["--local"] if options.local else []


def driver(options: argparse.Namespace) -> str:
    """Name of the driver, for the line of JSON."""
    return "in-process" if options.local else "ray"


def child(
    command: Sequence[str], timeout_s: float | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Run a command and return what it printed; a failure ends the benchmark with the end of its output."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, env=env, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed with exit code {done.returncode}:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def child_json(command: Sequence[str], timeout_s: float | None = None, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a command and return the last line of JSON that it printed."""
    lines = [line for line in child(command, timeout_s, env).splitlines() if line.startswith("{")]
    if not lines:
        sys.exit(f"{' '.join(command)} printed no JSON")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def metaray(*arguments: str, timeout_s: float = 3600.0) -> str:
    """Run the command line of this checkout and return what it printed."""
    return child([sys.executable, "-m", "cluster.main", *arguments], timeout_s, cwd=ROOT)


def train(preset: str, *arguments: str, algorithm: str = "impala", out: Path | None = None) -> tuple[dict[str, Any], Path]:
    """Train `preset` and return the summary and the run directory."""
    folder = out or Path(tempfile.mkdtemp(prefix="metaray-bench-")) / "run"
    metaray("train", algorithm, "--preset", preset, "--out", str(folder), "--no-progress", *arguments)
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary, folder


def train_once(preset: str, *arguments: str, out: Path) -> dict[str, Any]:
    """Train `preset` into `out` and return the summary; a finished run in `out` is not repeated."""
    if not (out / "summary.json").is_file():
        return train(preset, *arguments, out=out)[0]
    print(f"finished before: {out}", file=sys.stderr, flush=True)
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def final_return(preset: str, *arguments: str, out: Path) -> float:
    """Train once and return the mean return over the last 100 training episodes; print a line about the run."""
    summary = train_once(preset, *arguments, out=out)
    found = float(summary["final_return"])
    print({"run": out.name, "final_return": round(found, 4), "train_s": round(summary["train_s"], 1)}, flush=True)
    return found


def metrics(folder: Path, name: str) -> list[tuple[float, float]]:
    """One metric of a run as (environment steps, value)."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(row["env_steps"], row[name]) for row in rows if row.get(name) is not None]


def median(values: Sequence[float]) -> float:
    """The median, to four digits."""
    return float(f"{statistics.median(values):.4g}")


def ends(estimate: Estimate) -> list[float] | None:
    """The 95 % interval of an estimate to three decimal places; None where it has none."""
    return None if estimate.low is None or estimate.high is None else [round(estimate.low, 3), round(estimate.high, 3)]


@contextmanager
def two_panels(file: Path, height: float = 4.0) -> Iterator[list[Any]]:
    """Give the axes of a picture of two panels, and write it to `file`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: dict[str, Any] = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style):  # type: ignore[arg-type]  # its stub wants a literal for each of 300 keys
        figure = Figure(figsize=(10.0, height), layout="constrained")
        yield list(figure.subplots(1, 2))
        figure.savefig(file, dpi=120)


def print_line(benchmark: str, figures: dict[str, Any]) -> None:
    """Print the line of JSON of a benchmark, with the versions and the machine that it ran on."""
    versions = {name: version(name) for name in ("torch", "numpy", "gymnasium")}
    print(json.dumps({"benchmark": benchmark, **figures, "versions": versions, "machine": platform.platform()}), flush=True)
