"""What the benchmarks of training share: start metaray as a person would, read its summary, print one JSON line."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cluster.reports.bootstrap import Estimate

ROOT = Path(__file__).resolve().parent.parent


def metaray(*arguments: str, timeout_s: float = 3600.0) -> str:
    """Run the command line of this checkout and return what it printed; a failure ends the benchmark with its last words."""
    command = [sys.executable, "-m", "cluster.main", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        sys.exit(
            f"metaray {' '.join(arguments)} failed with exit code {done.returncode}:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
        )
    return done.stdout


def train(preset: str, *arguments: str, out: Path | None = None) -> tuple[dict[str, Any], Path]:
    """Train `preset` and return the summary and the run directory."""
    folder = out or Path(tempfile.mkdtemp(prefix="metaray-bench-")) / "run"
    metaray("train", "impala", "--preset", preset, "--out", str(folder), "--no-progress", *arguments)
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary, folder


def train_or_take(preset: str, *arguments: str, out: Path) -> dict[str, Any]:
    """Train `preset` into `out` and return the summary; a finished run that is there already is taken as it is."""
    if (out / "summary.json").is_file():
        print(f"taken as it is: {out}", file=sys.stderr, flush=True)
        summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
        return summary
    return train(preset, *arguments, out=out)[0]


def metrics(folder: Path, name: str) -> list[tuple[float, float]]:
    """One metric of a run as (environment steps, value)."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(row["env_steps"], row[name]) for row in rows if row.get(name) is not None]


def median(values: Sequence[float]) -> float:
    """The median, to four digits."""
    return float(f"{statistics.median(values):.4g}")


def ends(estimate: Estimate) -> list[float] | None:
    """The 95 % interval of an estimate to three digits behind the point; None where it has none."""
    return None if estimate.low is None or estimate.high is None else [round(estimate.low, 3), round(estimate.high, 3)]


def print_line(benchmark: str, figures: dict[str, Any]) -> None:
    """Print the one line of a benchmark, with what it ran on."""
    versions = {name: version(name) for name in ("torch", "numpy", "gymnasium")}
    print(json.dumps({"benchmark": benchmark, **figures, "versions": versions, "machine": platform.platform()}), flush=True)
