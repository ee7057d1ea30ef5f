"""Phi from the journal alone: the first phi, which the config makes, and every update since, made again from the fitness of the lives.

    rebuild(journal)    the state after the last finished epoch, each epoch's phi compared with its digest
    resume(...)         the same from the newest checkpoint on, and what has been lived of the epoch that was under way

NumPy does not promise the same random numbers from one version to the next (NEP 19): where a replayed phi differs from its digest, the
noise is another, and the run stops with one line instead of going on with a phi that never was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from actors.chunks import ChunkResult, Kind
from cluster.epg.config import EpgRunConfig
from cluster.epg.lives import first_phi
from cluster.overrides import from_tree
from cluster.store.checkpoint import parameters_sha256
from cluster.store.former import completed
from cluster.store.journal import ChunkRecord, EpochRecord, RunRecord, UpdateRecord, read
from cluster.store.versions import library_versions
from envs.errors import InvalidInputError
from learners import evolution as epg
from learners.evolution import OuterState


class ReplayError(InvalidInputError):
    """A replay does not come to the phi that the run had."""


@dataclass(kw_only=True)
class Lived:
    """What the journal holds of one epoch.

    Attributes:
        record: how it began.
        results: its chunks by kind and index.
        update: how it ended; None while it is under way.
    """

    record: EpochRecord
    results: dict[tuple[Kind, int], ChunkResult] = field(default_factory=dict)
    update: UpdateRecord | None = None

    def of(self, kind: Kind) -> dict[int, ChunkResult]:
        """The results of one kind, by index."""
        return {index: result for (its, index), result in self.results.items() if its == kind}

    @property
    def env_steps(self) -> int:
        """Environment steps of all its chunks."""
        return sum(result.env_steps for result in self.results.values())


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """Where a run goes on.

    Attributes:
        state: after the last finished epoch.
        env_steps, lives, not_finite, cut_episodes, train_s: of the finished epochs, their evaluations included.
        lived: what there is already of the next one; None when it has not begun.
    """

    state: OuterState
    env_steps: int = 0
    lives: int = 0
    not_finite: int = 0
    cut_episodes: int = 0
    train_s: float = 0.0
    lived: Lived | None = None


def phi_sha256(phi: np.ndarray) -> str:
    """Digest of a phi, as in `summary.json`."""
    return parameters_sha256({"phi": phi})


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


def epochs(path: Path) -> Iterator[Lived]:
    """The epochs of a journal, one after the other; the last may be under way."""
    lived: Lived | None = None
    for record in read(path):
        match record:
            case EpochRecord() if lived is None or lived.record.epoch != record.epoch:
                lived = Lived(record=record)
            case EpochRecord():  # begun again by a resume: what was lived of it counts
                continue
            case ChunkRecord() if lived is not None:
                lived.results.setdefault((record.kind, record.index), record.result)
            case UpdateRecord() if lived is not None:
                lived.update = record
                yield lived
                lived = None
    if lived is not None:
        yield lived


def first_state(path: Path) -> OuterState:
    """The state before the first epoch, as the journal's config makes it.

    Raises:
        ReplayError: the first phi is another than the run began with.
    """
    record = first_record(path)
    config = config_of(record)
    phi = first_phi(config)
    if phi_sha256(phi) != record.sha256:
        raise ReplayError(f"{path}: the first phi cannot be made again{_versions(record)}")
    return epg.init(config.evolution, phi)


def advance(config: EpgRunConfig, state: OuterState, lived: Lived) -> tuple[OuterState, dict[str, float]]:
    """The state after a finished epoch, and what its update says of itself."""
    fitness = in_order(lived.of("perturbed"), lived.record.chunks)
    state, scalars = epg.update(
        config.evolution,
        state,
        fitness,
        num_vectors=lived.record.num_vectors,
        num_epochs=lived.record.num_epochs,
        run_seed=config.seed,
    )
    return state, scalars


def in_order(results: dict[int, ChunkResult], count: int) -> np.ndarray:
    """Fitness [W] by life, whatever order the chunks came in."""
    return np.array([value for index in range(count) for value in results[index].fitness], dtype=np.float64)


def rebuild(path: Path, on_epoch: Callable[[Lived, OuterState], None] = lambda lived, state: None) -> OuterState:
    """Make phi again from the journal alone.

    Args:
        path: the journal.
        on_epoch: is told of each epoch that was replayed and agrees.

    Raises:
        ReplayError: an epoch's phi differs from what the run had.
    """
    state = first_state(path)
    config = config_of(first_record(path))
    for lived in epochs(path):
        if lived.update is not None:
            state = _replayed(path, config, state, lived)
            on_epoch(lived, state)
    return state


def _replayed(path: Path, config: EpgRunConfig, state: OuterState, lived: Lived) -> OuterState:
    """One epoch again, compared."""
    assert lived.update is not None
    if lived.record.epoch != state.epoch or len(lived.of("perturbed")) != lived.record.chunks:
        raise ReplayError(f"{path}: epoch {lived.record.epoch} is not whole, so phi cannot be rebuilt from it")
    state, _ = advance(config, state, lived)
    if phi_sha256(state.phi) != lived.update.sha256:
        raise ReplayError(f"{path}: phi after epoch {state.epoch} is another than it was{_versions(first_record(path))}")
    return state if lived.update.score is None else epg.judge(state, lived.update.score)


def _versions(record: RunRecord) -> str:
    """Whether another library is to blame, in words."""
    now = library_versions()
    changed = [f"{name} {was}, here {now.get(name, 'none')}" for name, was in record.versions.items() if now.get(name) != was]
    hint = f": the run began with {'; '.join(changed)}" if changed else ", although the libraries are the same"
    return f"{hint}; a checkpoint or the old versions go on with it"


def resume(path: Path, checkpoint: Any | None) -> Resumption:
    """Where the run of a journal goes on.

    Args:
        path: the journal, mended.
        checkpoint: payload of a checkpoint (`state_to_arrays`), which spares replaying what is before it; None to replay everything.

    Raises:
        ReplayError: the replay does not come to the same phi.
    """
    config = config_of(first_record(path))
    if checkpoint is not None and checkpoint["epoch"] > last_epoch(path):  # the journal lost its end, and is what counts
        checkpoint = None
    state = first_state(path) if checkpoint is None else state_from_arrays(checkpoint)
    start, train_s, under_way = state.epoch, 0.0, None
    finished: list[ChunkResult] = []
    for lived in epochs(path):
        if lived.update is None:
            under_way = lived
            break
        if lived.update.epoch > start:
            state = _replayed(path, config, state, lived)
        finished += lived.results.values()
        train_s = lived.update.train_s
    return Resumption(
        state=state,
        env_steps=sum(result.env_steps for result in finished),
        lives=sum(len(result.fitness) for result in finished),
        not_finite=sum(result.num_not_finite for result in finished),
        cut_episodes=sum(result.cut_episodes for result in finished),
        train_s=train_s,
        lived=under_way,
    )


def last_epoch(path: Path) -> int:
    """How many epochs a journal holds whole."""
    return max((record.epoch for record in read(path) if isinstance(record, UpdateRecord)), default=0)


def state_to_arrays(state: OuterState) -> dict[str, Any]:
    """A state as plain data, for a checkpoint."""
    return {name: getattr(state, name) for name in OuterState.__dataclass_fields__}


def state_from_arrays(payload: dict[str, Any]) -> OuterState:
    """And back."""
    return OuterState(**payload)
