"""Phi from the journal alone: the initial phi, determined by the config, and every update since, recomputed from the lifetimes' fitness.

    rebuild(journal)    the state after the last finished epoch, each epoch's phi compared with its digest
    resume(...)         what a resumed run starts from: the same from the newest checkpoint on, as the payload of a checkpoint

NumPy does not promise the same random numbers from one version to the next (NEP 19): where a replayed phi differs from its digest, the
noise differs, and the run stops with one line instead of continuing with a wrong phi.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from actors.chunks import ChunkResult, Kind, spaces_of
from cluster.config import EpgRunConfig
from cluster.overrides import from_tree, to_tree
from cluster.store.checkpoint import parameters_sha256
from cluster.store.former import completed
from cluster.store.journal import EpochRecord, Journal, RunRecord, UpdateRecord, read
from cluster.store.versions import library_versions
from envs.errors import InvalidInputError
from learners import epg
from learners.algorithm import Progress, Setup
from learners.evolution import OuterState
from learners.networks.config import NetworkConfig
from learners.state_dict import state_from_arrays, state_to_arrays

CPU = torch.device("cpu")


class ReplayError(InvalidInputError):
    """A replay gives another phi than the run."""


@dataclass(kw_only=True)
class Epoch:
    """What the journal holds of one epoch.

    Attributes:
        record: how it began.
        results: its chunks by kind and index.
        update: how it ended; None while it is under way.
    """

    record: EpochRecord
    results: dict[tuple[Kind, int], ChunkResult] = field(default_factory=dict)
    update: UpdateRecord | None = None

    @property
    def fitness(self) -> list[ChunkResult]:
        """The chunks that its update learns from, in order, whatever order they came in; as many as there are."""
        found = {index: result for (kind, index), result in self.results.items() if kind == "perturbed"}
        return [found[index] for index in sorted(found)]

    def progress(self, seed: int) -> Progress:
        """The progress that its update gets, given the run's seed."""
        return Progress(round=self.record.epoch, total=self.record.num_epochs, run_seed=seed, settings=self.record)


def phi_sha256(phi: np.ndarray) -> str:
    """Digest of a phi, as in `summary.json`."""
    return parameters_sha256({"phi": phi})


def initial_state(config: EpgRunConfig) -> OuterState:
    """The state before the first epoch: a pure function of the config."""
    _, state = epg.init(config, Setup(spec=spaces_of(config.family), network=NetworkConfig(), run_seed=config.seed, device=CPU))
    return state


def begin_journal(path: Path, config: EpgRunConfig) -> None:
    """Write the first record of a run that has none."""
    phi = initial_state(config).phi
    record = RunRecord(config=to_tree(config), num_parameters=int(phi.size), sha256=phi_sha256(phi), versions=library_versions())
    journal = Journal(path)
    journal.append([record])
    journal.close()


def first_record(path: Path) -> RunRecord:
    """The record that a journal begins with."""
    for record in read(path):
        if isinstance(record, RunRecord):
            return record
        break
    raise InvalidInputError(f"{path} does not begin with the record of a run: the run cannot be rebuilt")


def config_of(record: RunRecord) -> EpgRunConfig:
    """The config that a journal began with."""
    return from_tree(EpgRunConfig, completed(record.config), "journal")


def epochs(path: Path) -> Iterator[Epoch]:
    """The epochs of a journal, one after the other; the last may be under way."""
    epoch: Epoch | None = None
    for record in read(path):
        match record:
            case EpochRecord() if epoch is None or epoch.record.epoch != record.epoch:
                epoch = Epoch(record=record)
            case EpochRecord():  # begun again by a resume: what was collected of it counts
                continue
            case ChunkResult() if epoch is not None:
                epoch.results.setdefault((record.kind, record.index), record)
            case UpdateRecord() if epoch is not None:
                epoch.update = record
                yield epoch
                epoch = None
    if epoch is not None:
        yield epoch


