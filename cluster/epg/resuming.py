"""Whether a run of an outer loop may go on, how far, and of what size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cluster import overrides
from cluster.epg.config import EpgRunConfig, check
from cluster.epg.replay import last_epoch
from cluster.store import journal, scaling
from cluster.store.run_directory import RunDirectory
from cluster.store.summary import read_summary
from envs.errors import InvalidInputError

SIZES = {"actors": "num_actors", "workers": "num_workers", "vectors": "num_vectors"}


def extend(directory: RunDirectory, config: EpgRunConfig, options: Mapping[str, str]) -> EpgRunConfig:
    """The run's config, with more epochs if asked for; another size is written down as wanted (`cluster.store.scaling`).

    Epochs asked for lift a time limit that is used up. Schedules stay laid over the epochs that they were begun with: laid anew over more,
    guidance and step size would rise again in the middle of the run.

    Raises:
        InvalidInputError: a value is not possible, or the run has nothing left to do.
    """
    summary, epochs = read_summary(directory), options.get("epochs", "")
    path = journal.path_of(directory)
    finished = last_epoch(path) if path.exists() else 0
    if epochs:
        begun = config.scheduled_epochs
        config = overrides.apply(config, {"num_epochs": epochs})
        config = replace(config, schedule_epochs=begun if config.num_epochs != begun else config.schedule_epochs)
        if config.num_epochs <= finished:
            raise InvalidInputError(f"--epochs {epochs}: the run {directory.path} has {finished:,} epochs already; give more")
    if summary is not None and summary["finished"]:
        if not epochs:
            raise InvalidInputError(
                f"the run {directory.path} is finished ({summary['reason']}, {finished:,} epochs): "
                f"`metaray resume {directory.path} --epochs E` goes on with it"
            )
        if summary["reason"] == "time limit":  # it would end it again at once
            config = replace(config, max_train_seconds=None)
    sizes = wanted(directory, config, options)
    if sizes:
        scaling.ask(directory, **sizes)
    if epochs:
        directory.write_config(config)
    return config


def wanted(directory: RunDirectory, config: EpgRunConfig, options: Mapping[str, str]) -> dict[str, int]:
    """The sizes among the options, checked together with those that stay.

    Raises:
        InvalidInputError: they are not possible.
    """
    changes: dict[str, Any] = {SIZES[name]: value for name, value in options.items() if name in SIZES}
    if not changes:
        return {}
    after = check(overrides.apply(scaling.desired(directory).upon(config), changes))
    return {name: getattr(after, name) for name in changes}
