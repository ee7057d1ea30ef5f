"""`summary.json`: the final figures of a run."""

from __future__ import annotations

import math
from typing import Any

from cluster.run.observer import LoopResult
from cluster.store.checkpoint import parameters_sha256
from cluster.store.run_directory import RunDirectory, read_json, write_json
from cluster.store.versions import library_versions


def write_summary(directory: RunDirectory, config: Any, result: LoopResult, wall_s: float, command: str) -> dict[str, Any]:
    """Write the summary of a run and return it.

    Args:
        directory: the run.
        config: of the run.
        result: of the loop.
        wall_s: wall time of the whole run in seconds, with start-up and the time before a resume.
        command: the command line.
    """
    train_s, shares = max(result.train_s, 1e-9), result.shares
    summary = {
        "preset": config.preset,
        "family": config.family,
        "algorithm": config.algorithm,
        "seed": config.seed,
        "finished": result.reason != "stopped by signal",
        "reason": result.reason,
        "env_steps": result.env_steps,
        "total_env_steps": config.goals.env_steps,
        "rounds": result.rounds,
        "total_rounds": config.goals.rounds,
        "wall_s": round(wall_s, 3),
        "train_s": round(result.train_s, 3),
        "env_steps_per_s": round(result.env_steps / train_s, 1),
        "learner_updates": result.learner_updates,
        "learner_utilisation": round(shares.learner, 4),
        "actor_utilisation": round(shares.actors, 4),
        "driver_share": round(min(1.0, shares.driver + shares.transport), 4),
        "mean_lag": round(result.mean_lag, 4),
        "max_lag": result.max_lag,
        "final_return": finite(result.mean_return),
        "episodes": result.num_episodes,
        "dropped": result.dropped,
        "reissued": result.reissued,
        "lost_actors": result.lost_actors,
        "counts": dict(result.counts),
        "figures": {name: finite(value) for name, value in result.figures.items()},
        "num_parameters": sum(array.size for array in result.parameters.values()),
        "parameters_sha256": parameters_sha256(result.parameters),
        "versions": library_versions(),
        "command": command,
    }
    write_json(directory.summary_file, summary)
    return summary


def read_summary(directory: RunDirectory) -> dict[str, Any] | None:
    """Return the summary of a run; None without one."""
    return read_json(directory.summary_file) if directory.summary_file.exists() else None


def finite(value: float | None) -> float | None:
    """Return `value` if it is finite, else None."""
    return value if value is not None and math.isfinite(value) else None