def first_state(path: Path) -> OuterState:
    """The state before the first epoch, as the journal's config makes it.

    Raises:
        ReplayError: the first phi is another than the run began with.
    """
    record = first_record(path)
    state = initial_state(config_of(record))
    if phi_sha256(state.phi) != record.sha256:
        raise ReplayError(f"{path}: the first phi cannot be made again{_versions(record)}")
    return state


def rebuild(path: Path, on_epoch: Callable[[Epoch, OuterState], None] = lambda epoch, state: None) -> OuterState:
    """Make phi again from the journal alone.

    Args:
        path: the journal.
        on_epoch: called after each epoch that was replayed and agrees.

    Raises:
        ReplayError: an epoch's phi differs from what the run had.
    """
    state = first_state(path)
    config = config_of(first_record(path))
    for epoch in epochs(path):
        if epoch.update is not None:
            state = _replayed(path, config, state, epoch)
            on_epoch(epoch, state)
    return state


def _replayed(path: Path, config: EpgRunConfig, state: OuterState, epoch: Epoch) -> OuterState:
    """One epoch again, compared."""
    assert epoch.update is not None
    if epoch.record.epoch != state.epoch or len(epoch.fitness) != epoch.record.chunks:
        raise ReplayError(f"{path}: epoch {epoch.record.epoch} is not whole, so phi cannot be rebuilt from it")
    state, _ = epg.update(None, config, state, epoch.fitness, epoch.progress(config.seed))
    if phi_sha256(state.phi) != epoch.update.sha256:
        raise ReplayError(f"{path}: phi after epoch {state.epoch} is another than it was{_versions(first_record(path))}")
    return state if epoch.update.score is None else epg.keep_best(config, state, epoch.update.score)


def _versions(record: RunRecord) -> str:
    """Whether another library is to blame, in words."""
    now = library_versions()
    changed = [f"{name} {was}, here {now.get(name, 'none')}" for name, was in record.versions.items() if now.get(name) != was]
    hint = f": the run began with {'; '.join(changed)}" if changed else ", although the libraries are the same"
    return f"{hint}; a checkpoint or the old versions go on with it"


def resume(path: Path, checkpoint: Mapping[str, Any] | None) -> dict[str, Any]:
    """Where the run of a journal continues: what a checkpoint after the last finished epoch would hold, and what there is of the next.

    Args:
        path: the journal, mended.
        checkpoint: payload of a checkpoint, which spares replaying what is before it; None to replay everything. Those of older versions
            are no such payload, and are passed over.

    Returns:
        Payload of a checkpoint, with the next epoch as `epoch`; None where that has not begun.

    Raises:
        ReplayError: the replay gives another phi.
    """
    config = config_of(first_record(path))
    saved = None if checkpoint is None else checkpoint.get("learner")
    if saved is not None and saved["epoch"] > last_epoch(path):  # the journal lost its end, and is what counts
        saved = None
    state = first_state(path) if saved is None else state_from_arrays(saved, like=initial_state(config), device=CPU)
    start, train_s, under_way = state.epoch, 0.0, None
    finished: list[ChunkResult] = []
    for epoch in epochs(path):
        if epoch.update is None:
            under_way = epoch
            break
        if epoch.update.epoch > start:
            state = _replayed(path, config, state, epoch)
        finished += epoch.results.values()
        train_s = epoch.update.train_s
    counts = sum((Counter(result.counts) for result in finished), Counter[str]())
    statistics = {
        "env_steps": sum(result.env_steps for result in finished),
        "rounds": state.epoch,
        "counts": dict(counts),
        "train_s": train_s,
        "best_score": state.best_score,
    }
    return {"learner": state_to_arrays(state), "statistics": statistics, "first_round": state.epoch, "epoch": under_way}


def last_epoch(path: Path) -> int:
    """How many epochs a journal holds whole."""
    return max((record.epoch for record in read(path) if isinstance(record, UpdateRecord)), default=0)
